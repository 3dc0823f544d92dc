"""Reading records with common fields one by one, and single values of every representation.

See ``s4g_gateway.profiles.senml.foreign``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from s4g_gateway.codecs.senml import (
    DEFAULT_VERSION,
    RELATIVE_BELOW_S,
    SECONDARY,
    SECONDARY_UNITS_VERSION,
    Format,
    SenmlDecodeError,
)
from s4g_gateway.codecs.senml.record import BY_TEXT
from s4g_gateway.model import Value, ValueType
from s4g_gateway.model.quality import ALL_BITS, GOOD, INVALID
from s4g_gateway.profiles.senml.assembly import Assembler, conversion, seconds, wire_time_ns
from s4g_gateway.profiles.senml.columns import Column

_USED: Final = ("bn", "bt", "bu", "bver", "n", "u", "t", "v", "vb", "vs")
_NUMBER: Final = re.compile(r"[+-]?[0-9]++(?:\.[0-9]*+)?(?:[eE][+-]?[0-9]++)?\Z")
_NUMBERS: Final = re.compile(r"(?:[+-]?[0-9]++(?:\.[0-9]*+)?(?:[eE][+-]?[0-9]++)?\n)++\Z")
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_VALUE, _QUALITY = 1, 2

Found = tuple[tuple[Value, ...], tuple[int, ...], int | tuple[int, ...], bytes | None]
"""Values, quality, times and inclusion mask, as in a ``Moment``."""


class Unusual(Exception):  # noqa: N818 - never leaves this package
    """The pack holds what only the general way can judge."""


LEFT_TO_OTHERS: Final = (
    Unusual,
    SenmlDecodeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    OverflowError,
)
"""What a pack of another kind raises on its way; the general way then says what is wrong, if anything."""


def _number(value: Any) -> float:
    if type(value) is float:
        number = value
    elif type(value) is int:
        number = float(value)
    else:
        raise Unusual
    if number - number != 0.0:
        raise Unusual
    return number


def _number_of_text(value: Any) -> float:
    if not _NUMBER.match(value):
        raise Unusual
    return _number(float(value))


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise Unusual
    return value


def _flag_of_text(value: Any) -> bool:
    flag = _FLAGS.get(value)
    if flag is None:
        raise Unusual
    return flag


def _version(value: Any) -> int:
    if type(value) is not int:
        raise Unusual
    return value


def _version_of_text(value: Any) -> int:
    return SECONDARY_UNITS_VERSION if value == "26" else DEFAULT_VERSION if value == "10" else 0


def _numbers(column: Sequence[Any]) -> Sequence[float]:
    types = {*map(type, column)}
    if types == {float}:
        return column
    if types <= {float, int}:
        return [*map(float, column)]
    raise Unusual


def _numbers_of_texts(column: Sequence[Any]) -> Sequence[float]:
    if not _NUMBERS.match("\n".join(column) + "\n"):
        raise Unusual
    return [*map(float, column)]


@dataclass(frozen=True, slots=True)
class Representation:
    """How one representation has labels and values once it is parsed.

    Attributes:
        label: its labels by those of JSON.
        number: a number of a value.
        numbers: numbers of values; finite is not checked.
        flag: a boolean of a value.
        version: a version of a value, 0 for one that is not known.
        escapes: texts have escapes of their own.
    """

    label: dict[str, Any]
    number: Callable[[Any], float]
    numbers: Callable[[Sequence[Any]], Sequence[float]]
    flag: Callable[[Any], bool]
    version: Callable[[Any], int]
    escapes: bool


def representation(form: Format) -> Representation:
    """Returns how a representation has labels and values."""
    label = {text: BY_TEXT[text].number if form is Format.CBOR else text for text in _USED}
    if form is Format.XML:
        return Representation(
            label, _number_of_text, _numbers_of_texts, _flag_of_text, _version_of_text, True
        )
    return Representation(label, _number, _numbers, _flag, _version, False)


def resolved_time_ns(time_s: float, now_ns: int) -> int:
    """Returns the model's time of a record; times below 2**28 s count from now.

    Raises:
        SenmlDecodeError: before 1970 or beyond 64 bits.
    """
    return wire_time_ns(time_s + seconds(now_ns) if time_s < RELATIVE_BELOW_S else time_s, None)


class RecordByRecord:
    """One pack while it is read.

    Args:
        columns: what is known.
        assembler: the same columns by name.
        form: labels and values of the representation.
        now_ns: what relative times count from, ns since 1970 UTC.
    """

    __slots__ = (
        "at", "base", "base_time_ns", "base_time_s", "base_unit", "columns", "first", "form", "has", "now_ns",
        "place", "quality", "values", "version",
    )  # fmt: skip

    def __init__(
        self, columns: Sequence[Column], assembler: Assembler, form: Representation, now_ns: int
    ) -> None:
        size = len(columns)
        self.columns = columns
        self.place = assembler.place
        self.form = form
        self.now_ns = now_ns
        self.values: list[Value] = [None] * size
        self.quality = [INVALID] * size
        self.at = [-1] * size
        self.has = bytearray(size)
        self.base = ""
        self.base_unit: str | None = None
        self.base_time_s = 0.0
        self.base_time_ns = -1
        self.version = DEFAULT_VERSION
        self.first = True

    def take(self, fields: dict[Any, Any]) -> None:
        """Takes the next record."""
        label, get = self.form.label, fields.get
        name, unit, value = get(label["n"]), get(label["u"]), get(label["v"])
        known = (name is not None) + (unit is not None) + (value is not None)
        flag = text = time = None
        if known != len(fields):
            flag, text, time = get(label["vb"]), get(label["vs"]), get(label["t"])
            known += (flag is not None) + (text is not None) + (time is not None)
            if known != len(fields) and known + self._take_bases(get) != len(fields):
                raise Unusual
        self.first = False
        if not known:
            if not fields:
                raise Unusual
            return  # base fields only
        if (value is not None) + (flag is not None) + (text is not None) != 1:
            raise Unusual
        place = self.place(self.base if name is None else self.base + name)
        if place is None or (unit is not None and type(unit) is not str):
            raise Unusual
        unit = self.base_unit if unit is None else unit
        position, is_quality = place
        column = self.columns[position]
        time_ns = self._time_ns(time)
        has = self.has[position]
        if has and self.at[position] != time_ns:
            raise Unusual
        self.at[position] = time_ns
        if is_quality:
            if unit or value is None or has & _QUALITY:
                raise Unusual
            number = self.form.number(value)
            if not number.is_integer() or not 0 <= number <= ALL_BITS:
                raise Unusual
            self.quality[position] = int(number)
            self.has[position] = has | _QUALITY
            return
        if has & _VALUE:
            raise Unusual
        if unit and unit != column.unit and conversion(unit, column) != (1.0, 0.0):
            raise Unusual
        if unit in SECONDARY and self.version != SECONDARY_UNITS_VERSION:
            raise Unusual
        self.values[position] = self._value(column, value, flag, text)
        self.has[position] = has | _VALUE
        if not has:
            self.quality[position] = GOOD

    def _take_bases(self, get: Callable[[Any], Any]) -> int:
        """Takes base fields; returns how many there are."""
        label = self.form.label
        base, time, unit, version = (get(label[text]) for text in ("bn", "bt", "bu", "bver"))
        if base is not None:
            self.base = "" + base
        if time is not None:
            self.base_time_s = self.form.number(time)
            self.base_time_ns = -1
        if unit is not None:
            self.base_unit = "" + unit
        if version is not None:
            self.version = self.form.version(version)
            if not self.first or self.version not in (DEFAULT_VERSION, SECONDARY_UNITS_VERSION):
                raise Unusual
        return (base is not None) + (time is not None) + (unit is not None) + (version is not None)

    def _time_ns(self, time: Any) -> int:
        if time is None and self.base_time_ns >= 0:
            return self.base_time_ns
        time_s = self.base_time_s + (0.0 if time is None else self.form.number(time))
        time_ns = resolved_time_ns(time_s, self.now_ns)
        if time is None:
            self.base_time_ns = time_ns
        return time_ns

    def _value(self, column: Column, value: Any, flag: Any, text: Any) -> Value:
        kind = column.value_type
        if kind is ValueType.BOOLEAN:
            return self.form.flag(flag)
        if kind is ValueType.TEXT:
            if type(text) is not str or self.form.escapes:
                raise Unusual  # in XML a text has escapes of its own
            return text
        number = self.form.number(value)
        if not column.scale.is_identity:
            number = _number(column.scale.from_wire(number))
        if kind is ValueType.FLOAT:
            return number
        if not number.is_integer():
            raise Unusual
        return int(number)

    def found(self) -> Found:
        """Returns what was taken."""
        at, has = self.at, self.has
        latest = max(at)
        if latest < 0:
            raise Unusual
        time: int | tuple[int, ...] = latest
        if at.count(latest) != len(at):
            filled = tuple(latest if each < 0 else each for each in at)
            time = latest if filled.count(latest) == len(filled) else filled
        included = bytes(map(bool, has)) if 0 in has else None
        return tuple(self.values), tuple(self.quality), time, included
