"""What goes out, against both brokers, seen by an independent client."""

import json

import cbor2
import structlog.testing
from lxml import etree

from s4g_gateway.model import DataSet, Member, ObjectReference
from s4g_gateway.northbound.mqtt.data_sets import topic_names

NODE = "s4g/v1/house/smx"
MEMBERS = (Member(reference=ObjectReference("PCC1/MMXU1.TotW")),)


async def test_every_data_set_has_a_topic_and_its_last_whole_state_is_retained(house, broker, consume):
    async with house.running(broker.url):
        house.publish_all()
        await house.until(lambda: house.counters.values.get("backlog") == 0)
        late = await consume(f"{NODE}/smx-eb/+")
        message = await late.message(f"{NODE}/smx-eb/inverter-103")
        assert message.retain
        assert house.values(message) == {
            "house/PV1/MMXU1.TotW": 3000.0,
            "house/ESS1/MMXU1.TotW": -1500.0,
            "house/ESS1/DSTO1.SocEffWhPct": 55.5,
            "house/ESS1/LPHD1.PhyHealth": 1,
            "house/ESS1/LPHD1.PhyNam.vendor": "Fronius",
        }
        assert (
            house.values(await late.message(f"{NODE}/smx-eb/pcc-meter"))["house/PCC1/MMXU1.AvPhVPhs"] == 230.5
        )


async def test_change_is_sent_alone_and_does_not_replace_the_retained_state(house, broker, consume):
    async with house.running(broker.url, integrity_period_s=1000):
        house.publish_all()
        await house.until(lambda: house.counters.values.get("backlog") == 0)
        consumer = await consume(f"{NODE}/smx-eb/pcc-meter")
        await consumer.message(f"{NODE}/smx-eb/pcc-meter")
        seen = len(consumer.received)
        house.publish(house.meter, 251.0, 230.5)
        change = await consumer.message(f"{NODE}/smx-eb/pcc-meter", after=seen)
        assert house.values(change) == {"house/PCC1/MMXU1.TotW": 251.0}
        late = await consume(f"{NODE}/smx-eb/pcc-meter", name="late")
        state = await late.message(f"{NODE}/smx-eb/pcc-meter")
        assert (state.retain, len(house.values(state))) == (True, 2)


async def test_whole_mode_sends_and_retains_everything_on_a_change(house, broker, consume):
    async with house.running(broker.url, publish="whole", integrity_period_s=1000):
        house.publish_all()
        house.publish(house.meter, 251.0, 230.5)
        await house.until(lambda: house.counters.values.get("backlog") == 0)
        late = await consume(f"{NODE}/smx-eb/pcc-meter")
        assert house.values(await late.message(f"{NODE}/smx-eb/pcc-meter")) == {
            "house/PCC1/MMXU1.TotW": 251.0,
            "house/PCC1/MMXU1.AvPhVPhs": 230.5,
        }


async def test_integrity_period_repeats_the_whole_state(house, broker, consume):
    consumer = await consume(f"{NODE}/smx-eb/pcc-meter")
    async with house.running(broker.url, integrity_period_s=1):
        house.publish_all()
        topic = f"{NODE}/smx-eb/pcc-meter"
        await house.until(lambda: sum(message.topic == topic for message in consumer.received) >= 4)
        last = house.values(consumer.received[-1])
        assert last == {"house/PCC1/MMXU1.TotW": 250.0, "house/PCC1/MMXU1.AvPhVPhs": 230.5}


