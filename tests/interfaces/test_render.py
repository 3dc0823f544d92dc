"""What ``s4g interfaces`` prints."""

import json
from copy import deepcopy
from dataclasses import fields
from pathlib import Path

import jsonschema_rs
import pytest

from s4g_gateway.interfaces import Kind, Variable, build_catalogue, load_catalogue, parse_topic
from s4g_gateway.interfaces.render import (
    asyncapi_document,
    json_document,
    render_asyncapi,
    render_json,
    render_markdown,
)

PAGE = Path(__file__).parents[2] / "docs" / "interfaces.md"
CATALOGUE = load_catalogue()
DOCUMENT = asyncapi_document(CATALOGUE)


# Markdown


def test_the_page_in_docs_is_current():
    assert PAGE.read_text(encoding="utf-8") == render_markdown(CATALOGUE), (
        "docs/interfaces.md: s4g interfaces --format markdown > docs/interfaces.md"
    )


def test_the_page_names_every_interface_message_and_variable():
    page = render_markdown(CATALOGUE)
    for interface in CATALOGUE:
        assert f'<a id="{interface.slug}"></a>{interface.id}\n' in page
        assert f"(#{interface.slug})" in page
        for message in interface.messages:
            section = page.partition(f"### {message.name}\n")[2].partition("\n##")[0]
            assert message.period.text in section
            for variable in message.variables:
                assert variable.d31 in section
                assert variable.carrier == "time" or variable.name in section


def test_tables_keep_their_columns():
    for line in render_markdown(CATALOGUE).splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") in (7, 9), line


# JSON


def test_json_holds_every_attribute():
    document = json.loads(render_json(CATALOGUE))
    assert document == json.loads(json.dumps(json_document(CATALOGUE)))
    assert [entry["id"] for entry in document["interfaces"]] == [interface.id for interface in CATALOGUE]
    (measurement, _) = document["interfaces"][8]["messages"]
    assert (measurement["bver"], measurement["retained"]) == (26, True)
    assert measurement["period"]["max_s"] == 10
    grid = measurement["variables"][2]
    assert set(grid) == {field.name for field in fields(Variable)} | {"wire_range"}
    assert (grid["reference"], grid["wire_unit"], grid["factor"], grid["sign"]) == (
        "PCC1/MMXU1.TotW",
        "kW",
        0.001,
        1,
    )


# AsyncAPI


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(reference):
    assert reference.startswith("#/")
    node = DOCUMENT
    for part in reference[2:].split("/"):
        node = node[part]
    return node


def test_asyncapi_text_is_the_document():
    assert json.loads(render_asyncapi(CATALOGUE)) == DOCUMENT
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])


def test_every_reference_resolves():
    found = set(references(DOCUMENT))
    assert len(found) > 100
    for reference in found:
        assert isinstance(resolve(reference), dict), reference


def test_channels_are_topics_of_the_catalogue_and_none_is_missing():
    seen = set()
    for channel in DOCUMENT["channels"].values():
        address = channel["address"]
        for part in channel["parameters"]:
            assert f"{{{part}}}" in address
        topic = parse_topic(address.format(site="site-1", node="node-1", sender="sender-1"))
        seen.add((topic.message.name, topic.kind))
    expected = set()
    for message in CATALOGUE.messages():
        kinds = {
            Kind.COMMAND: ("command", "answer"),
            Kind.REQUEST: ("request", "state"),
        }.get(message.kind, ("state",))
        expected |= {(message.name, kind) for kind in kinds}
    assert seen == expected


def test_operations_use_messages_of_their_own_channel_and_have_a_counterpart():
    for name, operation in DOCUMENT["operations"].items():
        channel = operation["channel"]["$ref"]
        assert all(ref["$ref"].startswith(f"{channel}/messages/") for ref in operation["messages"])
        assert operation["tags"][0]["name"]
        other = "receive" if operation["action"] == "send" else "send"
        assert f"{name.rpartition('.')[0]}.{other}" in DOCUMENT["operations"]
        if "reply" in operation:
            reply = operation["reply"]["channel"]["$ref"]
            assert reply != channel
            assert all(ref["$ref"].startswith(f"{reply}/") for ref in operation["reply"]["messages"])
    replies = [operation for operation in DOCUMENT["operations"].values() if "reply" in operation]
    asked = [message for message in CATALOGUE.messages() if message.kind in (Kind.COMMAND, Kind.REQUEST)]
    assert len(replies) == 2 * len(asked)


def test_every_channel_is_sent_to_by_the_component_that_d31_says():
    operations = DOCUMENT["operations"]
    for name, component in (
        ("lessag-eb.measurement.send", "LESSAg"),
        ("lessag-eb.measurement.receive", "EB"),
        ("gesscon-lessag.command.send", "GESSCon"),
        ("gesscon-lessag.command.receive", "LESSAg"),
        ("gui-lessag.lessag-variables-request.send", "GUI"),
        ("remoteusm-smx.sub-meter-variables-request.receive", "RemoteUSM"),
    ):
        assert operations[name]["tags"] == [{"name": component}]
    assert operations["lessag-eb.status.send"]["bindings"]["mqtt"]["retain"] is True
    assert operations["gesscon-lessag.command.send"]["bindings"]["mqtt"]["retain"] is False


def test_interfaces_without_messages_stand_elsewhere():
    named = {entry["interface"] for entry in DOCUMENT["x-s4g-elsewhere"]}
    assert named == {interface.id for interface in CATALOGUE if not interface.messages}
    assert "DSO-SCADA#SMX" in named


