"""MmsValue to and from Python, quality and timestamps included.

Ownership: ``decode`` copies and leaves the MmsValue to its owner; ``new_value`` and ``default_value`` return
one that the caller must delete, which ``owned`` does.

================  ==========================================
MMS               Python
================  ==========================================
boolean           bool
integer, unsigned int
float             float
visible, MMS text str
octet string      bytes
bit string        BitString (quality: its ``bits``)
UTC time          UtcTime
binary time       int, ns since 1970 UTC
structure, array  tuple
access error      DataError
================  ==========================================

Source: IEC 61850-8-1 mapping of basic types (clause unverified, via libiec61850).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, Final, NamedTuple

from s4g_gateway.errors import EncodeError
from s4g_gateway.model import NS_PER_MS, NS_PER_S, TimeQuality
from s4g_gateway.workers.libiec61850.library import load

_FRACTIONS: Final = 1 << 24
_ACCURACY_UNSPECIFIED: Final = 31
_LEAP_SECONDS_KNOWN: Final = 0x80
_CLOCK_FAILURE: Final = 0x40
_NOT_SYNCHRONISED: Final = 0x20
_MS_ACCURACY: Final = 10
_SECONDS_MAX: Final = 0xFFFF_FFFF


class MmsType(IntEnum):
    """Kinds of MmsValue, numbered as the library does."""

    ARRAY = 0
    STRUCTURE = 1
    BOOLEAN = 2
    BIT_STRING = 3
    INTEGER = 4
    UNSIGNED = 5
    FLOAT = 6
    OCTET_STRING = 7
    VISIBLE_STRING = 8
    GENERALIZED_TIME = 9
    BINARY_TIME = 10
    BCD = 11
    OBJECT_IDENTIFIER = 12
    MMS_STRING = 13
    UTC_TIME = 14
    DATA_ACCESS_ERROR = 15


class DataAccessError(IntEnum):
    """Why a value could not be read or written. Source: ISO 9506-2 DataAccessError (clause unverified)."""

    OBJECT_INVALIDATED = 0
    HARDWARE_FAULT = 1
    TEMPORARILY_UNAVAILABLE = 2
    OBJECT_ACCESS_DENIED = 3
    OBJECT_UNDEFINED = 4
    INVALID_ADDRESS = 5
    TYPE_UNSUPPORTED = 6
    TYPE_INCONSISTENT = 7
    OBJECT_ATTRIBUTE_INCONSISTENT = 8
    OBJECT_ACCESS_UNSUPPORTED = 9
    OBJECT_NON_EXISTENT = 10
    OBJECT_VALUE_INVALID = 11
    UNKNOWN = 12


class BitString(NamedTuple):
    """A bit string; bit n of the string counts 2**n, as quality does in the model.

    Attributes:
        bits: the integer.
        size: number of bits.
    """

    bits: int
    size: int

    @property
    def coded(self) -> int:
        """The string read with its first bit as the most significant one: how coded enums (Dbpos) count."""
        return sum((self.bits >> position & 1) << (self.size - 1 - position) for position in range(self.size))


class UtcTime(NamedTuple):
    """A timestamp.

    Attributes:
        time_ns: ns since 1970 UTC; the wire counts 2**-24 s, so about 60 ns are lost.
        quality: TimeQuality octet: leap seconds known, clock failure, not synchronised, accuracy in bits.
    """

    time_ns: int
    quality: int = _MS_ACCURACY

    @property
    def time_quality(self) -> TimeQuality:
        """What is known about the clock, in the model's terms."""
        return from_time_octet(self.quality)


class DataError(NamedTuple):
    """Stands where a value should be."""

    reason: DataAccessError


MmsPython = bool | int | float | str | bytes | BitString | UtcTime | DataError | tuple[Any, ...] | None


def time_octet(quality: TimeQuality, accuracy_bits: int = _MS_ACCURACY) -> int:
    """Returns the octet that stands for the clock's quality.

    Args:
        quality: of the model.
        accuracy_bits: how many bits of the fraction are significant, 0 to 24; 31 for unspecified.
    """
    octet = accuracy_bits & _ACCURACY_UNSPECIFIED
    if quality & TimeQuality.LEAP_SECONDS_KNOWN:
        octet |= _LEAP_SECONDS_KNOWN
    if quality & TimeQuality.CLOCK_FAILURE:
        octet |= _CLOCK_FAILURE
    if quality & TimeQuality.CLOCK_NOT_SYNCHRONISED:
        octet |= _NOT_SYNCHRONISED
    return octet


