"""Commands of a master: confirmed only when the device has answered."""

import asyncio
import struct

from s4g_gateway.codecs.iec104 import Cause, TimeTag, TypeId
from s4g_gateway.model import AddCause, ControlModel, ValueType, refused
from s4g_gateway.profiles.iec104 import PointOverride
from s4g_gateway.security import AccessPolicy, Action, Rule

SETPOINT, SWITCH = "ESS1/DWGC1.WSpt", "ESS1/DWGC1.WGcEna"
SETPOINT_IOA, SWITCH_IOA = 50001, 40001


def controls(kit, **more):
    return [
        kit.point(SETPOINT, unit="W", minimum=-5000, maximum=5000, **more),
        kit.point(SWITCH, value_type=ValueType.BOOLEAN, expires=False),
    ]


async def answers(master, count, type_id=None):
    """Returns (cause, negative, value) of the next answers to commands."""
    master_asdus = lambda: [a for a in master.decoded() if 45 <= a.type_id <= 64]  # noqa: E731
    await master.until(lambda: len(master_asdus()) >= count)
    await master.quiet(0.05)
    found = [(a.cause, a.negative) for a in master_asdus()]
    master.asdus.clear()
    return found


OK = [(7, False), (10, False)]
NO = [(7, True)]


async def test_direct_set_point_is_confirmed_by_the_device_and_terminated(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit)) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, -1234.5)
        assert await answers(master, 2) == OK
        assert bench.device.seen == [(SETPOINT, -1234.5, "REMOTE_CONTROL")]
        assert bench.audit.events[-1]["principal"] == "127.0.0.1"
        assert bench.audit.events[-1]["identity"] == "127.0.0.1"
        assert bench.counters.values["commands_total"] == 1
        await master.close()


async def test_confirmation_waits_for_the_device_and_the_rest_goes_on(kit, tmp_path):
    device = kit.Device(gate=asyncio.Event())
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), device) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 1.0)
        asdus = await master.interrogate()
        assert device.seen
        assert {a.type_id for a in asdus} <= {TypeId.C_IC_NA_1, TypeId.M_ME_NC_1, TypeId.M_EI_NA_1}
        master.asdus.clear()
        device.gate.set()
        assert await answers(master, 2) == OK
        await master.close()


async def test_refusal_of_the_device_is_a_negative_confirmation(kit, tmp_path):
    device = kit.Device(answer=refused(AddCause.BLOCKED_BY_PROCESS, "battery is full"))
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), device) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 1.0)
        assert await answers(master, 1) == NO
        device.answer = refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, "out of reach")
        master.send(TypeId.C_SC_NA_1, Cause.ACTIVATION, SWITCH_IOA, 1)
        assert await answers(master, 1) == NO
        assert bench.counters.values["commands_rejected_total"] == 2
        await master.close()


async def test_a_device_that_never_answers_is_a_negative_confirmation(kit, tmp_path):
    device = kit.Device(delay_s=60)
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), device) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SC_NA_1, Cause.ACTIVATION, SWITCH_IOA, 1)
        assert await answers(master, 1) == NO
        await master.close()


async def test_values_outside_the_limits_and_not_a_number_never_reach_the_device(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit)) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 5001.0)
        assert await answers(master, 1) == NO
        # NaN, which an encoder refuses to send, octet by octet
        asdu = struct.pack("<BBBBHHBfB", TypeId.C_SE_NC_1, 1, Cause.ACTIVATION, 0, 1, SETPOINT_IOA, 0, 0.0, 0)
        asdu = asdu[:9] + b"\x00\x00\xc0\x7f" + asdu[13:]
        master.link.send(asdu, master.loop.time())
        master.flush()
        assert await answers(master, 1) == NO
        assert bench.device.seen == []
        await master.close()


async def test_time_tagged_command_is_executed_fresh_and_refused_stale(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit)) as bench:
        master = await kit.RawMaster.connect(bench.port)
        now_ns = bench.clock.wall_ns()
        master.send(
            TypeId.C_SE_TC_1, Cause.ACTIVATION, SETPOINT_IOA, 2.0, time=TimeTag(now_ns - 3600 * 10**9)
        )
        assert await answers(master, 1) == NO
        master.send(TypeId.C_SE_TC_1, Cause.ACTIVATION, SETPOINT_IOA, 2.0, time=TimeTag(now_ns))
        assert await answers(master, 2) == OK
        assert bench.device.seen == [(SETPOINT, 2.0, "REMOTE_CONTROL")]
        await master.close()


async def test_scaled_set_point_with_turned_sign(kit, tmp_path):
    points = [PointOverride(reference=SETPOINT, command_type="C_SE_NB_1", factor=-10.0, command_ioa=7)]
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), point=points) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NB_1, Cause.ACTIVATION, 7, 250)
        assert await answers(master, 2) == OK
        assert bench.device.seen == [(SETPOINT, -2500.0, "REMOTE_CONTROL")]
        await master.close()


