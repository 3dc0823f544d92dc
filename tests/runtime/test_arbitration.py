import asyncio
from dataclasses import replace

import pytest

from s4g_gateway.errors import AccessError, ModelError, TransientError
from s4g_gateway.model import (
    ACCEPTED,
    NS_PER_S,
    AddCause,
    Control,
    ControlModel,
    ControlPoint,
    ControlService,
    ObjectReference,
    Origin,
    OriginCategory,
    ValueType,
    refused,
)
from s4g_gateway.profiles.iec61850_90_7 import FunctionState
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.clock import ManualClock
from s4g_gateway.security import Principal, default_policy

POWER = ObjectReference("ESS1/DWGC1.WSpt")
BREAKER = ObjectReference("PCC1/XCBR1.Pos")
SCADA = Principal(name="scada", roles=frozenset({"SCADA"}))
PLAN = Principal(name="gesscon", roles=frozenset({"GESSCON"}))
VIEWER = Principal(name="viewer", roles=frozenset({"VIEWER"}))


class Device:
    """Notes what reaches it."""

    def __init__(self):
        self.done = []
        self.answer = ACCEPTED
        self.delay_s = 0.0

    async def execute(self, control):
        await asyncio.sleep(self.delay_s)
        self.done.append(control.value)
        return self.answer


class Audit(list):
    def record(self, event):
        self.append(event)


class Ledger:
    def __init__(self):
        self.answers = {}

    async def begin(self, command_id, time_ns):
        return self.answers.setdefault(command_id, None)

    async def finish(self, command_id, answer):
        self.answers[command_id] = answer


@pytest.fixture
def site():
    class Site:
        clock = ManualClock()
        device = Device()
        audit = Audit()
        arbitration = Arbitration(
            clock=clock,
            policy=default_policy(),
            audit=audit,
            ledger=Ledger(),
            execute_timeout_s=0.2,
            validity_s=60,
        )

        def control(self, value=None, reference=POWER, **fields):
            origin = Origin(category=OriginCategory.REMOTE_CONTROL, identity="test")
            return Control(
                reference=reference, value=value, origin=origin, time_ns=self.clock.wall_ns(), **fields
            )

        async def ask(self, principal, value=None, reference=POWER, **fields):
            return await self.arbitration.control(principal, self.control(value, reference, **fields))

    site = Site()
    site.arbitration.add(
        "inverter",
        [
            ControlPoint(reference=POWER, unit="W", minimum=-5000, maximum=5000),
            ControlPoint(
                reference=BREAKER,
                value_type=ValueType.BOOLEAN,
                model=ControlModel.SBO_ENHANCED,
                expires=False,
            ),
        ],
        site.device.execute,
    )
    return site


async def test_accepted_reaches_the_device_and_the_audit(site):
    answer = await site.ask(SCADA, 1000.0)
    assert answer.accepted
    assert site.device.done == [1000.0]
    assert site.audit[0]["principal"] == "scada"
    assert site.audit[0]["accepted"] is True


@pytest.mark.parametrize(
    ("principal", "fields", "cause"),
    [
        (VIEWER, {"value": 1.0}, AddCause.NO_ACCESS_AUTHORITY),
        (SCADA, {"value": 1.0, "reference": "ESS1/DWGC9.WSpt"}, AddCause.NOT_SUPPORTED),
        (SCADA, {"value": 5000.1}, AddCause.INCONSISTENT_PARAMETERS),
        (SCADA, {"value": float("nan")}, AddCause.INCONSISTENT_PARAMETERS),
        (SCADA, {"value": float("inf")}, AddCause.INCONSISTENT_PARAMETERS),
        (SCADA, {"value": True}, AddCause.INCONSISTENT_PARAMETERS),
        (SCADA, {"value": "on"}, AddCause.INCONSISTENT_PARAMETERS),
        (SCADA, {"value": 1.0, "not_after_ns": 1}, AddCause.TIME_LIMIT_OVER),
        (SCADA, {"value": 1.0, "not_before_ns": 2**62}, AddCause.INCONSISTENT_PARAMETERS),
    ],
)
async def test_refused_never_reaches_the_device(site, principal, fields, cause):
    answer = await site.ask(principal, **fields)
    assert (answer.accepted, answer.add_cause) == (False, cause)
    assert site.device.done == []
    assert site.audit[-1]["add_cause"] == cause.name


