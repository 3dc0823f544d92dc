"""Points listed, read and subscribed within a client's rights, against both brokers."""

import json

import cbor2
import pytest

from s4g_gateway.errors import DecodeError
from s4g_gateway.northbound.mqtt import requests as requests_module
from s4g_gateway.northbound.mqtt.packs import Request, decode_request

NODE = "s4g/v1/house/smx/smx-eb"
NOTHING = b""


def names(*references, **members):
    records = [
        {"n": f"house/cmd.{name}", ("vs" if isinstance(v, str) else "v"): v} for name, v in members.items()
    ]
    return records + [{"n": f"house/{reference}"} for reference in references]


async def ask(consumer, what, pack, sender="screen"):
    seen = len(consumer.received)
    consumer.ask(f"{NODE}/{what}/{sender}", pack)
    return await consumer.message(f"s4g/v1/house/{sender}/smx-eb/{what}-answer/smx", after=seen)


async def test_points_are_listed_with_unit_and_kind_within_the_rights(house, broker, consume):
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    async with house.running(broker.url):
        message = await ask(consumer, "points", NOTHING)
        assert not message.retain
        records = {record["n"]: record for record in json.loads(message.payload)}
        assert records.pop("house/cmd.accepted")["vb"] is True
        assert records.pop("house/cmd.addCause")["vs"] == "none"
        assert "house/SEC1/MMXU1.TotW" not in records
        assert len(records) == 7
        assert records["house/ESS1/MMXU1.TotW"] == {
            "n": "house/ESS1/MMXU1.TotW",
            "u": "W",
            "vs": "MV float: battery power",
        }


async def test_values_are_read_by_reference(house, broker, consume):
    house.publish_all()
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    async with house.running(broker.url):
        pack = names("PCC1/MMXU1.TotW", "ESS1/DSTO1.SocEffWhPct", id="q-1")
        assert house.values(await ask(consumer, "read", pack)) == {
            "house/cmd.id": "q-1",
            "house/cmd.accepted": True,
            "house/cmd.addCause": "none",
            "house/PCC1/MMXU1.TotW": 250,
            "house/ESS1/DSTO1.SocEffWhPct": 55.5,
        }
        everything = house.values(await ask(consumer, "read", NOTHING))
        assert len(everything) == 7 + 2
        binary = cbor2.loads(
            (await ask(consumer, "read", cbor2.dumps([{0: "house/PCC1/MMXU1.TotW"}]))).payload
        )
        assert binary[2][2] == 250


async def test_what_a_client_may_not_read_is_refused_and_so_is_what_does_not_exist(house, broker, consume):
    house.publish_all()
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    refusal = {"house/cmd.accepted": False, "house/cmd.addCause": "no-access-authority"}
    async with house.running(broker.url):
        for what in ("points", "read", "subscribe"):
            secret = await ask(consumer, what, names("PCC1/MMXU1.TotW", "SEC1/MMXU1.TotW"))
            assert house.values(secret) == refusal
            assert house.values(await ask(consumer, what, NOTHING, "stranger")) == refusal
            missing = house.values(await ask(consumer, what, names("PCC1/MMXU1.TotVA")))
            assert missing["house/cmd.addCause"] == "not-supported"
        assert house.counters.values["requests_refused_total"] == 9


async def test_subscription_reports_changes_to_its_owner_until_the_lease_is_over(house, broker, consume):
    house.publish_all()
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    mine = "s4g/v1/house/screen/smx-eb/report/smx"
    async with house.running(broker.url):
        answer = await ask(consumer, "subscribe", names("PCC1/MMXU1.TotW", "PV1/MMXU1.TotW", lease=2))
        assert house.values(answer)["house/cmd.lease"] == 2
        first = house.values(await consumer.message(mine))
        assert first == {"house/PCC1/MMXU1.TotW": 250.0, "house/PV1/MMXU1.TotW": 3000.0}
        seen = len(consumer.received)
        house.publish(house.meter, 260.0, 230.5)
        assert house.values(await consumer.message(mine, after=seen)) == {"house/PCC1/MMXU1.TotW": 260.0}
        await house.until(lambda: house.counters.values.get("subscriptions") == 1)
        await house.until(lambda: house.counters.values.get("subscriptions") == 0)
        seen = len(consumer.received)
        house.publish(house.meter, 270.0, 230.5)
        await ask(consumer, "read", NOTHING)
        assert [m.topic for m in consumer.received[seen:] if m.topic == mine] == []


