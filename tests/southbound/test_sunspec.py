import asyncio
import json
import time

import pytest

from s4g_gateway.errors import ConfigError
from s4g_gateway.model import AddCause
from s4g_gateway.model import quality as q
from s4g_gateway.simulators.modbus_slave import ExceptionCode, RegisterBlock, Unit
from s4g_gateway.southbound.modbus_config import (
    DeviceConfig,
    SerialConfig,
    SunspecConfig,
    SunspecDeviceConfig,
    TlsConfig,
)
from s4g_gateway.southbound.sunspec import SUNSPEC

POWER, SET_POINT, LIMIT = "INV1/MMXU1.TotW", "ESS1/DWGC1.WSpt", "INV1/DWMX1.WMaxSptPct"


async def test_a_device_is_found_and_read_in_its_periods(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: len(it.database.reports) >= 4)
    names = [report.data_set.name for report in it.database.reports]
    assert names.count("test-settings") == 1
    assert names.count("test-measurements") >= 3
    assert it.database.value(POWER) == inverter.image.read(103)["W"]
    assert it.database.quality(POWER) == q.GOOD
    assert it.connector.supplied[0].data_set is it.database.reports[0].data_set
    assert it.log.events() == []
    assert server.connections_total == 1
    assert it.counters.values["requests_total"] == server.slave.units[1].requests_total


async def test_what_the_template_names_but_the_device_lacks_is_said_once(
    run, serve, sunspec, inverter, wait_until
):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port, SunspecDeviceConfig(template="generic-meter", period_s=0.02)))
    await wait_until(lambda: len(it.database.reports) >= 5)
    assert it.database.quality("PCC1/MMXU1.TotW") == q.INVALID | q.BAD_REFERENCE
    assert it.log.events() == ["the device lacks the models of: AC meter"]


async def test_a_cut_connection_is_taken_up_again_and_said_once(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    port = server.port
    await server.stop()
    await wait_until(lambda: "connection lost" in it.log.events())
    await asyncio.sleep(0.5)
    count = len(it.database.reports)
    await server.start("127.0.0.1", port)
    await wait_until(lambda: len(it.database.reports) > count + 2)
    assert it.log.events() == ["connection lost", "connection is back"]
    assert it.counters.values["reconnects_total"] == 1
    assert it.counters.values["missed_polls_total"] >= 5
    # The chain was walked again: the device behind the address may be another one.
    assert server.connections_total == 2


async def test_a_device_that_is_not_there_at_the_start_is_found_later(
    run, serve, sunspec, inverter, wait_until
):
    server = await serve({1: inverter.image.unit})
    await server.stop()
    it = run(sunspec(server.port))
    await wait_until(lambda: "connection lost" in it.log.events())
    assert "Errno 111" in it.log.lines[0][2]["reason"]
    await server.start("127.0.0.1", server.port)
    await wait_until(lambda: it.database.reports)


async def test_half_open_tcp_is_given_up_and_dialled_anew(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    server.faults.is_silent = True
    await wait_until(lambda: "connection lost" in it.log.events())
    assert it.counters.values["timeouts_total"] >= 3
    server.faults.is_silent = False
    count = len(it.database.reports)
    await wait_until(lambda: len(it.database.reports) > count)
    assert server.connections_total >= 2


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes(300),
        bytes.fromhex("0001 0000 0003 01 83"),
        bytes.fromhex("0001 0000 ffff 01 03 04"),
        b"\x00",
    ],
)
async def test_garbage_costs_a_connection_and_nothing_else(
    run, serve, sunspec, inverter, wait_until, garbage
):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    server.faults.garbage = garbage
    count = len(it.database.reports)
    await wait_until(lambda: "connection lost" in it.log.events() or "device lost" in it.log.events())
    assert len(it.database.reports) <= count + 1
    server.faults.garbage = None
    await wait_until(lambda: len(it.database.reports) > count + 3)
    assert not it.task.done()


async def test_an_answer_that_comes_too_late_is_never_taken_for_the_next_one(
    run, serve, sunspec, inverter, wait_until
):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port, timeout_s=0.1, retry_min_s=0.01))
    await wait_until(lambda: it.database.reports)
    server.faults.delay_s = 0.15
    await wait_until(lambda: it.counters.values.get("timeouts_total", 0) >= 2)
    server.faults.delay_s = 0.0
    count = len(it.database.reports)
    await wait_until(lambda: len(it.database.reports) > count + 5)
    powers = {
        report.values[report.data_set.index[POWER]]
        for report in it.database.reports
        if POWER in report.data_set.index
    }
    assert powers == {inverter.image.read(103)["W"]}


