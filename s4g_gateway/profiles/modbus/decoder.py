"""Registers to Report: one struct unpack per poll, then whole columns at once.

The cost per point decides how many devices a gateway can serve, so nothing here loops over points in Python
while all goes well: scaling, absence and order are C-level maps over tuples, and what rarely changes (scale
factors, absent points, quality, states) is recomputed only when the registers behind it change.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from fractions import Fraction
from itertools import compress
from math import isfinite
from operator import add, eq, itemgetter, mul, truediv
from typing import Any

from s4g_gateway.errors import ProfileError, RemoteProtocolError
from s4g_gateway.model import DataSet, Report, Value
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.modbus.columns import (
    BAD_SCALE,
    NO_SUCH_POINT,
    NOT_FINITE,
    NOT_IMPLEMENTED,
    NOT_READ,
    AnalogColumn,
    Column,
    DerivedColumn,
    DiscreteColumn,
    Field,
    Pair,
    Raw,
)
from s4g_gateway.profiles.modbus.reads import Read

_Scaling = tuple[tuple[int, ...] | None, tuple[int, ...] | None, tuple[int, ...], tuple[int, ...]]
"""Numerators, addends and divisors of the integers, and the places whose scale factor is none."""
_SCALINGS_LIMIT = 64  # devices of one kind differ little in their scale factors


class ReportDecoder:
    """Turns the answers of a fixed list of reads into Reports of one DataSet.

    Args:
        data_set: what is reported; a member without a column is INVALID|BAD_REFERENCE for ever.
        reads: the reads whose answers ``decode`` gets, in that order.
        columns: how each member is made; columns that no member is named after feed derived ones only.
        expected: fields with the value they must hold (model identity); a mismatch means the map has moved.
        byte_order: permutation of the joined answers for devices whose words or bytes are swapped: position i
            of the data to unpack is byte ``byte_order[i]`` of the answers.

    Raises:
        ProfileError: a derived column names an input that does not exist.
    """

    def __init__(
        self,
        data_set: DataSet,
        reads: Sequence[Read],
        columns: Sequence[Column],
        *,
        expected: Sequence[tuple[Field, int]] = (),
        byte_order: Sequence[int] | None = None,
    ) -> None:
        self.data_set = data_set
        self.reads = tuple(reads)
        self._size = sum(read.byte_count for read in self.reads)
        self._permute = itemgetter(*byte_order) if byte_order is not None else None
        analog = [column for column in columns if isinstance(column, AnalogColumn)]
        whole = [column for column in analog if column.field.code not in "fd"]
        real = [column for column in analog if column.field.code in "fd"]
        plain = [column for column in real if _is_identity(column)]
        scaled = [column for column in real if not _is_identity(column)]
        self._discrete = [column for column in columns if isinstance(column, DiscreteColumn)]
        self._derived = _ordered_derived([column for column in columns if isinstance(column, DerivedColumn)])
        self._analog = [*whole, *plain, *scaled]
        scales = list(dict.fromkeys(column.scale for column in whole if column.scale is not None))

        fields = [column.field for column in self._analog] + [column.field for column in self._discrete]
        fields += [*scales, *(field for field, _ in expected)]
        places = _places(fields)
        self._unpack = struct.Struct(_format(places, self._size)).unpack
        position = {field: index for index, field in enumerate(places)}

        self._get_whole = _getter([position[column.field] for column in whole])
        self._get_plain = _getter([position[column.field] for column in plain])
        self._get_scaled = _getter([position[column.field] for column in scaled])
        self._get_discrete = _getter([position[column.field] for column in self._discrete])
        self._get_scales = _getter([position[field] for field in scales])
        self._get_expected = _getter([position[field] for field, _ in expected])
        self._expected = tuple(value for _, value in expected)
        self._whole = whole
        self._sentinels = tuple(column.sentinel for column in whole)
        self._scale_index = {field: index for index, field in enumerate(scales)}
        self._float_factors = tuple(float(column.factor) for column in scaled)
        self._float_offsets = tuple(float(column.offset) for column in scaled)
        self._has_floats = bool(real)
        # Twins share these two.
        self._good = (q.GOOD,) * len(self._analog)
        self._scalings: dict[tuple[Raw, ...], _Scaling] = {}

        supplied: list[Column] = [*self._analog, *self._discrete, *self._derived]
        names = [column.name for column in supplied]
        inputs, self._order, self._constant = self._arrange(names)
        self._derivations = [
            (column.rule, _getter(places)) for column, places in zip(self._derived, inputs, strict=True)
        ]
        self._forget()

    def _arrange(
        self, names: list[str]
    ) -> tuple[list[tuple[int, ...]], Callable[[Sequence[Any]], tuple[Any, ...]] | None, bool]:
        index = {name: place for place, name in enumerate(names)}
        inputs: list[tuple[int, ...]] = []
        for column in self._derived:
            for name in column.inputs:
                if name not in index:
                    raise ProfileError(f"{column.name} is derived from {name!r}, which no column supplies")
            inputs.append(tuple(index[name] for name in column.inputs))
        nothing = len(names)
        order = [index.get(reference, nothing) for reference in self.data_set.references]
        if order == list(range(nothing)):
            return inputs, None, False
        return inputs, _getter(order), nothing in order

    def _forget(self) -> None:
        self._last_data: bytes | None = None
        self._last_values: tuple[Value, ...] = ()
        self._last_quality: tuple[int, ...] = ()
        self._scales: tuple[Raw, ...] | None = None
        self._numerators: tuple[int, ...] | None = None
        self._addends: tuple[int, ...] | None = None
        self._divisors: tuple[int, ...] = ()
        self._bad_scale: tuple[int, ...] = ()
        self._absent = b""
        self._finite = b""
        self._holes: tuple[int, ...] = ()
        self._analog_quality: tuple[int, ...] | None = None
        self._discrete_raw: tuple[Raw, ...] | None = None
        self._discrete_values: tuple[Value, ...] = ()
        self._discrete_quality: tuple[int, ...] = ()
        self._derived_known: list[tuple[tuple[Any, Any], Pair]] = [
            (((), ()), (None, NOT_IMPLEMENTED)) for _ in self._derived
        ]

    def twin(self, data_set: DataSet) -> ReportDecoder:
        """Returns a decoder of the same registers into another DataSet, sharing all that is compiled.

        Args:
            data_set: as many members as this decoder's, of the same kinds, in the same order.
        """
        other = copy(self)
        other.data_set = data_set
        other._forget()  # noqa: SLF001 - of the same class
        return other

    @property
    def has_unsupplied_members(self) -> bool:
        """True where some member has no column."""
        return self._constant

    def decode(self, blocks: Sequence[bytes | None], time_ns: int) -> Report:
        """Decodes the answers of one poll.

        Args:
            blocks: data of each read's answer; None where the device answered with an exception.
            time_ns: time of the values, ns since 1970 UTC.

        Returns:
            An integrity Report; members of a missing block are INVALID|FAILURE without value.

        Raises:
            RemoteProtocolError: an answer has the wrong length, or an expected identity is not there.
        """
        if None in blocks:
            return self._decode_partly(blocks, time_ns)
        data = b"".join(blocks)  # type: ignore[arg-type]  # none of them is None
        if data == self._last_data:
            return Report(self.data_set, self._last_values, self._last_quality, time_ns)
        raw = self._raw(data)
        found = self._get_expected(raw)
        if found != self._expected:
            raise RemoteProtocolError(
                f"{self.data_set.name}: the register map has moved (found {found}, expected {self._expected})"
            )
        values, quality = self._assemble(*self._analog_of(raw), *self._discrete_of(raw))
        self._last_data, self._last_values, self._last_quality = data, values, quality
        return Report(self.data_set, values, quality, time_ns)

    def _analog_of(self, raw: tuple[Raw, ...]) -> tuple[tuple[Value, ...], tuple[int, ...]]:
        scales = self._get_scales(raw)
        if scales != self._scales:
            self._rescale(scales)
        whole = self._get_whole(raw)
        absent = bytes(map(eq, whole, self._sentinels))
        exact: Iterable[Any] = whole
        if self._numerators is not None:
            exact = map(mul, exact, self._numerators)
        if self._addends is not None:
            exact = map(add, exact, self._addends)
        analog: tuple[Value, ...] = tuple(map(truediv, exact, self._divisors))
        finite = b""
        if self._has_floats:
            floats: tuple[Any, ...] = self._get_plain(raw)
            if self._float_factors:
                scaled = map(mul, self._get_scaled(raw), self._float_factors)
                floats += tuple(map(add, scaled, self._float_offsets))
            finite = bytes(map(isfinite, floats))
            analog += floats
        quality = self._analog_quality
        if quality is None or absent != self._absent or finite != self._finite:
            quality = self._note_absent(absent, finite, analog)
        if self._holes:
            holed = list(analog)
            for place in self._holes:
                holed[place] = None
            analog = tuple(holed)
        return analog, quality

    def _discrete_of(self, raw: tuple[Raw, ...]) -> tuple[tuple[Value, ...], tuple[int, ...]]:
        discrete = self._get_discrete(raw)
        if discrete != self._discrete_raw:
            pairs = [column.translate(value) for column, value in zip(self._discrete, discrete, strict=True)]
            self._discrete_values = tuple(value for value, _ in pairs)
            self._discrete_quality = tuple(quality for _, quality in pairs)
            self._discrete_raw = discrete
        return self._discrete_values, self._discrete_quality

    def _assemble(
        self,
        analog: tuple[Value, ...],
        analog_quality: tuple[int, ...],
        discrete: tuple[Value, ...],
        discrete_quality: tuple[int, ...],
    ) -> tuple[tuple[Value, ...], tuple[int, ...]]:
        values = analog + discrete
        quality = analog_quality + discrete_quality
        if self._derived:
            more_values, more_quality = list(values), list(quality)
            for place, (rule, get) in enumerate(self._derivations):
                inputs = get(more_values), get(more_quality)
                known_inputs, pair = self._derived_known[place]
                if inputs != known_inputs:
                    pair = rule(*inputs)
                    self._derived_known[place] = inputs, pair
                more_values.append(pair[0])
                more_quality.append(pair[1])
            values, quality = tuple(more_values), tuple(more_quality)
        if self._order is not None:
            if self._constant:
                values += (None,)
                quality += (NO_SUCH_POINT,)
            values, quality = self._order(values), self._order(quality)
        # The same object lets the database see without comparing that no quality changed.
        return values, self._last_quality if quality == self._last_quality else quality

    def _rescale(self, scales: tuple[Raw, ...]) -> None:
        known = self._scalings.get(scales)
        if known is None:
            if len(self._scalings) >= _SCALINGS_LIMIT:
                self._scalings.clear()
            known = self._scalings[scales] = self._scaling(scales)
        self._numerators, self._addends, self._divisors, self._bad_scale = known
        self._scales = scales
        self._analog_quality = None

    def _scaling(self, scales: tuple[Raw, ...]) -> _Scaling:
        numerators, addends, divisors, bad = [], [], [], []
        for place, column in enumerate(self._whole):
            factor = column.factor
            if column.scale is not None:
                exponent = scales[self._scale_index[column.scale]]
                if not isinstance(exponent, int) or not -10 <= exponent <= 10:
                    bad.append(place)
                    exponent = 0
                factor *= Fraction(10) ** exponent
            divisor = factor.denominator * column.offset.denominator
            numerators.append(factor.numerator * column.offset.denominator)
            addends.append(column.offset.numerator * factor.denominator)
            divisors.append(divisor)
        return (
            tuple(numerators) if any(number != 1 for number in numerators) else None,
            tuple(addends) if any(addends) else None,
            tuple(divisors),
            tuple(bad),
        )

    def _note_absent(self, absent: bytes, finite: bytes, analog: tuple[Value, ...]) -> tuple[int, ...]:
        self._absent, self._finite = absent, finite
        if not self._bad_scale and 1 not in absent and 0 not in finite:
            self._holes, self._analog_quality = (), self._good
            return self._good
        quality = [q.GOOD] * len(analog)
        for place in self._bad_scale:
            quality[place] = BAD_SCALE
        for place in compress(range(len(absent)), absent):
            quality[place] = NOT_IMPLEMENTED
        for place, is_finite in enumerate(finite, len(absent)):
            if not is_finite:
                value = analog[place]
                quality[place] = NOT_IMPLEMENTED if value != value else NOT_FINITE  # noqa: PLR0124 - NaN
        self._holes = tuple(place for place, its_quality in enumerate(quality) if its_quality)
        self._analog_quality = tuple(quality)
        return self._analog_quality

    def _decode_partly(self, blocks: Sequence[bytes | None], time_ns: int) -> Report:
        """Decodes what is there, by the same columns over zeros for what is missing."""
        missing = {place for place, block in enumerate(blocks) if block is None}
        if len(missing) == len(blocks):
            size = len(self.data_set)
            return Report(self.data_set, (None,) * size, (NOT_READ,) * size, time_ns)
        data = b"".join(
            bytes(read.byte_count) if block is None else block
            for read, block in zip(self.reads, blocks, strict=True)
        )
        raw = self._raw(data)
        self._forget()
        values, quality = self._analog_of(raw)
        more_values, more_quality = self._discrete_of(raw)
        split = len(values)
        values, quality = values + more_values, quality + more_quality
        columns: list[AnalogColumn | DiscreteColumn] = [*self._analog, *self._discrete]
        lost = [not missing.isdisjoint(_reads_of(column)) for column in columns]
        values = tuple(None if gone else value for gone, value in zip(lost, values, strict=True))
        quality = tuple(NOT_READ if gone else its for gone, its in zip(lost, quality, strict=True))
        values, quality = self._assemble(values[:split], quality[:split], values[split:], quality[split:])
        self._forget()
        return Report(self.data_set, values, quality, time_ns)

    def _raw(self, data: bytes) -> tuple[Raw, ...]:
        if len(data) != self._size:
            raise RemoteProtocolError(
                f"{self.data_set.name}: {len(data)} bytes answered, {self._size} expected"
            )
        return self._unpack(data if self._permute is None else bytes(self._permute(data)))


def _is_identity(column: AnalogColumn) -> bool:
    return column.factor == 1 and column.offset == 0


def _reads_of(column: AnalogColumn | DiscreteColumn) -> set[int]:
    reads = {column.field.read}
    if isinstance(column, AnalogColumn) and column.scale is not None:
        reads.add(column.scale.read)
    return reads


def _ordered_derived(columns: Sequence[DerivedColumn]) -> list[DerivedColumn]:
    """Puts every derived column after the derived columns it needs.

    Raises:
        ProfileError: they need each other.
    """
    waiting = {column.name: column for column in columns}
    ordered: list[DerivedColumn] = []
    while waiting:
        ready = [column for column in waiting.values() if waiting.keys().isdisjoint(column.inputs)]
        if not ready:
            raise ProfileError(f"derived values need each other: {', '.join(waiting)}")
        ordered += [waiting.pop(column.name) for column in ready]
    return ordered


def _places(fields: Iterable[Field]) -> list[Field]:
    return sorted(set(fields), key=lambda field: (field.byte, field.code))


def _format(fields: Sequence[Field], size: int) -> str:
    """Returns the struct format of fields in order of position; the rest is skipped."""
    parts, at = [">"], 0
    for field in fields:
        if field.byte < at:
            raise ProfileError(f"two fields overlap at byte {field.byte}")
        if field.byte > at:
            parts.append(f"{field.byte - at}x")
        parts.append(field.code)
        at = field.byte + struct.calcsize(">" + field.code)
    if at > size:
        raise ProfileError(f"a field ends at byte {at}, the answers have {size}")
    parts.append(f"{size - at}x")
    return "".join(parts)


def _getter(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Returns an itemgetter that always gives a tuple."""
    if not places:
        return lambda _: ()
    if len(places) == 1:
        (place,) = places
        return lambda row: (row[place],)
    return itemgetter(*places)
