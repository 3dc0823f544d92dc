import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4g_gateway.simulators.house import House, Orders


def run(house, hours, step_s=60.0):
    return [
        (house.step(step_s), house.state.export_w, house.state.battery_w, house.state.soc_pct)[1:]
        for _ in range(int(hours * 3600 / step_s))
    ]


def test_the_same_seed_gives_the_same_house():
    assert run(House(seed=3), 24) == run(House(seed=3), 24)
    assert run(House(seed=3), 24) != run(House(seed=4), 24)


@given(
    st.integers(0, 1000),
    st.tuples(st.floats(-6000, 6000), st.floats(0, 6000)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    st.none() | st.floats(0, 6000),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_balance_and_limits_hold_whatever_is_ordered(seed, window, limit_w, connected):
    house = House(seed=seed)
    house.orders = Orders(battery_w=window, limit_w=limit_w, connected=connected)
    for _ in range(96):
        before_wh = house.state.exported_wh - house.state.imported_wh
        state = house.step(900.0)
        assert state.export_w == pytest.approx(state.pv_w + state.battery_w - state.load_w)
        assert 0 <= state.soc_pct <= 100
        assert abs(state.battery_w) <= house.ratings.battery_w + 1e-6 or limit_w is not None
        assert state.inverter_w <= (house.ratings.inverter_w if limit_w is None else limit_w) + 1e-6
        assert state.exported_wh - state.imported_wh - before_wh == pytest.approx(state.export_w / 4)


def test_a_discharge_order_is_followed_until_the_battery_is_empty():
    house = House(seed=1)
    house.orders.battery_w = (2_000.0, 2_000.0)
    house.step(60)
    assert house.state.battery_w == 2_000.0
    run(house, 5)
    assert house.state.soc_pct == pytest.approx(5.0, abs=0.01)
    assert house.state.battery_w == pytest.approx(0.0, abs=1.0)


def test_disconnected_inverter_delivers_nothing():
    house = House(seed=1, time_s=43_200)
    house.orders.connected = False
    assert house.step(1).inverter_w == 0.0
