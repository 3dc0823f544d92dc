"""COSEM objects of the simulated meter: attributes by number, each made when it is read.

Source: IEC 62056-6-2 interface classes 1, 3, 7, 8, 12 and 15 (clauses unverified, via the Gurux source).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

from s4g_gateway.errors import DecodeError
from s4g_gateway.simulators.dlms_meter.axdr import NULL, Data, Tag, array, number, octets, structure

Attribute = Callable[[], Data]
ATTRIBUTE_STEP: Final = 8
ASSOCIATION_BASE_NAME: Final = 0xFA00
REPLY_TO_HLS_BASE_NAME: Final = ASSOCIATION_BASE_NAME + 0x58
ASSOCIATION_LN: Final = bytes((0, 0, 40, 0, 0, 255))
DATA, REGISTER, PROFILE_GENERIC, CLOCK, ASSOCIATION_SN_CLASS, ASSOCIATION_LN_CLASS = 1, 3, 7, 8, 12, 15


class AccessResult(IntEnum):
    """What an access came to."""

    SUCCESS = 0
    TEMPORARY_FAILURE = 2
    READ_WRITE_DENIED = 3
    OBJECT_UNDEFINED = 4
    CLASS_INCONSISTENT = 9
    TYPE_UNMATCHED = 12
    SCOPE_VIOLATED = 13
    NO_LONG_GET = 16
    OTHER = 250


class AccessRefusedError(Exception):
    """An access that ends with another result than success."""

    def __init__(self, result: AccessResult) -> None:
        super().__init__(result.name)
        self.result = result


def parse_obis(text: str) -> bytes:
    """Returns a logical name.

    Args:
        text: six numbers with points between, such as ``1.0.16.7.0.255``.

    Raises:
        DecodeError: it is none.
    """
    try:
        name = bytes(map(int, text.split(".")))
    except ValueError:
        name = b""
    if len(name) != 6:
        raise DecodeError(f"{text!r} is no logical name; expected six numbers from 0 to 255")
    return name


@dataclass(frozen=True, slots=True)
class CosemObject:
    """One object.

    Attributes:
        class_id: interface class.
        version: of the class.
        logical_name: OBIS code, 6 bytes.
        attributes: number from 2 -> what reads it; attribute 1 is the logical name.
        base_name: of short-name referencing, 0 for none.
        public: true where a client without authentication sees it beside secured ones.
    """

    class_id: int
    version: int
    logical_name: bytes
    attributes: Mapping[int, Attribute]
    base_name: int = 0
    public: bool = False

    def read(self, attribute: int) -> Data:
        """Returns an attribute.

        Raises:
            AccessRefusedError: there is no such attribute.
        """
        if attribute == 1:
            return octets(self.logical_name)
        read = self.attributes.get(attribute)
        if read is None:
            raise AccessRefusedError(AccessResult.OBJECT_UNDEFINED)
        return read()

    def read_selected(self, attribute: int, selector: int, parameters: Data) -> Data:  # noqa: ARG002
        """Returns part of an attribute; only a profile has that.

        Raises:
            AccessRefusedError: always.
        """
        raise AccessRefusedError(AccessResult.TYPE_UNMATCHED)


def data_object(
    obis: str, read: Attribute, *, base_name: int = 0, public: bool = False, class_id: int = DATA
) -> CosemObject:
    """Returns an object of class Data."""
    return CosemObject(class_id, 0, parse_obis(obis), {2: read}, base_name, public)


def register(obis: str, read: Attribute, scaler: int, unit: int, *, base_name: int = 0) -> CosemObject:
    """Returns a Register.

    Args:
        obis: its logical name.
        read: makes the value.
        scaler: power of ten.
        unit: code of the unit.
        base_name: of short-name referencing.
    """
    scaler_unit = structure(number(Tag.INTEGER, scaler), number(Tag.ENUM, unit))
    return CosemObject(REGISTER, 0, parse_obis(obis), {2: read, 3: lambda: scaler_unit}, base_name)


def clock(now: Callable[[], datetime], *, base_name: int = 0) -> CosemObject:
    """Returns the Clock."""
    attributes: dict[int, Attribute] = {
        2: lambda: octets(encode_time(now())),
        3: lambda: number(Tag.LONG, 0),
        4: lambda: number(Tag.UNSIGNED, 0),
    }
    return CosemObject(CLOCK, 0, parse_obis("0.0.1.0.0.255"), attributes, base_name, public=True)


def encode_time(moment: datetime) -> bytes:
    """Returns COSEM date-time: 12 bytes, deviation in minutes from local time to UTC."""
    offset = moment.utcoffset() or timedelta()
    return (
        moment.year.to_bytes(2, "big")
        + bytes((moment.month, moment.day, moment.isoweekday(), moment.hour, moment.minute, moment.second))
        + bytes((moment.microsecond // 10_000,))
        + round(-offset.total_seconds() / 60).to_bytes(2, "big", signed=True)
        + b"\x00"
    )


def decode_time(data: bytes) -> datetime:
    """Reads COSEM date-time; a deviation that is not specified counts as UTC.

    Raises:
        DecodeError: a field is no such date.
    """
    if len(data) != 12:
        raise DecodeError(f"date-time of {len(data)} bytes, expected 12")
    deviation = int.from_bytes(data[9:11], "big", signed=True)
    if deviation == -0x8000:
        deviation = 0
    hour, minute, second = (0 if byte == 0xFF else byte for byte in data[5:8])
    try:
        moment = datetime(int.from_bytes(data[:2], "big"), data[2], data[3], hour, minute, second, tzinfo=UTC)
        return moment + timedelta(minutes=deviation)
    except (ValueError, OverflowError) as error:
        raise DecodeError(f"no date-time: {error}") from error


@dataclass(frozen=True, slots=True)
class Captured:
    """A column of a load profile: an attribute of an object."""

    source: CosemObject
    attribute: int = 2

    def definition(self) -> Data:
        """Returns the capture object definition."""
        return structure(
            number(Tag.LONG_UNSIGNED, self.source.class_id),
            octets(self.source.logical_name),
            number(Tag.INTEGER, self.attribute),
            number(Tag.LONG_UNSIGNED, 0),
        )


@dataclass(frozen=True, slots=True)
class LoadProfile(CosemObject):
    """A Profile generic whose rows are captured by the clock.

    Attributes:
        columns: what is captured; the clock first.
        rows: captured rows, oldest first; each as many values as columns.
    """

    columns: tuple[Captured, ...] = ()
    rows: list[tuple[Data, ...]] = field(default_factory=list)

    def capture(self) -> None:
        """Adds a row; the oldest goes when there is no more room."""
        self.rows.append(tuple(column.source.read(column.attribute) for column in self.columns))
        if len(self.rows) > MAX_ROWS:
            del self.rows[0]

    def read_selected(self, attribute: int, selector: int, parameters: Data) -> Data:
        """Returns rows by range of time (selector 1) or by number (selector 2).

        Raises:
            AccessRefusedError: another attribute or selector, or parameters of another form.
        """
        members = parameters.value
        if attribute != 2 or not isinstance(members, tuple) or len(members) != 4:
            raise AccessRefusedError(AccessResult.TYPE_UNMATCHED)
        if selector == 1:
            return _rows(self._by_range(members), self._selected(members[3]))
        if selector == 2:
            first, last, left, right = (_whole(member) for member in members)
            chosen = self.rows[max(0, first - 1) : last or None]
            return _rows(chosen, range(max(0, left - 1), right or len(self.columns)))
        raise AccessRefusedError(AccessResult.SCOPE_VIOLATED)

    def _by_range(self, members: tuple[Data, ...]) -> list[tuple[Data, ...]]:
        restricting, start, end = (member.value for member in members[:3])
        if not isinstance(restricting, tuple) or len(restricting) != 4:
            raise AccessRefusedError(AccessResult.TYPE_UNMATCHED)
        if restricting[1].value != self.columns[0].source.logical_name:
            raise AccessRefusedError(AccessResult.SCOPE_VIOLATED)
        if not isinstance(start, bytes) or not isinstance(end, bytes):
            raise AccessRefusedError(AccessResult.TYPE_UNMATCHED)
        try:
            low, high = decode_time(start), decode_time(end)
        except DecodeError:
            raise AccessRefusedError(AccessResult.TYPE_UNMATCHED) from None
        chosen = []
        for row in self.rows:
            stamp = row[0].value
            if isinstance(stamp, bytes) and low <= decode_time(stamp) <= high:
                chosen.append(row)
        return chosen

    def _selected(self, wanted: Data) -> Iterable[int]:
        if not isinstance(wanted.value, tuple) or not wanted.value:
            return range(len(self.columns))
        definitions = [column.definition() for column in self.columns]
        try:
            return [definitions.index(each) for each in wanted.value]
        except ValueError:
            raise AccessRefusedError(AccessResult.OBJECT_UNDEFINED) from None


MAX_ROWS: Final = 10_000


def _rows(rows: Iterable[tuple[Data, ...]], columns: Iterable[int]) -> Data:
    positions = tuple(columns)
    try:
        return array([structure(*(row[position] for position in positions)) for row in rows])
    except IndexError:
        raise AccessRefusedError(AccessResult.SCOPE_VIOLATED) from None


def _whole(data: Data) -> int:
    if isinstance(data.value, int):
        return data.value
    raise AccessRefusedError(AccessResult.TYPE_UNMATCHED)


def load_profile(
    obis: str, columns: tuple[Captured, ...], period_s: int, *, base_name: int = 0
) -> LoadProfile:
    """Returns a load profile without rows.

    Args:
        obis: its logical name.
        columns: what is captured; the clock first.
        period_s: between two rows.
        base_name: of short-name referencing.
    """
    rows: list[tuple[Data, ...]] = []
    attributes: dict[int, Attribute] = {
        2: lambda: _rows(rows, range(len(columns))),
        3: lambda: array([column.definition() for column in columns]),
        4: lambda: number(Tag.DOUBLE_LONG_UNSIGNED, period_s),
        5: lambda: number(Tag.ENUM, 1),
        6: columns[0].definition,
        7: lambda: number(Tag.DOUBLE_LONG_UNSIGNED, len(rows)),
        8: lambda: number(Tag.DOUBLE_LONG_UNSIGNED, MAX_ROWS),
    }
    return LoadProfile(PROFILE_GENERIC, 1, parse_obis(obis), attributes, base_name, False, columns, rows)


class ObjectTable:
    """The objects that one association sees.

    Args:
        objects: without the association object, which is added.
    """

    def __init__(self, objects: Iterable[CosemObject]) -> None:
        listed = tuple(objects)
        view_ln = CosemObject(
            ASSOCIATION_LN_CLASS, 1, ASSOCIATION_LN, {2: lambda: array([_ln_element(o) for o in everything])}
        )
        view_sn = CosemObject(
            ASSOCIATION_SN_CLASS,
            1,
            ASSOCIATION_LN,
            {2: lambda: array([_sn_element(o) for o in (*listed, view_sn) if o.base_name])},
            ASSOCIATION_BASE_NAME,
        )
        everything = (*listed, view_ln)
        self._by_name = {(o.class_id, o.logical_name): o for o in everything}
        self._by_base_name = {o.base_name: o for o in (*listed, view_sn) if o.base_name}

    def named(self, class_id: int, logical_name: bytes) -> CosemObject:
        """Returns an object by class and logical name.

        Raises:
            AccessRefusedError: there is none.
        """
        found = self._by_name.get((class_id, logical_name))
        if found is None:
            known = any(name == logical_name for _, name in self._by_name)
            result = AccessResult.CLASS_INCONSISTENT if known else AccessResult.OBJECT_UNDEFINED
            raise AccessRefusedError(result)
        return found

    def at(self, name: int) -> tuple[CosemObject, int]:
        """Returns the object and attribute of a short name.

        Raises:
            AccessRefusedError: there is none.
        """
        for attribute in range(1, 10):
            found = self._by_base_name.get(name - (attribute - 1) * ATTRIBUTE_STEP)
            if found is not None:
                return found, attribute
        raise AccessRefusedError(AccessResult.OBJECT_UNDEFINED)


def _ln_element(item: CosemObject) -> Data:
    readable = [1, *item.attributes]
    selectors = array([number(Tag.INTEGER, 1), number(Tag.INTEGER, 2)])
    rights = [
        structure(
            number(Tag.INTEGER, attribute),
            number(Tag.ENUM, 1),
            selectors if item.class_id == PROFILE_GENERIC and attribute == 2 else NULL,
        )
        for attribute in readable
    ]
    methods = [structure(number(Tag.INTEGER, 1), number(Tag.ENUM, 1))]
    return structure(
        number(Tag.LONG_UNSIGNED, item.class_id),
        number(Tag.UNSIGNED, item.version),
        octets(item.logical_name),
        structure(array(rights), array(methods if item.class_id == ASSOCIATION_LN_CLASS else [])),
    )


def _sn_element(item: CosemObject) -> Data:
    # base names above 32767 are negative longs
    return structure(
        number(Tag.LONG, (item.base_name ^ 0x8000) - 0x8000),
        number(Tag.LONG_UNSIGNED, item.class_id),
        number(Tag.UNSIGNED, item.version),
        octets(item.logical_name),
    )