def from_time_octet(octet: int) -> TimeQuality:
    """Returns the clock's quality of an octet."""
    quality = TimeQuality.SYNCHRONISED
    if octet & _LEAP_SECONDS_KNOWN:
        quality |= TimeQuality.LEAP_SECONDS_KNOWN
    if octet & _CLOCK_FAILURE:
        quality |= TimeQuality.CLOCK_FAILURE
    if octet & _NOT_SYNCHRONISED:
        quality |= TimeQuality.CLOCK_NOT_SYNCHRONISED
    return quality


def utc_time_octets(time_ns: int, quality: int = _MS_ACCURACY) -> bytes:
    """Returns a timestamp as eight octets: seconds, fraction in 2**-24 s, quality.

    A time before 1970 or after 2106 cannot be expressed and becomes 0 with clock failure.
    """
    seconds, rest = divmod(time_ns, NS_PER_S)
    if not 0 <= seconds <= _SECONDS_MAX:
        return bytes(7) + bytes((quality | _CLOCK_FAILURE,))
    # A hair is added before the cut, so that a time that came from the wire goes back as it came.
    fraction = (rest * _FRACTIONS + NS_PER_S // 2) // NS_PER_S
    if fraction == _FRACTIONS:
        fraction -= 1
    return seconds.to_bytes(4, "big") + fraction.to_bytes(3, "big") + bytes((quality & 0xFF,))


def utc_time(octets: bytes) -> UtcTime:
    """Reads eight octets of a timestamp."""
    seconds = int.from_bytes(octets[:4], "big")
    fraction = int.from_bytes(octets[4:7], "big")
    return UtcTime(seconds * NS_PER_S + (fraction * NS_PER_S + _FRACTIONS // 2) // _FRACTIONS, octets[7])


def decode(value: int | None) -> MmsPython:
    """Copies an MmsValue into Python; None for a null pointer.

    Args:
        value: the pointer.
    """
    if not value:
        return None
    lib = load()
    kind = lib.MmsValue_getType(value)
    # In the order of how often they occur.
    if kind == MmsType.FLOAT:
        return float(lib.MmsValue_toDouble(value))
    if kind == MmsType.BIT_STRING:
        return BitString(lib.MmsValue_getBitStringAsInteger(value), lib.MmsValue_getBitStringSize(value))
    if kind == MmsType.UTC_TIME:
        return utc_time(ctypes.string_at(lib.MmsValue_getUtcTimeBuffer(value), 8))
    if kind in (MmsType.STRUCTURE, MmsType.ARRAY):
        size = lib.MmsValue_getArraySize(value)
        return tuple(decode(lib.MmsValue_getElement(value, index)) for index in range(size))
    if kind == MmsType.BOOLEAN:
        return bool(lib.MmsValue_getBoolean(value))
    if kind == MmsType.INTEGER:
        return int(lib.MmsValue_toInt64(value))
    if kind == MmsType.UNSIGNED:
        return int(lib.MmsValue_toUint32(value))
    return _decode_rare(lib, value, kind)


def _decode_rare(lib: Any, value: int, kind: int) -> MmsPython:
    if kind in (MmsType.VISIBLE_STRING, MmsType.MMS_STRING):
        text: bytes | None = lib.MmsValue_toString(value)
        return "" if text is None else text.decode("utf-8", "replace")
    if kind == MmsType.OCTET_STRING:
        size = lib.MmsValue_getOctetStringSize(value)
        return ctypes.string_at(lib.MmsValue_getOctetStringBuffer(value), size) if size else b""
    if kind == MmsType.BINARY_TIME:
        return int(lib.MmsValue_getBinaryTimeAsUtcMs(value)) * NS_PER_MS
    if kind == MmsType.DATA_ACCESS_ERROR:
        code = lib.MmsValue_getDataAccessError(value)
        known = code in DataAccessError.__members__.values()
        return DataError(DataAccessError(code) if known else DataAccessError.UNKNOWN)
    return None  # kinds that IEC 61850 does not use


def assign(value: int, python: object) -> None:
    """Sets an MmsValue, whose kind stays as it is.

    A single number given for a structure of an analogue value (``i`` and ``f``) goes to the element of its
    kind, the only one where there is one.

    Args:
        value: the pointer.
        python: see the module's table; a sequence for structures, element by element.

    Raises:
        EncodeError: the kinds do not fit, or a number is out of range.
    """
    lib = load()
    kind = MmsType(lib.MmsValue_getType(value))
    if kind in (MmsType.STRUCTURE, MmsType.ARRAY):
        _assign_structure(lib, value, python)
    elif kind is MmsType.BOOLEAN and isinstance(python, bool):
        lib.MmsValue_setBoolean(value, python)
    elif kind is MmsType.FLOAT and isinstance(python, int | float) and not isinstance(python, bool):
        lib.MmsValue_setFloat(value, python)
    elif kind is MmsType.INTEGER and isinstance(python, int) and -(1 << 63) <= python < 1 << 63:
        _assign_integer(lib, value, int(python))
    elif kind is MmsType.UNSIGNED and isinstance(python, int) and 0 <= python < 1 << 32:
        lib.MmsValue_setUint32(value, int(python))
    elif kind is MmsType.VISIBLE_STRING and isinstance(python, str):
        lib.MmsValue_setVisibleString(value, python.encode("ascii", "replace"))
    elif kind is MmsType.MMS_STRING and isinstance(python, str):
        lib.MmsValue_setMmsString(value, python.encode())
    elif kind is MmsType.OCTET_STRING and isinstance(python, bytes):
        lib.MmsValue_setOctetString(value, python, len(python))
    elif kind is MmsType.BIT_STRING and isinstance(python, BitString | int):
        bits = python.bits if isinstance(python, BitString) else python
        lib.MmsValue_setBitStringFromInteger(value, bits)
    elif kind is MmsType.UTC_TIME and isinstance(python, UtcTime):
        lib.MmsValue_setUtcTimeByBuffer(value, utc_time_octets(python.time_ns, python.quality))
    elif kind is MmsType.BINARY_TIME and isinstance(python, int):
        lib.MmsValue_setBinaryTime(value, python // NS_PER_MS)
    else:
        raise EncodeError(f"{python!r} does not fit an MMS {kind.name.lower().replace('_', ' ')}")


def _assign_integer(lib: Any, value: int, number: int) -> None:
    # The library drops a 64-bit value silently where the type holds 32 bits.
    if -(1 << 31) <= number < 1 << 31:
        lib.MmsValue_setInt32(value, number)
    else:
        lib.MmsValue_setInt64(value, number)
    if lib.MmsValue_toInt64(value) != number:
        raise EncodeError(f"{number} does not fit the server's integer")


def _assign_structure(lib: Any, value: int, python: object) -> None:
    size = lib.MmsValue_getArraySize(value)
    elements = [lib.MmsValue_getElement(value, index) for index in range(size)]
    if isinstance(python, Sequence) and not isinstance(python, str | bytes | BitString | UtcTime):
        if len(python) != size:
            raise EncodeError(f"{len(python)} elements for an MMS structure of {size}")
        for element, part in zip(elements, python, strict=True):
            assign(element, part)
        return
    if size > 1:
        wanted = MmsType.FLOAT if isinstance(python, float) else MmsType.INTEGER
        elements = [element for element in elements if lib.MmsValue_getType(element) == wanted]
    if len(elements) != 1:
        raise EncodeError(f"{python!r} does not fit an MMS structure of {size} elements")
    assign(elements[0], python)


def default_value(specification: int) -> int:
    """Returns a new MmsValue of a type, all zero; the caller deletes it.

    Raises:
        EncodeError: the library cannot make one.
    """
    value = load().MmsValue_newDefaultValue(specification)
    if not value:
        raise EncodeError("the type cannot be built")
    return int(value)


def new_octets(octets: bytes) -> int:
    """Returns a new octet string; the caller deletes it."""
    lib = load()
    value = lib.MmsValue_newOctetString(len(octets), len(octets))
    lib.MmsValue_setOctetString(value, octets, len(octets))
    return int(value)


@contextmanager
def owned(value: int) -> Iterator[int]:
    """Deletes an MmsValue when the block ends."""
    try:
        yield value
    finally:
        load().MmsValue_delete(value)