async def test_select_before_operate_binds_value_and_master(kit, tmp_path):
    device_model = {"model": ControlModel.SBO_ENHANCED}
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit, **device_model)) as bench:
        master = await kit.RawMaster.connect(bench.port)

        async def command(value, *, select, cause=Cause.ACTIVATION, count=1):
            master.send(TypeId.C_SE_NC_1, cause, SETPOINT_IOA, value, select=select)
            return await answers(master, count)

        assert await command(1.0, select=False) == NO
        assert await command(1.0, select=True) == [(7, False)]
        assert await command(1.0, select=False, count=2) == OK
        assert await command(2.0, select=True) == [(7, False)]
        assert await command(3.0, select=False) == NO
        assert await command(2.0, select=False) == NO
        assert await command(4.0, select=True) == [(7, False)]
        assert await command(4.0, select=True, cause=Cause.DEACTIVATION) == [(9, False)]
        assert await command(4.0, select=False) == NO
        assert [value for _, value, _ in bench.device.seen] == [1.0]
        # a cancelled or mismatched selection leaves nothing behind in the arbitration
        assert await command(5.0, select=True) == [(7, False)]
        await master.close()
        await asyncio.sleep(0.05)
        services = [event["service"] for event in bench.audit.events]
        assert services == [
            "select", "operate", "select", "cancel", "select", "cancel", "select", "cancel",
        ]  # fmt: skip


async def test_selection_expires(kit, tmp_path):
    points = [PointOverride(reference=SETPOINT, command_mode="select")]
    async with kit.serving(
        tmp_path, [kit.floats(1)], controls(kit), point=points, select_timeout_s=0.1
    ) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 1.0, select=True)
        assert await answers(master, 1) == [(7, False)]
        await master.quiet(0.2)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 1.0)
        assert await answers(master, 1) == NO
        assert [event["service"] for event in bench.audit.events] == ["select", "cancel"]
        await master.close()


async def test_select_out_of_range_is_refused_at_once(kit, tmp_path):
    points = [PointOverride(reference=SETPOINT, command_mode="select")]
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), point=points) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 9999.0, select=True)
        assert await answers(master, 1) == NO
        await master.close()


async def test_point_direct_to_the_master_is_selected_for_the_device_on_the_way(kit, tmp_path):
    points = [PointOverride(reference=SETPOINT, command_mode="direct")]
    device_model = {"model": ControlModel.SBO_ENHANCED}
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit, **device_model), point=points) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 1.0)
        assert await answers(master, 2) == OK
        assert [event["service"] for event in bench.audit.events] == ["select", "operate"]
        await master.close()


async def test_a_master_without_the_right_is_refused(kit, tmp_path):
    readers = Rule(roles=frozenset({"SCADA"}), actions=frozenset({Action.READ, Action.SUBSCRIBE}))
    policy = AccessPolicy((readers,))
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), policy=policy) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SC_NA_1, Cause.ACTIVATION, SWITCH_IOA, 1)
        assert await answers(master, 1) == NO
        assert bench.audit.events[-1]["add_cause"] == "NO_ACCESS_AUTHORITY"
        assert bench.device.seen == []
        await master.close()


async def test_test_bit_answers_without_touching_the_device(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit)) as bench:
        master = await kit.RawMaster.connect(bench.port)
        asdu = struct.pack("<BBBBHHBB", TypeId.C_SC_NA_1, 1, Cause.ACTIVATION | 0x80, 0, 1, SWITCH_IOA, 0, 1)
        master.link.send(asdu, master.loop.time())
        master.flush()
        assert await answers(master, 2) == OK
        assert bench.device.seen == []
        await master.close()


async def test_set_point_is_given_back_when_its_validity_ends(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), setpoint_validity_s=0.05) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, SETPOINT_IOA, 100.0)
        assert await answers(master, 2) == OK
        await asyncio.sleep(0.06)
        await bench.database.arbitration.tick()
        assert [value for _, value, _ in bench.device.seen] == [100.0, None]
        await master.close()


async def test_command_answered_after_the_master_left_disturbs_nobody(kit, tmp_path):
    device = kit.Device(gate=asyncio.Event())
    async with kit.serving(tmp_path, [kit.floats(1)], controls(kit), device) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SC_NA_1, Cause.ACTIVATION, SWITCH_IOA, 1)
        await master.interrogate()
        await master.close()
        second = await kit.RawMaster.connect(bench.port)
        device.gate.set()
        asdus = await second.interrogate()
        assert device.seen == [(SWITCH, True, "REMOTE_CONTROL")]
        assert {a.type_id for a in asdus} == {TypeId.C_IC_NA_1, TypeId.M_ME_NC_1}
        await second.close()
