"""Whole columns of one ASDU type at once: the fast way in and out.

A Report or an interrogation has thousands of objects of one type. Here they are lists side by side, laid into
octets column by column and cut into ASDUs of at most 249 octets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from operator import index
from typing import Final

from s4g_gateway.codecs.iec104.cp56time import TIME_BYTES, UTC_TIME, TimeCoder, TimeTag
from s4g_gateway.codecs.iec104.elements import ADDRESS_BYTES, ASDU_TYPES, AsduType, Column
from s4g_gateway.codecs.iec104.header import AsduHeader, decode_header, encode_header
from s4g_gateway.codecs.iec104.identifiers import (
    ASDU_HEADER_BYTES,
    MAX_ASDU_BYTES,
    MAX_OBJECT_ADDRESS,
    TypeId,
)
from s4g_gateway.errors import DecodeError, EncodeError

_MAX_OBJECTS: Final = 127
_ADDRESS: Final = struct.Struct("<HB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The objects of one decoded ASDU, column by column; a column the type has not is None.

    Attributes:
        header: the data unit identifier.
        type_id: its type, known to be one of ``TypeId``.
        addresses: information object addresses.
        values: values as ``InformationObject.value`` has them.
        qualities: quality bits.
        qualifiers: qualifiers.
        selects: select bits, 0 or 1.
        times: time tags.
    """

    header: AsduHeader
    type_id: TypeId
    addresses: Sequence[int]
    values: Sequence[float] | None
    qualities: Sequence[int] | None
    qualifiers: Sequence[int] | None
    selects: Sequence[int] | None
    times: Sequence[TimeTag] | None


def check_structure(data: bytes, header: AsduHeader | None = None) -> tuple[AsduHeader, AsduType]:
    """Returns header and type of an ASDU whose length suits its count and SQ bit, whatever these are.

    Args:
        data: the octets after the APCI.
        header: its header where it is known already.

    Raises:
        DecodeError: unknown type or another length.
    """
    if header is None:
        header = decode_header(data)
    kind = ASDU_TYPES.get(header.type_id)
    if kind is None:
        raise DecodeError(f"type {header.type_id}: expected a known type", offset=0)
    size, count = kind.element_struct.size, header.count
    expected = ASDU_HEADER_BYTES + (
        ADDRESS_BYTES + count * size if header.sequence else count * (ADDRESS_BYTES + size)
    )
    if len(data) != expected:
        raise DecodeError(
            f"{kind.type_id.name}: {count} objects: expected {expected} octets, found {len(data)}",
            offset=min(expected, len(data)),
        )
    return header, kind


def decode_columns(data: bytes, *, coder: TimeCoder = UTC_TIME, header: AsduHeader | None = None) -> Columns:
    """Decodes an ASDU of a known type, column by column.

    Args:
        data: the octets after the APCI.
        coder: the zone of its time tags.
        header: its header where it is known already.

    Raises:
        DecodeError: unknown type, wrong length, no objects, SQ or several objects where the type has none,
            or a time tag that is none.
    """
    header, kind = check_structure(data, header)
    where = kind.type_id.name
    count = header.count
    if count == 0 or (kind.single and count != 1):
        raise DecodeError(
            f"{where}: found {count} objects, expected {'1' if kind.single else 'some'}", offset=1
        )
    if header.sequence and not kind.sequence:
        raise DecodeError(f"{where}: SQ=1 is not allowed", offset=1)
    size = kind.element_struct.size
    addresses: Sequence[int]
    if header.sequence:
        low, high = _ADDRESS.unpack_from(data, ASDU_HEADER_BYTES)
        first = low | high << 16
        if first + count - 1 > MAX_OBJECT_ADDRESS:
            raise DecodeError(f"{where}: addresses run past {MAX_OBJECT_ADDRESS}", offset=ASDU_HEADER_BYTES)
        addresses = range(first, first + count)
        fields = list(
            zip(*kind.element_struct.iter_unpack(data[ASDU_HEADER_BYTES + ADDRESS_BYTES :]), strict=True)
        )
    else:
        lows, highs, *fields = zip(*kind.object_struct.iter_unpack(data[ASDU_HEADER_BYTES:]), strict=True)
        addresses = [low | high << 16 for low, high in zip(lows, highs, strict=True)]
    times: list[TimeTag] | None = None
    if kind.timed:
        step = size if header.sequence else size + ADDRESS_BYTES
        base = len(data) - (count - 1) * step - TIME_BYTES
        decode = coder.decode
        times = [decode(octets, offset=base + at * step) for at, octets in enumerate(fields[-1])]
    return Columns(
        header=header,
        type_id=kind.type_id,
        addresses=addresses,
        values=_take(kind.value, fields),
        qualities=_take(kind.quality, fields),
        qualifiers=_take(kind.qualifier, fields),
        selects=_take(kind.select, fields),
        times=times,
    )