async def test_stronger_wins_and_weaker_waits_for_expiry(site):
    assert (await site.ask(PLAN, 100.0, priority=3)).accepted
    assert (await site.ask(SCADA, 200.0, priority=1)).accepted
    blocked = await site.ask(PLAN, 300.0, priority=3)
    assert blocked.add_cause is AddCause.BLOCKED_BY_COMMAND
    assert "scada holds it" in blocked.detail
    site.clock.advance(61)
    assert (await site.ask(PLAN, 300.0, priority=3)).accepted
    assert site.device.done == [100.0, 200.0, 300.0]


async def test_expiry_releases_the_device_and_tries_again_until_confirmed(site):
    await site.ask(SCADA, 200.0, not_after_ns=site.clock.wall_ns() + 5 * NS_PER_S)
    site.device.answer = refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, "gone")
    site.clock.advance(6)
    await site.arbitration.tick()
    assert site.arbitration.holds() != {}
    site.device.answer = ACCEPTED
    site.clock.advance(1)
    await site.arbitration.tick()
    await site.arbitration.tick()
    assert site.device.done == [200.0, None, None]
    assert site.arbitration.holds() == {}


async def test_a_device_that_refuses_is_answered_negatively_and_holds_nothing(site):
    site.device.answer = refused(AddCause.BLOCKED_BY_PROCESS, "no")
    assert (await site.ask(SCADA, 1.0)).add_cause is AddCause.BLOCKED_BY_PROCESS
    assert site.arbitration.holds() == {}


async def test_a_silent_device_is_a_time_out(site):
    site.device.delay_s = 5
    assert (await site.ask(SCADA, 1.0)).add_cause is AddCause.TIME_LIMIT_OVER


async def test_a_repeated_command_id_is_answered_from_memory(site):
    first = await site.ask(PLAN, 10.0, command_id="c1")
    again = await site.ask(PLAN, 10.0, command_id="c1")
    assert first.accepted
    assert again.accepted
    assert "repeat" in again.detail
    assert site.device.done == [10.0]


async def test_select_before_operate(site):
    select = {"value": True, "reference": BREAKER, "service": ControlService.SELECT, "ctl_num": 7}
    operate = {"value": True, "reference": BREAKER, "ctl_num": 7}
    assert (await site.ask(SCADA, **operate)).add_cause is AddCause.OBJECT_NOT_SELECTED
    assert (await site.ask(SCADA, **select)).accepted
    assert (await site.ask(PLAN, **select)).add_cause is AddCause.OBJECT_ALREADY_SELECTED
    assert (await site.ask(PLAN, **operate)).add_cause is AddCause.LOCKED_BY_OTHER_CLIENT
    assert (await site.ask(SCADA, **operate | {"value": False})).add_cause is AddCause.INCONSISTENT_PARAMETERS
    assert (await site.ask(SCADA, **select)).accepted
    assert (await site.ask(SCADA, **operate)).accepted
    assert site.device.done == [True]


async def test_cancel_really_cancels_and_selection_times_out(site):
    select = {"value": True, "reference": BREAKER, "service": ControlService.SELECT}
    operate = {"value": True, "reference": BREAKER}
    await site.ask(SCADA, **select)
    assert (await site.ask(SCADA, reference=BREAKER, service=ControlService.CANCEL)).accepted
    assert (await site.ask(SCADA, **operate)).add_cause is AddCause.OBJECT_NOT_SELECTED
    await site.ask(SCADA, **select)
    site.clock.advance(31)
    assert (await site.ask(SCADA, **operate)).add_cause is AddCause.OBJECT_NOT_SELECTED
    assert site.device.done == []


