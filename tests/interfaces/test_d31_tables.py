"""The catalogue against the tables of D3.1, read out of the document's own text.

``d31_tables.txt`` holds the printed tables, ``corrections.toml`` where they are not meant as printed. What
D3.1 does not fix (wire names, references, signs) is pinned in ``wire_contract.csv``: peers rely on it.
"""

import csv
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import pytest

from s4g_gateway.interfaces import (
    Catalogue,
    Direction,
    Frame,
    Interface,
    Message,
    Period,
    PeriodKind,
    load_catalogue,
)

DATA = Path(__file__).parent / "data"
CORRECTIONS = tomllib.loads((DATA / "corrections.toml").read_text(encoding="utf-8"))
SEVERAL = {entry["row"]: tuple(entry["parts"]) for entry in CORRECTIONS["several"]}
UNITS = {"kW", "W", "kWh", "Wh", "kvar", "var", "V", "s", "%", "Decimal Degrees", "Boolean"}
WIRE_UNITS = {unit: {unit} for unit in UNITS} | {
    "%": {"%EL"},
    "Decimal Degrees": {"lat", "lon"},
    "Boolean": {""},
}
FACTORS = {"kW": 0.001, "kWh": 0.001, "kvar": 0.001}


@dataclass
class Printed:
    """One message as D3.1 prints it."""

    title: str
    description: str
    direction: str
    period: str
    rows: list[str] = field(default_factory=list)


def printed_lines():
    """Yields (table, cells), rows that a page break cut joined; headings and rulers left out."""
    table = ""
    found: list[tuple[str, list[str]]] = []
    joined = 0
    for line in (DATA / "d31_tables.txt").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"(Table \d+) - |(4\.1\.\d+) ", line):
            table = heading[1] or f"§{heading[2]}"
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 2 or not "".join(cells).strip("-"):
            continue
        if cells[0] in ("Message ID", "Interface ID", "Model"):
            continue
        if any(
            entry["table"] == table
            and entry["first_cell"] == cells[0]
            # Columns 1 and 2 tell a continued row from one that merely begins with an empty cell.
            and entry.get("description", cells[1]) == cells[1]
            and (cells[0] or cells[1] or len(cells) == 3)
            for entry in CORRECTIONS["continued"]
        ):
            earlier = found[-1][1]
            found[-1] = (table, [f"{a} {b}".strip() for a, b in zip(earlier, cells, strict=True)])
            joined += 1
            continue
        found.append((table, cells))
    assert joined == len(CORRECTIONS["continued"])
    return found


def printed_messages():
    """Returns the messages by table, corrected."""
    tables: dict[str, list[Printed]] = {}
    for table, cells in printed_lines():
        if len(cells) != 5:
            continue
        messages = tables.setdefault(table, [])
        if cells[0]:
            messages.append(Printed(cells[0], cells[1], cells[2], cells[4], [cells[3]]))
        else:
            assert cells[1:3] == ["", ""], (table, cells)
            assert cells[4] == "", (table, cells)
            messages[-1].rows.append(cells[3])
    for entry in CORRECTIONS["replaced"]:
        (message,) = [m for m in tables[entry["table"]] if m.title == entry["message"]]
        assert getattr(message, entry["field"]) == entry["printed"], entry
        setattr(message, entry["field"], entry["meant"])
    for entry in CORRECTIONS["moved"]:
        by_title = {message.title: message for message in tables[entry["table"]]}
        assert by_title[entry["from"]].rows.pop(0) == entry["row"], entry
        by_title[entry["to"]].rows.append(entry["row"])
    return tables


PRINTED = printed_messages()


def contract_row(message: Message, variable) -> tuple[str, ...]:
    limits = tuple("" if limit is None else f"{limit:g}" for limit in (variable.minimum, variable.maximum))
    return (
        message.name,
        variable.d31,
        variable.part,
        variable.carrier,
        f"{variable.device}/{variable.name}",
        variable.reference or "",
        variable.value_type,
        variable.cdc,
        variable.unit,
        variable.wire_unit,
        f"{variable.factor:g}",
        str(variable.sign),
        str(variable.half),
        variable.frame,
        *limits,
        str(variable.mandatory),
        str(variable.array),
        str(variable.slot_priority),
        " ".join(str(literal.value) for literal in variable.values),
        variable.pattern,
    )


