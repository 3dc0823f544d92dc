"""Names of old peers: Ed.1 of IEC 61850-7-420, drafts, and the topics of Storage4Grid's own components.

Used only when talking to old peers; the model itself never carries such a name. The tables are
``data/aliases.csv`` (names of points) and ``data/renamed_classes.csv`` (logical node classes). Where a source
does not state a sign or unit, the row says so in its note and its certainty is medium or weak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from s4g_gateway.errors import ModelError
from s4g_gateway.model.data_set import Value
from s4g_gateway.model.logical_nodes import check_against_table, load_logical_nodes
from s4g_gateway.model.reference import ObjectReference
from s4g_gateway.model.tables import CERTAINTY, Row, rows, table_text
from s4g_gateway.model.units import check_unit

_COLUMNS = (
    "dialect",
    "prefix",
    "name",
    "role",
    "canonical",
    "sign",
    "factor",
    "unit",
    "values",
    "direction",
    "certainty",
    "source",
    "note",
)
_CLASS_COLUMNS = ("edition", "old", "new", "certainty", "source", "note")
_WORDS: Mapping[str, bool] = MappingProxyType({"false": False, "true": True})


class Direction(StrEnum):
    """Which way a name's value flows, seen from the gateway's model."""

    VALUE = "value"
    SET_POINT = "set-point"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One name of an old peer and what it means in the model.

    Attributes:
        dialect: whose name it is, such as ``s4g-er-3ph``.
        prefix: what stands before the name on the wire, such as a topic's levels; often empty.
        name: the old name.
        role: the equipment it speaks of (ESS, PV, PCC, LOAD, INV, EV, ER, SITE): the site's configuration
            says which logical device that is.
        canonical: LN and data object, such as ``DSTO1.SocEffWhPct``.
        sign: 1 or -1, from the peer's frame to the generator frame.
        factor: from the peer's unit to the canonical one, above 0.
        unit: canonical unit.
        values: the peer's code to the model's value, for switches; empty for numbers.
        direction: value or set-point.
        certainty: solid, medium or weak.
        source: document and table.
        note: what a reader must know.
    """

    dialect: str
    prefix: str
    name: str
    role: str
    canonical: str
    sign: int
    factor: float
    unit: str
    values: Mapping[int, int | bool]
    direction: Direction
    certainty: str
    source: str
    note: str

    @property
    def wire_name(self) -> str:
        """Prefix and name together, such as a whole topic."""
        return self.prefix + self.name

    def reference(self, logical_device: str) -> ObjectReference:
        """Returns the ObjectReference of this point in a logical device."""
        return ObjectReference(f"{logical_device}/{self.canonical}")

    def to_canonical(self, value: Value) -> Value:
        """Converts the peer's value to the model's unit, frame and codes.

        Raises:
            ModelError: text where a number belongs, or a code that the table does not know.
        """
        if value is None:
            return None
        if isinstance(value, str):
            raise self._misfit(value)
        if self.values:
            if value not in self.values:
                raise self._misfit(value)
            return self.values[int(value)]
        return value if self.sign == 1 and self.factor == 1 else value * self.sign * self.factor

    def from_canonical(self, value: Value) -> Value:
        """Converts the model's value to the peer's; the inverse of ``to_canonical``.

        Raises:
            ModelError: text where a number belongs, or a value that the peer has no code for.
        """
        if value is None:
            return None
        if isinstance(value, str):
            raise self._misfit(value)
        if self.values:
            for code, meaning in self.values.items():
                if meaning == value:
                    return code
            raise self._misfit(value)
        return value if self.sign == 1 and self.factor == 1 else value * self.sign / self.factor

    def _misfit(self, value: Value) -> ModelError:
        known = ", ".join(f"{code} = {meaning}" for code, meaning in self.values.items()) or "a number"
        return ModelError(f"{self.dialect} {self.wire_name}: value {value!r}, expected {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenamedClass:
    """A logical node class that the model's edition no longer has.

    Attributes:
        edition: where the old name stands.
        old: the old LN class.
        new: what replaces it, most often several classes.
        certainty: solid, medium or weak.
        source: where the replacement is stated.
        note: what a reader must know.
    """

    edition: str
    old: str
    new: tuple[str, ...]
    certainty: str
    source: str
    note: str


def parse_aliases(text: str) -> tuple[Alias, ...]:
    """Reads ``aliases.csv``.

    Raises:
        ModelError: a canonical name or unit that the model does not know, a malformed factor, sign or code,
            or a wire name twice in one dialect and direction; the message names the line.
    """
    found: list[Alias] = []
    seen: set[tuple[str, str, str]] = set()
    for row in rows("aliases.csv", text, _COLUMNS):
        alias = _alias(row)
        key = (alias.dialect, alias.wire_name, alias.direction)
        if key in seen:
            raise row.fail(f"{alias.dialect} {alias.wire_name} stands twice")
        seen.add(key)
        found.append(alias)
    return tuple(found)


def parse_renamed_classes(text: str) -> Mapping[str, RenamedClass]:
    """Reads ``renamed_classes.csv``.

    Raises:
        ModelError: a class twice, a replacement that the model does not have, or an old name that it has.
    """
    found: dict[str, RenamedClass] = {}
    known = load_logical_nodes()
    for row in rows("renamed_classes.csv", text, _CLASS_COLUMNS):
        old, new = row["old"], tuple(row["new"].split())
        if old in found or old in known:
            raise row.fail(f"{old} stands twice or is a class of the model")
        for ln_class in new:
            if ln_class not in known:
                raise row.fail(f"{old} is replaced by {ln_class}, which is no class of the model")
        found[old] = RenamedClass(
            edition=row["edition"],
            old=old,
            new=new,
            certainty=row.choice("certainty", CERTAINTY),
            source=row["source"],
            note=row["note"],
        )
    return MappingProxyType(found)


@cache
def load_aliases() -> tuple[Alias, ...]:
    """Returns every alias in the order of the table; read once."""
    return parse_aliases(table_text("aliases.csv"))


@cache
def load_renamed_classes() -> Mapping[str, RenamedClass]:
    """Returns the renamed LN classes by their old name; read once."""
    return parse_renamed_classes(table_text("renamed_classes.csv"))


@cache
def _by_name() -> Mapping[tuple[str, str], tuple[Alias, ...]]:
    index: dict[tuple[str, str], tuple[Alias, ...]] = {}
    for alias in load_aliases():
        for name in {alias.name, alias.wire_name}:
            index[alias.dialect, name] = (*index.get((alias.dialect, name), ()), alias)
    return MappingProxyType(index)


def resolve_alias(dialect: str, name: str, direction: Direction | None = None) -> Alias:
    """Finds what an old peer's name means.

    Args:
        dialect: whose name it is.
        name: the name, alone or with its prefix (a whole topic).
        direction: needed only where one name serves both ways.

    Raises:
        ModelError: unknown dialect or name, or a name that means several things.
    """
    candidates = _by_name().get((dialect, name), ())
    if direction is not None:
        candidates = tuple(alias for alias in candidates if alias.direction is direction)
    if not candidates:
        raise _unknown(dialect, name)
    if len(candidates) > 1:
        options = ", ".join(f"{alias.wire_name} ({alias.direction})" for alias in candidates)
        raise ModelError(f"{name!r} of {dialect} is ambiguous; expected one of {options}")
    return candidates[0]


def aliases_of(dialect: str, canonical: str, direction: Direction | None = None) -> tuple[Alias, ...]:
    """Returns the names under which an old peer knows a point; empty where it has none.

    Args:
        dialect: whose names are wanted.
        canonical: LN and data object, such as ``DSTO1.SocEffWhPct``.
        direction: keeps only values or only set-points.
    """
    return tuple(
        alias
        for alias in load_aliases()
        if alias.dialect == dialect and alias.canonical == canonical and direction in (None, alias.direction)
    )


def renamed_class(old: str) -> RenamedClass:
    """Returns what became of an LN class of Ed.1 or of a draft.

    Raises:
        ModelError: no such class is known.
    """
    table = load_renamed_classes()
    if old not in table:
        raise ModelError(f"{old!r} is no renamed LN class; known are {', '.join(table)}")
    return table[old]


def _alias(row: Row) -> Alias:
    canonical = row["canonical"]
    try:
        check_against_table(f"X/{canonical}")
        check_unit(row["unit"])
    except ModelError as error:
        raise row.fail(str(error)) from error
    factor = row.number("factor")
    if not 0 < factor < float("inf"):
        raise row.fail(f"factor is {factor}, expected a number above 0")
    return Alias(
        dialect=row["dialect"],
        prefix=row["prefix"],
        name=row["name"],
        role=row["role"],
        canonical=canonical,
        sign=int(row.choice("sign", ("1", "-1"))),
        factor=factor,
        unit=row["unit"],
        values=_values(row),
        direction=Direction(row.choice("direction", tuple(Direction))),
        certainty=row.choice("certainty", CERTAINTY),
        source=row["source"],
        note=row["note"],
    )


def _values(row: Row) -> Mapping[int, int | bool]:
    values: dict[int, int | bool] = {}
    for pair in row["values"].split():
        code, _, meaning = pair.partition(":")
        try:
            values[int(code)] = _WORDS[meaning] if meaning in _WORDS else int(meaning)
        except ValueError:
            raise row.fail(f"values holds {pair!r}, expected code:value such as 0:false or 1:5") from None
    if len(set(values.values())) != len(values):
        raise row.fail("values maps two codes to one value")
    return MappingProxyType(values)


def _unknown(dialect: str, name: str) -> ModelError:
    names = [known for owner, known in _by_name() if owner == dialect]
    if not names:
        dialects = ", ".join(sorted({alias.dialect for alias in load_aliases()}))
        return ModelError(f"unknown dialect {dialect!r}; expected one of {dialects}")
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return ModelError(f"{name!r} is no name of {dialect}{hint}")
