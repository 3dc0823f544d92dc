"""SunSpec point types: how each is coded and which value means "not implemented".

Source: SunSpec Information Model Specification (clause unverified, via pysunspec2).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from math import isnan
from types import MappingProxyType

from s4g_gateway.errors import EncodeError

Value = int | float | str | None


class Kind(Enum):
    """What a type is for."""

    NUMBER = "number"
    FLOAT = "float"
    ACCUMULATOR = "accumulator"
    STATE = "state"
    BITS = "bits"
    TEXT = "text"
    ADDRESS = "address"
    SCALE = "scale"
    PAD = "pad"


@dataclass(frozen=True, slots=True)
class PointType:
    """One SunSpec type.

    Attributes:
        name: as the model definitions spell it.
        code: struct code, big-endian; ``s`` stands for as many bytes as the point has.
        kind: what it is for.
        not_implemented: raw value of a point the device does not have; None where no raw value says so.
    """

    name: str
    code: str
    kind: Kind
    not_implemented: int | None


_TYPES = (
    PointType("int16", "h", Kind.NUMBER, -(2**15)),
    PointType("uint16", "H", Kind.NUMBER, 2**16 - 1),
    PointType("count", "H", Kind.NUMBER, 2**16 - 1),
    PointType("raw16", "H", Kind.NUMBER, None),
    PointType("acc16", "H", Kind.ACCUMULATOR, 0),
    PointType("enum16", "H", Kind.STATE, 2**16 - 1),
    PointType("bitfield16", "H", Kind.BITS, 2**16 - 1),
    PointType("int32", "i", Kind.NUMBER, -(2**31)),
    PointType("uint32", "I", Kind.NUMBER, 2**32 - 1),
    PointType("acc32", "I", Kind.ACCUMULATOR, 0),
    PointType("enum32", "I", Kind.STATE, 2**32 - 1),
    PointType("bitfield32", "I", Kind.BITS, 2**32 - 1),
    PointType("int64", "q", Kind.NUMBER, -(2**63)),
    PointType("uint64", "Q", Kind.NUMBER, 2**64 - 1),
    PointType("acc64", "Q", Kind.ACCUMULATOR, 0),
    PointType("bitfield64", "Q", Kind.BITS, 2**64 - 1),
    PointType("float32", "f", Kind.FLOAT, None),
    PointType("float64", "d", Kind.FLOAT, None),
    PointType("sunssf", "h", Kind.SCALE, -(2**15)),
    PointType("string", "s", Kind.TEXT, None),
    PointType("ipaddr", "I", Kind.ADDRESS, 0),
    PointType("ipv6addr", "s", Kind.ADDRESS, None),
    PointType("eui48", "Q", Kind.ADDRESS, 0x0000_FFFF_FFFF_FFFF),
    PointType("pad", "s", Kind.PAD, None),
)
POINT_TYPES = MappingProxyType({kind.name: kind for kind in _TYPES})


def struct_code(kind: PointType, registers: int) -> str:
    """Returns the struct code of a point of this many registers."""
    return f"{2 * registers}s" if kind.code == "s" else kind.code


def text(raw: bytes) -> str | None:
    """Returns a string point's text, None where the device leaves it empty."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip() or None


def unpack(kind: PointType, data: bytes) -> Value:
    """Decodes one point.

    Args:
        kind: its type.
        data: its registers.

    Returns:
        The raw number, unscaled; text for strings and addresses; None where it is not implemented.
    """
    (raw,) = struct.unpack(">" + struct_code(kind, len(data) // 2), data)
    if kind.kind is Kind.PAD:
        return None
    if kind.kind is Kind.TEXT:
        return text(raw)
    if kind.kind is Kind.FLOAT:
        return None if isnan(raw) else float(raw)
    if kind.name == "ipv6addr":
        return str(IPv6Address(raw)) if any(raw) else None
    if raw == kind.not_implemented:
        return None
    if kind.name == "ipaddr":
        return str(IPv4Address(raw))
    if kind.name == "eui48":
        return ":".join(f"{octet:02X}" for octet in raw.to_bytes(8, "big")[2:])
    return int(raw)


def pack(kind: PointType, value: Value, registers: int) -> bytes:
    """Encodes one point, the opposite of ``unpack``.

    Args:
        kind: its type.
        value: the raw number or the text; None for "not implemented".
        registers: how many registers it fills.

    Raises:
        EncodeError: the value does not fit the type.
    """
    size = 2 * registers
    code = ">" + struct_code(kind, registers)
    try:
        if kind.kind is Kind.FLOAT:
            return struct.pack(code, float("nan") if value is None else float(value))
        if kind.kind in (Kind.TEXT, Kind.PAD) or kind.name == "ipv6addr":
            if kind.name == "ipv6addr":
                data = IPv6Address(str(value)).packed if value is not None else b""
            else:
                data = str(value or "").encode()
            if len(data) > size:
                raise EncodeError(
                    f"{value!r} needs {len(data)} bytes, {kind.name} of {registers} registers has {size}"
                )
            return data.ljust(size, b"\0")
        if value is None:
            value = kind.not_implemented or 0
        elif kind.name == "ipaddr":
            value = int(IPv4Address(str(value)))
        elif kind.name == "eui48":
            value = int(str(value).replace(":", ""), 16)
        return struct.pack(code, int(value))
    except (struct.error, ValueError, OverflowError) as error:
        raise EncodeError(f"{value!r} is no {kind.name}: {error}") from error