async def test_exception_answers_cost_the_values_not_the_connection(
    run, serve, sunspec, inverter, wait_until
):
    unit = inverter.image.unit
    server = await serve({1: unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.quality(POWER) == q.GOOD)
    unit.refuse_all = ExceptionCode.SERVER_DEVICE_BUSY
    await wait_until(lambda: it.database.quality(POWER) == q.INVALID | q.FAILURE)
    unit.refuse_all = None
    await wait_until(lambda: it.database.quality(POWER) == q.GOOD)
    assert it.log.events() == []
    assert it.counters.values["exceptions_total"] > 0
    assert server.connections_total == 1


async def test_a_map_that_changes_is_walked_again(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    # The device restarts with the other map while the connection stands, as a Fronius does after F_ModelType.
    block = inverter.image.unit.holding[0]
    whole = bytes(block.data)
    block.put(40070, (113).to_bytes(2, "big"))
    await wait_until(lambda: "device lost" in it.log.events())
    block.put(40000, whole)
    await wait_until(lambda: "device is back" in it.log.events())
    assert "moved" in it.log.lines[0][2]["reason"]
    assert server.connections_total == 1


async def test_a_dead_unit_neither_blocks_the_bus_nor_is_given_up(run, serve, sunspec, inverter, wait_until):
    class Dead(Unit):
        def answer(self, pdu):
            self.requests_total += 1
            return b""

    class QuietSlave(type((await serve({1: inverter.image.unit})).slave)):
        def respond(self, unit_id, pdu):
            return super().respond(unit_id, pdu) or None

    dead = Dead()
    server = await serve({1: inverter.image.unit})
    server.slave = QuietSlave({1: inverter.image.unit, 2: dead})
    meter = SunspecDeviceConfig(unit_id=2, template="generic-meter", period_s=0.05)
    inverter_config = SunspecDeviceConfig(unit_id=1, template="fronius-symo-hybrid", period_s=0.05)
    it = run(sunspec(server.port, inverter_config, meter, timeout_s=0.1))
    await wait_until(lambda: it.counters.values.get("timeouts_total", 0) >= 4)
    assert it.log.events() == ["device lost"]
    assert it.log.lines[0][2]["unit_id"] == 2
    assert it.counters.values["devices_lost"] == 1
    assert len(it.database.reports) >= 2 * dead.requests_total
    # The other unit answers, so the connection is not to blame.
    assert server.connections_total == 1
    healthy = HealthyMeter()
    server.slave.units[2] = healthy.unit
    await wait_until(lambda: it.log.events() == ["device lost", "device is back"] or it.log.events()[2:])
    await wait_until(lambda: it.database.value("PCC1/MMXU1.TotW") is not None)
    assert it.counters.values["devices_lost"] == 0


class HealthyMeter:
    def __init__(self):
        from s4g_gateway.simulators.sunspec_meter import SunspecMeter, grid_reading

        self.unit = SunspecMeter(_house(), grid_reading, "SN").image.unit


def _house():
    from s4g_gateway.simulators.house import House

    return House(seed=1)


async def test_a_gateway_that_cannot_reach_the_unit_counts_as_a_lost_device(
    run, serve, sunspec, inverter, wait_until
):
    server = await serve({1: inverter.image.unit})
    ghost = SunspecDeviceConfig(unit_id=9, template="generic-meter", period_s=0.05)
    it = run(sunspec(server.port, SunspecDeviceConfig(template="fronius-symo-hybrid", period_s=0.05), ghost))
    await wait_until(lambda: len(it.database.reports) > 5 and it.log.events())
    assert it.log.events() == ["device lost"]
    assert "exception 11" in it.log.lines[0][2]["reason"]


# -- controls -----------------------------------------------------------------------------------------


async def test_a_set_point_reaches_the_device_and_shows_at_once(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    answer = await it.operate(SET_POINT, -900.0)
    assert answer.accepted
    assert it.database.value(SET_POINT) == pytest.approx(-900.0)
    assert inverter.image.read(124)["StorCtl_Mod"] == 3
    assert (await it.operate(SET_POINT, None)).accepted
    assert inverter.image.read(124)["StorCtl_Mod"] == 0


async def test_a_refusal_by_the_device_is_told(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    answer = await it.operate(SET_POINT, 99_000.0)
    assert answer.add_cause is AddCause.INCONSISTENT_PARAMETERS
    assert it.counters.values["controls_refused_total"] == 1
    assert (await it.operate("X1/DWGC1.WSpt", 1.0)).add_cause is AddCause.NOT_SUPPORTED


async def test_a_device_out_of_reach_refuses(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    server.faults.is_silent = True
    answer = await it.operate(SET_POINT, 500.0)
    assert answer.add_cause is AddCause.ABORTION_BY_COMMUNICATION_LOSS


async def test_set_points_are_released_on_a_clean_stop(run, serve, sunspec, inverter, wait_until, tmp_path):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    await it.operate(SET_POINT, -900.0)
    await it.operate(LIMIT, 40.0)
    assert json.loads((tmp_path / "set-points.json").read_text()) == [SET_POINT, LIMIT]
    await it.stop()
    assert inverter.image.read(124)["StorCtl_Mod"] == 0
    assert inverter.image.read(123)["WMaxLim_Ena"] == 0
    assert json.loads((tmp_path / "set-points.json").read_text()) == []


async def test_set_points_of_a_killed_gateway_are_released_at_its_next_start(
    run, serve, sunspec, inverter, wait_until, tmp_path
):
    server = await serve({1: inverter.image.unit})
    inverter.image.update(124, {"StorCtl_Mod": 3, "OutWRte": -20, "InWRte": 20})
    (tmp_path / "set-points.json").write_text(json.dumps([SET_POINT]))
    it = run(sunspec(server.port))
    await wait_until(lambda: inverter.image.read(124)["StorCtl_Mod"] == 0)
    assert it.log.events() == ["set-points of an earlier run will be released"]
    await wait_until(lambda: json.loads((tmp_path / "set-points.json").read_text()) == [])


async def test_a_torn_file_of_set_points_is_no_obstacle(run, serve, sunspec, inverter, wait_until, tmp_path):
    (tmp_path / "set-points.json").write_text('["ESS1/DW')
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)


async def test_a_device_that_restarted_gets_its_set_point_again(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    await it.operate(SET_POINT, -900.0)
    await server.stop()
    inverter.image.update(124, {"StorCtl_Mod": 0, "OutWRte": 100, "InWRte": 100})
    await server.start("127.0.0.1", server.port)
    await wait_until(lambda: inverter.image.read(124)["StorCtl_Mod"] == 3)
    assert inverter.image.read(124)["InWRte"] == pytest.approx(20.0)


async def test_a_set_point_that_ended_while_the_device_was_away_is_released(
    run, serve, sunspec, inverter, wait_until
):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    assert (await it.operate(SET_POINT, -900.0, not_after_ns=time.time_ns() + 200_000_000)).accepted
    await server.stop()
    await asyncio.sleep(0.3)
    await server.start("127.0.0.1", server.port)
    await wait_until(lambda: inverter.image.read(124)["StorCtl_Mod"] == 0)


async def test_a_set_point_nobody_ends_is_ended_by_the_watchdog(
    run, serve, sunspec, inverter, wait_until, monkeypatch
):
    monkeypatch.setattr("s4g_gateway.southbound.modbus_poller.EXPIRY_GRACE_S", 0.1)
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port, set_point_timeout_s=0.2))
    await wait_until(lambda: it.database.reports)
    await it.operate(SET_POINT, -900.0)
    await wait_until(lambda: inverter.image.read(124)["StorCtl_Mod"] == 0)


async def test_a_set_point_half_written_is_taken_back(run, serve, sunspec, inverter, wait_until):
    unit = inverter.image.unit
    server = await serve({1: unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    await it.operate(SET_POINT, -900.0)
    accept, at = unit.on_write, inverter.image.unit.holding[0].address

    def refuse_once(address, data):
        if data == b"\0\3":
            unit.on_write = accept
            return ExceptionCode.SERVER_DEVICE_FAILURE
        return accept(address, data)

    unit.on_write = refuse_once
    assert at == 40000
    answer = await it.operate(SET_POINT, 1800.0)
    assert answer.add_cause is AddCause.BLOCKED_BY_HEALTH
    # What was in force before, and confirmed, is in force again.
    assert inverter.image.read(124)["InWRte"] == pytest.approx(20.0)
    assert inverter.image.read(124)["StorCtl_Mod"] == 3


async def test_controls_go_before_waiting_polls(run, serve, sunspec, inverter, wait_until):
    server = await serve({1: inverter.image.unit, 2: inverter.image.unit})
    devices = [
        SunspecDeviceConfig(
            unit_id=unit,
            template="fronius-symo-hybrid",
            period_s=0.01,
            logical_devices={"inverter": f"INV{unit}", "pv": f"PV{unit}", "storage": f"ESS{unit}"},
        )
        for unit in (1, 2)
    ]
    it = run(sunspec(server.port, *devices))
    await wait_until(lambda: len(it.database.reports) >= 4)
    server.faults.delay_s = 0.005
    asked, respond = [], server.slave.respond
    server.slave.respond = lambda unit_id, pdu: asked.append((unit_id, pdu[0])) or respond(unit_id, pdu)
    assert (await it.operate("ESS1/DWGC1.WSpt", 100.0)).accepted
    first = asked.index((1, 16))
    assert first <= 2  # one poll was under way, the read before the write came next
    assert asked[first - 1 : first + 3] == [(1, 3), (1, 16), (1, 16), (1, 3)]


# -- configuration ------------------------------------------------------------------------------------


def problems_of(context, **keys):
    keys.setdefault("device", (SunspecDeviceConfig(template="generic-meter"),))
    with pytest.raises(ConfigError) as caught:
        SUNSPEC.create("test", SunspecConfig(**keys), context)
    return [(problem.key, problem.found) for problem in caught.value.problems]


def test_contradictions_are_found_offline(context):
    assert problems_of(context) == [("host", "neither")]
    serial = SerialConfig(path="/dev/ttyUSB0")
    assert problems_of(context, host="a", serial=serial) == [("host", "both")]
    twins = (SunspecDeviceConfig(template="generic-meter"), SunspecDeviceConfig(template="battery-802"))
    assert problems_of(context, host="a", device=twins) == [
        ("device[1].unit_id", "1, as at device[0]"),
        ("device[1].name", "'unit-1', as at device[0]"),
    ]
    assert problems_of(context, host="a", retry_min_s=100.0) == [("retry_min_s", "100.0")]
    ((key, found),) = problems_of(context, host="a", tls=TlsConfig(ca="none.pem"))
    assert key == "tls"
    assert "No such file" in found
    assert problems_of(context, serial=serial, tls=TlsConfig(ca="x"))[0] == ("tls", "tls on a serial line")


def test_unknown_templates_and_roles_are_named(context):
    odd = (
        SunspecDeviceConfig(template="meter"),
        SunspecDeviceConfig(unit_id=2, template="generic-meter", logical_devices={"house": "H1"}),
    )
    (first, second) = problems_of(context, host="a", device=odd)
    assert first == ("device[0].template", "'meter'")
    assert second[0] == "device[1]"
    assert "house unknown" in second[1]


def test_a_poll_plan_that_cannot_fit_on_the_line_is_refused(context):
    slow = SerialConfig(path="/dev/ttyUSB0", baud_rate=1200)
    device = (SunspecDeviceConfig(template="generic-meter", period_s=1.0),)
    ((key, found),) = problems_of(context, serial=slow, device=device)
    assert key == "serial.baud_rate"
    assert "of every second" in found
    fast = SerialConfig(path="/dev/ttyUSB0", baud_rate=19200)
    SUNSPEC.create("test", SunspecConfig(serial=fast, device=device), context)


def test_supplied_data_sets_carry_their_periods(context):
    device = SunspecDeviceConfig(template="generic-meter", name="pcc", period_s=2.0, settings_period_s=300.0)
    connector = SUNSPEC.create("test", SunspecConfig(host="a", device=(device,)), context)
    assert [(each.data_set.name, each.period_s) for each in connector.supplied] == [
        ("test-pcc-measurements", 2.0),
        ("test-pcc-settings", 300.0),
    ]
    assert DeviceConfig(unit_id=7).label == "unit-7"


async def test_a_map_that_moved_elsewhere_is_found_again(run, serve, sunspec, inverter, wait_until):
    unit = inverter.image.unit
    server = await serve({1: unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.quality(POWER) == q.GOOD)
    (block,) = unit.holding
    moved = RegisterBlock(50000, bytes(block.data), block.writable)
    unit.holding = (moved,)
    await wait_until(lambda: it.counters.values.get("exceptions_total", 0) > 0)
    count = len(it.database.reports)
    await wait_until(lambda: len(it.database.reports) > count + 2)
    assert it.database.quality(POWER) == q.GOOD
    assert server.connections_total == 1


@pytest.mark.parametrize("answer", ["03 04 0001 0002", "03 05 0001 0002", "04 02 0001", "83", "03"])
async def test_well_framed_answers_that_answer_something_else_are_not_believed(
    run, serve, sunspec, inverter, wait_until, answer
):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    respond = server.slave.respond
    server.slave.respond = lambda unit_id, pdu: bytes.fromhex(answer)
    await wait_until(it.log.events)
    count = len(it.database.reports)
    server.slave.respond = respond
    await wait_until(lambda: len(it.database.reports) > count + 2)
    assert set(it.database.reports[-1].quality) <= {q.GOOD, q.INVALID, q.INVALID | q.INCONSISTENT}


async def test_an_address_that_swallows_connections_is_given_up_in_time(
    run, serve, sunspec, wait_until, monkeypatch
):
    async def never(self):
        await asyncio.sleep(3600)

    monkeypatch.setattr("pymodbus.client.base.ModbusBaseClient.connect", never)
    it = run(sunspec(1, connect_timeout_s=0.1))
    await wait_until(it.log.events)
    assert it.log.lines[0][2]["reason"] == "no connection within 0.1 s"


async def test_what_cannot_be_released_at_the_stop_is_kept_for_the_next_start(
    run, serve, sunspec, inverter, wait_until, tmp_path
):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    await it.operate(SET_POINT, -900.0)
    await server.stop()
    await it.stop()
    assert it.log.events()[-1] == "set-points could not be released; the next start will"
    assert json.loads((tmp_path / "set-points.json").read_text()) == [SET_POINT]
    await server.start("127.0.0.1", server.port)
    again = run(sunspec(server.port))
    await wait_until(lambda: inverter.image.read(124)["StorCtl_Mod"] == 0)
    await wait_until(lambda: again.database.reports)


async def test_a_refused_first_set_point_leaves_nothing_behind(
    run, serve, sunspec, inverter, wait_until, tmp_path
):
    server = await serve({1: inverter.image.unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    assert not (await it.operate(SET_POINT, 99_000.0)).accepted
    assert json.loads((tmp_path / "set-points.json").read_text()) == []
    await it.operate(SET_POINT, 450.0)
    assert not (await it.operate(SET_POINT, 99_000.0)).accepted
    assert json.loads((tmp_path / "set-points.json").read_text()) == [SET_POINT]
    assert inverter.image.read(124)["OutWRte"] == pytest.approx(10.0)


async def test_a_device_of_which_too_much_is_unknown_is_described_once(
    run, serve, sunspec, inverter, wait_until
):
    unit = inverter.image.unit
    block = unit.holding[0]
    data = bytes(block.data)[:-4] + (65001).to_bytes(2, "big") + b"\0\2" + bytes(4)
    unit.holding = (RegisterBlock(40000, data, bytes(len(data) // 2)),)
    server = await serve({1: unit})
    it = run(sunspec(server.port))
    await wait_until(lambda: it.database.reports)
    server.drop_connections()
    count = len(it.database.reports)
    await wait_until(lambda: len(it.database.reports) > count + 2)
    assert [event for event in it.log.events() if "model" in event] == [
        "models without a definition are skipped: 65001",
        "the chain of models has no end model",
    ]


async def test_one_device_that_hangs_does_not_delay_the_others(run, serve, sunspec, inverter, wait_until):
    healthy, hanging = await serve({1: inverter.image.unit}), await serve({1: inverter.image.unit})
    first, second = run(sunspec(healthy.port)), run(sunspec(hanging.port))
    await wait_until(lambda: first.database.reports and second.database.reports)
    hanging.faults.is_silent = True
    count = len(first.database.reports)
    await wait_until(lambda: second.counters.values.get("timeouts_total", 0) >= 2)
    # Two time-outs take 0.6 s, twelve periods of the first device.
    assert len(first.database.reports) - count >= 4
    assert first.counters.values.get("timeouts_total", 0) == 0