def contract_rows(catalogue: Catalogue):
    return [contract_row(m, v) for i in catalogue if i.table for m in i.messages for v in m.variables]


with (DATA / "wire_contract.csv").open(encoding="utf-8", newline="") as lines:
    CONTRACT = [tuple(row) for row in csv.reader(lines)][1:]


def differences(catalogue: Catalogue) -> list[str]:
    """Returns every place where the catalogue is not what D3.1 prints."""
    found = []
    by_table = {interface.table: interface for interface in catalogue if interface.table}
    if set(by_table) != set(PRINTED):
        found.append(f"tables {set(by_table) ^ set(PRINTED)}")
    for table, expected in PRINTED.items():
        if table not in by_table:
            continue
        messages = by_table[table].messages
        if [message.title for message in messages] != [message.title for message in expected]:
            found.append(f"{table}: messages {[message.title for message in messages]}")
            continue
        for message, printed in zip(messages, expected, strict=True):
            found += [f"{table}: {message.title}: {text}" for text in _message(message, printed)]
    return found


def _message(message: Message, printed: Printed):
    if (message.description, message.direction_text) != (printed.description, printed.direction):
        yield "description or direction"
    chain = [message.directions[0].sender, *(hop.receiver for hop in message.directions)]
    if [part.strip().upper() for part in printed.direction.split("→")] != [
        part.upper().removesuffix("-RU") for part in chain
    ]:
        yield f"directions {chain}"
    typed = CORRECTIONS["periods"][printed.period]
    if message.period != Period(text=printed.period, **typed | {"kind": PeriodKind(typed["kind"])}):
        yield f"period {message.period}"
    rows = [(row, list(variables)) for row, variables in groupby(message.variables, key=lambda v: v.d31)]
    if [row for row, _ in rows] != printed.rows:
        yield f"rows {[row for row, _ in rows]}, expected {printed.rows}"
    for row, variables in rows:
        if tuple(variable.part for variable in variables) != SEVERAL.get(row, ("",)):
            yield f"{row}: parts {[variable.part for variable in variables]}"
        in_row = {unit for unit in re.findall(r"[(\[]([^()\[\]]+)[)\]]", row) if unit in UNITS}
        if {variable.d31_unit for variable in variables} - {""} != in_row:
            yield f"{row}: units, expected {in_row}"
        for variable in variables:
            named = [unit for unit in UNITS if f"({unit})" in variable.part or f"[{unit}]" in variable.part]
            if named and variable.d31_unit != named[0]:
                yield f"{variable.part}: unit {variable.d31_unit}"
            if variable.d31_unit and variable.wire_unit not in WIRE_UNITS[variable.d31_unit]:
                yield f"{row}: {variable.d31_unit} travels as {variable.wire_unit}"
            if variable.factor != FACTORS.get(variable.wire_unit, 1):
                yield f"{row}: factor {variable.factor}"


def test_every_row_unit_direction_and_period_of_every_table_is_there():
    assert differences(load_catalogue()) == []


def test_names_references_signs_and_units_on_the_wire_are_those_that_peers_rely_on():
    assert contract_rows(load_catalogue()) == CONTRACT


def test_there_are_16_tables_and_34_messages():
    assert len(PRINTED) == 16
    assert sum(len(messages) for messages in PRINTED.values()) == 34
    with_table = [interface for interface in load_catalogue() if interface.table]
    assert (len(with_table), sum(len(i.messages) for i in with_table)) == (16, 34)


def test_all_27_numbered_interfaces_and_the_aggregator_are_there():
    numbered = {}
    for table, cells in printed_lines():
        if table in ("Table 3", "Table 13"):
            for cell in filter(None, cells):
                number, _, name = cell.partition(". ")
                numbered[int(number)] = name
    catalogue = load_catalogue()
    assert sorted(numbered) == list(range(1, 28))
    assert {i.number: i.id for i in catalogue if i.number is not None} == numbered
    assert [i.id for i in catalogue if i.number is None] == ["Aggregator#GESSCon"]
    assert len(catalogue) == 28


