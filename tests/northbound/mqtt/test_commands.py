"""Commands in and answers out, against both brokers."""

import itertools
import json
import time

import paho.mqtt.client as paho
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from s4g_gateway.codecs.senml import Format, Record, convert
from s4g_gateway.interfaces import CommandAnswer, CommandError
from s4g_gateway.model import AddCause, ControlPoint, ObjectReference, ValueType, refused
from s4g_gateway.northbound.mqtt.commands import CommandDesk, canonical_value
from s4g_gateway.runtime.broker import BrokerKind
from s4g_gateway.security import Principal

NODE = "s4g/v1/house/smx/smx-eb"
GRID = Principal(name="grid", roles=frozenset({"GESSCON"}))
_numbers = itertools.count()


def command(*set_points, command_id=None, not_after_s=60.0, **members):
    head = {
        "id": f"grid-{next(_numbers)}" if command_id is None else command_id,
        "ctlNum": 1,
        "priority": 5,
        "notAfter": time.time() + not_after_s,
    } | members
    records = [
        {"n": f"cmd.{name}", ("vs" if isinstance(value, str) else "v"): value} for name, value in head.items()
    ]
    for name, value, *unit in set_points:
        kind = "vs" if isinstance(value, str) else "vb" if isinstance(value, bool) else "v"
        records.append({"n": name, kind: value} | ({"u": unit[0]} if unit else {}))
    records[0] = {"bn": "house/", "bver": 26} | records[0]
    return records


def answer_of(house, message):
    return CommandAnswer.from_pairs(house.values(message).items(), site="house")


async def ask(house, consumer, pack, sender="grid", **more):
    seen = len(consumer.received)
    consumer.ask(f"{NODE}/command/{sender}", pack, **more)
    message = await consumer.message(f"{NODE}/command-answer", after=seen)
    return answer_of(house, message)


async def test_set_point_reaches_the_device_and_is_answered_once_it_has_confirmed(house, broker, consume):
    consumer = await consume(f"{NODE}/command-answer")
    async with house.running(broker.url):
        pack = command(
            ("ESS1/DWGC1.WSpt", 1.5, "kW"), ("ESS1/DSTO1.SocSptPct", 0.4, "/"), command_id="grid-a"
        )
        assert await ask(house, consumer, pack) == CommandAnswer(command_id="grid-a", accepted=True)
        assert not consumer.received[-1].retain
    assert house.executed == [("ESS1/DWGC1.WSpt", 1500.0), ("ESS1/DSTO1.SocSptPct", 40.0)]


async def test_refusals_say_why(house, broker, consume):
    consumer = await consume(f"{NODE}/command-answer")
    async with house.running(broker.url):
        limits = command(("ESS1/DWGC1.WSpt", 9000.0, "W"))
        assert (await ask(house, consumer, limits)).add_cause is AddCause.INCONSISTENT_PARAMETERS
        unit = command(("ESS1/DWGC1.WSpt", 1.0, "V"))
        assert (await ask(house, consumer, unit)).add_cause is AddCause.INCONSISTENT_PARAMETERS
        late = command(("ESS1/DWGC1.WSpt", 1.0), not_after_s=-1)
        assert (await ask(house, consumer, late)).add_cause is AddCause.TIME_LIMIT_OVER
        unknown = command(("ESS1/DWGC1.VSpt", 1.0))
        assert (await ask(house, consumer, unknown)).add_cause is AddCause.NOT_SUPPORTED
        priority = command(("ESS1/DWGC1.WSpt", 1.0), priority=0)
        assert (await ask(house, consumer, priority)).add_cause is AddCause.INCONSISTENT_PARAMETERS
        allowed = command(("ESS1/DWGC1.WSpt", 1.0))
        assert (await ask(house, consumer, allowed, "screen")).add_cause is AddCause.NO_ACCESS_AUTHORITY
        assert (await ask(house, consumer, allowed, "stranger")).add_cause is AddCause.NO_ACCESS_AUTHORITY
        assert house.executed == []
        house.answer = refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, "out of reach")
        two = command(("ESS1/DWGC1.WSpt", 1.0), ("ESS1/DVAR1.VArSpt", 1.0))
        assert (await ask(house, consumer, two)).add_cause is AddCause.ABORTION_BY_COMMUNICATION_LOSS
        assert house.executed == [("ESS1/DWGC1.WSpt", 1.0)]
        assert house.counters.values["commands_refused_total"] == 8


