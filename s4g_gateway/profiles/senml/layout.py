"""Layouts: the constant bytes of a pack, laid out once, with holes for times and values.

A layout belongs to a list of columns and a representation. ``full`` is the layout of a pack that holds every
column at one time and no quality; ``frame`` gives single records for any other pack.

A site may have a thousand devices of one kind, whose columns differ in their base names only. What does not
depend on these is a Pattern, which all such layouts share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from struct import Struct
from typing import Final
from weakref import WeakValueDictionary

from s4g_gateway.codecs.senml import SECONDARY, SECONDARY_UNITS_VERSION, Format
from s4g_gateway.model import ValueType
from s4g_gateway.model.quality import GOOD
from s4g_gateway.profiles.senml.columns import QUALITY_SUFFIX, Column, Scale, factors_of
from s4g_gateway.profiles.senml.contents import Content, contents_of
from s4g_gateway.profiles.senml.writers import WRITERS, Fields, Hole

FrameKey = tuple[int, bool, bool, bool, str]
"""Which record is wanted: position of the column; True for its ``.q`` record; with base name; with base
version (in a first record); label of the time field, ``bt``, ``t`` or empty for none.
"""

_Row = tuple[str, str, ValueType, Scale]
_Key = tuple[Format, tuple[_Row, ...], tuple[int, ...], tuple[bool, ...]]


class Pattern:
    """What all layouts have in common that differ in their base names only.

    Nothing of it changes; what not every gateway needs is made when it is first asked for.

    Args:
        columns: what travels, without base names.
        bases: for each column which base name it has, counted in the order of appearance.
        has_base: for each base name whether it is a name at all; one may be empty.
        form: representation.

    Attributes:
        writer: of the representation.
        columns: what travels, without base names.
        bases: for each column which base name it has.
        version: base version that packs state, 0 for none.
        all_good: one good quality per column.
        multiplied: places of values to multiply, with their factors; a place counts pieces and holes.
        divided: places of values to divide, with their divisors.
        booleans: positions of the boolean columns.
        has_text: true where texts travel.
        structures: of full packs in CBOR, by the lengths of the base names.
    """

    def __init__(
        self, columns: tuple[Column, ...], bases: tuple[int, ...], has_base: tuple[bool, ...], form: Format
    ) -> None:
        self.columns = columns
        self.writer = WRITERS[form]
        self.version = SECONDARY_UNITS_VERSION if any(c.unit in SECONDARY for c in columns) else 0
        self.all_good = (GOOD,) * len(columns)
        self.multiplied, self.divided = factors_of(columns, *((2, 3) if form is Format.CBOR else (1, 1)))
        self.booleans = tuple(p for p, c in enumerate(columns) if c.value_type is ValueType.BOOLEAN)
        self.has_text = any(column.value_type is ValueType.TEXT for column in columns)
        self.structures: dict[tuple[int, ...], Struct] = {}
        self.bases = bases
        self._has_base = has_base
        self._frames: dict[FrameKey, tuple[bytes, ...]] = {}

    @cached_property
    def contents(self) -> tuple[Content, ...]:
        """What writes the values of each column."""
        return contents_of(self.columns, self.writer)

    @cached_property
    def plain(self) -> tuple[tuple[bytes, ...], ...]:
        """The pieces of each column's record that states neither base name nor time."""
        return tuple(self.frame((p, False, False, False, "")) for p in range(len(self.columns)))

    def states_base(self, before: int | None, position: int) -> bool:
        """True where a column's record must state its base name after one of the base name ``before``."""
        base = self.bases[position]
        return base != before and (before is not None or self._has_base[base])

    def frame(self, key: FrameKey) -> tuple[bytes, ...]:
        """Returns the pieces of a record around its holes: base name and time (if asked for), then value.

        Frames are kept; there are at most 24 per column.
        """
        pieces = self._frames.get(key)
        if pieces is None:
            pieces = self._frames[key] = tuple(self.writer.record(self._fields(key)))
        return pieces

    def _fields(self, key: FrameKey) -> Fields:
        position, is_quality, has_base, has_version, time = key
        column = self.columns[position]
        fields: list[tuple[str, str | int | Hole]] = []
        if has_base:
            fields.append(("bn", Hole.CONSTANT))
        if has_version and self.version:
            fields.append(("bver", self.version))
        if time:
            fields.append((time, Hole.VALUE))
        fields.append(("n", column.name + QUALITY_SUFFIX if is_quality else column.name))
        if column.unit and not is_quality:
            fields.append(("u", column.unit))
        fields.append(("v" if is_quality else column.label, Hole.VALUE))
        return fields

    @cached_property
    def full(self) -> tuple[tuple[bytes, ...], tuple[tuple[int, int, int], ...]]:
        """The pieces of a full pack, and where base names are missing: piece, offset in it, number."""
        head, between, tail = self.writer.around(len(self.columns))
        mark = self.writer.number_mark
        pieces = [head]
        places: list[tuple[int, int, int]] = []
        before: int | None = None
        for position, base in enumerate(self.bases):
            has_base, is_first = self.states_base(before, position), position == 0
            frame = self.frame((position, False, has_base, is_first, "bt" if is_first else ""))
            before = base
            if not is_first:
                pieces[-1] += between
            pieces[-1] += frame[0]
            if has_base:
                places.append((len(pieces) - 1, len(pieces[-1]), base))
                pieces[-1] += frame[1]
            pieces += frame[1 + has_base :]
            if is_first:
                pieces[-3] += mark  # before the time
            if position not in self.booleans:
                pieces[-2] += mark
        pieces[-1] += tail
        return tuple(pieces), tuple(places)