def _take(column: Column | None, fields: list[tuple[int, ...]]) -> Sequence[int] | None:
    if column is None:
        return None
    raw = fields[column.field]
    mask, shift, sign = column.mask, column.shift, column.sign
    if mask == 0:
        return raw
    if sign:
        return [(((item & mask) >> shift) ^ sign) - sign for item in raw]
    return [(item & mask) >> shift for item in raw]


def _checked(kind: AsduType, name: str, column: Column, item: int, address: int) -> int:
    width_mask = column.mask >> column.shift
    low = -column.sign
    high = width_mask >> 1 if column.sign else width_mask
    if not low <= item <= high or (name == "quality" and item & ~column.mask):
        raise EncodeError(
            f"{kind.type_id.name}: address {address}: {name} {item!r}: expected {low} to {high}"
            + (f" within mask {column.mask:#04x}" if name == "quality" else "")
        )
    return (item << column.shift) & column.mask


def fields_of(
    kind: AsduType, address: int, *, value: float | None, quality: int, qualifier: int, select: int
) -> list[float | bytes]:
    """Returns the wire fields of one element, without its time tag.

    Raises:
        EncodeError: something the type has no place for.
    """
    fields: list[float | bytes] = [0] * len(kind.fields)
    if (value is None) != (kind.value is None):
        raise EncodeError(f"{kind.type_id.name}: address {address}: value {value!r} does not suit the type")
    if value is not None and not isfinite(value):
        raise EncodeError(
            f"{kind.type_id.name}: address {address}: value {value!r}: expected a finite number"
        )
    for name, column, item in (
        ("value", kind.value, value),
        ("quality", kind.quality, quality),
        ("qualifier", kind.qualifier, qualifier),
        ("select", kind.select, select),
    ):
        if column is None:
            if item:
                raise EncodeError(
                    f"{kind.type_id.name}: address {address}: {name} {item!r}: the type has none"
                )
        elif column.mask == 0:
            fields[column.field] = item  # type: ignore[assignment]  # value is not None here
        elif not isinstance(item, int):
            raise EncodeError(f"{kind.type_id.name}: address {address}: {name} {item!r}: expected an integer")
        else:
            fields[column.field] |= _checked(kind, name, column, item, address)  # type: ignore[operator]
    return fields


def pack_asdus(
    type_id: TypeId,
    common_address: int,
    cause: int,
    *,
    addresses: Sequence[int],
    values: Sequence[float],
    qualities: Sequence[int] | int = 0,
    times_ns: Sequence[int] | int | None = None,
    qualifiers: Sequence[int] | int = 0,
    sequence: bool = False,
    originator: int = 0,
    coder: TimeCoder = UTC_TIME,
) -> list[bytes]:
    """Packs many objects of one monitored type into as few ASDUs as possible, in their order.

    Args:
        type_id: a monitored type, 1 to 15 or 30 to 37.
        common_address: the station.
        cause: cause of transmission.
        addresses: one per object.
        values: one per object, as ``InformationObject.value``.
        qualities: one per object, or one for all.
        times_ns: one per object or one for all (ns since 1970 UTC) where the type is timed; else None.
        qualifiers: transient bit or ``CounterQualifier``, one per object or one for all.
        sequence: SQ=1; the addresses must then follow each other without a gap within each ASDU; a gap
            starts a new ASDU.
        originator: originator address.
        coder: the zone of the time tags.

    Returns:
        ASDUs of at most 249 octets, ready for a link or an event buffer.

    Raises:
        EncodeError: a column of another length, a value that the type cannot carry, NaN or infinity.
    """
    kind = ASDU_TYPES[type_id]
    count = len(addresses)
    where = type_id.name
    if kind.control or kind.value is None or kind.single:
        raise EncodeError(f"{where}: expected a monitored type")
    if (times_ns is not None) != kind.timed:
        raise EncodeError(f"{where}: expected {'times' if kind.timed else 'no times'}")
    if sequence and not kind.sequence:
        raise EncodeError(f"{where}: SQ=1 is not allowed")
    if count == 0:
        return []
    for name, column in (
        ("values", values),
        ("qualities", qualities),
        ("times", times_ns),
        ("qualifiers", qualifiers),
    ):
        if isinstance(column, Sequence) and len(column) != count:
            raise EncodeError(f"{where}: {count} addresses, {len(column)} {name}")
    size = kind.element_struct.size + ADDRESS_BYTES
    data = bytearray(size * count)
    try:
        _lay_addresses(data, size, addresses)
        _lay_element(kind, data, size, values=values, qualities=qualities, qualifiers=qualifiers)
    except (struct.error, OverflowError, TypeError, ValueError) as error:
        raise EncodeError(f"{where}: {error}") from error
    if times_ns is not None:
        octets = (
            coder.encode_times(times_ns)
            if isinstance(times_ns, Sequence)
            else coder.encode_times((times_ns,)) * count
        )
        for octet in range(TIME_BYTES):
            data[size - TIME_BYTES + octet :: size] = octets[octet::TIME_BYTES]
    head = encode_header(
        AsduHeader(
            type_id=type_id,
            sequence=sequence,
            count=0,
            cause=cause,
            negative=False,
            test=False,
            originator=originator,
            common_address=common_address,
        )
    )
    if sequence:
        return _cut_sequences(head, bytes(data), size, addresses)
    return _cut(head, bytes(data), size)


