"""The table of refusals: complete, only with causes that a master knows, and the same in the documentation."""

import copy
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from s4g_gateway.codecs.iec104 import Cause, RefusalReason
from s4g_gateway.errors import ProfileError
from s4g_gateway.model import AddCause
from s4g_gateway.profiles.iec104.refusals import load_refusals, parse_refusals

PAGE = Path(__file__).parents[3] / "docs/iec104.md"


@pytest.fixture
def document():
    text = files("s4g_gateway.profiles.iec104").joinpath("data/refusals.toml").read_text()
    return copy.deepcopy(tomllib.loads(text))


def test_every_add_cause_and_every_reason_has_a_row_with_a_source():
    table = load_refusals()
    assert set(table.by_add_cause) == set(AddCause)
    assert set(table.by_reason) == set(RefusalReason)
    for row in (*table.by_add_cause.values(), *table.by_reason.values()):
        assert row.meaning
        assert row.source
    for add_cause, row in table.by_add_cause.items():
        assert row.add_cause is add_cause


def test_unknown_names_on_the_wire_are_those_of_the_unknown():
    by_reason = load_refusals().by_reason
    assert by_reason[RefusalReason.UNKNOWN_CAUSE].cause is Cause.UNKNOWN_CAUSE
    assert by_reason[RefusalReason.UNKNOWN_STATION].cause is Cause.UNKNOWN_COMMON_ADDRESS
    assert by_reason[RefusalReason.UNKNOWN_ADDRESS].cause is Cause.UNKNOWN_OBJECT_ADDRESS


def without(name):
    def spoil(document):
        table = document
        *path, last = name.split(".")
        for key in path:
            table = table[key]
        del table[last]

    return spoil


def set_to(name, value):
    def spoil(document):
        table = document
        *path, last = name.split(".")
        for key in path:
            table = table[key]
        table[last] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without("add_cause.meaning.BLOCKED_BY_MODE"), "BLOCKED_BY_MODE"),
        (set_to("add_cause.meaning.NO_SUCH", "x"), "NO_SUCH"),
        (set_to("add_cause.other.NO_SUCH", {}), "NO_SUCH"),
        (without("reason.BUSY"), "BUSY"),
        (set_to("reason.BUSY.cause", "SPONTANEOUS"), "reason.BUSY.cause: found 'SPONTANEOUS', expected one"),
        (set_to("reason.BUSY.add_cause", "NO_SUCH"), "reason.BUSY.add_cause: found 'NO_SUCH'"),
        (set_to("reason.BUSY.certainty", "sure"), "reason.BUSY.certainty: found 'sure'"),
        (set_to("add_cause.default", "NO_SUCH"), "cause: found 'NO_SUCH'"),
    ],
)
def test_a_wrong_table_is_refused_and_the_error_names_the_row(document, spoil, told):
    spoil(document)
    with pytest.raises(ProfileError, match=r"refusals\.toml") as error:
        parse_refusals(document)
    assert told in str(error.value)


def expected_rows():
    table = load_refusals()
    for reason, row in table.by_reason.items():
        yield f"| {reason.value} | {row.cause:d} | {row.add_cause.name} | {row.certainty} |"
    for add_cause, row in table.by_add_cause.items():
        yield f"| {row.meaning} | {row.cause:d} | {add_cause.name} | {row.certainty} |"


def test_the_page_has_the_same_table():
    section = PAGE.read_text().split("## Refusals\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    rows = [line for line in rows if not line.startswith(("| The device", "|---"))]
    assert rows == list(expected_rows())
