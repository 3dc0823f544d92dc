"""A-XDR: COSEM data as bytes.

Source: IEC 62056-5-3 Data and IEC 61334-6 (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from s4g_gateway.errors import DecodeError, EncodeError

MAX_DEPTH: Final = 8
"""Deepest nesting of arrays and structures that is read; COSEM objects need four levels."""


class Tag(IntEnum):
    """Kinds of COSEM data."""

    NULL = 0
    ARRAY = 1
    STRUCTURE = 2
    BOOLEAN = 3
    DOUBLE_LONG = 5
    DOUBLE_LONG_UNSIGNED = 6
    OCTET_STRING = 9
    VISIBLE_STRING = 10
    INTEGER = 15
    LONG = 16
    UNSIGNED = 17
    LONG_UNSIGNED = 18
    LONG64 = 20
    LONG64_UNSIGNED = 21
    ENUM = 22
    FLOAT32 = 23
    FLOAT64 = 24


_FORMATS: Final = {
    Tag.BOOLEAN: struct.Struct(">?"),
    Tag.DOUBLE_LONG: struct.Struct(">i"),
    Tag.DOUBLE_LONG_UNSIGNED: struct.Struct(">I"),
    Tag.INTEGER: struct.Struct(">b"),
    Tag.LONG: struct.Struct(">h"),
    Tag.UNSIGNED: struct.Struct(">B"),
    Tag.LONG_UNSIGNED: struct.Struct(">H"),
    Tag.LONG64: struct.Struct(">q"),
    Tag.LONG64_UNSIGNED: struct.Struct(">Q"),
    Tag.ENUM: struct.Struct(">B"),
    Tag.FLOAT32: struct.Struct(">f"),
    Tag.FLOAT64: struct.Struct(">d"),
}


@dataclass(frozen=True, slots=True)
class Data:
    """One value with its kind.

    Attributes:
        tag: its kind.
        value: number, boolean, bytes of a string, or the members of an array or structure; None for null.
    """

    tag: Tag
    value: float | bytes | tuple[Data, ...] | None = None


NULL: Final = Data(Tag.NULL)


def structure(*members: Data) -> Data:
    """Returns a structure."""
    return Data(Tag.STRUCTURE, members)


def array(members: Sequence[Data]) -> Data:
    """Returns an array."""
    return Data(Tag.ARRAY, tuple(members))


def octets(value: bytes) -> Data:
    """Returns an octet-string."""
    return Data(Tag.OCTET_STRING, value)


def number(tag: Tag, value: float) -> Data:
    """Returns a number of a kind."""
    return Data(tag, value)


def encode_length(length: int) -> bytes:
    """Returns a length or count.

    Args:
        length: 0 to 2**32 - 1.
    """
    if length < 0x80:
        return bytes((length,))
    size = (length.bit_length() + 7) // 8
    return bytes((0x80 | size,)) + length.to_bytes(size, "big")


def decode_length(data: bytes, offset: int) -> tuple[int, int]:
    """Reads a length or count.

    Returns:
        It, and the offset behind it.

    Raises:
        DecodeError: the bytes end too early, or it is longer than four bytes.
    """
    if offset >= len(data):
        raise DecodeError("a length is missing", offset=offset)
    first = data[offset]
    offset += 1
    if first < 0x80:
        return first, offset
    size = first & 0x7F
    if not 1 <= size <= 4 or offset + size > len(data):
        raise DecodeError(f"a length of {size} bytes, expected 1 to 4 that are there", offset=offset - 1)
    return int.from_bytes(data[offset : offset + size], "big"), offset + size


def encode(data: Data) -> bytes:
    """Returns the bytes of a value, its tag included.

    Raises:
        EncodeError: the value does not fit its kind.
    """
    head = bytes((data.tag,))
    layout = _FORMATS.get(data.tag)
    try:
        if layout is not None:
            return head + layout.pack(data.value)
    except struct.error as error:
        raise EncodeError(f"{data.value!r} is no {data.tag.name}: {error}") from error
    if isinstance(data.value, bytes):
        return head + encode_length(len(data.value)) + data.value
    if isinstance(data.value, tuple):
        return head + encode_length(len(data.value)) + b"".join(map(encode, data.value))
    return head


def decode(data: bytes, offset: int = 0, *, depth: int = MAX_DEPTH) -> tuple[Data, int]:
    """Reads one value.

    Returns:
        It, and the offset behind it.

    Raises:
        DecodeError: no value, or one nested too deeply.
    """
    if offset >= len(data):
        raise DecodeError("a value is missing", offset=offset)
    try:
        tag = Tag(data[offset])
    except ValueError:
        raise DecodeError(f"unknown kind of data {data[offset]}", offset=offset) from None
    offset += 1
    layout = _FORMATS.get(tag)
    if layout is not None:
        if offset + layout.size > len(data):
            raise DecodeError(f"{tag.name} is cut short", offset=offset)
        return Data(tag, layout.unpack_from(data, offset)[0]), offset + layout.size
    if tag is Tag.NULL:
        return NULL, offset
    count, offset = decode_length(data, offset)
    if count > len(data) - offset:
        raise DecodeError(f"{tag.name} of {count}, but {len(data) - offset} bytes are left", offset=offset)
    if tag in (Tag.OCTET_STRING, Tag.VISIBLE_STRING):
        return Data(tag, data[offset : offset + count]), offset + count
    if depth == 0:
        raise DecodeError("nested too deeply", offset=offset)
    members = []
    for _ in range(count):
        member, offset = decode(data, offset, depth=depth - 1)
        members.append(member)
    return Data(tag, tuple(members)), offset
