"""The events of a redundancy group on disk: what no master has acknowledged outlives the process.

The protocol object keeps the queue; the journal keeps a copy of it. Events go there in batches: at once while no
master listens, else within the commit period, so that what a master acknowledges at once never costs a write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from collections.abc import Set as AbstractSet
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog

from s4g_gateway.codecs.iec104 import Outstation
from s4g_gateway.codecs.iec104.identifiers import ASDU_HEADER_BYTES, MAX_ASDU_BYTES
from s4g_gateway.northbound.iec104.address_book import AddressBook
from s4g_gateway.runtime.clock import Clock
from s4g_gateway.runtime.journal import Journal, JournalRecord

_RECORD_BYTES: Final = 16 * 1024
# An event of its own in a record of its own takes about 70.
_BYTES_PER_EVENT: Final = 96
_LEAST_BYTES: Final = 1024 * 1024
# Events leave by capacity, not by age.
_MAX_AGE_S: Final = 3650 * 86_400.0
_SEQUENCE: Final = 0x80
_COUNT: Final = 0x7F
_LOST: Final = "lost"
"""Key of a record that tells how many events have been dropped, 8 octets."""


def open_journal(folder: Path, group: str, capacity: int, commit_s: float, clock: Clock) -> Journal:
    """Returns the journal of a group, not open yet; it holds at least ``capacity`` events."""
    name = quote(group, safe="")
    if len(name) > 100:
        name = sha256(group.encode()).hexdigest()
    return Journal(
        folder / f"group-{name}",
        max_bytes=_LEAST_BYTES + capacity * _BYTES_PER_EVENT,
        max_age_s=_MAX_AGE_S,
        # Half to the operating system, half to the disk.
        sync_interval_s=commit_s / 2,
        clock=clock,
    )


class EventStore:
    """Keeps the events of one group.

    Args:
        group: its name.
        outstation: has the group, with ``keep_unsaved``.
        journal: open, the group's own.
        book: what the addresses mean.
    """

    def __init__(self, group: str, outstation: Outstation, journal: Journal, book: AddressBook) -> None:
        self.group = group
        self.journal = journal
        self.book = book
        self._outstation = outstation
        self._log = structlog.get_logger("iec104").bind(group=group)
        # Place of the last event of each record, from the sequence behind ``_sequence`` on.
        self._places: deque[int] = deque()
        self._sequence = journal.first_unacknowledged - 1
        self._dropped = 0

    @property
    def stored(self) -> int:
        """How many events are on the disk and needed, those of a record that is needed in part included."""
        return self._places[-1] - self._outstation.settled_place(self.group) if self._places else 0

    # -- while it runs -----------------------------------------------------------------------------

    def save_alone(self) -> None:
        """Hands new events to the disk if no master listens."""
        if not self._outstation.has_master(self.group):
            self.save()

    def save(self) -> None:
        """Hands new events to the disk, those excepted that a master has acknowledged already."""
        unsaved = self._outstation.take_unsaved_events(self.group)
        payload = bytearray()
        place = 0
        for asdu, place in unsaved:
            payload.append(len(asdu))
            payload += asdu
            if len(payload) >= _RECORD_BYTES:
                self._append(self.book.digest, bytes(payload), place)
                payload.clear()
        if payload:
            self._append(self.book.digest, bytes(payload), place)
        dropped = self._outstation.group_status(self.group).dropped
        if dropped != self._dropped:
            self._dropped = dropped
            self._append(_LOST, dropped.to_bytes(8, "big"), self._outstation.added_place(self.group))

    def settle(self) -> None:
        """Gives up what is not needed any more."""
        places = self._places
        if not places:
            return
        settled = self._outstation.settled_place(self.group)
        if places[0] > settled:
            return
        while places and places[0] <= settled:
            places.popleft()
            self._sequence += 1
        self.journal.acknowledge(self._sequence)

    def _append(self, key: str, payload: bytes, place: int) -> None:
        self._remember(self.journal.append(key, payload), place)

    def _remember(self, sequence: int, place: int) -> None:
        # Records that a damaged disk has taken count as the next one's.
        self._places.extend([place] * (sequence - self._sequence - len(self._places)))

    # -- after a restart ---------------------------------------------------------------------------

    async def restore(self, folder: Path, utc_ns: int) -> None:
        """Puts what an earlier run has left back into the queue; nothing may have been published yet.

        Args:
            folder: where the books of addresses are.
            utc_ns: now, ns since 1970 UTC.
        """
        digest = self.book.digest
        is_older = False
        async for record in self._left():
            is_older = is_older or record.key not in (digest, _LOST)
        unchanged: dict[str, AbstractSet[tuple[int, int]]] = {}
        last = lost = gone = 0
        async for record in self._left():
            last = record.sequence
            if record.key == _LOST:
                lost = int.from_bytes(record.payload, "big")
            else:
                asdus = list(_asdus(record.payload))
                if record.key != digest:
                    if record.key not in unchanged:
                        older = AddressBook.read(folder, record.key)
                        unchanged[record.key] = set() if older is None else self.book.unchanged_since(older)
                    asdus, more = _within(asdus, unchanged[record.key])
                    gone += more
                self._outstation.publish(asdus, utc_ns, groups=[self.group])
            if not is_older:
                self._outstation.take_unsaved_events(self.group)
                self._remember(last, self._outstation.added_place(self.group))
        if is_older:
            # All of it once more under the addresses of today, and only then the old copies go.
            self.save()
            self._places = deque(list(self._places)[last - self._sequence :])
            self._sequence = last
            self.journal.acknowledge(last)
        if lost:
            self._outstation.report_loss(self.group, lost)
            self._dropped = 0 if is_older else lost
        self.save()
        self.settle()
        waiting = self._outstation.group_status(self.group).buffered
        if waiting or lost or gone:
            self._log.info(
                "events of an earlier run", waiting=waiting, lost=lost, of_points_changed_since=gone
            )

    async def _left(self) -> AsyncIterator[JournalRecord]:
        last, end = 0, self.journal.last_sequence
        while last < end:
            records = await self.journal.peek(after=last)
            if not records:
                return
            for record in records:
                last = record.sequence
                if last <= end:
                    yield record


def _asdus(payload: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(payload):
        end = at + 1 + payload[at]
        asdu = payload[at + 1 : end]
        if ASDU_HEADER_BYTES < len(asdu) <= MAX_ASDU_BYTES and asdu[1] & _COUNT:
            yield asdu
        at = end


def _within(asdus: Iterable[bytes], addresses: AbstractSet[tuple[int, int]]) -> tuple[list[bytes], int]:
    """Returns ASDUs with the objects at these (common address, object address), and how many others there were."""
    kept: list[bytes] = []
    gone = 0
    for asdu in asdus:
        station = int.from_bytes(asdu[4:6], "little")
        objects = list(_objects(asdu))
        chosen = [octets for address, octets in objects if (station, address) in addresses]
        gone += len(objects) - len(chosen)
        if len(chosen) == len(objects):
            kept.append(asdu)
            continue
        step = (MAX_ASDU_BYTES - ASDU_HEADER_BYTES) // len(objects[0][1])
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            kept.append(bytes((asdu[0], len(part))) + asdu[2:6] + b"".join(part))
    return kept, gone


def _objects(asdu: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields (object address, its octets with the address before them)."""
    count = asdu[1] & _COUNT
    start = ASDU_HEADER_BYTES
    if asdu[1] & _SEQUENCE:
        first, start = int.from_bytes(asdu[start : start + 3], "little"), start + 3
        size = (len(asdu) - start) // count
        for index in range(count):
            at = start + index * size
            yield first + index, (first + index).to_bytes(3, "little") + asdu[at : at + size]
    else:
        size = (len(asdu) - start) // count
        for at in range(start, start + count * size, size):
            yield int.from_bytes(asdu[at : at + 3], "little"), asdu[at : at + size]