def validator(name):
    schema = deepcopy(DOCUMENT["components"]["messages"][name]["payload"]["schema"])
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    schema["components"] = {"schemas": DOCUMENT["components"]["schemas"]}
    jsonschema_rs.meta.validate(schema)
    return jsonschema_rs.Draft7Validator(schema)


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_every_payload_schema_is_valid_draft_07(name):
    payload = DOCUMENT["components"]["messages"][name]["payload"]
    assert payload["schemaFormat"] == "application/schema+json;version=draft-07"
    assert not validator(name).is_valid({"no": "pack"})


def pack(message, *, site="bolzano-1"):
    """A pack as RFC 8428 has it, one base name for each logical device."""
    records, device = [], ""
    for variable in message.records:
        record = {"n": variable.name}
        if variable.device != device:
            device = variable.device
            record["bn"] = f"{site}/{device}/"
        if variable.wire_unit:
            record["u"] = variable.wire_unit
        literal = variable.values[0].value if variable.values else None
        label, value = {
            "boolean": ("vb", True),
            "text": ("vs", ""),
        }.get(variable.value_type, ("v", 1))
        record[label] = value if literal is None else literal
        records.append(record)
    if message.kind is Kind.COMMAND:
        head = [("cmd.id", "vs", "a:1"), ("cmd.ctlNum", "v", 1), ("cmd.priority", "v", 1)]
        head.append(("cmd.notAfter", "v", 1.7e9))
        records = [{"bn": f"{site}/", "n": n, label: v} for n, label, v in head] + records
    if records:
        records[0] |= {"bt": 1.7e9, "bver": message.senml_version}
    return records


CLOSED = [message for message in CATALOGUE.messages() if not message.open]


@pytest.mark.parametrize("message", CLOSED, ids=lambda message: message.name)
def test_a_pack_fits_its_schema_and_a_wrong_one_does_not(message):
    check = validator(message.name.replace("/", "."))
    good = pack(message)
    check.validate(good)
    check.validate([*good, {"n": f"{message.records[0].name}.q", "v": 3}])
    # The same with whole names instead of base names.
    plain = [{**{k: v for k, v in r.items() if k != "bn"}, "n": f"s/X1/{r['n']}"} for r in good]
    check.validate(plain)
    for position, record in enumerate(good):
        name = record["n"]
        for wrong in (
            {**record, "n": "unknown_name"},
            {k: v for k, v in record.items() if k not in ("v", "vb", "vs")},
            {**record, "vs": "x", "v": 1},
            {**record, "must_": 1},
            {**record, "u": "furlong"} if "u" in record else {**record, "bn": 1},
        ):
            assert not check.is_valid([*good[:position], wrong, *good[position + 1 :]]), wrong
        if name.startswith("cmd."):
            assert not check.is_valid(good[:position] + good[position + 1 :])
    for variable in message.records:
        same = [v for v in message.records if v.name == variable.name]
        if any(v.mandatory for v in same):
            assert not check.is_valid([r for r in good if r["n"] != variable.name]), variable.name
    assert not check.is_valid([])


def test_limits_and_literals_stand_in_the_schema():
    message = CATALOGUE.message("er-smx/operation")
    check = validator("er-smx.operation")
    for mode, good in ((0, False), (1, True), (5, True), (6, False)):
        records = [{**r, "v": mode} if r["n"] == "operation_mode" else r for r in pack(message)]
        assert check.is_valid(records) is good
    soc = CATALOGUE.message("lessag-eb/measurement")
    check = validator("lessag-eb.measurement")
    for value, good in ((-0.1, False), (0, True), (100, True), (100.1, False)):
        records = [{**r, "v": value} if r["n"].startswith("DSTO1") else r for r in pack(soc)]
        assert check.is_valid(records) is good


def test_answers_requests_and_open_packs():
    answer = validator("gesscon-lessag.command-answer")
    good = [
        {"bn": "s/", "n": "cmd.id", "vs": "a"},
        {"n": "cmd.accepted", "vb": False},
        {"n": "cmd.addCause", "vs": "time-limit-over"},
    ]
    answer.validate(good)
    assert not answer.is_valid(good[:2])
    assert not answer.is_valid([*good[:2], {"n": "cmd.addCause", "vs": "because"}])
    request = validator("smx-eb.read-request")
    assert not request.is_valid([])
    request.validate([{"n": "s/PCC1/MMXU1.TotW"}])
    assert not request.is_valid([{"n": "s/PCC1/MMXU1.TotW", "v": 1}])
    command = validator("smx-eb.command")
    head = pack(CATALOGUE.message("smx-eb/command"))
    command.validate([*head, {"n": "s/ESS1/DWGC1.WSpt", "v": 1, "u": "W"}])
    assert not command.is_valid(head[1:])
    anything = validator("smx-eb.measurement")
    anything.validate([{"n": "s/PCC1/MMXU1.TotW", "v": 1, "u": "W"}])
    assert not anything.is_valid([{"n": "s/PCC1/MMXU1.TotW", "v": 1, "vs": "x"}])


def test_rendering_is_a_pure_function_of_the_catalogue():
    empty = build_catalogue({})
    assert json.loads(render_json(empty))["interfaces"] == []
    assert json.loads(render_asyncapi(empty))["channels"] == {}
    assert render_markdown(empty).startswith("# Interfaces\n")