def _lay_addresses(data: bytearray, size: int, addresses: Sequence[int]) -> None:
    octets = struct.Struct(f"<{len(addresses)}I").pack(*addresses)
    if any(octets[3::4]):
        raise ValueError(f"address {max(addresses)}: expected 0 to {MAX_OBJECT_ADDRESS}")
    data[0::size], data[1::size], data[2::size] = octets[0::4], octets[1::4], octets[2::4]


def _lay_element(
    kind: AsduType,
    data: bytearray,
    size: int,
    *,
    values: Sequence[float],
    qualities: Sequence[int] | int,
    qualifiers: Sequence[int] | int,
) -> None:
    if kind.is_float and not isfinite(sum(values)):
        raise ValueError("expected finite numbers")
    count = len(values)
    rows: dict[int, bytes] = {}
    for name, column, items in (
        ("value", kind.value, values),
        ("quality", kind.quality, qualities),
        ("qualifier", kind.qualifier, qualifiers),
    ):
        if column is None:
            if items if isinstance(items, int) else any(items):
                raise ValueError(f"the type has no {name}")
            continue
        if column.mask == 0:
            code = kind.fields[column.field]
            rows[column.field] = struct.Struct(f"<{count}{code}").pack(*items)  # type: ignore[misc]
            continue
        octets = _masked(name, column, items, count)
        known = rows.get(column.field)
        rows[column.field] = octets if known is None else _joined(known, octets)
    at = ADDRESS_BYTES
    for field, code in enumerate(kind.fields):
        width = struct.Struct(f"<{code}").size
        for octet in range(width):
            data[at + octet :: size] = rows[field][octet::width]
        at += width


def _masked(name: str, column: Column, items: Sequence[float] | int, count: int) -> bytes:
    """Returns one octet per object; columns with a mask are always single octets."""
    mask, shift, sign = column.mask, column.shift, column.sign
    columns = (items,) * count if isinstance(items, int) else items
    many = [index(item) for item in columns]  # type: ignore[arg-type]  # a float raises TypeError
    low, high = -sign, (mask >> shift) >> (1 if sign else 0)
    if min(many) < low or max(many) > high:
        raise ValueError(f"{name}: expected {low} to {high}, found {min(many)} to {max(many)}")
    if sign:
        return bytes([(item & (mask >> shift)) << shift for item in many])
    octets = bytes([item << shift for item in many]) if shift else bytes(many)
    if octets.translate(None, bytes(octet for octet in range(256) if not octet & ~mask)):
        raise ValueError(f"{name}: bits outside {mask:#04x}")
    return octets


def _joined(first: bytes, second: bytes) -> bytes:
    whole = int.from_bytes(first, "little") | int.from_bytes(second, "little")
    return whole.to_bytes(len(first), "little")


def _cut(head: bytes, data: bytes, size: int) -> list[bytes]:
    most = (MAX_ASDU_BYTES - ASDU_HEADER_BYTES) // size
    full = bytes((head[0], head[1] | most)) + head[2:]
    end = len(data)
    step = most * size
    whole = end - end % step
    asdus = [full + data[at : at + step] for at in range(0, whole, step)]
    if whole < end:
        asdus.append(bytes((head[0], head[1] | (end - whole) // size)) + head[2:] + data[whole:])
    return asdus


def _cut_sequences(head: bytes, data: bytes, size: int, addresses: Sequence[int]) -> list[bytes]:
    bare = size - ADDRESS_BYTES
    most = min((MAX_ASDU_BYTES - ASDU_HEADER_BYTES - ADDRESS_BYTES) // bare, _MAX_OBJECTS)
    elements = bytearray(bare * len(addresses))
    for octet in range(bare):
        elements[octet::bare] = data[ADDRESS_BYTES + octet :: size]
    asdus: list[bytes] = []
    start, count = 0, len(addresses)
    while start < count:
        stop = start + 1
        while stop < count and stop - start < most and addresses[stop] == addresses[stop - 1] + 1:
            stop += 1
        asdus.append(
            bytes((head[0], head[1] | (stop - start)))
            + head[2:]
            + data[start * size : start * size + ADDRESS_BYTES]
            + elements[start * bare : stop * bare]
        )
        start = stop
    return asdus
