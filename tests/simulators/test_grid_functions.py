import pytest

from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.hybrid_inverter import HybridInverter
from s4g_gateway.simulators.modbus_slave import ExceptionCode

NOON_S = 86_400 * 20_000 + 43_200.0


@pytest.fixture
def inverter():
    house = House(seed=4, time_s=NOON_S)
    inverter = HybridInverter(house)
    house.step(1)
    inverter.show()
    return inverter


def write(inverter, model_id, **values):
    """Writes as a master does; names with __ for the dots and brackets of curve 2."""
    image = inverter.image
    for name, value in values.items():
        path = name.replace("Crv__", "Crv[2].").replace("Ctl__", "Ctl[2].")
        path = (
            path.replace("Pt1_", "Pt[1].")
            .replace("Pt2_", "Pt[2].")
            .replace("Pt3_", "Pt[3].")
            .replace("Pt4_", "Pt[4].")
        )
        layout, address = image._layouts[model_id], image._addresses[model_id]
        point = layout.index[path]
        raw = int(value).to_bytes(2 * point.definition.registers, "big", signed=value < 0)
        first = (address + point.offset).to_bytes(2, "big")
        head = b"\x10" + first + point.definition.registers.to_bytes(2, "big")
        answer = inverter.image.unit.answer(head + bytes([2 * point.definition.registers]) + raw)
        assert answer[0] == 0x10, ExceptionCode(answer[1])


def settle(inverter, steps=40):
    for _ in range(steps):
        inverter.house.step(1)
        inverter.show()
    return inverter.house.state


def test_volt_var_changes_reactive_power_with_the_voltage(inverter):
    inverter.house.grid_voltage_pu = 0.95
    assert settle(inverter).inverter_var == 0
    write(inverter, 705, Ena=1)
    low = settle(inverter)
    expected = (0.98 - low.voltage_v / 230) / 0.06 * 0.44 * 5000
    assert low.inverter_var == pytest.approx(expected, abs=60)
    assert low.inverter_var > 500
    inverter.house.grid_voltage_pu = 1.10
    assert settle(inverter).inverter_var == pytest.approx(-2200, abs=1)
    write(inverter, 705, Ena=0)
    assert settle(inverter).inverter_var == 0


def test_the_response_time_is_that_of_the_curve(inverter):
    inverter.house.grid_voltage_pu = 0.85
    settle(inverter, 2)
    write(inverter, 705, Ena=1)
    settle(inverter, 6)  # five steps of regulation and the one it acts in
    assert inverter.house.state.inverter_var == pytest.approx(0.9 * 2200, rel=0.05)


def test_a_curve_is_adopted_only_on_request_and_only_a_sound_one(inverter):
    points = {"Crv__Pt1_V": 9000, "Crv__Pt1_Var": 10000, "Crv__Pt2_V": 9500, "Crv__Pt2_Var": 0}
    write(inverter, 705, **points, Crv__ActPt=2, Crv__DeptRef=1, Crv__RspTms=0)
    assert inverter.image.read(705)["Crv[1].ActPt"] == 4
    write(inverter, 705, AdptCrvReq=2)
    found = inverter.image.read(705)
    assert (found["Crv[1].ActPt"], found["Crv[1].Pt[1].V"], found["AdptCrvRslt"]) == (2, 90, 1)
    assert found["Crv[1].ReadOnly"] == 1
    write(inverter, 705, Ena=1)
    inverter.house.grid_voltage_pu = 0.85
    assert settle(inverter).inverter_var == pytest.approx(2650)
    write(inverter, 705, Crv__Pt2_V=8000, AdptCrvReq=2)
    assert inverter.image.read(705)["AdptCrvRslt"] == 2
    assert inverter.image.read(705)["Crv[1].Pt[2].V"] == 95
    write(inverter, 705, AdptCrvReq=1)
    assert inverter.image.read(705)["AdptCrvRslt"] == 2
    with pytest.raises(AssertionError, match="ILLEGAL_DATA"):
        write(inverter, 705, **{"Crv[1].ActPt": 3})


def test_a_slow_device_adopts_with_its_next_step(inverter):
    inverter.functions.adopts_at_once = False
    write(inverter, 706, Crv__ActPt=2, AdptCrvReq=2)
    assert inverter.image.read(706)["AdptCrvRslt"] == 0
    inverter.show()
    assert inverter.image.read(706)["AdptCrvRslt"] == 1


def test_volt_watt_limits_active_power(inverter):
    orders = inverter.house.orders
    inverter.house.grid_voltage_pu = 1.0
    orders.battery_w = (3000, 3000)
    assert settle(inverter).inverter_w == pytest.approx(5000)
    write(inverter, 706, Ena=1)
    orders.battery_w = (3000, 3000)
    inverter.house.grid_voltage_pu = 1.075
    after = settle(inverter, 120)
    share = 100 - (after.voltage_v / 230 - 1.06) / 0.04 * 80
    assert after.inverter_w == pytest.approx(share * 50, abs=250)
    assert after.inverter_w < 4900
    inverter.house.grid_voltage_pu = 1.2
    assert settle(inverter, 120).inverter_w == pytest.approx(0.2 * 5000, abs=10)


def test_droop_lowers_active_power_at_high_frequency(inverter):
    write(inverter, 711, Ena=1)
    before = settle(inverter).inverter_w
    inverter.house.grid_frequency_hz = 50.536
    after = settle(inverter).inverter_w
    assert after == pytest.approx(max(0, before - 0.5 / 2.5 * 5000), abs=250)
    inverter.house.grid_frequency_hz = 50.0
    assert settle(inverter).inverter_w > after


def test_watt_var_follows_active_power(inverter):
    write(inverter, 712, Ena=1)
    state = settle(inverter)
    share = max(0.0, state.inverter_w / 5000 * 100 - 50) / 50
    assert state.inverter_var == pytest.approx(-share * 2200, abs=150)


def test_a_reversion_timer_ends_a_function(inverter):
    inverter.house.grid_voltage_pu = 0.9
    write(inverter, 705, RvrtTms=60, Ena=1)
    settle(inverter, 50)
    assert 5 <= inverter.image.read(705)["RvrtRem"] <= 11
    settle(inverter, 20)
    assert inverter.image.read(705)["Ena"] == 0
    assert inverter.house.state.inverter_var == 0
