"""Events that wait for a master: encoded, packed, in order, bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from s4g_gateway.codecs.iec104.identifiers import ASDU_HEADER_BYTES, MAX_ASDU_BYTES
from s4g_gateway.errors import LocalProtocolError

_SEQUENCE: Final = 0x80
_COUNT: Final = 0x7F


def object_count(asdu: bytes) -> int:
    """Returns how many objects an ASDU announces.

    Raises:
        LocalProtocolError: not 6 to 249 octets, or no objects.
    """
    count = asdu[1] & _COUNT if ASDU_HEADER_BYTES <= len(asdu) <= MAX_ASDU_BYTES else 0
    if not count:
        found = bytes(asdu[:16]).hex(" ")
        raise LocalProtocolError(f"event: expected an ASDU with objects, found {found}")
    return count


class EventBuffer:
    """A queue of ASDUs that merges neighbours of one type, cause and station up to 249 octets.

    Args:
        capacity: most information objects kept; the oldest ASDUs go when there are more.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.dropped = 0
        self._waiting: deque[bytes | bytearray] = deque()
        self._objects = 0

    def __len__(self) -> int:
        """How many information objects wait."""
        return self._objects

    def add(self, asdu: bytes) -> None:
        """Appends one ASDU with SQ=0 or SQ=1.

        Raises:
            LocalProtocolError: not 6 to 249 octets, or no objects.
        """
        count = object_count(asdu)
        self._objects += count
        waiting = self._waiting
        last = waiting[-1] if waiting else b""
        if (
            last
            and len(last) + len(asdu) <= MAX_ASDU_BYTES + ASDU_HEADER_BYTES
            and last[0] == asdu[0]
            and not (last[1] | asdu[1]) & _SEQUENCE
            and last[1] + count <= _COUNT
            and last[2:6] == asdu[2:6]
        ):
            if not isinstance(last, bytearray):
                last = waiting[-1] = bytearray(last)
            last += asdu[ASDU_HEADER_BYTES:]
            last[1] += count
        else:
            waiting.append(asdu)
        if self._objects > self.capacity:
            self._evict()

    def take(self) -> bytes:
        """Removes and returns the oldest ASDU; b"" when nothing waits."""
        if not self._waiting:
            return b""
        asdu = bytes(self._waiting.popleft())
        self._objects -= asdu[1] & _COUNT
        return asdu

    def give_back(self, asdus: Iterable[bytes]) -> None:
        """Puts ASDUs that were taken, oldest first, before everything that waits."""
        for asdu in reversed(list(asdus)):
            self._waiting.appendleft(asdu)
            self._objects += asdu[1] & _COUNT
        self._evict()

    def clear(self) -> None:
        """Forgets everything that waits; this is not counted as dropped."""
        self._waiting.clear()
        self._objects = 0

    def _evict(self) -> None:
        while self._objects > self.capacity:
            count = self._waiting.popleft()[1] & _COUNT
            self._objects -= count
            self.dropped += count
