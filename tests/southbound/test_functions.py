import asyncio

import pytest
import sunspec2.modbus.client as sunspec_client

from s4g_gateway.errors import PermanentError, TransientError
from s4g_gateway.model import AddCause
from s4g_gateway.profiles.iec61850_90_7 import encode_request, function_request, parse_curve
from s4g_gateway.southbound.modbus_config import SunspecDeviceConfig

VOLT_VAR = "INV1/DVVR1.VVArCrv"
CURVE = parse_curve("0.92:44,0.98:0,1.02:0,1.08:-44")
DEVICE = SunspecDeviceConfig(template="hybrid-inverter", period_s=0.05)


def text(function="volt-var", **more):
    return encode_request(function_request(function, **more))


@pytest.fixture
async def running(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port, DEVICE))
    it.server = server
    await wait_until(lambda: it.database.reports)
    return it


def second_reader(port):
    device = sunspec_client.SunSpecModbusClientDeviceTCP(
        slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=5
    )
    device.scan()
    model = device.models[705][0]
    curve = model.Crv[0]
    points = [(point.V.cvalue, point.Var.cvalue) for point in curve.Pt[: curve.ActPt.value]]
    device.close()
    return model.Ena.value, curve.DeptRef.value, curve.RspTms.cvalue, points


async def test_a_curve_goes_down_changes_reactive_power_and_a_second_reader_sees_it(running, inverter):
    inverter.house.grid_voltage_pu = 0.95
    request = text(curve=CURVE, parameters={"y_reference": "va-max", "response_s": 0.5})
    answer = await running.operate(VOLT_VAR, request)
    assert answer.accepted, answer.detail
    found = await asyncio.to_thread(second_reader, running.server.port)
    assert found == (1, 3, 0.5, [(92, 44), (98, 0), (102, 0), (108, -44)])
    for _ in range(20):
        inverter.house.step(1)
        inverter.show()
    state = inverter.house.state
    assert state.inverter_var == pytest.approx((0.98 - state.voltage_v / 230) / 0.06 * 2200, abs=60)
    read = await running.connector.read_function(VOLT_VAR, "")
    assert (read.function, read.enabled, read.curve) == ("VV11", True, CURVE)
    assert (await running.operate(VOLT_VAR, text("no-volt-var"))).accepted
    inverter.house.step(1)
    inverter.show()
    inverter.house.step(1)
    assert inverter.house.state.inverter_var == 0


async def test_a_slow_device_is_waited_for_while_it_adopts(running, inverter):
    inverter.functions.adopts_at_once = False
    setting = asyncio.create_task(running.operate(VOLT_VAR, text(curve=CURVE)))
    while not setting.done():
        inverter.show()
        await asyncio.sleep(0.02)
    assert setting.result().accepted


async def test_a_request_for_a_time_outlives_a_reconnection_and_is_released_in_the_end(
    running, inverter, wait_until
):
    before = await running.connector.read_function(VOLT_VAR, "")
    now_ns = running.services.clock.wall_ns()
    curve = parse_curve("0.9:100,1.1:-100")
    assert (await running.operate(VOLT_VAR, text(curve=curve), not_after_ns=now_ns + 600 * 10**9)).accepted
    # The device restarts with what it had from the factory.
    port = running.server.port
    await running.server.stop()
    inverter.image.update(705, {"Ena": 0, "Crv[1].ActPt": 3})
    await running.server.start("127.0.0.1", port)
    await wait_until(lambda: inverter.image.read(705)["Ena"] == 1)
    await wait_until(lambda: inverter.image.read(705)["Crv[1].ActPt"] == 2)
    await running.stop()
    found = inverter.image.read(705)
    assert (found["Ena"], found["Crv[1].ActPt"], found["Crv[1].Pt[1].V"]) == (0, 4, 92)
    assert not before.enabled


async def test_a_curve_without_an_end_stays_when_the_gateway_goes(running, inverter):
    now_ns = running.services.clock.wall_ns()
    timed = text(curve=parse_curve("0.9:100,1.1:-100"))
    assert (await running.operate(VOLT_VAR, timed, not_after_ns=now_ns + 600 * 10**9)).accepted
    assert (await running.operate(VOLT_VAR, text(curve=CURVE))).accepted
    await running.stop()
    found = inverter.image.read(705)
    assert (found["Ena"], found["Crv[1].Pt[1].V"]) == (1, 92)


async def test_refusals(running):
    answer = await running.operate(VOLT_VAR, "{}")
    assert answer.add_cause is AddCause.INCONSISTENT_PARAMETERS
    with pytest.raises(PermanentError, match="has no function FW21"):
        await running.connector.read_function(VOLT_VAR, "FW21")
    with pytest.raises(TransientError, match="cannot be read now"):
        await running.connector.read_function("INV1/DVVR9.VVArCrv", "")
    running.server.faults.is_silent = True
    with pytest.raises(TransientError):
        await running.connector.read_function(VOLT_VAR, "")
    assert (await running.operate(VOLT_VAR, text(curve=CURVE))).add_cause is (
        AddCause.ABORTION_BY_COMMUNICATION_LOSS
    )