def test_information_models_are_those_of_table_20():
    expected = Counter()
    model = ""
    for table, cells in printed_lines():
        if table == "Table 20":
            model = cells[0] or model
            expected[cells[1], model] += 1
    found = Counter((i.id, model) for i in load_catalogue() for model in i.information_models)
    assert found == expected
    assert len(expected) == 9


def test_an_interface_without_table_says_what_fills_it_and_whose_decision_that_is():
    for interface in load_catalogue():
        if not interface.table:
            assert interface.filled_by is not None
            assert interface.filled_by.standard
            assert interface.filled_by.decision
            assert interface.filled_by.marked_as_ours
            assert all(message.ours for message in interface.messages)
        else:
            assert not any(message.ours for message in interface.messages)


# Mutation check: each of these must make ``differences`` speak up.


def with_message(catalogue: Catalogue, interface: Interface, old: Message, new: Message | None) -> Catalogue:
    messages = tuple(new if m is old else m for m in interface.messages if not (m is old and new is None))
    changed = replace(interface, messages=messages)
    return Catalogue(tuple(changed if i is interface else i for i in catalogue))


def message_mutants(message: Message):
    yield "removed", None
    yield "title", replace(message, title=message.title + "s")
    yield "description", replace(message, description="")
    yield "direction text", replace(message, direction_text=message.direction_text[::-1])
    turned = tuple(Direction(sender=h.receiver, receiver=h.sender) for h in message.directions)
    if turned != message.directions[::-1]:
        yield "directions", replace(message, directions=turned[::-1])
    yield "period text", replace(message, period=replace(message.period, text="Now and then"))
    other = PeriodKind.EVENT if message.period.kind is not PeriodKind.EVENT else PeriodKind.VARIABLE
    yield "period kind", replace(message, period=replace(message.period, kind=other))
    yield "period limit", replace(message, period=replace(message.period, max_s=7))
    yield "order", replace(message, variables=(message.variables[-1], *message.variables[:-1]))
    for at, variable in enumerate(message.variables):
        rest = message.variables[:at], message.variables[at + 1 :]
        yield f"{variable.name} removed", replace(message, variables=rest[0] + rest[1])
        yield f"{variable.name} twice", replace(message, variables=rest[0] + (variable, variable) + rest[1])
        for changed in printed_mutants(variable):
            variables = (*rest[0], changed, *rest[1])
            yield f"{variable.name} changed to {changed}", replace(message, variables=variables)


def printed_mutants(variable):
    yield replace(variable, d31=variable.d31 + " ")
    yield replace(variable, part="something else")
    yield replace(variable, d31_unit="W" if variable.d31_unit != "W" else "kW")
    if variable.d31_unit:
        yield replace(variable, wire_unit="A")
        yield replace(variable, factor=variable.factor * 10)


def wire_mutants(variable):
    yield replace(variable, name="other_name")
    yield replace(variable, device="X1")
    yield replace(variable, reference="X1/GGIO1.AnIn1")
    yield replace(variable, unit="A")
    yield replace(variable, wire_unit="A")
    yield replace(variable, sign=-variable.sign)
    yield replace(variable, half=not variable.half)
    yield replace(variable, frame=Frame.NONE if variable.frame is not Frame.NONE else Frame.GENERATOR)
    yield replace(variable, minimum=-12345)
    yield replace(variable, mandatory=not variable.mandatory)
    yield replace(variable, array=not variable.array)


TABLED = [i.slug for i in load_catalogue() if i.table]


@pytest.mark.parametrize("slug", TABLED)
def test_d31s_tables_notice_what_is_removed_or_altered(slug):
    catalogue = load_catalogue()
    interface = catalogue.interface(slug)
    tried = 0
    for message in interface.messages:
        for what, mutant in message_mutants(message):
            if mutant == message or (what == "order" and len(message.variables) == 1):
                continue
            tried += 1
            assert differences(with_message(catalogue, interface, message, mutant)), f"{message.name}: {what}"
    assert tried >= 10 * len(interface.messages)


def test_the_wire_contract_notices_what_d31_does_not_fix():
    for message in load_catalogue().messages():
        for variable in message.variables:
            for changed in wire_mutants(variable):
                assert contract_row(message, changed) != contract_row(message, variable), changed
