"""Messages that meters push."""

import pytest

from s4g_gateway.model import quality as q
from s4g_gateway.simulators.dlms_meter import data_notification, push
from s4g_gateway.simulators.dlms_meter.axdr import Tag, encode_length, number, octets, structure
from s4g_gateway.simulators.dlms_meter.security import BOTH, protect

POWER, VOLTAGE = "PCC1/MMXU1.TotW", "PCC1/MMXU1.PhV.phsA"
TITLE = bytes.fromhex("53494d0000000001")
OBJECTS = ("0.0.1.0.0.255", "1.0.16.7.0.255", "1.0.32.7.0.255")
SLOW_S = 30.0


def body(power_w, voltage_dv=2301):
    return structure(
        octets(bytes(12)), number(Tag.DOUBLE_LONG, power_w), number(Tag.LONG_UNSIGNED, voltage_dv)
    )


@pytest.fixture
async def listening(run, wait_until, meters, keys, connector, device):
    """A connector that listens, and has read its meter once."""

    async def start(mode="none", **more):
        meter = await meters(mode)
        table = device(meter, security=keys[mode], push_objects=OBJECTS, period_s=1000.0, **more)
        it = run(connector(table, listen="127.0.0.1:0"))
        await wait_until(lambda: it.database.reports and it.connector.push_port, SLOW_S)
        return it, meter

    return start


async def test_a_pushed_message_is_a_partial_report(wait_until, listening):
    it, _meter = await listening()
    await push("127.0.0.1", it.connector.push_port, [data_notification(body(-4321))])
    await wait_until(lambda: len(it.database.reports) == 2, SLOW_S)
    assert it.database.value(POWER) == 4321.0
    assert it.database.value(VOLTAGE) == 230.1
    report = it.database.reports[-1]
    assert sum(report.included) == 2
    assert it.database.quality(POWER) == q.GOOD


@pytest.mark.parametrize(
    "apdu",
    [
        data_notification(structure(number(Tag.DOUBLE_LONG, 1))),
        data_notification(body(5))[:-2],
        b"\x0f",
        b"\xdb\x08" + TITLE + b"\x05\x30\x00\x00\x00\x01",
        b"\x61\x00",
    ],
    ids=["too few", "cut", "no body", "bad cipher", "no notification"],
)
async def test_what_is_no_such_message_changes_nothing_and_is_said_once(wait_until, listening, said, apdu):
    it, _ = await listening()
    await push("127.0.0.1", it.connector.push_port, [apdu] * 3)
    await wait_until(lambda: it.counters.values.get("push_refused_total") == 3, SLOW_S)
    await wait_until(lambda: said(it), SLOW_S)
    assert said(it) == ["pushed message refused"]
    await push("127.0.0.1", it.connector.push_port, [data_notification(body(8))])
    await wait_until(lambda: len(it.database.reports) == 2, SLOW_S)
    assert it.database.value(POWER) == -8.0


async def test_a_sender_that_is_no_meter_is_refused(wait_until, listening, said):
    it, _ = await listening()
    await push("127.0.0.1", it.connector.push_port, [data_notification(body(1))], source=77)
    await wait_until(lambda: it.counters.values.get("push_refused_total") == 1, SLOW_S)
    assert len(it.database.reports) == 1


async def test_a_ciphered_meter_pushes_ciphered_and_never_the_same_twice(wait_until, listening, meters, keys):
    security = keys["gmac-ciphered"]
    keys["gmac-ciphered"] = type(security)(
        authentication="hls-gmac",
        key_file=security.key_file,
        system_title=security.system_title,
        ciphered=True,
        meter_system_title=TITLE.hex(),
    )
    it, meter = await listening("gmac-ciphered")
    meter_keys = meter.household.device.security.keys
    sealed = protect(meter_keys, TITLE, 900, BOTH, data_notification(body(-50)))
    apdu = b"\xdb\x08" + TITLE + encode_length(len(sealed)) + sealed
    await push("127.0.0.1", it.connector.push_port, [apdu, apdu, data_notification(body(-60))])
    await wait_until(lambda: it.counters.values.get("push_refused_total") == 2, SLOW_S)
    assert it.counters.values["push_total"] == 1
    assert it.database.value(POWER) == 50.0
