"""Journal: an ordered queue on disk that survives ``kill -9`` and power loss.

A record is handed to the operating system before ``append`` returns, so no crash of this process takes it
back. It is on the disk itself at most ``sync_interval_s`` later, unless it has been acknowledged by then: one
fdatasync covers everything written since the last one, in a thread, so that a slow card holds up nobody.
Why this is no database: docs/adr/0070-journal.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from s4g_gateway.errors import LocalProtocolError, PermanentError
from s4g_gateway.runtime.clock import Clock, SystemClock
from s4g_gateway.runtime.journal_segment import (
    ACKNOWLEDGED,
    HEAD,
    RECORD,
    SUFFIX,
    JournalRecord,
    Segment,
    create_segment,
    frame,
    read_records,
    scan,
    write_all,
)

__all__ = ["Journal", "JournalRecord"]

_SEGMENT_BYTES = 4 * 1024 * 1024
# Bytes and age are kept within their bounds by deleting whole segments, so there are about this many.
_SEGMENTS_PER_BOUND = 16
_PENDING_LIMIT_BYTES = 32 * 1024 * 1024


class Journal:
    """An ordered queue on disk.

    Use it as an asynchronous context manager, from one event loop. Beyond ``max_bytes`` or ``max_age_s`` the
    oldest records are discarded, a segment (a sixteenth of the bound, at most 4 MiB) at a time, and counted.
    While the disk refuses, up to 32 MiB of records wait in memory; they are tried again at every sync.

    Args:
        directory: folder of its files; made if missing. A file that is no journal is moved aside.
        max_bytes: most bytes on disk, >= 65536.
        max_age_s: a record older than this is discarded, at the latest at 17/16 of it; > 0.
        sync_interval_s: longest time until a record is safe from power loss too, > 0.
        clock: tells the records' time.

    Attributes:
        stream: names this run; (stream, sequence) names a record for ever.
        last_sequence: sequence of the latest append, of an earlier run if there was none; 0 for a new journal.
        synced_sequence: up to here everything is safe from power loss, or acknowledged.
        failing: true while the disk refuses.
        appended_total: records appended in this run.
        discarded_total: records given up without having been acknowledged.
        syncs_total: how often the disk was waited for.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        max_age_s: float = 7 * 86_400.0,
        sync_interval_s: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age_ns = round(max_age_s * 1e9)
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // _SEGMENTS_PER_BOUND)
        self._sync_interval_s = sync_interval_s
        self._clock = clock or SystemClock()
        self._log = structlog.get_logger("journal").bind(folder=str(directory))
        self._lock = -1
        self._descriptor = -1
        # Descriptors of finished segments that have not been synced yet.
        self._finished: list[int] = []
        self._segments: deque[Segment] = deque()
        self._size_bytes = 0
        self._begun_ns = 0
        # What the disk has refused so far, and what came after it.
        self._pending: deque[JournalRecord] = deque()
        self._pending_bytes = 0
        self._acknowledged = 0
        self._acknowledged_on_disk = 0
        # Where the last peek stopped: segment, sequence, byte behind it.
        self._cursor: tuple[Segment | None, int, int] = (None, 0, 0)
        self._told_discard = False
        self._syncing = asyncio.Lock()
        self._upkeep: asyncio.Task[None] | None = None
        self.stream = secrets.token_hex(4)
        self.last_sequence = 0
        self.synced_sequence = 0
        self.failing = False
        self.appended_total = 0
        self.discarded_total = 0
        self.syncs_total = 0

    # -- opening and closing ---------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Opens the journal and reads what earlier runs have left.

        Raises:
            PermanentError: the folder cannot be used, or another process has the journal open.
        """
        try:
            await asyncio.to_thread(self._open)
        except OSError as error:
            self._close()
            raise PermanentError(f"journal {self._directory} cannot be used: {error}") from error
        self._upkeep = asyncio.create_task(self._keep_up(), name=f"journal {self._directory.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Syncs and closes; what the disk still refuses is lost and counted."""
        if self._upkeep is None:
            return
        self._upkeep.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._upkeep
        self._upkeep = None
        try:
            await asyncio.shield(self.sync())
        finally:
            self.discarded_total += len(self._pending)
            self._close()

    def _open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OSError(f"another process uses it ({error})") from error
        empty = [path for path in sorted(self._directory.glob(f"*{SUFFIX}")) if not self._take_over(path)]
        if self._segments:
            self._acknowledged = max(self._acknowledged, self._segments[0].first - 1)
        else:
            self._acknowledged = self.last_sequence
        self.synced_sequence = self.last_sequence
        current = self._begin_segment()
        self._note_acknowledged()
        for path in empty:
            if path != current.path:
                path.unlink()
        self._delete_old()

    def _take_over(self, path: Path) -> bool:
        """Reads one file; false where it holds no record and is to go."""
        found = scan(path)
        segment = found.segment
        if segment is None:
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            path.replace(aside)
            self._log.error("damaged journal file moved aside", to=aside.name, reason=found.damage)
            return True
        if found.damage is not None:
            # A power cut leaves this behind; what stands before it is good.
            self._log.warning("journal file is cut short", file=path.name, reason=found.damage)
        self._acknowledged = max(self._acknowledged, found.acknowledged)
        # segment.last is first - 1 in an empty one: the numbers before it were given away.
        self.last_sequence = max(self.last_sequence, segment.last, found.acknowledged)
        if segment.records:
            self._segments.append(segment)
            self._size_bytes += segment.size_bytes
        return segment.records > 0

    def _close(self) -> None:
        for descriptor in (*self._finished, self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._finished.clear()
        self._descriptor = self._lock = -1

    # -- the queue -------------------------------------------------------------------------------

    @property
    def first_unacknowledged(self) -> int:
        """The lowest sequence that may still be needed."""
        return self._acknowledged + 1

    @property
    def first_kept(self) -> int:
        """The lowest sequence that has not been discarded or deleted; what lies before it is gone."""
        return (
            self._segments[0].first
            if self._segments[0].records or not self._pending
            else self._pending[0].sequence
        )

    @property
    def backlog(self) -> int:
        """Records kept and not acknowledged, those waiting in memory included."""
        stored = sum(self._unacknowledged(segment) for segment in self._segments)
        return stored + len(self._pending)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk and waiting in memory."""
        return self._size_bytes + self._pending_bytes

    def append(self, key: str, payload: bytes) -> int:
        """Puts a record at the end of the queue.

        Args:
            key: at most 65535 bytes of UTF-8.
            payload: its bytes.

        Returns:
            Its sequence. Unless ``failing`` is true, the record survives the end of this process from now on.

        Raises:
            LocalProtocolError: the journal is not open.
        """
        if self._upkeep is None:
            raise LocalProtocolError(f"journal {self._directory} is not open")
        sequence = self.last_sequence = self.last_sequence + 1
        self.appended_total += 1
        record = JournalRecord(self.stream, sequence, self._clock.wall_ns(), key, payload)
        if self._pending or not self._write(record):
            self._keep_in_memory(record)
        return sequence

    async def peek(
        self, after: int = 0, limit: int = 200, max_bytes: int = 2 * 1024 * 1024
    ) -> list[JournalRecord]:
        """Returns some of the oldest records beyond a sequence, in order, without removing them.

        What it returns comes from one file; ask again beyond the last one for more.

        Args:
            after: sequence after which to begin; 0 begins with the oldest not acknowledged.
            limit: most records, > 0.
            max_bytes: bytes of payload after which to stop; at least one record is returned.
        """
        after = max(after, self._acknowledged)
        for segment in tuple(self._segments):
            if segment.last <= after:
                continue
            known, sequence, offset = self._cursor
            if known is not segment or sequence > after:
                offset = HEAD.size
            try:
                found, behind = await asyncio.to_thread(
                    read_records, segment, after, offset, limit, max_bytes
                )
            except FileNotFoundError:  # discarded meanwhile
                continue
            if found:
                self._cursor = (segment, found[-1].sequence, behind)
                return found
        return []

    def acknowledge(self, up_to: int) -> None:
        """Gives up every record up to and including a sequence.

        A crash within the next ``sync_interval_s`` may bring them back.
        """
        up_to = min(up_to, self.last_sequence)
        if up_to <= self._acknowledged:
            return
        self._acknowledged = up_to
        while self._pending and self._pending[0].sequence <= up_to:
            self._forget_pending()
        if up_to >= self._segments[0].last and len(self._segments) > 1:
            self._delete_acknowledged()

    async def sync(self) -> None:
        """Returns once everything appended so far is safe from power loss, unless the disk refuses."""
        async with self._syncing:
            await self._sync()

    async def _sync(self) -> None:
        self._retry()
        self._note_acknowledged()
        finished, self._finished = self._finished, []
        sequence = self._pending[0].sequence - 1 if self._pending else self.last_sequence
        try:
            if self._acknowledged < sequence and self.synced_sequence < sequence and self._descriptor >= 0:
                await asyncio.to_thread(self._wait_for_disk, [*finished, self._descriptor])
                self.syncs_total += 1
        except OSError as error:
            self._fault(error)
            return
        finally:
            for descriptor in finished:
                os.close(descriptor)
        self.synced_sequence = max(self.synced_sequence, sequence)

    # -- upkeep ----------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(self._sync_interval_s)
            # Shielded: descriptors in a thread's hands must not be closed under it.
            await asyncio.shield(self.sync())
            self._delete_old()

    def _wait_for_disk(self, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.fdatasync(descriptor)
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _note_acknowledged(self) -> None:
        if self._acknowledged > self._acknowledged_on_disk and not self._pending and not self.failing:
            data = frame(ACKNOWLEDGED, self._acknowledged, self._clock.wall_ns(), b"", b"")
            try:
                write_all(self._descriptor, data)
            except OSError as error:
                self._fault(error)
                return
            self._segments[-1].size_bytes += len(data)
            self._size_bytes += len(data)
            self._acknowledged_on_disk = self._acknowledged

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, record: JournalRecord) -> bool:
        """Hands a record to the operating system; false where the disk refuses."""
        data = frame(RECORD, record.sequence, record.time_ns, record.key.encode(), record.payload)
        try:
            segment = self._segments[-1]
            if self._descriptor < 0 or self._is_full(segment, record.time_ns, len(data)):
                segment = self._begin_segment(record.sequence)
            write_all(self._descriptor, data)
        except OSError as error:
            self._fault(error)
            return False
        segment.last = record.sequence
        segment.records += 1
        segment.newest_ns = record.time_ns
        segment.size_bytes += len(data)
        self._size_bytes += len(data)
        while self._size_bytes > self._max_bytes and len(self._segments) > 1:
            self._discard_oldest()
        return True

    def _is_full(self, segment: Segment, now_ns: int, more_bytes: int) -> bool:
        if segment.records == 0:
            return False
        return (
            segment.size_bytes + more_bytes > self._segment_bytes
            or now_ns - self._begun_ns > self._max_age_ns // _SEGMENTS_PER_BOUND
        )

    def _begin_segment(self, first: int | None = None) -> Segment:
        segment, descriptor = create_segment(
            self._directory, self.stream, self.last_sequence + 1 if first is None else first
        )
        if self._descriptor >= 0:
            self._finished.append(self._descriptor)
        self._descriptor = descriptor
        self._begun_ns = self._clock.wall_ns()
        self._segments.append(segment)
        self._size_bytes += segment.size_bytes
        self._delete_acknowledged()
        return segment

    def _fault(self, error: OSError) -> None:
        if self._descriptor >= 0:
            # Whatever was written of the last record is taken off; the next attempt begins a new segment.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._segments[-1].size_bytes)
            self._finished.append(self._descriptor)
            self._descriptor = -1
            if not self._segments[-1].records and len(self._segments) > 1:
                self._delete(self._segments.pop())
        if not self.failing:
            self.failing = True
            self._log.error("journal cannot be written; records are kept in memory", reason=str(error))

    def _keep_in_memory(self, record: JournalRecord) -> None:
        self._pending.append(record)
        self._pending_bytes += len(record.payload)
        while self._pending_bytes > _PENDING_LIMIT_BYTES and len(self._pending) > 1:
            self._forget_pending()
            self.discarded_total += 1

    def _forget_pending(self) -> None:
        self._pending_bytes -= len(self._pending.popleft().payload)

    def _retry(self) -> None:
        while self._pending and self._write(self._pending[0]):
            self._forget_pending()
        if self.failing and self._descriptor < 0 and not self._pending:
            # Everything has been acknowledged meanwhile: see whether the disk takes a new segment.
            with contextlib.suppress(OSError):
                self._begin_segment()
        if self.failing and self._descriptor >= 0 and not self._pending:
            self.failing = False
            self._log.info("journal writes again")

    # -- deleting --------------------------------------------------------------------------------

    def _unacknowledged(self, segment: Segment) -> int:
        return max(0, min(segment.records, segment.last - max(self._acknowledged, segment.first - 1)))

    def _delete_acknowledged(self) -> None:
        while len(self._segments) > 1 and self._segments[0].last <= self._acknowledged:
            self._delete_first()
        if not self.backlog:
            self._told_discard = False

    def _delete_old(self) -> None:
        limit_ns = self._clock.wall_ns() - self._max_age_ns
        while len(self._segments) > 1 and self._segments[0].newest_ns < limit_ns:
            self._discard_oldest()

    def _discard_oldest(self) -> None:
        segment = self._segments[0]
        lost = self._unacknowledged(segment)
        self.discarded_total += lost
        if lost and not self._told_discard:
            self._told_discard = True
            self._log.warning("oldest records are discarded", bound_bytes=self._max_bytes)
        self._delete_first()

    def _delete_first(self) -> None:
        self._delete(self._segments.popleft())

    def _delete(self, segment: Segment) -> None:
        self._size_bytes -= segment.size_bytes
        with contextlib.suppress(OSError):  # gone already, or a disk that has failed
            segment.path.unlink()