async def test_subscription_is_renewed_replaced_and_given_up_by_its_id(house, broker, consume):
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    mine = "s4g/v1/house/screen/smx-eb/report/smx"
    async with house.running(broker.url):
        await ask(consumer, "subscribe", names("PCC1/MMXU1.TotW", id="a"))
        await ask(consumer, "subscribe", names("PV1/MMXU1.TotW", id="b"))
        await ask(consumer, "subscribe", names("PCC1/MMXU1.AvPhVPhs", id="a"))
        house.publish_all()
        await house.until(lambda: sum(m.topic == mine for m in consumer.received) >= 5)
        last = [house.values(m) for m in consumer.received if m.topic == mine][-2:]
        assert {name for found in last for name in found} == {
            "house/PCC1/MMXU1.AvPhVPhs",
            "house/PV1/MMXU1.TotW",
        }
        for name in ("a", "b"):
            gone = await ask(consumer, "subscribe", names(id=name, lease=0))
            assert house.values(gone)["house/cmd.lease"] == 0
        seen = len(consumer.received)
        house.publish(house.meter, 1.0, 1.0)
        await ask(consumer, "read", NOTHING)
        assert [m.topic for m in consumer.received[seen:] if m.topic == mine] == []


async def test_subscription_outlives_the_broker_and_begins_anew_with_all_values(house, broker, wire, consume):
    house.publish_all()
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    mine = "s4g/v1/house/screen/smx-eb/report/smx"
    async with house.running(wire.url):
        await ask(consumer, "subscribe", names("PCC1/MMXU1.TotW"))
        wire.cut()
        await house.until(lambda: not house.counters.values.get("connected"))
        house.publish(house.meter, 300.0, 230.5)
        seen = len(consumer.received)
        wire.mend()
        assert house.values(await consumer.message(mine, after=seen)) == {"house/PCC1/MMXU1.TotW": 300.0}


async def test_number_and_size_of_subscriptions_are_bounded(house, broker, consume):
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    async with house.running(broker.url, max_lease_points=8, max_lease_s=100):
        first = await ask(consumer, "subscribe", names(lease=1e9))
        assert house.values(first)["house/cmd.lease"] == 100
        second = await ask(consumer, "subscribe", names("PCC1/MMXU1.TotW", "PV1/MMXU1.TotW", id="b"))
        assert house.values(second)["house/cmd.addCause"] == "step-limit"
        wrong = await ask(consumer, "subscribe", names("PCC1/MMXU1.TotW", lease="long"))
        assert house.values(wrong)["house/cmd.addCause"] == "inconsistent-parameters"


async def test_long_answers_come_in_several_messages_and_the_last_one_says_so(
    house, broker, consume, monkeypatch
):
    monkeypatch.setattr(requests_module, "POINTS_PER_MESSAGE", 3)
    house.publish_all()
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    async with house.running(broker.url):
        consumer.ask(f"{NODE}/read/screen", names(id="long"))
        await house.until(lambda: len(consumer.received) == 3)
        packs = [house.values(message) for message in consumer.received]
        assert ["house/cmd.accepted" in pack for pack in packs] == [False, False, True]
        assert [pack.pop("house/cmd.id") for pack in packs] == ["long"] * 3
        assert [len(pack) for pack in packs] == [3, 3, 1 + 2]


async def test_malformed_requests_are_counted(house, broker, consume):
    consumer = await consume("s4g/v1/house/+/smx-eb/+/smx")
    async with house.running(broker.url):
        for payload in (b"x", b"{}", b"[1]", b'[{"n":"other/x"}]', b'[{"n":"house/PV1/MMXU1.TotW","v":1}]'):
            consumer.ask(f"{NODE}/read/screen", payload)
        await house.until(lambda: house.counters.values.get("malformed_total") == 5)


# -- the FETCH pack ------------------------------------------------------------------------------------------


def test_request_is_read_in_json_and_cbor_with_base_names():
    expected = Request(names=("PCC1/MMXU1.TotW", "PCC1/MMXU1.TotVAr"), members={"id": "q", "lease": 5})
    json_pack = [
        {"n": "house/cmd.id", "vs": "q"},
        {"n": "house/cmd.lease", "v": 5},
        {"bn": "house/PCC1/", "n": "MMXU1.TotW"},
        {"n": "MMXU1.TotVAr"},
        {"n": "MMXU1.TotW"},
    ]
    labels = {"bn": -2, "n": 0, "v": 2, "vs": 3}
    cbor_pack = [{labels[label]: value for label, value in record.items()} for record in json_pack]
    assert decode_request(json.dumps(json_pack).encode(), site="house") == expected
    assert decode_request(cbor2.dumps(cbor_pack), site="house") == expected
    assert decode_request(b"", site="house") == Request(names=(), members={})


@pytest.mark.parametrize(
    "payload",
    [
        b"\x00",
        b"<sensml/>",
        b"[",
        b"[]",
        b"[[]]",
        b'[{"n":5}]',
        b'[{"n":"house/cmd.id"}]',
        b'[{"n":"house/cmd.id","v":true}]',
        b'[{"bn":"housex/","n":"PV1"}]',
        b"\x81" * 3000,
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        json.dumps([{"n": "house/" + "x" * 400}]).encode(),
        json.dumps([{"n": "house/PV1"}] * 20_001).encode(),
    ],
)
def test_what_is_no_request_is_a_decode_error(payload):
    with pytest.raises(DecodeError):
        decode_request(payload, site="house")