async def test_test_flag_never_reaches_the_device(site):
    answer = await site.ask(SCADA, 5.0, test=True)
    assert answer.accepted
    assert site.device.done == []


async def test_a_switching_command_does_not_expire(site):
    point = site.arbitration.points()[1]
    site.arbitration.add("b", [replace(point, model=ControlModel.DIRECT_NORMAL)], site.device.execute)
    await site.ask(SCADA, True, BREAKER)
    site.clock.advance(1e6)
    await site.arbitration.tick()
    assert site.device.done == [True]


CURVE = ObjectReference("INV1/DVVR1.VVArCrv")
FUNCTION = ControlPoint(
    reference=CURVE, value_type=ValueType.TEXT, expires=False, functions=("VV11",), device="inverter"
)


def functions(**more):
    clock, device, audit = ManualClock(), Device(), Audit()
    made = Arbitration(clock=clock, policy=default_policy(), audit=audit, ledger=Ledger(), **more)
    return clock, device, audit, made


def request(clock, value, **more):
    origin = Origin(category=OriginCategory.MAINTENANCE, identity="x")
    return Control(
        **{"reference": CURVE, "value": value, "origin": origin, "time_ns": clock.wall_ns(), **more}
    )


async def test_a_function_takes_text_and_stays_unless_it_has_an_end():
    clock, device, audit, made = functions()
    made.add("c", [FUNCTION], device.execute)
    assert (await made.control(SCADA, request(clock, "{}"))).accepted
    assert (audit[-1]["value"], made.holds()) == ("{}", {})
    assert (await made.control(SCADA, request(clock, 1.0))).add_cause is AddCause.INCONSISTENT_PARAMETERS
    assert (await made.control(VIEWER, request(clock, "{}"))).add_cause is AddCause.NO_ACCESS_AUTHORITY
    end_ns = clock.wall_ns() + 60 * NS_PER_S
    assert (await made.control(SCADA, request(clock, "{1}", not_after_ns=end_ns, priority=2))).accepted
    assert made.holds()[CURVE].not_after_ns == end_ns
    assert (await made.control(PLAN, request(clock, "{2}"))).add_cause is AddCause.BLOCKED_BY_COMMAND
    clock.advance(61)
    await made.tick()
    assert (device.done, made.holds()) == (["{}", "{1}", None], {})


async def test_a_set_point_takes_text_only_where_it_carries_a_function():
    clock, device, _, made = functions()
    plain = ControlPoint(reference=POWER)
    made.add("c", [plain, replace(plain, reference=CURVE, functions=("INV4",))], device.execute)
    assert (await made.control(SCADA, request(clock, "{}"))).accepted
    answer = await made.control(SCADA, request(clock, "{}", reference=POWER))
    assert answer.add_cause is AddCause.INCONSISTENT_PARAMETERS
    assert CURVE in made.holds()


async def test_a_function_is_read_by_who_may_read_it():
    _, device, _, made = functions(execute_timeout_s=0.05)
    asked = []

    async def read(reference, code):
        asked.append((reference, code))
        await asyncio.sleep(device.delay_s)
        return FunctionState(function="VV11", enabled=True)

    made.add("c", [FUNCTION, ControlPoint(reference=POWER)], device.execute, read)
    assert (await made.read_function(VIEWER, CURVE, "VV11")).enabled
    assert asked == [(CURVE, "VV11")]
    with pytest.raises(AccessError):
        await made.read_function(Principal(name="x", roles=frozenset()), CURVE)
    for reference in (POWER, "INV9/DVVR1.VVArCrv"):
        with pytest.raises(ModelError, match="takes no function requests"):
            await made.read_function(VIEWER, reference)
    device.delay_s = 30
    with pytest.raises(TransientError, match="no answer by the device"):
        await made.read_function(VIEWER, CURVE)
