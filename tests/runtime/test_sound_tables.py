"""The quick look at tables never passes what the explaining validator refuses."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from s4g_gateway.runtime.sound_tables import is_sound
from s4g_gateway.runtime.tables import check_table, table_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    level: Annotated[int, Meta(ge=1, le=3)]
    word: Literal["a", "b", 1] = "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    name: Annotated[str, Meta(pattern="^[a-c]{1,2}$")]
    ratio: Annotated[float, Meta(gt=0, lt=2)] = 1.0
    flag: bool = False
    part: Part | None = None
    parts: Annotated[tuple[Part, ...], Meta(min_length=1)] | None = None
    words: dict[str, Annotated[str, Meta(max_length=2)]] = field(default_factory=dict)


SCHEMA = table_schema(Whole)
SOUND = [
    {"name": "ab"},
    {"name": "c", "ratio": 1, "flag": True},
    {
        "name": "c",
        "part": {"level": 1, "word": "b"},
        "parts": [{"level": 3, "word": 1}],
        "words": {"x": "yz"},
    },
]
WRONG = [
    {},
    {"name": "d"},
    {"name": "abc"},
    {"name": "a\n"},
    {"name": 1},
    {"name": "a", "other": 1},
    {"name": "a", "ratio": 0},
    {"name": "a", "ratio": 2.0},
    {"name": "a", "ratio": True},
    {"name": "a", "flag": 1},
    {"name": "a", "part": {"level": 0}},
    {"name": "a", "part": {"level": True}},
    {"name": "a", "part": {"level": 1, "word": True}},
    {"name": "a", "part": {"level": 1, "more": 1}},
    {"name": "a", "parts": []},
    {"name": "a", "parts": [{"level": 1}, {}]},
    {"name": "a", "words": {"x": "long"}},
    [],
]


@pytest.mark.parametrize("table", SOUND)
def test_sound_tables_pass(table):
    assert is_sound(table, SCHEMA, SCHEMA)
    assert check_table(table, SCHEMA, file="f", key="") == []


@pytest.mark.parametrize("table", WRONG)
def test_wrong_tables_are_explained(table):
    assert not is_sound(table, SCHEMA, SCHEMA)
    assert check_table(table, SCHEMA, file="f", key="")


SCALARS = st.sampled_from(["a", "b", "ab", "d", "a\n", 0, 1, 2, 3, 4, 0.5, 1.0, 2.5, True, False])
PARTS = st.dictionaries(st.sampled_from(["level", "word", "more"]), SCALARS)
TABLES = st.dictionaries(
    st.sampled_from(["name", "ratio", "flag", "part", "parts", "words", "more"]),
    SCALARS | PARTS | st.lists(PARTS, max_size=2) | st.dictionaries(st.sampled_from("xy"), SCALARS),
)


@given(TABLES)
def test_it_never_passes_what_the_validator_refuses(table):
    if is_sound(table, SCHEMA, SCHEMA):
        assert jsonschema_rs.validator_for(SCHEMA).is_valid(table)


@pytest.mark.parametrize("schema", [{"multipleOf": 2}, {"type": ["integer", "null"]}, {"type": "decimal"}])
def test_what_it_does_not_know_it_does_not_pass(schema):
    assert not is_sound(2, schema, schema)


def test_the_validator_is_not_loaded_for_a_sound_table():
    script = (
        "import sys\n"
        "from s4g_gateway.runtime.tables import check_table\n"
        "schema = {'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'additionalProperties': False}\n"
        "assert check_table({'a': 1}, schema, file='f', key='') == []\n"
        "assert 'jsonschema_rs' not in sys.modules\n"
        "assert check_table({'a': 'x'}, schema, file='f', key='')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
