"""A-XDR values of a meter as plain Python values, strictly.

Source: IEC 62056-5-3 Data and IEC 61334-6 (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Final

from s4g_gateway.workers.dlms.faults import bad_answer
from s4g_gateway.workers.dlms.services import length

AnyValue = int | float | bool | bytes | str | list["AnyValue"] | None
MAX_DEPTH: Final = 8
_NUMBERS: Final = {
    3: struct.Struct(">?"), 5: struct.Struct(">i"), 6: struct.Struct(">I"), 15: struct.Struct(">b"),
    16: struct.Struct(">h"), 17: struct.Struct(">B"), 18: struct.Struct(">H"), 20: struct.Struct(">q"),
    21: struct.Struct(">Q"), 22: struct.Struct(">B"), 23: struct.Struct(">f"), 24: struct.Struct(">d"),
}  # fmt: skip
_FIXED: Final = {13: 1, 25: 12, 26: 5, 27: 4}
_NULL, _ARRAY, _STRUCTURE, _BITS, _OCTETS, _VISIBLE, _UTF8 = 0, 1, 2, 4, 9, 10, 12


def decode(data: bytes, offset: int = 0, *, depth: int = MAX_DEPTH) -> tuple[AnyValue, int]:
    """Reads one value.

    Returns:
        It, and the offset behind it. Octet strings are bytes, arrays and structures lists, null None.

    Raises:
        MeterFaultError: there is no value of a known kind.
    """
    if offset >= len(data):
        raise bad_answer("a value is missing")
    tag = data[offset]
    offset += 1
    layout = _NUMBERS.get(tag)
    if layout is not None:
        if offset + layout.size > len(data):
            raise bad_answer("a value is cut short")
        return layout.unpack_from(data, offset)[0], offset + layout.size
    if tag == _NULL:
        return None, offset
    if tag in _FIXED:
        count = _FIXED[tag]
    elif tag in (_ARRAY, _STRUCTURE, _BITS, _OCTETS, _VISIBLE, _UTF8):
        count, offset = length(data, offset)
        count = (count + 7) // 8 if tag == _BITS else count
    else:
        raise bad_answer(f"a value of kind {tag}, which is unknown")
    if count > len(data) - offset:
        raise bad_answer(f"a value of {count}, but {len(data) - offset} bytes are left")
    if tag in (_ARRAY, _STRUCTURE):
        if depth == 0:
            raise bad_answer("a value nested too deeply")
        members: list[AnyValue] = []
        for _ in range(count):
            member, offset = decode(data, offset, depth=depth - 1)
            members.append(member)
        return members, offset
    found = data[offset : offset + count]
    if tag in (_VISIBLE, _UTF8):
        return found.decode("utf-8", "replace"), offset + count
    return found, offset + count


def skip(data: bytes, offset: int) -> int:
    """Returns the offset behind the value at an offset."""
    return decode(data, offset)[1]


def whole(data: bytes) -> AnyValue:
    """Reads one value that fills the data.

    Raises:
        MeterFaultError: it does not.
    """
    value, end = decode(data)
    if end != len(data):
        raise bad_answer(f"{len(data) - end} bytes too many")
    return value


def decode_time(value: AnyValue) -> datetime:
    """Reads COSEM date-time; a deviation that is not specified counts as UTC.

    Raises:
        MeterFaultError: it is none.
    """
    if not isinstance(value, bytes) or len(value) != 12:
        raise bad_answer("no date-time of 12 bytes")
    deviation_min = int.from_bytes(value[9:11], "big", signed=True)
    hour, minute, second, hundredths = (0 if byte == 0xFF else byte for byte in value[5:9])
    try:
        local = datetime(
            int.from_bytes(value[:2], "big"),
            value[2],
            value[3],
            hour,
            minute,
            second,
            hundredths * 10_000,
            UTC,
        )
        return local + timedelta(minutes=0 if deviation_min == -0x8000 else deviation_min)
    except (ValueError, OverflowError) as error:
        raise bad_answer(f"no date-time: {error}") from error


def encode_time(moment: datetime) -> bytes:
    """Returns COSEM date-time in UTC."""
    utc = moment.astimezone(UTC)
    return (
        utc.year.to_bytes(2, "big")
        + bytes((utc.month, utc.day, utc.isoweekday(), utc.hour, utc.minute, utc.second, 0))
        + b"\x00\x00\x00"
    )


def scaled(raw: AnyValue, scaler: int, factor: int = 1) -> float | None:
    """Returns raw x 10^scaler x factor, rounded once: 2301 with scaler -1 is 230.1, not 230.10000000000002.

    Args:
        raw: what the meter sent.
        scaler: power of ten, -128 to 127.
        factor: 1 or -1.

    Returns:
        The value; None where it is no finite number.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    if isinstance(raw, float) and (raw != raw or raw in (float("inf"), float("-inf"))):  # noqa: PLR0124 - NaN
        return None
    if scaler >= 0:
        return float(raw * 10**scaler * factor)
    # the division of two integers is rounded correctly
    return float(raw * factor / 10**-scaler)
