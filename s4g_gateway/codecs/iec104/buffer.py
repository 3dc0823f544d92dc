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

    Every object has a place in the stream of all objects ever added: the first one has place 1. An ASDU's place
    is that of its last object.

    Args:
        capacity: most information objects kept; the oldest ASDUs go when there are more.

    Attributes:
        added: how many objects were ever added.
        dropped: how many went because there were too many.
        taken: place of the latest ASDU that was taken.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.added = 0
        self.dropped = 0
        self.taken = 0
        self._acknowledged = 0
        self._evicted = 0
        self._waiting: deque[bytes | bytearray] = deque()
        # Of each that waits; a second queue, since most are never asked for.
        self._places: deque[int] = deque()
        self._objects = 0

    def __len__(self) -> int:
        """How many information objects wait."""
        return self._objects

    @property
    def settled(self) -> int:
        """Up to this place nothing is needed any more: acknowledged, dropped or cleared."""
        return self._acknowledged

    def add(self, asdu: bytes) -> None:
        """Appends one ASDU with SQ=0 or SQ=1.

        Raises:
            LocalProtocolError: not 6 to 249 octets, or no objects.
        """
        count = object_count(asdu)
        self._objects += count
        self.added += count
        waiting = self._waiting
        last = waiting[-1] if waiting else b""
        if (
            last
            and len(last) + len(asdu) <= MAX_ASDU_BYTES + ASDU_HEADER_BYTES
            and last[0] == asdu[0]
            and not (last[1] | asdu[1]) & _SEQUENCE
            and last[1] + count <= _COUNT
            and last[2:6] == asdu[2:6]
            # What came back must keep its own place; see _pass_evicted.
            and self._places[-1] > self._evicted
        ):
            if not isinstance(last, bytearray):
                last = waiting[-1] = bytearray(last)
            last += asdu[ASDU_HEADER_BYTES:]
            last[1] += count
            self._places[-1] = self.added
        else:
            waiting.append(asdu)
            self._places.append(self.added)
        if self._objects > self.capacity:
            self._evict()

    def take(self) -> bytes:
        """Removes and returns the oldest ASDU; b"" when nothing waits."""
        if not self._waiting:
            return b""
        asdu = bytes(self._waiting.popleft())
        self.taken = max(self.taken, self._places.popleft())
        self._objects -= asdu[1] & _COUNT
        return asdu

    def give_back(self, asdus: Iterable[tuple[bytes, int]]) -> None:
        """Puts ASDUs that were taken, oldest first, each with its place, before everything that waits.

        All that was taken and not acknowledged is to come back at once.
        """
        for asdu, place in reversed(list(asdus)):
            self._waiting.appendleft(asdu)
            self._places.appendleft(place)
            self._objects += asdu[1] & _COUNT
        self.taken = self._acknowledged
        self._evict()

    def acknowledge(self, place: int) -> None:
        """Notes that the master has everything up to a place."""
        self._acknowledged = max(self._acknowledged, place)
        self._pass_evicted()

    def clear(self) -> list[bytes]:
        """Forgets what waits and returns it; this is not counted as dropped."""
        cleared = [bytes(asdu) for asdu in self._waiting]
        self._waiting.clear()
        self._places.clear()
        self._objects = 0
        self._evicted = self.added
        self._pass_evicted()
        return cleared

    def _evict(self) -> None:
        while self._objects > self.capacity:
            count = self._waiting.popleft()[1] & _COUNT
            self._evicted = max(self._evicted, self._places.popleft())
            self._objects -= count
            self.dropped += count
        self._pass_evicted()

    def _pass_evicted(self) -> None:
        # What is on its way to the master, or came back from a broken link, is older than what was dropped
        # behind it, and still counts.
        came_back = self._places and self._places[0] <= self._evicted
        if not came_back and self.taken <= self._acknowledged < self._evicted:
            self.taken = self._acknowledged = self._evicted
