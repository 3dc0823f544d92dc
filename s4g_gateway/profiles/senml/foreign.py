"""Decoding packs of any layout with common fields, without making a Record of each.

What is read here is what the general way (``Resolver`` and ``Assembler``) accepts, with the same result;
everything else, also what is wrong, is left to it: the methods return None. A property test holds the two
ways together.

Records that all have the same labels are read column by column, others one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

import orjson

from s4g_gateway.codecs.senml import SECONDARY, Format
from s4g_gateway.model import ValueType
from s4g_gateway.model.quality import GOOD, INVALID
from s4g_gateway.profiles.senml.assembly import Assembler
from s4g_gateway.profiles.senml.columns import Column
from s4g_gateway.profiles.senml.fast_encoders import factors_of
from s4g_gateway.profiles.senml.foreign_records import (
    LEFT_TO_OTHERS,
    Found,
    RecordByRecord,
    Unusual,
    representation,
    resolved_time_ns,
)


@dataclass(frozen=True, slots=True)
class _Order:
    """Names and units of the records of a pack, checked, and what they mean for the columns.

    Attributes:
        base: base name of the pack, None for none.
        names: of its records, as they stand.
        units: of its records, None for none.
        pick: puts the records' values, followed by None, into the order of the columns.
        quality: one per column.
        included: mask, None where every column has a record.
    """

    base: str | None
    names: tuple[str, ...]
    units: tuple[str, ...] | None
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    quality: tuple[int, ...]
    included: bytes | None


def _picker(places: Sequence[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[place] for place in places)


@lru_cache(maxsize=64)
def _labels_text(shape: tuple[Any, ...], count: int, first: tuple[Any, ...]) -> bytes:
    if not {*map(type, (*shape, *first))} <= {int, str}:
        raise Unusual
    return orjson.dumps([*((label,) * count for label in shape), first])


class ForeignReader:
    """Reads packs of one moment into columns.

    Args:
        columns: what is known.
        form: representation.
        assembler: the same columns by name.
    """

    def __init__(self, columns: Sequence[Column], form: Format, assembler: Assembler) -> None:
        self._columns = tuple(columns)
        self._assembler = assembler
        self._is_cbor = form is Format.CBOR
        self._is_xml = form is Format.XML
        self._form = representation(form)
        label = self._form.label
        self._units = [column.unit for column in columns]
        self._has_secondary = not SECONDARY.isdisjoint(self._units)
        self._multiplied, self._divided = factors_of(columns)
        self._all_float = all(column.value_type is ValueType.FLOAT for column in columns)
        self._shapes = [frozenset(label[text] for text in shape) for shape in ("nv", "nuv")]
        # positions by name, for each base name a pack may state; full names stand under none
        self._positions: dict[str, dict[str, int]] = {"": {}}
        for position, column in enumerate(columns):
            self._positions[""][column.full_name] = position
            self._positions.setdefault(column.base, {})[column.name] = position
        self._order = _Order(None, (), None, _picker([]), (), None)

    def read(self, pack: list[Any], now_ns: int) -> Found | None:
        """Returns the moment of a parsed pack; None where the general way must decide.

        Args:
            pack: maps of JSON or CBOR, or elements of XML.
            now_ns: what relative times count from, ns since 1970 UTC.
        """
        if self._all_float and len(pack) > 2 and not self._has_secondary:
            with suppress(*LEFT_TO_OTHERS):
                found = self._read_uniform(pack, now_ns)
                if found is not None:
                    return found
        try:
            if self._is_xml:
                pack = [dict(element.items()) for element in pack]
            elif self._is_cbor and {*map(type, chain.from_iterable(pack))} != {int}:
                return None  # as labels True and 1.0 would pass for 1
            state = RecordByRecord(self._columns, self._assembler, self._form, now_ns)
            for fields in pack:
                state.take(fields)
            return state.found()
        except LEFT_TO_OTHERS:
            return None

    def _read_uniform(self, pack: list[Any], now_ns: int) -> Found | None:
        """Reads records that have a name, a value and perhaps a unit; the first one base name and time, too."""
        label = self._form.label
        rest = pack[1:]
        if self._is_xml:
            first = dict(pack[0].items())
            labels = [element.keys() for element in rest]
            contents = [element.values() for element in rest]
        else:
            first, labels = pack[0], rest
            contents = [*map(dict.values, rest)]
        shape = tuple(labels[0])
        if not first or frozenset(shape) not in self._shapes:
            return None
        base, bt = first.get(label["bn"]), first.get(label["bt"])
        whole = label["n"] in first
        if len(first) != (base is not None) + (bt is not None) + (len(shape) if whole else 0):
            return None
        # written as JSON, a label True or 1.0 differs from 1
        label_columns = [*zip(*labels, strict=True), tuple(first)]
        if orjson.dumps(label_columns) != _labels_text(shape, len(rest), tuple(first)):
            return None
        if whole:
            contents.append([first[key] for key in shape])
        columns = dict(zip(shape, zip(*contents, strict=True), strict=True))
        names, units = columns[label["n"]], columns.get(label["u"])
        order = self._order
        if names != order.names or units != order.units or base != order.base:
            order = self._order = self._new_order(base, names, units)
        numbers = self._form.numbers(columns[label["v"]])
        total: float = sum(numbers)
        values: Sequence[Any] = order.pick((*numbers, None))
        if self._divided or self._multiplied:
            scaled = list(values)
            for position, factor in self._divided:
                if scaled[position] is not None:
                    scaled[position] *= factor
                    total += scaled[position]
            for position, factor in self._multiplied:
                if scaled[position] is not None:
                    scaled[position] /= factor
                    total += scaled[position]
            values = tuple(scaled)
        if total - total != 0.0:
            return None
        time_s = 0.0 if bt is None else self._form.number(bt)
        return tuple(values), order.quality, resolved_time_ns(time_s, now_ns), order.included

    def _new_order(self, base: str | None, names: tuple[Any, ...], units: tuple[Any, ...] | None) -> _Order:
        """Checks names and units; kept until a pack with others comes."""
        known = self._positions.get("" if base is None else base)
        if known is None or len({*names}) != len(names):
            raise Unusual
        positions = [known[name] for name in names]
        if units is not None and units != tuple(self._units[position] for position in positions):
            raise Unusual
        places = dict(zip(positions, range(len(positions)), strict=True))
        size = len(self._columns)
        included = bytes(position in places for position in range(size))
        return _Order(
            base,
            names,
            units,
            _picker([places.get(position, len(positions)) for position in range(size)]),
            tuple(GOOD if had else INVALID for had in included),
            None if all(included) else included,
        )
