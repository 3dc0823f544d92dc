"""ASDU: header, typed objects, and their octets.

Sizes are those of IEC 60870-5-104: cause 2 octets, common address 2, object address 3.

Source: IEC 60870-5-101 §7 and IEC 60870-5-104 §6 (clauses unverified).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from s4g_gateway.codecs.iec104.columns import Columns, decode_columns, fields_of
from s4g_gateway.codecs.iec104.cp56time import UTC_TIME, TimeCoder, TimeTag
from s4g_gateway.codecs.iec104.elements import ASDU_TYPES
from s4g_gateway.codecs.iec104.header import AsduHeader, decode_header, encode_header
from s4g_gateway.codecs.iec104.identifiers import MAX_ASDU_BYTES, MAX_OBJECT_ADDRESS, TypeId
from s4g_gateway.errors import EncodeError

_MAX_OBJECTS: Final = 127


@dataclass(frozen=True, slots=True)
class InformationObject:
    """One information object of any type; which columns count is the type's matter.

    Attributes:
        address: information object address, 0 to 16777215.
        value: 0/1 for single, 0 to 3 for double and step command, -64 to 63 for step position, 0 to
            2**32-1 for bitstring, -32768 to 32767 for normalized (value / 32768) and scaled, a float for
            short float, signed 32 bits for a counter, the octet of the qualifier for 70, 100, 101 and 105,
            the word for 104 and 107; None for 102 and 103.
        quality: bits of ``QualityBit``.
        qualifier: QU or QL of a command; 1 for a transient step position; ``CounterQualifier`` of a counter.
        select: the select bit of a command.
        time: the time tag of a type that has one, else None.
    """

    address: int
    value: float | None = None
    quality: int = 0
    qualifier: int = 0
    select: bool = False
    time: TimeTag | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asdu:
    """One application service data unit.

    Attributes:
        type_id: type identification.
        cause: cause of transmission, 0 to 63.
        common_address: 0 to 65535; 65535 is broadcast.
        objects: one or more.
        sequence: SQ=1: one address, the objects follow each other.
        negative: the P/N bit.
        test: the T bit.
        originator: originator address, 0 for none.
    """

    type_id: TypeId
    cause: int
    common_address: int
    objects: tuple[InformationObject, ...]
    sequence: bool = False
    negative: bool = False
    test: bool = False
    originator: int = 0


def decode_asdu(data: bytes, *, coder: TimeCoder = UTC_TIME) -> Asdu:
    """Decodes an ASDU of a known type.

    Args:
        data: the octets after the APCI.
        coder: the zone of its time tags.

    Raises:
        DecodeError: unknown type, wrong length, no objects, SQ or several objects where the type has none,
        or a
            time tag that is none.
    """
    columns = decode_columns(data, coder=coder)
    header = columns.header
    return Asdu(
        type_id=columns.type_id,
        cause=header.cause,
        common_address=header.common_address,
        objects=tuple(_objects(columns)),
        sequence=header.sequence,
        negative=header.negative,
        test=header.test,
        originator=header.originator,
    )


def _objects(columns: Columns) -> Iterable[InformationObject]:
    count = len(columns.addresses)
    none: list[None] = [None] * count
    zero = [0] * count
    return map(
        InformationObject,
        columns.addresses,
        columns.values if columns.values is not None else none,
        columns.qualities or zero,
        columns.qualifiers or zero,
        map(bool, columns.selects or zero),
        columns.times or none,
    )


def encode_asdu(asdu: Asdu, *, coder: TimeCoder = UTC_TIME) -> bytes:
    """Returns the octets of ``asdu``.

    Raises:
        EncodeError: a value, address, qualifier or count that the type cannot carry, NaN or infinity, a
        missing
            or superfluous time tag, or more than 249 octets.
    """
    kind = ASDU_TYPES[asdu.type_id]
    objects = asdu.objects
    where = asdu.type_id.name
    if not 1 <= len(objects) <= (1 if kind.single else _MAX_OBJECTS):
        raise EncodeError(
            f"{where}: expected 1 to {1 if kind.single else _MAX_OBJECTS} objects, found {len(objects)}"
        )
    if asdu.sequence and not kind.sequence:
        raise EncodeError(f"{where}: SQ=1 is not allowed")
    parts = [
        encode_header(
            AsduHeader(
                type_id=asdu.type_id,
                sequence=asdu.sequence,
                count=len(objects),
                cause=asdu.cause,
                negative=asdu.negative,
                test=asdu.test,
                originator=asdu.originator,
                common_address=asdu.common_address,
            )
        )
    ]
    first = objects[0].address
    for index, item in enumerate(objects):
        if not 0 <= item.address <= MAX_OBJECT_ADDRESS:
            raise EncodeError(f"{where}: address {item.address}: expected 0 to {MAX_OBJECT_ADDRESS}")
        if asdu.sequence and item.address != first + index:
            raise EncodeError(f"{where}: SQ=1 wants address {first + index}, found {item.address}")
        if not asdu.sequence or index == 0:
            parts.append(item.address.to_bytes(3, "little"))
        fields = fields_of(
            kind,
            item.address,
            value=item.value,
            quality=item.quality,
            qualifier=item.qualifier,
            select=int(item.select),
        )
        if (item.time is not None) != kind.timed:
            wanted = "a time tag" if kind.timed else "no time tag"
            raise EncodeError(f"{where}: address {item.address}: expected {wanted}")
        if item.time is not None:
            fields.append(coder.encode(item.time))
        try:
            parts.append(kind.element_struct.pack(*fields))
        except (struct.error, OverflowError) as error:
            raise EncodeError(f"{where}: address {item.address}: value {item.value!r}: {error}") from error
    data = b"".join(parts)
    if len(data) > MAX_ASDU_BYTES:
        raise EncodeError(f"{where}: expected at most {MAX_ASDU_BYTES} octets, found {len(data)}")
    return data


__all__ = [
    "Asdu",
    "AsduHeader",
    "InformationObject",
    "decode_asdu",
    "decode_header",
    "encode_asdu",
    "encode_header",
]
