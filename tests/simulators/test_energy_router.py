"""Table 15: the five modes and the two windows, as the simulated router follows them."""

import pytest

from s4g_gateway.simulators.energy_router import EnergyRouter
from s4g_gateway.simulators.house import DAY_S, House, HouseRatings

NOON_S, MIDNIGHT_S = 0.5 * DAY_S, 0.0
STEP_S = 1.0


def router(time_s=NOON_S, soc_pct=50.0, **ratings):
    house = House(HouseRatings(charges_disconnected=True, **ratings), seed=3, time_s=time_s)
    house.state.soc_pct = soc_pct
    return EnergyRouter(house)


def run(router, steps=30):
    states = []
    for _ in range(steps):
        router.obey(STEP_S)
        state = router.house.step(STEP_S)
        assert state.inverter_w == pytest.approx(state.pv_w + state.battery_w)
        assert state.export_w == pytest.approx(state.inverter_w - state.load_w)
        states.append((state.inverter_w, state.inverter_var, state.pv_w, state.battery_w))
    return states


@pytest.mark.parametrize(
    ("low_w", "high_w"), [(1000.0, 1500.0), (3000.0, 3000.0), (-800.0, -500.0), (0.0, 0.0)]
)
def test_mode_1_keeps_the_grid_power_within_its_window(low_w, high_w):
    made = router()
    made.settings.power_w = (low_w, high_w)
    for power_w, _, _, _ in run(made):
        # The sky changes within a step, and the battery follows a step later.
        assert low_w - 250 <= power_w <= high_w + 250
    assert made.is_connected


def test_mode_1_disconnects_and_charges_where_it_cannot_give_the_reference():
    made = router(time_s=MIDNIGHT_S, soc_pct=5.0)
    made.settings.power_w = (2000.0, 2500.0)
    assert {power_w for power_w, _, _, _ in run(made)} == {0.0}
    assert not made.is_connected
    made = router(soc_pct=5.0, pv_peak_w=1500.0)
    made.settings.power_w = (4000.0, 4500.0)
    before_pct = made.house.state.soc_pct
    run(made)
    assert not made.is_connected
    assert made.house.state.soc_pct > before_pct


def test_mode_2_injects_reactive_power_only_and_charges():
    made = router()
    made.settings.mode, made.settings.reactive_var = 2, (500.0, 900.0)
    for power_w, reactive_var, pv_w, battery_w in run(made):
        assert power_w == pytest.approx(0.0, abs=250)
        assert reactive_var == 500.0
        assert battery_w == pytest.approx(-pv_w, abs=250)


def test_mode_3_injects_all_of_pv_and_battery():
    made = router(pv_peak_w=1000.0, inverter_w=6000.0)
    made.settings.mode, made.settings.power_w = 3, (0.0, 100.0)
    for power_w, _, pv_w, battery_w in run(made):
        assert battery_w == made.house.ratings.battery_w
        assert power_w == pytest.approx(pv_w + battery_w)


def test_mode_4_injects_all_of_pv_and_leaves_the_battery():
    made = router()
    made.settings.mode = 4
    for power_w, _, pv_w, battery_w in run(made):
        assert battery_w == 0.0
        assert power_w == pv_w > 1000


def test_mode_5_disconnects_and_charges_from_pv():
    made = router()
    made.settings.mode = 5
    for power_w, reactive_var, pv_w, battery_w in run(made):
        assert power_w == pytest.approx(0.0)
        assert reactive_var == 0.0
        assert battery_w == pytest.approx(-pv_w)
        assert pv_w > 500


@pytest.mark.parametrize(
    ("window", "expected"), [((-100.0, 100.0), 0.0), ((200.0, 400.0), 200.0), ((-400.0, -300.0), -300.0)]
)
def test_reactive_power_is_the_least_that_the_window_allows(window, expected):
    made = router()
    made.settings.mode, made.settings.reactive_var = 4, window
    assert {reactive_var for _, reactive_var, _, _ in run(made)} == {expected}
