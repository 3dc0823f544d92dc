"""Times of SensorThings: ISO 8601 text to ns since 1970 UTC and back, nothing lost above a nanosecond."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from s4g_gateway.errors import DecodeError, EncodeError
from s4g_gateway.model.timestamp import NS_PER_S

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_DAY_S: Final = 86_400
_FIRST_NS: Final = (date.min.toordinal() - _EPOCH_DAY) * _DAY_S * NS_PER_S
_LAST_NS: Final = (date.max.toordinal() - _EPOCH_DAY + 1) * _DAY_S * NS_PER_S - 1
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]{1,18}))?(?:(Z)|([+-])([0-9]{2}):?([0-9]{2}))"
)


def format_time(time_ns: int) -> str:
    """Returns a time as ISO 8601 in UTC with 3, 6 or 9 decimals, as few as keep it whole.

    Args:
        time_ns: ns since 1970 UTC; years 1 to 9999.

    Raises:
        EncodeError: outside those years.
    """
    if not _FIRST_NS <= time_ns <= _LAST_NS:
        raise EncodeError(f"time {time_ns} ns is outside the years 1 to 9999")
    seconds, fraction = divmod(time_ns, NS_PER_S)
    days, rest = divmod(seconds, _DAY_S)
    day = date.fromordinal(_EPOCH_DAY + days)
    decimals = f"{fraction:09d}"
    for digits in (3, 6):
        if not decimals[digits:].strip("0"):
            decimals = decimals[:digits]
            break
    return f"{day.isoformat()}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}.{decimals}Z"


def parse_time(text: str) -> int:
    """Returns ns since 1970 UTC; decimals below a nanosecond are cut off.

    Args:
        text: ISO 8601 with date, time to the second and zone, such as ``2026-11-23T10:00:00.5+01:00``. A leap
            second counts as the second after it.

    Raises:
        DecodeError: anything else.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise DecodeError(
            f"time is {text[:40]!r}, expected ISO 8601 with zone such as 2026-11-23T10:00:00.000Z"
        )
    year, month, day, hour, minute, second, fraction, zulu, sign, zone_hour, zone_minute = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise DecodeError(f"time is {text!r}, expected a day of the calendar ({error})") from error
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60:
        raise DecodeError(f"time is {text!r}, expected hour to 23, minute to 59, second to 60")
    seconds = days * _DAY_S + int(hour) * 3600 + int(minute) * 60 + int(second)
    if not zulu:
        if int(zone_hour) > 23 or int(zone_minute) > 59:
            raise DecodeError(f"time is {text!r}, expected a zone below 24 hours")
        offset_s = int(zone_hour) * 3600 + int(zone_minute) * 60
        seconds += offset_s if sign == "-" else -offset_s
    return seconds * NS_PER_S + int((fraction or "0")[:9].ljust(9, "0"))


def format_interval(start_ns: int, end_ns: int) -> str:
    """Returns an interval, start and end with a slash between.

    Raises:
        EncodeError: it ends before it starts, or is outside the years 1 to 9999.
    """
    if end_ns < start_ns:
        raise EncodeError(f"interval ends at {end_ns} ns, before it starts at {start_ns} ns")
    return f"{format_time(start_ns)}/{format_time(end_ns)}"


def parse_interval(text: str) -> tuple[int, int]:
    """Returns start and end of an interval, ns since 1970 UTC.

    Raises:
        DecodeError: no interval of two times, or it ends before it starts.
    """
    start, slash, end = text.partition("/")
    if not slash:
        raise DecodeError(f"interval is {text[:40]!r}, expected two times with a slash between")
    start_ns, end_ns = parse_time(start), parse_time(end)
    if end_ns < start_ns:
        raise DecodeError(f"interval is {text!r}, expected an end that is not before its start")
    return start_ns, end_ns
