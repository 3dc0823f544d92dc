"""Every example of docs/mqtt.md is carried out against both brokers, as it stands there."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from s4g_gateway.errors import ConfigError
from s4g_gateway.model import Report
from s4g_gateway.runtime.config import load_site
from s4g_gateway.runtime.site_config import SiteTable
from s4g_gateway.runtime.tables import check_table, table_schema

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "mqtt.md").read_text()
NODE = "s4g/v1/house/smx"
SECOND_NS = 1_000_000_000
START_NS = 1_795_477_561_059_805_000
SITE = """
[site]
name = "house"
[[southbound]]
name = "inverter"
type = "sunspec"
host = "192.0.2.10"
[[southbound.device]]
template = "fronius-symo-hybrid"
"""


def block(kind):
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return found


def resolved(pack):
    """Returns name -> (time, unit, value) of a pack, as RFC 8428 puts it together."""
    base, moment, found = "", 0.0, {}
    for record in pack:
        base, moment = record.get("bn", base), record.get("bt", moment)
        value = next((record[label] for label in ("v", "vb", "vs") if label in record), None)
        found[base + record["n"]] = (round(moment + record.get("t", 0.0), 6), record.get("u"), value)
    return found


def same(message, kind):
    return resolved(json.loads(message.payload)) == resolved(json.loads(block(f"json {kind}")))


async def seen(house, consumer, topic, kind):
    """Waits until an example of the page has come on a topic."""
    found = lambda: any(m.payload and same(m, kind) for m in consumer.received if m.topic == topic)  # noqa: E731
    await house.until(found)


async def test_payloads_are_those_of_the_page(house, broker, consume):
    consumer = await consume(f"{NODE}/#")
    topic = f"{NODE}/smx-eb/pcc-meter"
    async with house.running(broker.url, measurement_period_s=1, integrity_period_s=1000):
        house.publish(house.inverter, 3000.0, -1500.0, 55.5, 1, "Fronius", time_ns=START_NS)
        house.publish(house.meter, 250.0, 230.5, time_ns=START_NS)
        await seen(house, consumer, topic, "whole")
        await seen(house, consumer, f"{NODE}/lessag-eb/measurement", "measurement")
        house.publish(house.meter, 251.0, 230.5, time_ns=START_NS + SECOND_NS)
        await seen(house, consumer, topic, "change")
        old = Report(house.meter, (251.0, 230.5), (0, 131), START_NS + 2 * SECOND_NS)
        house.database.publish(old)
        await seen(house, consumer, topic, "questionable")
        house.database.publish(Report(house.meter, (251.0, None), (0, 2), START_NS + 3 * SECOND_NS))
        await seen(house, consumer, topic, "invalid")


@pytest.mark.parametrize(
    ("sender", "message", "example", "answers_on"),
    [
        ("grid", "command", "command", f"{NODE}/smx-eb/command-answer"),
        ("screen", "read", "read", "s4g/v1/house/screen/smx-eb/read-answer/smx"),
        ("screen", "subscribe", "subscribe", "s4g/v1/house/screen/smx-eb/subscribe-answer/smx"),
    ],
)
async def test_what_is_asked_is_answered_as_the_page_says(
    house, broker, consume, sender, message, example, answers_on
):
    consumer = await consume(answers_on)
    async with house.running(broker.url):
        house.publish(house.meter, 251.0, 230.5, time_ns=START_NS + SECOND_NS)
        consumer.ask(f"{NODE}/smx-eb/{message}/{sender}", block(f"json {example}").encode())
        await seen(house, consumer, answers_on, "answer" if message == "command" else f"{message}-answer")
    assert house.executed == ([("ESS1/DWGC1.WSpt", 1500.0)] if message == "command" else [])


def test_a_consumer_of_the_page_takes_every_record_once(monkeypatch):
    namespace = {}
    exec(block("python consumer"), namespace)
    take = namespace["take"]
    whole, change = block("json whole").encode(), block("json change").encode()
    assert [take(pack) for pack in (whole, change, whole, change, b"")] == [2, 1, 0, 0, 0]
    assert take(block("json questionable").encode()) == 2
    monkeypatch.setattr(namespace["time"], "time", lambda: 1_795_477_570.0)
    assert take(b'[{"n":"house/smx/online","vb":false}]') == 1
    rows = namespace["store"].execute("SELECT name, time, value FROM record ORDER BY time, name").fetchall()
    assert rows[-1] == ("house/smx/online", 1_795_477_570.0, 0)
    assert len(rows) == 6


def test_configurations_of_the_page_are_sound(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE + block("toml connector"))
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    # the certificates are not there
    assert [problem.key for problem in caught.value.problems] == ["northbound[0].tls"]
    table = {"name": "house"} | tomllib.loads(block("toml roles"))["site"]
    assert check_table(table, table_schema(SiteTable), file="", key="site") == []
    connector = re.sub(r"(?s)\n\[northbound.tls\].*?\n\n", "\n", block("toml connector"))
    path.write_text(SITE + block("toml roles") + connector.replace("mqtts://eb.example", "mqtt://127.0.0.1"))
    (entry,) = load_site(path).northbound
    references = entry.connector.events.measurement.data_set.references
    assert {"PV1/MMDC1.Watt", "ESS1/DBAT1.Watt"} <= set(references)


def test_the_access_list_of_the_page_is_the_one_that_is_tested():
    tested = (Path(__file__).parent / "test_tls_and_access.py").read_text()
    lines = re.findall(r"^ *(pattern (?:read|write) .*)$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    assert all(line in tested.splitlines() for line in lines)


def test_every_counter_stands_on_the_page():
    text = "".join(path.read_text() for path in (ROOT / "s4g_gateway/northbound/mqtt").glob("*.py"))
    used = set(re.findall(r"counters\.(?:add|set)\(\s*\"(\w+)\"", text)) | {
        "commands_accepted_total",
        "commands_refused_total",
    }
    table = PAGE[PAGE.index("## Counters") : PAGE.index("## What it costs")]
    assert set(re.findall(r"`(\w+)`", table)) - {"max_message_bytes"} == used


def test_every_cause_named_on_the_page_is_one():
    from s4g_gateway.model import AddCause

    table = PAGE[PAGE.index("| `cmd.addCause` |") : PAGE.index("## Requests")]
    named = set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))
    assert named < {cause.name.lower().replace("_", "-") for cause in AddCause}
    assert len(named) == 8