async def test_measurement_event_has_the_units_of_table_6_and_the_sign_of_the_model(house, broker, consume):
    house.publish_all()
    consumer = await consume(f"{NODE}/lessag-eb/+")
    async with house.running(broker.url, measurement_period_s=1):
        topic = f"{NODE}/lessag-eb/measurement"
        message = await consumer.message(topic)
        records = json.loads(message.payload)
        assert records[0]["bver"] == 26
        assert house.values(message) == {
            "house/PV1/MMXU1.TotW": 3.0,
            "house/ESS1/MMXU1.TotW": -1.5,
            "house/PCC1/MMXU1.TotW": 0.25,
            "house/ESS1/DSTO1.SocEffWhPct": 55.5,
            "house/PCC1/MMXU1.AvPhVPhs": 230.5,
        }
        units = {record["n"]: record.get("u") for record in records}
        assert (units["MMXU1.TotW"], units["DSTO1.SocEffWhPct"]) == ("kW", "%EL")
        await house.until(lambda: sum(message.topic == topic for message in consumer.received) >= 3)


async def test_status_event_is_sent_on_change_and_retained(house, broker, consume):
    house.publish_all()
    consumer = await consume(f"{NODE}/lessag-eb/status")
    topic = f"{NODE}/lessag-eb/status"
    async with house.running(broker.url):
        assert house.values(await consumer.message(topic)) == {
            "house/ESS1/LPHD1.PhyHealth": 1,
            "house/ESS1/LPHD1.PhyNam.vendor": "Fronius",
        }
        seen = len(consumer.received)
        house.publish(house.inverter, 2900.0, -1500.0, 55.5, 3, "Fronius")
        assert house.values(await consumer.message(topic, after=seen))["house/ESS1/LPHD1.PhyHealth"] == 3
        late = await consume(topic, name="late")
        assert (await late.message(topic)).retain


async def test_status_event_tells_feeder_and_position_of_each_device(house, broker, consume):
    house.told = {"radial_id": "feeder-12", "position": "geo:56.7,9"}
    house.publish_all()
    consumer = await consume(f"{NODE}/lessag-eb/status")
    async with house.running(broker.url):
        message = await consumer.message(f"{NODE}/lessag-eb/status")
    assert house.values(message) == {
        "house/ESS1/LPHD1.PhyHealth": 1,
        "house/ESS1/radial_id": "feeder-12",
        "house/ESS1/LPHD1.PhyNam.location": "geo:56.7,9",
        "house/ESS1/LPHD1.PhyNam.vendor": "Fronius",
    }
    assert len({record.get("t") for record in json.loads(message.payload) if "t" in record}) <= 1


async def test_online_is_retained_and_taken_back_on_a_clean_end(house, broker, consume):
    topic = f"{NODE}/smx-eb/online"
    async with house.running(broker.url):
        await house.until(lambda: house.counters.values.get("connected"))
        consumer = await consume(topic)
        assert house.values(await consumer.message(topic)) == {"house/smx/online": True}
    late = await consume(topic, name="late")
    assert house.values(await late.message(topic)) == {"house/smx/online": False}


async def test_last_will_says_offline_when_the_connection_breaks(house, broker, wire, consume):
    topic = f"{NODE}/smx-eb/online"
    async with house.running(wire.url):
        consumer = await consume(topic)
        assert house.values(await consumer.message(topic)) == {"house/smx/online": True}
        seen = len(consumer.received)
        wire.cut()
        assert house.values(await consumer.message(topic, after=seen)) == {"house/smx/online": False}
        seen = len(consumer.received)
        wire.mend()
        assert house.values(await consumer.message(topic, after=seen)) == {"house/smx/online": True}


async def test_half_open_connection_is_noticed_by_keep_alive(house, broker, wire, consume):
    async with house.running(wire.url, keepalive_s=1):
        wire.silent = True
        await house.until(lambda: not house.counters.values.get("connected"))
        wire.mend()
        await house.until(lambda: house.counters.values["connections_total"] >= 2)


async def test_cbor_and_xml_carry_the_same(house, broker, consume):
    house.publish_all()
    consumer = await consume()
    async with house.running(broker.url, format="cbor", node="binary"):
        records = cbor2.loads((await consumer.message("s4g/v1/house/binary/smx-eb/pcc-meter")).payload)
        assert [record[2] for record in records] == [250.0, 230.5]
    async with house.running(broker.url, format="xml", node="angles"):
        root = etree.fromstring((await consumer.message("s4g/v1/house/angles/smx-eb/pcc-meter")).payload)
        assert [float(record.get("v")) for record in root] == [250.0, 230.5]


