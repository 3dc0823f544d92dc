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
from typing import Any, Final

import orjson

from s4g_gateway.codecs.senml import SECONDARY, Format
from s4g_gateway.model import ValueType
from s4g_gateway.model.quality import GOOD, INVALID
from s4g_gateway.profiles.senml.assembly import Assembler, conversion
from s4g_gateway.profiles.senml.columns import Column, factors_of
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
        units: of its records, None for a record without.
        pick: puts the records' values, followed by None, into the order of the columns.
        quality: one per column.
        included: mask, None where every column has a record.
    """

    base: str | None
    names: tuple[str, ...]
    units: tuple[str | None, ...]
    pick: Callable[[Sequence[Any]], tuple[Any, ...]]
    quality: tuple[int, ...]
    included: bytes | None


@dataclass(frozen=True, slots=True)
class _Mixture:
    """The shape of a pack whose records are of two lengths.

    Attributes:
        lengths: fields of each record.
        text: all labels, written as JSON.
        names: takes the names out of all values, followed by None.
        units: takes the units, None for a record without.
        numbers: takes the values.
    """

    lengths: list[int]
    text: bytes
    names: Callable[[Sequence[Any]], tuple[Any, ...]]
    units: Callable[[Sequence[Any]], tuple[Any, ...]]
    numbers: Callable[[Sequence[Any]], tuple[Any, ...]]


_Columns = tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]
"""Names, units and values."""


def _picker(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[place] for place in places)


_NO_MIXTURE: Final = _Mixture([], b"", _picker([]), _picker([]), _picker([]))


@lru_cache(maxsize=64)
def _labels_text(shape: tuple[Any, ...], count: int) -> bytes:
    if not {*map(type, shape)} <= {int, str}:
        raise Unusual
    return orjson.dumps([(label,) * count for label in shape])


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
        self._has_secondary = not SECONDARY.isdisjoint(column.unit for column in columns)
        self._multiplied, self._divided = factors_of(columns)
        self._all_float = all(column.value_type is ValueType.FLOAT for column in columns)
        self._shapes = [frozenset(label[text] for text in shape) for shape in ("nv", "nuv")]
        # positions by name, for each base name a pack may state; full names stand under none
        self._positions: dict[str, dict[str, int]] = {"": {}}
        for position, column in enumerate(columns):
            self._positions[""][column.full_name] = position
            self._positions.setdefault(column.base, {})[column.name] = position
        self._units = [column.unit for column in columns]
        self._good = (GOOD,) * len(columns)
        self._mixture = _NO_MIXTURE
        self._order = _Order(None, (), (), _picker([]), (), None)

    def read(self, pack: list[Any], now_ns: int) -> Found | None:
        """Returns the moment of a parsed pack; None where the general way must decide.

        Args:
            pack: maps of JSON or CBOR, or elements of XML.
            now_ns: what relative times count from, ns since 1970 UTC.
        """
        if self._all_float and len(pack) > 2 and not self._has_secondary:
            with suppress(*LEFT_TO_OTHERS):
                found = self._read_columns(pack, now_ns)
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

    def _read_columns(self, pack: list[Any], now_ns: int) -> Found | None:
        """Reads records of name, value and perhaps unit only; the first one may hold base name and time, too."""
        label = self._form.label
        rest = pack[1:]
        if self._is_xml:
            first = dict(pack[0].items())
            labels = [element.keys() for element in rest]
            contents = [element.values() for element in rest]
        else:
            first, labels = pack[0], rest
            contents = [*map(dict.values, rest)]
            if self._is_cbor and {*map(type, first)} != {int}:
                return None
        names, units, numbers = self._columns_of(labels, contents)
        base, time = first.get(label["bn"]), first.get(label["bt"])
        own = len(first) - (base is not None) - (time is not None)
        if own:
            name, unit, number = first[label["n"]], first.get(label["u"]), first[label["v"]]
            if own != 2 + (unit is not None):
                return None
            names, units, numbers = (name, *names), (unit, *units), (number, *numbers)
        elif not first:
            return None
        order = self._order
        if names != order.names or units != order.units or base != order.base:
            order = self._order = self._new_order(base, names, units)
        values = self._canonical(order, self._form.numbers(numbers))
        if values is None:
            return None
        time_s = 0.0 if time is None else self._form.number(time)
        return values, order.quality, resolved_time_ns(time_s, now_ns), order.included

    def _columns_of(self, labels: list[Any], contents: list[Any]) -> _Columns:
        if not self._mixture.lengths:
            with suppress(ValueError):  # some with a unit, some without
                return self._transposed(labels, contents)
        return self._mixed(labels, contents)

    def _transposed(self, labels: list[Any], contents: list[Any]) -> _Columns:
        """Turns records of one shape into columns.

        Raises:
            ValueError: they are not all of one length.
            Unusual: they have other labels, or the same in another order.
        """
        count = len(labels)
        shape = tuple(labels[0])
        if frozenset(shape) not in self._shapes:
            raise Unusual
        # written as JSON, a label True or 1.0 differs from 1
        if orjson.dumps([*zip(*labels, strict=True)]) != _labels_text(shape, count):
            raise Unusual
        columns = dict(zip(shape, zip(*contents, strict=True), strict=True))
        label = self._form.label
        return columns[label["n"]], columns.get(label["u"]) or (None,) * count, columns[label["v"]]

    def _mixed(self, labels: list[Any], contents: list[Any]) -> _Columns:
        """Does the same for records with and without units."""
        lengths = [*map(len, labels)]
        text = orjson.dumps([*chain.from_iterable(labels)])
        mixture = self._mixture
        if lengths != mixture.lengths or text != mixture.text:
            mixture = self._new_mixture(lengths, labels, text)
            # a pack of one shape goes the shorter way next time
            self._mixture = mixture if len({*lengths}) > 1 else _NO_MIXTURE
        values = [*chain.from_iterable(contents), None]
        return mixture.names(values), mixture.units(values), mixture.numbers(values)

    def _new_mixture(self, lengths: list[int], labels: list[Any], text: bytes) -> _Mixture:
        """Finds the places of names, units and values; kept until a pack of another shape comes."""
        label = self._form.label
        names, units, numbers = [], [], []
        start, end = 0, sum(lengths)
        for each, length in zip(labels, lengths, strict=True):
            shape = tuple(each)
            if frozenset(shape) not in self._shapes or not {*map(type, shape)} <= {int, str}:
                raise Unusual
            names.append(start + shape.index(label["n"]))
            numbers.append(start + shape.index(label["v"]))
            units.append(start + shape.index(label["u"]) if length == 3 else end)
            start += length
        return _Mixture(lengths, text, _picker(names), _picker(units), _picker(numbers))

    def _canonical(self, order: _Order, numbers: Sequence[float]) -> tuple[Any, ...] | None:
        """Returns the numbers in the columns' order and units; None where one is not finite."""
        total: float = sum(numbers)
        values = order.pick((*numbers, None))
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
        return values if total - total == 0.0 else None

    def _new_order(self, base: str | None, names: tuple[Any, ...], units: tuple[Any, ...]) -> _Order:
        """Checks names and units; kept until a pack with others comes."""
        known = self._positions.get("" if base is None else base)
        if known is None or len({*names}) != len(names):
            raise Unusual
        positions = [*map(known.__getitem__, names)]
        for position, unit in zip(positions, units, strict=True):
            if unit != self._units[position] and (
                unit in SECONDARY or conversion(unit, self._columns[position]) != (1.0, 0.0)
            ):
                raise Unusual
        count, size = len(positions), len(self._columns)
        places = dict(zip(positions, range(count), strict=True))
        pick = _picker([places.get(position, count) for position in range(size)])
        if count == size:
            return _Order(base, names, units, pick, self._good, None)
        included = bytes(position in places for position in range(size))
        return _Order(base, names, units, pick, tuple(GOOD if had else INVALID for had in included), included)
