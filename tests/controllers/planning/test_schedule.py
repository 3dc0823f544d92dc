"""The schedule of one storage: the published day, an independent solver, and what must hold always."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from s4g_gateway.controllers.errors import ControllerError
from s4g_gateway.controllers.planning import Schedule, ScheduleRequest, solve_schedule

DAY = tomllib.loads(Path(__file__).with_name("golden_day.toml").read_text(encoding="utf-8"))
NEAR_W = 1e-3


def golden(kind: str, **changes: object) -> ScheduleRequest:
    site = DAY[kind]
    members: dict = {
        "start_ns": 0,
        "slot_s": 3600,
        "soc_pct": 0.0,
        "capacity_wh": 1000 * site["capacity_kwh"],
        "charge_max_w": 1000 * site["power_kw"],
        "discharge_max_w": 1000 * site["power_kw"],
        "pv_w": tuple(1000.0 * value for value in site["pv_kw"]),
        "load_w": tuple(-1000.0 * value for value in site["load_kw"]),
        "buy_price": tuple(value / 1000 for value in DAY["price_per_mwh"]),
        "sell_price": (0.0,) * 24,
        "efficiency_charge": site["efficiency"],
        "efficiency_discharge": site["efficiency"],
        "import_limit_w": 1000 * site["grid_kw"],
        "export_limit_w": 1000 * site["grid_kw"],
    }
    return ScheduleRequest(**(members | changes))


def check(request: ScheduleRequest, found: Schedule) -> None:
    """Every limit holds, and the energies add up."""
    hours = request.slot_s / 3600
    soc_pct = request.soc_pct
    cost = 0.0
    lowest, highest = min(request.soc_min_pct, request.soc_pct), max(request.soc_max_pct, request.soc_pct)
    for slot, battery_w in enumerate(found.battery_w.values):
        assert -request.charge_max_w - NEAR_W <= battery_w <= request.discharge_max_w + NEAR_W
        inside_w = (
            battery_w / request.efficiency_discharge
            if battery_w > 0
            else battery_w * request.efficiency_charge
        )
        soc_pct -= 100 * inside_w * hours / request.capacity_wh
        assert found.soc_pct[slot] == pytest.approx(soc_pct, abs=1e-4)
        assert lowest - 1e-4 <= soc_pct <= highest + 1e-4
        assert -NEAR_W <= found.curtailed_w.values[slot] <= request.pv_w[slot] + NEAR_W
        pcc_w = request.pv_w[slot] + request.load_w[slot] - found.curtailed_w.values[slot] + battery_w
        if request.import_limit_w is not None:
            assert -pcc_w <= request.import_limit_w + found.over_import_w + NEAR_W
        if request.export_limit_w is not None:
            assert pcc_w <= request.export_limit_w + found.over_export_w + NEAR_W
        price = request.sell_price[slot] if pcc_w > 0 else request.buy_price[slot]
        cost -= price * pcc_w * hours / 1000
    assert found.cost == pytest.approx(cost, abs=1e-6)


@pytest.mark.parametrize("kind", ["residential", "commercial"])
def test_the_published_day_is_reproduced(kind):
    request, site = golden(kind), DAY[kind]
    found = solve_schedule(request)
    check(request, found)
    assert found.cost == pytest.approx(site["cost"], rel=1e-3)
    assert found.purchase_wh / 1000 == pytest.approx(site["purchase_kwh"], rel=1e-3)
    assert found.sale_wh / 1000 == pytest.approx(site["sale_kwh"], rel=1e-3)
    assert (found.over_import_w, found.over_export_w) == (0.0, 0.0)
    for hour, charged_kw in site["published"].items():
        assert -found.battery_w.values[int(hour) - 1] / 1000 == pytest.approx(charged_kw, rel=0.02, abs=0.05)


@pytest.mark.parametrize("kind", ["residential", "commercial"])
def test_without_storage_the_day_costs_what_was_published(kind):
    found = solve_schedule(golden(kind, charge_max_w=0.0, discharge_max_w=0.0))
    assert found.cost == pytest.approx(DAY[kind]["cost_without"], rel=1e-3)
    assert found.purchase_wh / 1000 == pytest.approx(DAY[kind]["purchase_without_kwh"], rel=1e-2)


def test_a_limit_that_the_load_alone_breaks_is_exceeded_by_as_little_as_possible():
    loads_w = (-3_000.0, -3_000.0, -12_000.0, -3_000.0)
    request = ScheduleRequest(
        start_ns=0,
        slot_s=3600,
        soc_pct=100.0,
        capacity_wh=10_000.0,
        charge_max_w=4_000.0,
        discharge_max_w=4_000.0,
        pv_w=(0.0,) * 4,
        load_w=loads_w,
        buy_price=(0.3,) * 4,
        sell_price=(0.0,) * 4,
        import_limit_w=5_000.0,
    )
    found = solve_schedule(request)
    check(request, found)
    assert found.over_import_w == pytest.approx(12_000 - 5_000 - 4_000)
    assert found.battery_w.values[2] == pytest.approx(4_000)


@pytest.mark.parametrize(
    "changes",
    [
        {"buy_price": (-0.05,) * 24, "sell_price": (-0.05,) * 24},
        {"buy_price": (0.05,) * 24, "sell_price": (-0.05,) * 24, "load_w": (0.0,) * 24, "can_curtail": False},
        {"export_limit_w": 0.0, "load_w": (0.0,) * 24, "can_curtail": False},
    ],
)
def test_energy_is_not_burnt_by_charging_and_discharging_at_one_time(changes):
    request = golden("residential", soc_pct=50.0, **changes)
    check(request, solve_schedule(request))


def test_energy_at_the_end_is_kept_or_refused():
    request = golden("residential", end_soc_pct=50.0)
    found = solve_schedule(request)
    check(request, found)
    assert found.soc_pct[-1] >= 50.0 - 1e-6
    with pytest.raises(ControllerError, match="no schedule"):
        solve_schedule(golden("residential", end_soc_pct=50.0, charge_max_w=0.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"pv_w": (1.0,)},
        {"capacity_wh": 0.0},
        {"soc_pct": 101.0},
        {"soc_min_pct": 50.0, "soc_max_pct": 50.0},
        {"efficiency_charge": 0.0},
        {"import_limit_w": -1.0},
        {"wear_per_kwh": -0.1},
        {"sell_price": (1.0,) * 24},
        {"load_w": (1.0,) * 24},
        {"pv_w": (-1.0,) * 24},
        {"pv_w": (float("nan"),) * 24},
    ],
)
def test_a_request_that_is_none_is_refused(wrong):
    with pytest.raises(ControllerError, match=next(iter(wrong))):
        golden("residential", **wrong)


@st.composite
def requests(draw: st.DrawFn) -> ScheduleRequest:
    slots = draw(st.integers(1, 8))

    def column(low: float, high: float) -> tuple[float, ...]:
        return tuple(draw(st.lists(st.integers(int(low), int(high)), min_size=slots, max_size=slots)))

    buy = tuple(value / 100 for value in column(1, 60))
    return ScheduleRequest(
        start_ns=0,
        slot_s=draw(st.sampled_from([900, 3600])),
        soc_pct=float(draw(st.integers(0, 100))),
        capacity_wh=float(draw(st.integers(1000, 20_000))),
        charge_max_w=float(draw(st.integers(0, 5000))),
        discharge_max_w=float(draw(st.integers(0, 5000))),
        pv_w=column(0, 8000),
        load_w=column(-8000, 0),
        buy_price=buy,
        sell_price=tuple(price * draw(st.sampled_from([0.0, 0.5])) for price in buy),
        soc_min_pct=10.0,
        soc_max_pct=90.0,
        efficiency_charge=0.95,
        efficiency_discharge=0.97,
        import_limit_w=draw(st.none() | st.integers(0, 6000).map(float)),
        export_limit_w=draw(st.none() | st.integers(0, 6000).map(float)),
    )


def cheapest(request: ScheduleRequest) -> float:
    """The same problem written down row by row for another solver; returns its objective with penalties."""
    slots, hours = len(request.pv_w), request.slot_s / 3600
    infinite = np.inf
    # bought, sold, charged, discharged, curtailed, over import, over export of slot 0, of slot 1 ...
    costs, bounds, balance, needed = [], [], np.zeros((slots, 7 * slots)), []
    for slot in range(slots):
        costs += [
            request.buy_price[slot] * hours,
            -request.sell_price[slot] * hours,
            0,
            0,
            0,
            1000 * hours,
            1000 * hours,
        ]
        limits = (request.import_limit_w, request.export_limit_w)
        bounds += [(0, infinite if limit is None else limit / 1000) for limit in limits]
        bounds += [(0, request.charge_max_w / 1000), (0, request.discharge_max_w / 1000)]
        bounds += [(0, request.pv_w[slot] / 1000)]
        bounds += [(0, 0 if limit is None else infinite) for limit in limits]
        balance[slot, 7 * slot : 7 * slot + 7] = (1, -1, -1, 1, -1, 1, -1)
        needed.append(-(request.load_w[slot] + request.pv_w[slot]) / 1000)
    stored = np.zeros((slots, 7 * slots))
    for slot in range(slots):
        stored[slot:, 7 * slot + 2] = request.efficiency_charge * hours
        stored[slot:, 7 * slot + 3] = -hours / request.efficiency_discharge
    unit = request.capacity_wh / 100_000
    room = (max(request.soc_max_pct, request.soc_pct) - request.soc_pct) * unit
    there = (request.soc_pct - min(request.soc_min_pct, request.soc_pct)) * unit
    result = linprog(
        costs,
        A_ub=np.vstack([stored, -stored]),
        b_ub=[room] * slots + [there] * slots,
        A_eq=balance,
        b_eq=needed,
        bounds=bounds,
    )
    assert result.success, result.message
    return result.fun


@settings(max_examples=40, deadline=None)
@given(request=requests())
def test_limits_hold_and_an_independently_written_model_finds_nothing_cheaper(request):
    found = solve_schedule(request)
    check(request, found)
    hours = request.slot_s / 3600
    penalty = 0.0
    for slot, battery_w in enumerate(found.battery_w.values):
        pcc_w = request.pv_w[slot] + request.load_w[slot] - found.curtailed_w.values[slot] + battery_w
        over_w = [
            max(0.0, power_w - limit_w)
            for power_w, limit_w in ((-pcc_w, request.import_limit_w), (pcc_w, request.export_limit_w))
            if limit_w is not None
        ]
        penalty += sum(over_w) * hours
        # what exceeds a limit costs the penalty instead of its price
        if over_w and over_w[0] > 0 and request.import_limit_w is not None and pcc_w < 0:
            penalty -= request.buy_price[slot] * over_w[0] * hours / 1000
    assert found.cost + penalty == pytest.approx(cheapest(request), abs=2e-3)