async def test_identity_comes_from_the_topic_and_not_from_the_payload(house, broker, consume):
    consumer = await consume(f"{NODE}/command-answer")
    async with house.running(broker.url):
        pack = command(("ESS1/DWGC1.WSpt", 1.0), command_id="grid-99")
        assert (await ask(house, consumer, pack, "screen")).add_cause is AddCause.NO_ACCESS_AUTHORITY
    audit = [json.loads(line) for line in (house.state / "audit.jsonl").read_text().splitlines()]
    assert [entry["principal"] for entry in audit] == ["screen"]


async def test_repeat_is_answered_alike_and_carried_out_once_even_after_a_restart(house, broker, consume):
    consumer = await consume(f"{NODE}/command-answer")
    pack = command(("ESS1/DWGC1.WSpt", 1.0), ("ESS1/DVAR1.VArSpt", 2.0), command_id="grid-once")
    for _ in range(2):
        async with house.running(broker.url):
            for _ in range(2):
                assert await ask(house, consumer, pack) == CommandAnswer(
                    command_id="grid-once", accepted=True
                )
    assert house.executed == [("ESS1/DWGC1.WSpt", 1.0), ("ESS1/DVAR1.VArSpt", 2.0)]


async def test_answer_has_the_representation_of_the_command(house, broker, consume):
    consumer = await consume(f"{NODE}/command-answer")
    async with house.running(broker.url):
        for number, form in enumerate((Format.CBOR, Format.XML)):
            pack = json.dumps(command(("ESS1/DWGC1.WSpt", 1.0), command_id=f"f-{number}")).encode()
            seen = len(consumer.received)
            consumer.ask(f"{NODE}/command/grid", convert(pack, Format.JSON, form))
            answer = await consumer.message(f"{NODE}/command-answer", after=seen)
            assert b"accepted" in convert(answer.payload, form, Format.JSON)


async def test_retained_command_is_one_from_the_past(house, broker, consume):
    consumer = await consume(f"{NODE}/command-answer")
    consumer.ask(f"{NODE}/command/grid", command(("ESS1/DWGC1.WSpt", 1.0)), retain=True)
    async with house.running(broker.url):
        await house.until(lambda: house.counters.values.get("ignored_total"))
        assert (await ask(house, consumer, command(("ESS1/DVAR1.VArSpt", 1.0)))).accepted
    assert house.executed == [("ESS1/DVAR1.VArSpt", 1.0)]


async def test_rubbish_is_counted_and_nothing_else_happens(house, broker, consume):
    consumer = await consume(f"{NODE}/+")
    no_id = command(("ESS1/DWGC1.WSpt", 1.0))[1:]
    rubbish = (
        b"",
        b"\xff\xfe",
        b"[" * 5000,
        b'[{"n":"x"}]',
        b"<sensml",
        b"\x9f" * 300,
        json.dumps(no_id).encode(),
    )
    async with house.running(broker.url):
        for payload in rubbish:
            consumer.ask(f"{NODE}/command/grid", payload)
        consumer.ask(f"{NODE}/nonsense/grid", b"x")
        consumer.ask(f"{NODE}/command/a_b", b"x")
        await house.until(lambda: house.counters.values.get("malformed_total") == len(rubbish))
        await house.until(lambda: house.counters.values.get("ignored_total") == 2)
        assert (await ask(house, consumer, command(("ESS1/DWGC1.WSpt", 1.0)))).accepted
    assert house.executed == [("ESS1/DWGC1.WSpt", 1.0)]