async def test_include_chooses_data_sets_and_publish_none_leaves_the_events(house, broker, consume):
    house.publish_all()
    consumer = await consume(f"{NODE}/#")
    async with house.running(broker.url, include=("pcc*",)):
        await consumer.message(f"{NODE}/smx-eb/pcc-meter")
        await consumer.message(f"{NODE}/lessag-eb/status")
        assert {m.topic for m in consumer.received if "103" in m.topic or "secret" in m.topic} == set()
    seen = len(consumer.received)
    async with house.running(broker.url, publish="none"):
        await consumer.message(f"{NODE}/lessag-eb/status", after=seen)
        ended = f"{NODE}/smx-eb/pcc-meter"
        await house.until(lambda: any(m.topic == ended for m in consumer.received[seen:]))
        assert {m.topic.split("/")[-1] for m in consumer.received[seen:] if m.payload} <= {
            "online",
            "status",
            "measurement",
        }
    # What an earlier run has published is not left behind as if it still held.
    late = await consume(f"{NODE}/#", name="late")
    await late.message(f"{NODE}/smx-eb/online")
    assert all(message.topic != ended for message in late.received)


async def test_qos_0_needs_no_journal_and_forgets_while_the_broker_is_away(house, broker, wire, consume):
    consumer = await consume(f"{NODE}/smx-eb/pcc-meter")
    async with house.running(wire.url, qos=0):
        house.publish_all()
        await consumer.message(f"{NODE}/smx-eb/pcc-meter")
        wire.cut()
        await house.until(lambda: not house.counters.values.get("connected"))
        before = house.counters.values.get("dropped_total", 0)
        house.publish(house.meter, 1.0, 1.0)
        assert house.counters.values["dropped_total"] == before + 1
    assert not (house.state / "broker" / "journal").exists()


async def test_starts_without_a_broker_and_resumes_when_it_comes(house, broker, wire, consume):
    wire.open = False
    async with house.running(wire.url, connected=False) as task:
        house.publish_all()
        await house.until(lambda: (house.counters.values.get("backlog") or 0) >= 3, task)
        consumer = await consume(f"{NODE}/smx-eb/+")
        wire.mend()
        message = await consumer.message(f"{NODE}/smx-eb/inverter-103")
        assert house.values(message)["house/PV1/MMXU1.TotW"] == 3000.0


async def test_message_beyond_the_limit_is_refused_once_in_the_log_and_holds_up_nothing(
    house, broker, consume
):
    consumer = await consume(f"{NODE}/smx-eb/+")
    with structlog.testing.capture_logs() as logs:
        async with house.running(broker.url, max_message_bytes=1000):
            for number in range(2):
                house.publish(house.inverter, float(number), 0.0, 0.0, 1, "x" * 2000)
            house.publish_all()
            topic = f"{NODE}/smx-eb/inverter-103"
            await house.until(
                lambda: any(b"Fronius" in m.payload for m in consumer.received if m.topic == topic)
            )
            assert house.counters.values["refused_total"] >= 2
    refused = [entry["topic"] for entry in logs if entry["event"] == "message cannot be delivered"]
    assert sorted(refused) == sorted(set(refused))


def test_topic_names_are_unique_and_never_those_of_messages():
    names = (
        "inverter/103",
        "inverter 103",
        "command",
        "Grüße",
        "!!",
        "x" * 100,
        "read-answer",
        "-a-",
        "online",
    )
    data_sets = [DataSet(name, MEMBERS) for name in names]
    made = topic_names(data_sets)
    assert made == [
        "inverter-103", "inverter-103-2", "command-2", "Gr-e", "data-set", "x" * 63, "read-answer-2", "a", "online-2",
    ]  # fmt: skip
