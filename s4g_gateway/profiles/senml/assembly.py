"""From resolved records to moments: one value and quality per column at one time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from s4g_gateway.codecs.senml import UNITS, Record, SenmlDecodeError
from s4g_gateway.model import NS_PER_S, Value, ValueType
from s4g_gateway.model.quality import ALL_BITS, GOOD, INVALID
from s4g_gateway.profiles.senml.columns import QUALITY_SUFFIX, Column
from s4g_gateway.profiles.senml.fast_decoders import time_from_wire_ns

MAX_CELLS: Final = 1_000_000
"""Most values of all moments of one pack together: a day of minutes for 694 columns."""

_RATIOS: Final = frozenset({"/", "%"})
"""``%`` is the discouraged name of ``/``: a ratio, no percentage. Source: RFC 8428 §12.1 note 2."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The columns at one time.

    Attributes:
        values: one per column; None where there is none.
        quality: IEC 61850 quality, one per column.
        time_ns: one time, or one per column; ns since 1970 UTC.
        included: one byte per column, 1 where the pack held it; None for all.
    """

    values: tuple[Value, ...]
    quality: tuple[int, ...]
    time_ns: int | tuple[int, ...]
    included: bytes | None


def conversion(unit: str | None, column: Column) -> tuple[float, float]:
    """Returns factor and offset from a record's unit to the column's unit.

    Raises:
        SenmlDecodeError: the units measure different things.
    """
    if unit is None or unit == column.unit:
        return 1.0, 0.0
    if not column.unit:
        if unit in _RATIOS or unit == "count":
            return 1.0, 0.0
    else:
        theirs, ours = UNITS.get(unit), UNITS[column.unit]
        if theirs is not None:
            primary = "/" if theirs.primary in _RATIOS else theirs.primary
            if primary == ours.primary:
                factor = theirs.scale / ours.scale
                return float(factor), float((theirs.offset - ours.offset) / ours.scale)
            if primary == "/" and column.unit == "%EL":
                return float(theirs.scale * 100), 0.0
    raise SenmlDecodeError(f"{column.full_name}: unit {unit!r:.40}; expected {column.unit or 'none'!r}")


def typed_value(record: Record, column: Column, factor: float, offset: float) -> Value:
    """Returns the canonical value of a record.

    Raises:
        SenmlDecodeError: the record carries another kind of value.
    """
    kind, value = column.value_type, record.value
    if kind is ValueType.TEXT:
        if record.string_value is not None:
            return record.string_value
    elif kind is ValueType.BOOLEAN:
        if record.boolean_value is not None:
            return record.boolean_value
        if value in (0.0, 1.0):
            return value == 1.0
    elif value is not None:
        if factor != 1.0 or offset != 0.0:
            value = value * factor + offset
        if not column.scale.is_identity:
            value = column.scale.from_wire(value)
        if value - value != 0.0:
            raise SenmlDecodeError(f"{column.full_name}: beyond what a double holds")
        if kind is ValueType.FLOAT:
            return value
        if value.is_integer():
            return int(value)
    raise SenmlDecodeError(f"{column.full_name}: expected a value of type {kind.value}")


def quality_value(value: float | None, column: Column) -> int:
    """Returns the quality a ``.q`` record carries.

    Raises:
        SenmlDecodeError: no integer, or bits that no quality has.
    """
    if value is None or not value.is_integer() or not 0 <= value <= ALL_BITS:
        raise SenmlDecodeError(
            f"{column.full_name}{QUALITY_SUFFIX}: expected an integer from 0 to {ALL_BITS}, found {value!r}"
        )
    return int(value)


def wire_time_ns(time_s: float, name: str | None) -> int:
    """Returns the model's time of a resolved record.

    Raises:
        SenmlDecodeError: before 1970 or beyond 64 bits.
    """
    time_ns = time_from_wire_ns(time_s) if abs(time_s) < 1e12 else -1
    if not 0 <= time_ns < 2**63:
        raise SenmlDecodeError(f"{name}: time {time_s!r} s; expected one from 1970 to 2262")
    return time_ns


_Cell = list[Value]  # value, then quality; None for what did not come


class Assembler:
    """Sorts records into columns.

    Args:
        columns: which records are known, by name.
    """

    __slots__ = ("_columns", "_places")

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._places: dict[str, tuple[int, bool]] = {}
        for position, column in enumerate(columns):
            self._places[column.full_name] = position, False
            self._places[column.full_name + QUALITY_SUFFIX] = position, True

    def place(self, name: str) -> tuple[int, bool] | None:
        """Returns position and whether it is the quality's record; None for an unknown name."""
        return self._places.get(name)

    def moments(self, records: Iterable[Record]) -> tuple[tuple[Moment, ...], tuple[Record, ...]]:
        """Sorts the resolved records of a pack.

        Returns:
            The moments in chronological order: one where no column stands at two times, else one per time;
            and the records of other names, or with a sum only.

        Raises:
            SenmlDecodeError: a value, unit, quality or time that the column cannot take, a column twice at
                one time, or more than ``MAX_CELLS`` values.
        """
        times: dict[int, dict[int, _Cell]] = {}
        others: list[Record] = []
        for record in records:
            place = self._places.get(record.name or "")
            only_sum = record.value is None and record.value_sum is not None
            if place is None or only_sum:
                others.append(record)
                continue
            position, is_quality = place
            column = self._columns[position]
            time_ns = wire_time_ns(record.time_s or 0.0, record.name)
            cell = times.setdefault(time_ns, {}).setdefault(position, [None, None])
            if cell[is_quality] is not None:
                raise SenmlDecodeError(f"{record.name} stands twice at one time")
            if is_quality:
                cell[1] = quality_value(record.value, column)
            else:
                cell[0] = typed_value(record, column, *conversion(record.unit, column))
        size = len(self._columns)
        if sum(map(len, times.values())) == len(set().union(*times.values())):
            return ((self._joined(times),) if times else ()), tuple(others)
        if len(times) * size > MAX_CELLS:
            raise SenmlDecodeError(
                f"{len(times)} times of {size} values; expected at most {MAX_CELLS} in all"
            )
        return tuple(self._joined({time: times[time]}) for time in sorted(times)), tuple(others)

    def _joined(self, times: dict[int, dict[int, _Cell]]) -> Moment:
        size = len(self._columns)
        values: list[Value] = [None] * size
        quality = [INVALID] * size
        latest = max(times)
        at = [latest] * size
        included = bytearray(size)
        for time_ns, cells in times.items():
            for position, (value, state) in cells.items():
                values[position] = value
                quality[position] = state if isinstance(state, int) else GOOD
                at[position] = time_ns
                included[position] = 1
        return Moment(
            tuple(values),
            tuple(quality),
            latest if len(times) == 1 else tuple(at),
            None if all(included) else bytes(included),
        )


def seconds(time_ns: int) -> float:
    """Returns a time in s, as resolution takes it."""
    return time_ns / NS_PER_S
