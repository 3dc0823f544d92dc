"""Series, plans and radials: what every controller builds on."""

from __future__ import annotations

import pytest

from s4g_gateway.controllers.errors import ControllerError
from s4g_gateway.controllers.plan import Plan, PlanAnswer, PriorityOrder, SlotRefusal
from s4g_gateway.controllers.radial import Branch, Radial
from s4g_gateway.controllers.series import Series, day_start_ns
from s4g_gateway.model import NS_PER_S, AddCause

DAY_NS = 86_400 * NS_PER_S
START_NS = 19_000 * DAY_NS


def test_longer_slots_take_the_mean_and_shorter_ones_hold():
    series = Series(START_NS, 900, (1.0, 3.0, 5.0, 7.0))
    assert series.resampled(1800).values == (2.0, 6.0)
    assert series.resampled(450).values == (1.0, 1.0, 3.0, 3.0, 5.0, 5.0, 7.0, 7.0)
    assert series.resampled(450).resampled(900) == series
    assert series.window(START_NS + 900 * NS_PER_S, 2).values == (3.0, 5.0)


@pytest.mark.parametrize("slot_s", [0, -900, 600, 2700])
def test_slots_that_do_not_fit_are_refused(slot_s):
    with pytest.raises(ControllerError, match="do not fill"):
        Series(START_NS, 900, (1.0, 3.0, 5.0, 7.0)).resampled(slot_s)


def test_a_moment_belongs_to_the_slot_that_begins_with_it():
    series = Series(START_NS, 60, (1.0, 2.0))
    assert [series.at(START_NS + s * NS_PER_S) for s in (-1, 0, 59, 60, 119, 120)] == [None, 1, 1, 2, 2, None]
    assert day_start_ns(START_NS + 5) == START_NS


@pytest.mark.parametrize("order", PriorityOrder)
def test_priorities_return_from_the_wire_as_they_were(order):
    assert [order.rank(order.wire(rank)) for rank in range(1, 256)] == list(range(1, 256))


def test_the_direction_of_priority_is_an_option():
    assert PriorityOrder.LOWEST_FIRST.rank(1) == 1
    assert PriorityOrder.HIGHEST_FIRST.rank(255) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 0},
        {"slot_s": 7},
        {"start_ns": START_NS + 1},
        {"rank": (1,)},
        {"rank": (0, 1)},
        {"power_w": (float("nan"), 1.0)},
        {"power_w": (), "rank": ()},
    ],
)
def test_a_plan_that_is_none_is_refused(wrong):
    right = {"plan_id": "p", "version": 1, "start_ns": START_NS, "power_w": (1.0, 2.0), "rank": (1, 2)}
    assert Plan(**right).position(START_NS + 60 * NS_PER_S) == 1
    assert Plan(**right).position(START_NS + 120 * NS_PER_S) is None
    with pytest.raises(ControllerError):
        Plan(**(right | wrong))


def test_an_answer_refuses_the_slots_it_names_and_no_other():
    refusal = SlotRefusal(60, 180, AddCause.BLOCKED_BY_PROCESS, "battery empty")
    answer = PlanAnswer(plan_id="p", version=1, refusals=(refusal,))
    assert [answer.refuses(at) for at in (59, 60, 179, 180)] == [None, refusal, refusal, None]
    with pytest.raises(ControllerError, match="overlap"):
        PlanAnswer(plan_id="p", version=1, refusals=(refusal, refusal))


def test_voltage_falls_along_a_loaded_feeder_and_rises_with_export():
    radial = Radial(
        radial_id="R1",
        import_limit_w=50_000,
        export_limit_w=50_000,
        branches=(
            Branch(node="a", parent="", resistance_ohm=0.1, reactance_ohm=0.05),
            Branch(node="b", parent="a", resistance_ohm=0.2, reactance_ohm=0.05),
        ),
        nodes={"near": "a", "far": "b"},
    )
    loaded = radial.voltages_v({"near": -3_000, "far": -6_900}, {})
    assert loaded["a"] == pytest.approx(230 - 0.1 * 9_900 / 690)
    assert loaded["b"] == pytest.approx(loaded["a"] - 0.2 * 6_900 / 690)
    assert radial.voltages_v({"far": 6_900}, {"far": -690})["b"] == pytest.approx(230 + 3 - 0.1)


def test_a_site_at_no_node_is_refused():
    with pytest.raises(ControllerError, match="stands at 'x'"):
        Radial(radial_id="R1", import_limit_w=1, export_limit_w=1, nodes={"s": "x"})