async def test_command_under_way_when_the_broker_goes_is_finished_once_and_answered_on_its_repeat(
    house, broker, wire, consume
):
    consumer = await consume(f"{NODE}/command-answer")
    async with house.running(wire.url):
        real = house.execute
        pack = command(("ESS1/DWGC1.WSpt", 1.0), command_id="grid-cut")

        async def cut_meanwhile(control):
            wire.cut()
            await house.until(lambda: not house.counters.values.get("connected"))
            return await real(control)

        house.database.arbitration.remove("devices")
        house.connect(cut_meanwhile)
        consumer.ask(f"{NODE}/command/grid", pack)
        await house.until(lambda: house.executed)
        wire.mend()
        await house.until(lambda: house.counters.values.get("connected"))
        assert await ask(house, consumer, pack) == CommandAnswer(command_id="grid-cut", accepted=True)
    assert house.executed == [("ESS1/DWGC1.WSpt", 1.0)]


@pytest.mark.parametrize("kind", [BrokerKind.MOSQUITTO])
async def test_mqtt_5_response_topic_and_correlation_are_used_where_they_belong_to_the_asker(
    house, broker, consume
):
    consumer = await consume("s4g/#", version=paho.MQTTv5)
    async with house.running(broker.url):
        for wanted, expected in (
            ("s4g/v1/house/grid/smx-eb/mine/smx", "s4g/v1/house/grid/smx-eb/mine/smx"),
            ("s4g/v1/house/ess/smx-eb/command/smx", f"{NODE}/command-answer"),
            ("s4g/v1/house/grid/smx-eb/mine/other", f"{NODE}/command-answer"),
            ("elsewhere", f"{NODE}/command-answer"),
        ):
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = wanted
            properties.CorrelationData = b"\x01\x02"
            seen = len(consumer.received)
            consumer.ask(f"{NODE}/command/grid", command(("ESS1/DWGC1.WSpt", 1.0)), properties=properties)
            answer = await consumer.message(expected, after=seen)
            assert answer.properties.CorrelationData == b"\x01\x02"
            assert answer.properties.ContentType == "application/senml+json"


# -- the unit of a set-point -----------------------------------------------------------------------------


def point(unit, value_type=ValueType.FLOAT, reference="ESS1/DWGC1.WSpt"):
    return ControlPoint(reference=ObjectReference(reference), unit=unit, value_type=value_type)


@pytest.mark.parametrize(
    ("record", "target", "expected"),
    [
        (Record(name="n", value=4.2, unit="kW"), point("W"), 4200.0),
        (Record(name="n", value=4.2, unit="W"), point("W"), 4.2),
        (Record(name="n", value=4.2), point("W"), 4.2),
        (Record(name="n", value=0.29, unit="/"), point("%"), 29.0),
        (Record(name="n", value=29.0, unit="%"), point("%"), 29.0),
        (Record(name="n", value=29.0, unit="%EL"), point("%", reference="ESS1/DSTO1.SocEffWhPct"), 29.0),
        (Record(name="n", value=3.0), point("", ValueType.ENUMERATED), 3),
        (Record(name="n", value=3.5), point("", ValueType.ENUMERATED), 3.5),
        (Record(name="n", boolean_value=True), point("", ValueType.BOOLEAN), True),
        (Record(name="n", string_value="on"), point("", ValueType.TEXT), "on"),
        (Record(name="n", value=7.0, unit="kW"), None, 7.0),
    ],
)
def test_canonical_value(record, target, expected):
    value = canonical_value(record, target)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize("unit", ["V", "kvar", "MW?", "%"])
def test_wrong_unit_is_refused(unit):
    with pytest.raises(CommandError, match="unit"):
        canonical_value(Record(name="n", value=1.0, unit=unit), point("W"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_mutation_of_a_command_raises_or_moves_anything_unasked(house, data):
    """Whatever is cut, flipped or inserted: an answer or silence, and no value but the one that was sent."""
    desk = CommandDesk(house.services(), "house", 100_000)
    pack = command(("ESS1/DWGC1.WSpt", 1.0, "W"), command_id="grid-fuzz", notAfter=4_000_000_000)
    payload = bytearray(json.dumps(pack).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(payload) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if kind == "flip":
            payload[position] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del payload[position : position + data.draw(st.integers(1, 20))]
        else:
            payload[position:position] = data.draw(st.binary(min_size=1, max_size=8))
        if not payload:
            break
    answer = await desk.handle(GRID, bytes(payload))
    assert answer is None or b"cmd.accepted" in answer
    for reference, _ in house.executed:
        assert reference.startswith("ESS1/")
