"""Control rules: the rows of inputs and expected outputs, and what holds for all of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4g_gateway.controllers.lessag.rules.no_export import no_export
from s4g_gateway.controllers.lessag.rules.pv_forecast import pv_forecast
from s4g_gateway.controllers.lessag.rules.pv_load_forecast import pv_load_forecast
from s4g_gateway.controllers.lessag.rules.self_consumption import self_consumption
from s4g_gateway.controllers.lessag.rules.storage_service import storage_service
from s4g_gateway.controllers.lessag.situation import Situation, curtailed_w, within_pcc

ROWS = tomllib.loads(Path(__file__).with_name("vectors.toml").read_text(encoding="utf-8"))["row"]

SITUATIONS = st.builds(
    Situation,
    pv_w=st.floats(0, 10_000),
    load_w=st.floats(-10_000, 0),
    charge_w=st.floats(-5_000, 0),
    discharge_w=st.floats(0, 5_000),
    forecast_pv_w=st.none() | st.floats(0, 10_000),
    forecast_load_w=st.none() | st.floats(-10_000, 0),
)
FAST = settings(max_examples=200, deadline=None)
NEAR = 1e-6


def wanted_w(rule: str, row: dict, situation: Situation) -> float | None:
    match rule:
        case "self-consumption":
            return self_consumption(situation)
        case "no-export":
            return no_export(situation, peak_w=row.get("peak"))
        case "pv-forecast":
            return pv_forecast(situation, base_load_w=row["base"])
        case "pv-load-forecast":
            return pv_load_forecast(situation)
    raise AssertionError(rule)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_rows(row):
    situation = Situation(
        pv_w=row["pv"],
        load_w=-row["load"],
        charge_w=row.get("charge", -1000),
        discharge_w=row.get("discharge", 1000),
        forecast_pv_w=row.get("forecast_pv"),
        forecast_load_w=-row["forecast_load"] if "forecast_load" in row else None,
    )
    battery_w = wanted_w(row["rule"], row, situation)
    limit_w = None if row.get("export_limit") == "none" else 0.0
    if "absorb" in row:
        battery_w = storage_service(situation, battery_w, -row["absorb"], export_limit_w=limit_w)
        limit_w = max(0.0, -row["absorb"])
    battery_w = within_pcc(situation, battery_w, export_limit_w=limit_w)
    given_up_w = curtailed_w(situation, battery_w, limit_w)
    assert battery_w == row["battery"]
    assert given_up_w == row["curtailed"]
    assert situation.surplus_w - given_up_w + battery_w == row["pcc"]


@pytest.mark.parametrize("rule", ["self-consumption", "no-export", "pv-forecast", "pv-load-forecast"])
@FAST
@given(situation=SITUATIONS, peak_w=st.none() | st.floats(0, 5_000), order_w=st.floats(-5_000, 5_000))
def test_no_rule_asks_for_more_than_the_battery_can_hold(rule, situation, peak_w, order_w):
    battery_w = wanted_w(rule, {"peak": peak_w, "base": 500.0}, situation)
    if battery_w is None:
        assert situation.forecast_pv_w is None or situation.forecast_load_w is None
        return
    served_w = storage_service(situation, battery_w, order_w, export_limit_w=0.0)
    for power_w in (battery_w, served_w):
        assert situation.charge_w <= power_w <= situation.discharge_w


@FAST
@given(
    situation=SITUATIONS,
    battery_w=st.floats(-5_000, 5_000),
    import_w=st.none() | st.floats(0, 8_000),
    export_w=st.none() | st.floats(0, 8_000),
)
def test_limits_of_the_pcc_hold_as_far_as_the_battery_goes(situation, battery_w, import_w, export_w):
    held_w = within_pcc(situation, battery_w, import_limit_w=import_w, export_limit_w=export_w)
    given_up_w = curtailed_w(situation, held_w, export_w)
    pcc_w = situation.surplus_w - given_up_w + held_w
    assert situation.charge_w <= held_w <= situation.discharge_w
    assert 0 <= given_up_w <= situation.pv_w
    if export_w is not None:
        # what then still leaves the site is neither PV nor anything the battery could take
        assert pcc_w <= export_w + NEAR or (given_up_w == situation.pv_w and held_w <= situation.charge_w)
    if import_w is not None:
        assert pcc_w >= -import_w - NEAR or held_w >= situation.discharge_w - NEAR


@FAST
@given(situation=SITUATIONS)
def test_no_export_never_exports_and_gives_up_pv_only_with_the_battery_at_its_limit(situation):
    battery_w = no_export(situation)
    given_up_w = curtailed_w(situation, battery_w, 0.0)
    assert situation.surplus_w - given_up_w + battery_w <= NEAR
    if given_up_w > NEAR:
        assert battery_w == situation.charge_w