_PATTERNS: Final[WeakValueDictionary[_Key, Pattern]] = WeakValueDictionary()


def _pattern_of(columns: Sequence[Column], names: tuple[str, ...], form: Format) -> Pattern:
    number = {name: position for position, name in enumerate(names)}
    rows = tuple((column.name, column.unit, column.value_type, column.scale) for column in columns)
    bases = tuple(number[column.base] for column in columns)
    has_base = tuple(map(bool, names))
    key = (form, rows, bases, has_base)
    pattern = _PATTERNS.get(key)
    if pattern is None:
        bare = tuple(replace(column, base="") for column in columns)
        pattern = _PATTERNS[key] = Pattern(bare, bases, has_base, form)
    return pattern


class Layout:
    """The records of one list of columns in one representation.

    Args:
        columns: what travels.
        form: representation.

    Attributes:
        pattern: what it shares with others.
        base_names: base names in the order of appearance, as they are written.
    """

    __slots__ = ("_bases", "base_names", "pattern")

    def __init__(self, columns: Sequence[Column], form: Format) -> None:
        self._bases = tuple(dict.fromkeys(column.base for column in columns))
        self.pattern = _pattern_of(columns, self._bases, form)
        self.base_names = tuple(map(self.pattern.writer.constant, self._bases))

    @property
    def columns(self) -> tuple[Column, ...]:
        """What travels; made anew at every call."""
        pattern = self.pattern
        return tuple(
            replace(column, base=self._bases[base])
            for column, base in zip(pattern.columns, pattern.bases, strict=True)
        )

    def name(self, position: int) -> str:
        """Returns the resolved name of a column."""
        return self._bases[self.pattern.bases[position]] + self.pattern.columns[position].name

    def frame(self, key: FrameKey) -> tuple[bytes, ...]:
        """Returns the pieces of a record around its holes: time (if asked for), then value."""
        pieces = self.pattern.frame(key)
        if not key[2]:
            return pieces
        base_name = self.base_names[self.pattern.bases[key[0]]]
        return (pieces[0] + base_name + pieces[1], *pieces[2:])

    def full(self) -> list[bytes]:
        """Returns the pieces of the pack that holds every column at one time and no quality.

        The holes are the time and then one value per column; in CBOR, the mark of a double stands before them.
        Pieces without a base name are those of the pattern.
        """
        shared, places = self.pattern.full
        pieces = list(shared)
        for place, offset, number in places:
            piece = pieces[place]
            pieces[place] = piece[:offset] + self.base_names[number] + piece[offset:]
        return pieces
