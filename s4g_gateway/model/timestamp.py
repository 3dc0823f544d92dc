"""Time in the model: integer nanoseconds since 1970-01-01 UTC, and how good that time is."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntFlag

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class TimeQuality(IntFlag):
    """What is known about the clock that made a timestamp; 0 is a synchronised clock.

    Source: IEC 61850-7-2 TimeQuality (clause unverified).
    """

    SYNCHRONISED = 0
    CLOCK_NOT_SYNCHRONISED = 1
    CLOCK_FAILURE = 2
    LEAP_SECONDS_KNOWN = 4


def isoformat(time_ns: int) -> str:
    """Returns the time as ISO 8601 in UTC with milliseconds, such as ``2026-11-23T10:00:00.123Z``."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % NS_PER_S // NS_PER_MS:03d}Z"
