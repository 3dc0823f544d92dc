"""A device described by a register table: DataSets, reads, decoders, writes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from s4g_gateway.errors import ModelError, ProfileError
from s4g_gateway.model import (
    ACCEPTED,
    AddCause,
    ControlAnswer,
    ControlPoint,
    DataSet,
    Member,
    ObjectReference,
    Value,
    ValueType,
    refused,
)
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.modbus.answers import Answer, Exchange, refusal
from s4g_gateway.profiles.modbus.columns import (
    NEVER,
    NOT_IMPLEMENTED,
    AnalogColumn,
    Column,
    DiscreteColumn,
    Field,
    Pair,
    Raw,
)
from s4g_gateway.profiles.modbus.decoder import ReportDecoder
from s4g_gateway.profiles.modbus.reads import MAX_READ_BITS, Function, Read, Span, Write, plan_reads
from s4g_gateway.profiles.modbus.table import FUNCTIONS, Register, RegisterTable

_CDC = {
    ValueType.FLOAT: "MV",
    ValueType.INTEGER: "INS",
    ValueType.BOOLEAN: "SPS",
    ValueType.ENUMERATED: "ENS",
    ValueType.TEXT: "VSS",
}


@dataclass(frozen=True, slots=True)
class TableDevice:
    """A device as configured.

    Attributes:
        name: unique within its connector.
        table: its register table.
        writable: the table's writable rows by ObjectReference.
        data_sets: measurements first, then settings where the table has any.
        controls: its controllable points.
    """

    name: str
    table: RegisterTable
    writable: Mapping[str, Register]
    data_sets: tuple[DataSet, ...]
    controls: tuple[ControlPoint, ...]

    def decoders(self) -> tuple[ReportDecoder, ...]:
        """Returns one decoder per DataSet, with its reads."""
        compiled = _decoders(self.table)
        return tuple(
            decoder.twin(data_set) for decoder, data_set in zip(compiled, self.data_sets, strict=True)
        )


def build_table_device(
    table: RegisterTable, name: str, logical_devices: Mapping[str, str] | None = None
) -> TableDevice:
    """Builds a device from its table; offline.

    Args:
        table: the register table.
        name: unique within its connector; its DataSets are called ``<name>-measurements`` and
            ``<name>-settings``.
        logical_devices: role to logical device name, in place of the table's.

    Raises:
        ProfileError: an unknown role, a reference twice, or rows that contradict each other.
    """
    unknown = (logical_devices or {}).keys() - table.logical_devices.keys()
    if unknown:
        raise ProfileError(f"logical_devices: the table has no {', '.join(sorted(unknown))}")
    roles = {**table.logical_devices, **(logical_devices or {})}
    rows: dict[str, Register] = {}
    for row in table.register:
        reference = row.reference.format_map(roles)
        if reference in rows:
            raise ProfileError(f"{reference} is mapped twice")
        rows[reference] = row
    by_row = {id(row): reference for reference, row in rows.items()}
    try:
        data_sets = tuple(
            DataSet(f"{name}-{title}", tuple(_member(by_row[id(row)], row) for row in section))
            for title, section in _sections(table)
        )
    except ModelError as error:
        raise ProfileError(str(error)) from error
    _decoders(table)  # finds rows that contradict each other now, not when the device is reached
    writable = {reference: row for reference, row in rows.items() if row.writable}
    controls = tuple(_control(reference, row) for reference, row in writable.items())
    return TableDevice(name, table, writable, data_sets, controls)


def _sections(table: RegisterTable) -> list[tuple[str, list[Register]]]:
    """Returns the rows read at each rate; scaled values first, the order in which the decoder makes them."""
    sections = []
    for rate, title in (("measurement", "measurements"), ("setting", "settings")):
        rows = [row for row in table.register if row.rate == rate]
        if rows:
            sections.append((title, sorted(rows, key=lambda row: row.kind is not ValueType.FLOAT)))
    return sections


def _member(reference: str, row: Register) -> Member:
    return Member(
        reference=ObjectReference(reference),
        value_type=row.kind,
        unit=row.unit,
        cdc=row.cdc or _CDC[row.kind],
        description=row.description,
        minimum=row.minimum,
        maximum=row.maximum,
        deadband=row.deadband,
    )


def _control(reference: str, row: Register) -> ControlPoint:
    return ControlPoint(
        reference=ObjectReference(reference),
        value_type=row.kind,
        unit=row.unit,
        minimum=row.minimum,
        maximum=row.maximum,
        expires=row.release is not None,
        description=row.description,
    )


# -- reading ------------------------------------------------------------------------------------------


def _function(table: RegisterTable, row: Register) -> Function:
    return FUNCTIONS[row.place or table.place]


def _is_bits(function: Function) -> bool:
    return function <= Function.READ_DISCRETE_INPUTS


@lru_cache(maxsize=64)
def _decoders(table: RegisterTable) -> tuple[ReportDecoder, ...]:
    """Compiles a table once for all its devices."""
    return tuple(_decoder(table, title, rows) for title, rows in _sections(table))


def _decoder(table: RegisterTable, title: str, rows: Sequence[Register]) -> ReportDecoder:
    reads: list[Read] = []
    for function in sorted({_function(table, row) for row in rows}):
        spans = [Span(row.address, row.registers) for row in rows if _function(table, row) is function]
        most = MAX_READ_BITS if _is_bits(function) else table.max_registers
        gap_limit = table.gap_limit_registers * (16 if _is_bits(function) else 1)
        reads += plan_reads(spans, function=function, max_count=most, gap_limit=gap_limit)
    starts = [sum(read.byte_count for read in reads[:index]) for index in range(len(reads))]
    order = list(range(sum(read.byte_count for read in reads)))
    columns: list[Column] = []
    for position, row in enumerate(rows):
        reference = _placeholder(position)
        index = next(
            index
            for index, read in enumerate(reads)
            if read.function is _function(table, row)
            and read.address <= row.address
            and row.address + row.registers <= read.end
        )
        ahead = row.address - reads[index].address
        if _is_bits(reads[index].function):
            place = Field(starts[index] + ahead // 8, "B", index)
            columns.append(DiscreteColumn(name=reference, field=place, translate=_bit(ahead % 8, ())))
            continue
        place = Field(starts[index] + 2 * ahead, row.code, index)
        swapped = _positions(row, table)
        order[place.byte : place.byte + len(swapped)] = [place.byte + position for position in swapped]
        columns.append(_column(reference, row, place))
    is_straight = order == list(range(len(order)))
    members = tuple(Member(reference=_placeholder(position)) for position in range(len(rows)))
    return ReportDecoder(DataSet(title, members), reads, columns, byte_order=None if is_straight else order)


def _placeholder(position: int) -> ObjectReference:
    """Stands for a reference that differs from device to device."""
    return ObjectReference(f"LD1/GGIO1.AnIn{position}")


def _positions(row: Register, table: RegisterTable) -> list[int]:
    """Returns for each byte of the value in network order where the device puts it."""
    words = [[2 * word, 2 * word + 1] for word in range(row.registers)]
    if (row.word_order or table.word_order) == "little" and row.type != "string":
        words.reverse()
    if (row.byte_order or table.byte_order) == "little":
        words = [word[::-1] for word in words]
    return [position for word in words for position in word]


def _column(reference: str, row: Register, place: Field) -> AnalogColumn | DiscreteColumn:
    if row.type == "bit":
        return DiscreteColumn(name=reference, field=place, translate=_bit(row.bit or 0, row.invalid))
    if row.type == "string":
        return DiscreteColumn(name=reference, field=place, translate=_text)
    if row.kind is not ValueType.FLOAT or len(row.invalid) > 1:
        return DiscreteColumn(name=reference, field=place, translate=_number(row))
    return AnalogColumn(
        name=reference,
        field=place,
        factor=Fraction(str(row.scale)) * row.sign,
        offset=Fraction(str(row.offset)),
        sentinel=row.invalid[0] if row.invalid else NEVER,
    )


def _bit(number: int, invalid: Sequence[int]) -> Callable[[Raw], Pair]:
    def translate(raw: Raw) -> Pair:
        return (None, NOT_IMPLEMENTED) if raw in invalid else (bool(int(raw) >> number & 1), q.GOOD)

    return translate


def _text(raw: Raw) -> Pair:
    assert isinstance(raw, bytes)  # noqa: S101 - the struct code is s
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip(), q.GOOD


def _number(row: Register) -> Callable[[Raw], Pair]:
    states = {int(state): value for state, value in row.values.items()}
    factor, offset = Fraction(str(row.scale)) * row.sign, Fraction(str(row.offset))

    def translate(raw: Raw) -> Pair:
        if raw in row.invalid or raw != raw:  # noqa: PLR0124 - NaN
            return None, NOT_IMPLEMENTED
        if states:
            known = states.get(int(raw))
            return known, q.INVALID | q.OUT_OF_RANGE if known is None else q.GOOD
        if row.kind is ValueType.INTEGER:
            return int(raw), q.GOOD
        return float(Fraction(raw) * factor + offset) if not isinstance(raw, bytes) else None, q.GOOD

    return translate


# -- writing ------------------------------------------------------------------------------------------


def operate_table(device: TableDevice, reference: str, value: Value) -> Exchange:
    """Writes a set-point and reads it back.

    Args:
        device: the device.
        reference: the controllable point.
        value: ctlVal; None writes the row's release value.

    Yields:
        Writes and Reads; to be sent an Answer to each.

    Returns:
        Accepted only after the register reads back as written.
    """
    row = device.writable.get(reference)
    if row is None:
        return refused(AddCause.NOT_SUPPORTED, f"{reference} is not controllable")
    if value is None:
        if row.release is None:
            return refused(AddCause.NOT_SUPPORTED, f"{reference} has no release value")
        value = row.release
    function = _function(device.table, row)
    try:
        data = _encode(row, device.table, value)
    except (struct.error, OverflowError, ValueError) as error:
        return refused(AddCause.INCONSISTENT_PARAMETERS, f"{value!r} does not fit {row.type}: {error}")
    return (yield from _write_and_confirm(row, function, data))


def _write_and_confirm(
    row: Register, function: Function, data: bytes
) -> Generator[Read | Write, Answer, ControlAnswer]:
    if function is Function.READ_COILS:
        written = Function.WRITE_SINGLE_COIL
    else:
        written = Function.WRITE_SINGLE_REGISTER if len(data) == 2 else Function.WRITE_MULTIPLE_REGISTERS
    answer = yield Write(row.address, data, written)
    if answer.exception:
        return refusal(answer.exception, f"writing {row.address}")
    answer = yield Read(row.address, row.registers, function)
    if answer.exception:
        return refusal(answer.exception, f"reading {row.address} back")
    found = bytes((answer.data[0] & 1,)) if function is Function.READ_COILS else answer.data
    if found != data:
        return refused(
            AddCause.ABORTION_DUE_TO_DEVIATION, f"read back differs: {found.hex()}, written {data.hex()}"
        )
    return ACCEPTED


def _encode(row: Register, table: RegisterTable, value: Value) -> bytes:
    if row.kind is ValueType.BOOLEAN:
        return bytes((1 if value else 0,))
    if row.values:
        known: dict[Value, int] = {canonical: int(state) for state, canonical in row.values.items()}
        if value not in known:
            raise ValueError(f"expected one of {', '.join(map(str, known))}")
        raw: int | float = known[value]
    elif row.code in "fd":
        raw = (float(value or 0) - row.offset) / (row.scale * row.sign)
    else:
        exact = (Fraction(str(value)) - Fraction(str(row.offset))) / (Fraction(str(row.scale)) * row.sign)
        raw = round(exact)
    packed = struct.pack(">" + row.code, raw)
    swapped = bytearray(len(packed))
    for position, place in enumerate(_positions(row, table)):
        swapped[place] = packed[position]
    return bytes(swapped)
