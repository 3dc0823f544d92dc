"""CP56Time2a: seven octets from milliseconds to years, to and from UTC nanoseconds.

The octets carry the wall time of one fixed zone, UTC unless the configuration says otherwise. With the
summer-time bit set the wall clock stands one hour ahead of that zone's standard time.

Source: IEC 60870-5-101 §7.2.6.18 (clause unverified).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Final

from s4g_gateway.errors import DecodeError, EncodeError

TIME_BYTES: Final = 7
_NS_PER_MS: Final = 1_000_000
_MS_PER_MINUTE: Final = 60_000
_HOUR_MS: Final = 3_600_000
_INVALID: Final = 0x80
_SUBSTITUTED: Final = 0x40
_SUMMER: Final = 0x80
_MILLISECONDS: Final = Struct("<H")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CACHED_MINUTES: Final = 1024
# A day inside the range at both ends, so that no zone leads out of it.
_FIRST_NS: Final = 946_771_200_000_000_000
_LAST_NS: Final = 4_102_358_400_000_000_000


@dataclass(frozen=True, slots=True)
class TimeTag:
    """One CP56Time2a.

    Attributes:
        time_ns: ns since 1970 UTC; the wire keeps whole milliseconds of the years 2000 to 2099. 0 stands for
            a tag whose octets hold no date at all, which is only allowed together with ``invalid``.
        invalid: the sender does not trust its clock (IV).
        substituted: the time was set by somebody on the way (RES1/GEN).
        summer_time: the wall clock showed summer time (SU).
    """

    time_ns: int
    invalid: bool = False
    substituted: bool = False
    summer_time: bool = False


class TimeCoder:
    """Encodes and decodes CP56Time2a in one zone.

    Args:
        offset_minutes: what the zone's standard time is ahead of UTC, -840 to 840.
    """

    def __init__(self, offset_minutes: int = 0) -> None:
        if not -840 <= offset_minutes <= 840:
            raise EncodeError(f"zone offset: expected -840 to 840 minutes, found {offset_minutes}")
        self.offset_minutes = offset_minutes
        self._offset_ms = offset_minutes * _MS_PER_MINUTE
        self._octets_of_minute: dict[int, bytes] = {}
        self._minute_of_octets: dict[bytes, TimeTag] = {}

    def encode(self, tag: TimeTag) -> bytes:
        """Returns the seven octets of ``tag``.

        Raises:
            EncodeError: the year is not 2000 to 2099.
        """
        if tag.time_ns == 0 and tag.invalid:
            return bytes((0, 0, _INVALID | (_SUBSTITUTED if tag.substituted else 0), _flag(tag), 0, 0, 0))
        wall_ms = tag.time_ns // _NS_PER_MS + self._offset_ms + (_HOUR_MS if tag.summer_time else 0)
        minute, milliseconds = divmod(wall_ms, _MS_PER_MINUTE)
        octets = self._minute_octets(minute)
        if not (tag.invalid or tag.substituted or tag.summer_time):
            return _MILLISECONDS.pack(milliseconds) + octets
        flags = (_INVALID if tag.invalid else 0) | (_SUBSTITUTED if tag.substituted else 0)
        changed = bytes((octets[0] | flags, octets[1] | _flag(tag))) + octets[2:]
        return _MILLISECONDS.pack(milliseconds) + changed

    def encode_times(self, times_ns: Sequence[int]) -> bytes:
        """Returns the tags of many instants, 7 octets each, all flags clear.

        Raises:
            EncodeError: a year is not 2000 to 2099.
        """
        offset, known = self._offset_ms, self._octets_of_minute
        pack = _MILLISECONDS.pack
        parts: list[bytes] = []
        add = parts.append
        last_ns, last = -1, b""
        for time_ns in times_ns:
            if time_ns != last_ns:
                minute, milliseconds = divmod(time_ns // _NS_PER_MS + offset, _MS_PER_MINUTE)
                octets = known.get(minute)
                last = pack(milliseconds) + (self._minute_octets(minute) if octets is None else octets)
                last_ns = time_ns
            add(last)
        return b"".join(parts)

    def decode(self, octets: bytes, *, offset: int = 0) -> TimeTag:
        """Returns the tag that seven octets hold; day of week is not looked at.

        Args:
            octets: exactly seven.
            offset: position of the first of them in the message, for the error.

        Raises:
            DecodeError: not seven octets, or a field out of its range while IV is clear.
        """
        if len(octets) != TIME_BYTES:
            raise DecodeError(f"CP56Time2a: expected 7 octets, found {len(octets)}", offset=offset)
        milliseconds = octets[0] | octets[1] << 8
        if milliseconds < _MS_PER_MINUTE:
            minute = self._minute_of_octets.get(octets[2:])
            if minute is None:
                minute = self._decode_minute(octets, offset)
            if minute.time_ns:
                time_ns = minute.time_ns + milliseconds * _NS_PER_MS
                return TimeTag(time_ns, minute.invalid, minute.substituted, minute.summer_time)
            return minute
        if octets[2] & _INVALID:
            return _dateless(octets)
        raise DecodeError(f"CP56Time2a: expected 0 to 59999 ms, found {milliseconds}", offset=offset)

    def _minute_octets(self, minute: int) -> bytes:
        octets = self._octets_of_minute.get(minute)
        if octets is None:
            try:
                wall = _EPOCH + timedelta(minutes=minute)
            except OverflowError as error:
                raise EncodeError(f"CP56Time2a: no such time, minute {minute} since 1970") from error
            if not 2000 <= wall.year <= 2099:
                raise EncodeError(f"CP56Time2a: expected a year from 2000 to 2099, found {wall.year}")
            octets = bytes((wall.minute, wall.hour, wall.day, wall.month, wall.year - 2000))
            if len(self._octets_of_minute) >= _CACHED_MINUTES:
                self._octets_of_minute.clear()
            self._octets_of_minute[minute] = octets
        return octets

    def _decode_minute(self, octets: bytes, offset: int) -> TimeTag:
        invalid, summer_time = bool(octets[2] & _INVALID), bool(octets[3] & _SUMMER)
        try:
            wall = datetime(
                2000 + (octets[6] & 0x7F),
                octets[5] & 0x0F,
                octets[4] & 0x1F,
                octets[3] & 0x1F,
                octets[2] & 0x3F,
                tzinfo=UTC,
            )
        except ValueError as error:
            if invalid:
                return _dateless(octets)
            raise DecodeError(f"CP56Time2a: {octets.hex(' ')} is no date: {error}", offset=offset) from error
        if wall.year > 2099:
            if invalid:
                return _dateless(octets)
            raise DecodeError(
                f"CP56Time2a: expected a year from 0 to 99, found {octets[6] & 0x7F}", offset=offset
            )
        ms = (wall - _EPOCH) // timedelta(milliseconds=1) - self._offset_ms - (_HOUR_MS if summer_time else 0)
        tag = TimeTag(ms * _NS_PER_MS, invalid, bool(octets[2] & _SUBSTITUTED), summer_time)
        if len(self._minute_of_octets) >= _CACHED_MINUTES:
            self._minute_of_octets.clear()
        self._minute_of_octets[octets[2:]] = tag
        return tag


def tag_of_clock(utc_ns: int) -> TimeTag:
    """Returns the tag of a clock that may not have been set: dateless and invalid outside 2000 to 2099."""
    if _FIRST_NS <= utc_ns < _LAST_NS:
        return TimeTag(utc_ns)
    return TimeTag(0, invalid=True)


def _flag(tag: TimeTag) -> int:
    return _SUMMER if tag.summer_time else 0


def _dateless(octets: bytes) -> TimeTag:
    return TimeTag(0, True, bool(octets[2] & _SUBSTITUTED), bool(octets[3] & _SUMMER))


UTC_TIME: Final = TimeCoder()
"""The coder for wall clocks that run on UTC."""
