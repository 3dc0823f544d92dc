"""The six octets that every ASDU of IEC 60870-5-104 begins with."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from s4g_gateway.codecs.iec104.identifiers import ASDU_HEADER_BYTES
from s4g_gateway.errors import DecodeError, EncodeError

_HEADER: Final = Struct("<BBBBH")
_NEGATIVE: Final = 0x40
_TEST: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class AsduHeader:
    """Data unit identifier of an ASDU; it can be read even where the type is unknown.

    Attributes:
        type_id: type identification, 0 to 255, known or not.
        sequence: the SQ bit.
        count: number of objects or elements, 0 to 127.
        cause: cause of transmission, 0 to 63.
        negative: the P/N bit.
        test: the T bit.
        originator: originator address, 0 to 255.
        common_address: 0 to 65535.

    Source: IEC 60870-5-101 §7.2.1 to 7.2.4 (clauses unverified).
    """

    type_id: int
    sequence: bool
    count: int
    cause: int
    negative: bool
    test: bool
    originator: int
    common_address: int


def decode_header(data: bytes) -> AsduHeader:
    """Returns the header of an ASDU.

    Raises:
        DecodeError: fewer than 6 octets.
    """
    if len(data) < ASDU_HEADER_BYTES:
        raise DecodeError(f"ASDU header: expected 6 octets, found {len(data)}", offset=len(data))
    type_id, vsq, cause, originator, common_address = _HEADER.unpack_from(data)
    return AsduHeader(
        type_id=type_id,
        sequence=bool(vsq & 0x80),
        count=vsq & 0x7F,
        cause=cause & 0x3F,
        negative=bool(cause & _NEGATIVE),
        test=bool(cause & _TEST),
        originator=originator,
        common_address=common_address,
    )


def encode_header(header: AsduHeader) -> bytes:
    """Returns the six octets.

    Raises:
        EncodeError: a number that does not fit its field.
    """
    if not (
        0 <= header.type_id <= 0xFF
        and 0 <= header.count <= 0x7F
        and 0 <= header.cause <= 0x3F
        and 0 <= header.originator <= 0xFF
        and 0 <= header.common_address <= 0xFFFF
    ):
        raise EncodeError(f"ASDU header: a number out of range in {header}")
    return _HEADER.pack(
        header.type_id,
        header.count | (0x80 if header.sequence else 0),
        header.cause | (_NEGATIVE if header.negative else 0) | (_TEST if header.test else 0),
        header.originator,
        header.common_address,
    )


def answer_to(data: bytes, cause: int, *, negative: bool = False, common_address: int | None = None) -> bytes:
    """Returns the mirrored ASDU with another cause; originator, T bit and objects stay as they came.

    Args:
        data: the request.
        cause: cause of transmission of the answer.
        negative: the P/N bit of the answer.
        common_address: the station that answers, where the request was a broadcast.
    """
    octet = cause | (_NEGATIVE if negative else 0) | data[2] & _TEST
    station = data[4:6] if common_address is None else common_address.to_bytes(2, "little")
    return data[:2] + bytes((octet, data[3])) + station + data[6:]


def with_cause(data: bytes, cause: int, *, originator: int = 0, test: bool = False) -> bytes:
    """Returns the ASDU with cause, originator and T bit set anew."""
    return data[:2] + bytes((cause | (_TEST if test else 0), originator)) + data[4:]
