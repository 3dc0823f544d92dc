"""Every refusal of the table, seen at a socket: the cause that the master gets, and the line in the log."""

import asyncio
import struct
from functools import partial

import pytest
import structlog.testing

from s4g_gateway.codecs.iec104 import Cause, OutstationConfig, RefusalReason, TimeTag, TypeId
from s4g_gateway.model import AddCause, ValueType, refused
from s4g_gateway.northbound.iec104 import server
from s4g_gateway.profiles.iec104 import PointOverride, load_refusals

SETPOINT, SWITCH, SELECTED = "ESS1/DWGC1.WSpt", "ESS1/DWGC1.WGcEna", "ESS1/DWGC2.WSpt"
SETPOINT_IOA, SELECTED_IOA, SWITCH_IOA = 50001, 50002, 40001
POINTS = [PointOverride(reference=SELECTED, command_mode="select")]


def controls(kit):
    return [
        kit.point(SETPOINT, unit="W", minimum=-5000, maximum=5000),
        kit.point(SWITCH, value_type=ValueType.BOOLEAN, expires=False),
        kit.point(SELECTED, unit="W"),
    ]


def negative(master):
    """The negative answers to commands: (cause, object address), by their octets, since some mirror nonsense."""
    return [
        (Cause(asdu[2] & 63), int.from_bytes(asdu[6:9], "little"))
        for asdu in master.asdus
        if 45 <= asdu[0] <= 64 and asdu[2] & 64
    ]


def refusals(logs):
    return [line for line in logs if line["event"] == "command refused"]


@pytest.fixture
def logs():
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_every_add_cause_of_a_device(kit, tmp_path, logs):
    device = kit.Device()
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), device) as bench:
        master = await kit.RawMaster.connect(bench.port)
        for add_cause in AddCause:
            device.answer = refused(add_cause, "as told")
            logs.clear()
            master.asdus.clear()
            master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 1.0)
            await master.until(lambda: negative(master))
            cause = load_refusals().by_add_cause[add_cause].cause
            assert negative(master) == [(cause, SETPOINT_IOA)], add_cause.name
            (line,) = refusals(logs)
            assert (line["add_cause"], line["cause"]) == (add_cause.name, int(cause))
            assert (line["reference"], line["detail"]) == (SETPOINT, "as told")
        assert bench.counters.values["commands_rejected_total"] == len(AddCause)
        await master.close()


async def two_objects(kit, bench, master):
    head = struct.pack("<BBBBH", TypeId.C_SC_NA_1, 2, Cause.ACTIVATION, 0, 1)
    item = struct.pack("<HBB", SWITCH_IOA, 0, 1)
    master.link.send(head + item + item, master.loop.time())
    master.flush()


async def not_a_number(kit, bench, master):
    head = struct.pack("<BBBBHHB", TypeId.C_SE_NC_1, 1, Cause.ACTIVATION, 0, 1, SETPOINT_IOA, 0)
    master.link.send(head + bytes.fromhex("0000c07f 00"), master.loop.time())
    master.flush()


async def stale(kit, bench, master):
    an_hour_ago = TimeTag(bench.clock.wall_ns() - 3600 * 10**9)
    master.send(TypeId.C_SE_TC_1, Cause.ACTIVATION, SETPOINT_IOA, 1.0, time=an_hour_ago)


async def select(kit, bench, master):
    master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SELECTED_IOA, 1.0, select=True)
    await master.until(lambda: any(asdu[0] == TypeId.C_SE_NC_1 for asdu in master.asdus))
    assert negative(master) == []


async def another_value(kit, bench, master):
    await select(kit, bench, master)
    master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SELECTED_IOA, 2.0)


async def selected_by_another(kit, bench, master):
    other = await kit.RawMaster.connect(bench.port)
    await select(kit, bench, other)
    master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SELECTED_IOA, 1.0)


async def twice(kit, bench, master):
    bench.device.gate = asyncio.Event()
    master.send(TypeId.C_SC_NA_1, Cause.ACTIVATION, SWITCH_IOA, 1)
    master.send(TypeId.C_SC_NA_1, Cause.ACTIVATION, SWITCH_IOA, 1)


async def no_answer(kit, bench, master):
    bench.device.gate = asyncio.Event()
    master.send(TypeId.C_SC_NA_1, Cause.ACTIVATION, SWITCH_IOA, 1)


def plain(type_id, address, value, *, cause=Cause.ACTIVATION, **more):
    async def send(kit, bench, master):
        master.send(type_id, cause, address, value, **more)

    return send


ASKED = {
    RefusalReason.UNKNOWN_CAUSE: plain(TypeId.C_SC_NA_1, SWITCH_IOA, 1, cause=Cause.REQUEST),
    RefusalReason.UNKNOWN_STATION: plain(TypeId.C_SC_NA_1, SWITCH_IOA, 1, common_address=9),
    RefusalReason.UNKNOWN_ADDRESS: plain(TypeId.C_SC_NA_1, 41000, 1),
    RefusalReason.WRONG_TYPE: plain(TypeId.C_DC_NA_1, SWITCH_IOA, 2),
    RefusalReason.MALFORMED: two_objects,
    RefusalReason.VALUE: not_a_number,
    RefusalReason.TIME_TAG: stale,
    RefusalReason.NO_SELECT: plain(TypeId.C_SE_NC_1, SETPOINT_IOA, 1.0, select=True),
    RefusalReason.NOT_SELECTED: plain(TypeId.C_SE_NC_1, SELECTED_IOA, 1.0),
    RefusalReason.MISMATCH: another_value,
    RefusalReason.SELECTED_ELSEWHERE: selected_by_another,
    RefusalReason.BUSY: twice,
    RefusalReason.NO_ANSWER: no_answer,
    RefusalReason.NOTHING_TO_CANCEL: plain(
        TypeId.C_SE_NC_1, SELECTED_IOA, 1.0, cause=Cause.DEACTIVATION, select=True
    ),
}


@pytest.mark.parametrize("reason", list(RefusalReason), ids=lambda reason: reason.name)
async def test_every_reason_of_the_protocol(kit, tmp_path, logs, monkeypatch, reason):
    if reason is RefusalReason.NO_ANSWER:
        monkeypatch.setattr(server, "OutstationConfig", partial(OutstationConfig, answer_timeout_s=0.2))
    groups = (kit.GroupTable(name="a"), kit.GroupTable(name="b"))
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), point=POINTS, group=groups) as bench:
        master = await kit.RawMaster.connect(bench.port)
        await ASKED[reason](kit, bench, master)
        await master.until(lambda: negative(master))
        row = load_refusals().by_reason[reason]
        ((cause, address),) = negative(master)
        assert cause == row.cause
        (line,) = refusals(logs)
        assert (line["add_cause"], line["cause"]) == (row.add_cause.name, int(row.cause))
        assert (line["master"], line["address"], line["detail"]) == ("127.0.0.1", address, reason.value)
        known = {SETPOINT_IOA: SETPOINT, SWITCH_IOA: SWITCH, SELECTED_IOA: SELECTED}
        reference = None if reason is RefusalReason.UNKNOWN_STATION else known.get(address)
        assert line["reference"] == reference
        assert bench.counters.values["commands_rejected_total"] == 1
        requests = {RefusalReason.MISMATCH, RefusalReason.SELECTED_ELSEWHERE, RefusalReason.BUSY}
        assert bench.counters.values["commands_total"] == (2 if reason in requests else 1)
        await master.close()
