"""Journal: an ordered queue on disk that survives ``kill -9`` and power loss.

One thread of its own writes, so the event loop never waits for the disk. Commits are grouped: an idle journal
commits at once; a busy one gathers for ``commit_interval_s``, longer (up to 1 s) where the disk is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from s4g_gateway.errors import LocalProtocolError, PermanentError
from s4g_gateway.runtime.clock import Clock, SystemClock
from s4g_gateway.runtime.journal_file import JournalFile, JournalRecord, is_damage

__all__ = ["Journal", "JournalRecord"]

_LONGEST_GATHERING_S = 1.0
_RETRY_S = 1.0
_AGE_CHECK_S = 10.0
# Gathering this many times as long as the last commit took leaves a slow card idle most of the time.
_GATHER_PER_COMMIT = 4.0
_PENDING_LIMIT_BYTES = 32 * 1024 * 1024
_COMMITS_PER_SHRINK = 64


class Journal:
    """An ordered queue on disk.

    Use it as an asynchronous context manager. ``append`` and ``acknowledge`` return at once; a record is safe
    once ``committed_sequence`` has reached its sequence. Beyond ``max_bytes`` or ``max_age_s`` the oldest
    records are discarded and counted. While the disk cannot be written, up to 32 MiB wait in memory.

    Args:
        path: the database file; a damaged one is moved aside and a new stream begins.
        max_bytes: most bytes of records kept (keys and payloads, plus 32 a record), > 0.
        max_age_s: greatest age of a record in seconds, > 0.
        commit_interval_s: shortest time between two commits under load, 0 to 1 s.
        clock: tells the records' time.
        on_progress: called in the event loop after each group commit and whenever ``failing`` changes.

    Attributes:
        committed_sequence: highest sequence that is on disk; never goes back.
        failing: true while the disk cannot be written.
        appended_total: records appended since the start of the process.
        commits_total: group commits since the start of the process.
        discarded_total: records given up without having been acknowledged.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        max_age_s: float = 7 * 86400.0,
        commit_interval_s: float = 0.005,
        clock: Clock | None = None,
        on_progress: Callable[[], None] | None = None,
    ) -> None:
        self._file = JournalFile(path, max_bytes)
        self._max_age_s = max_age_s
        self._commit_interval_s = commit_interval_s
        self._clock = clock or SystemClock()
        self.on_progress = on_progress
        self._log = structlog.get_logger("journal").bind(file=str(path))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Held by whoever uses the file; never while gathering.
        self._file_lock = threading.Lock()
        # Guards _pending and _pending_bytes only.
        self._pending_lock = threading.Lock()
        self._pending: deque[JournalRecord] = deque()
        self._pending_bytes = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._next = 1
        self._acknowledged = 0
        self._age_checked_s = float("-inf")
        self.committed_sequence = 0
        self.failing = False
        self.appended_total = 0
        self.commits_total = 0
        self.discarded_total = 0

    # -- the event loop's side -------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Opens the file and starts the writer.

        Raises:
            PermanentError: the file cannot be opened, or another process has it open.
        """
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)
        self._next = self._file.last + 1
        self.committed_sequence = self._file.last
        self._acknowledged = self._file.first - 1
        self._thread = threading.Thread(target=self._run, name=f"journal {self._file.path.name}", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commits what is pending, deletes what is acknowledged, closes."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        self._wake.set()
        await asyncio.shield(asyncio.to_thread(thread.join))
        self._progress()
        while self._waiters:
            self._waiters.popleft()[1].cancel()

    @property
    def stream(self) -> str:
        """Name of this file's numbering; (stream, sequence) names a record for ever."""
        return self._file.stream

    @property
    def first_unacknowledged(self) -> int:
        """The lowest sequence that may still be needed."""
        return self._acknowledged + 1

    @property
    def last_sequence(self) -> int:
        """The sequence of the latest append, confirmed or not; 0 before the first one of all."""
        return self._next - 1

    @property
    def backlog(self) -> int:
        """Records kept, pending ones included."""
        return self._file.records + len(self._pending)

    @property
    def backlog_bytes(self) -> int:
        """What they count, pending ones included."""
        return self._file.size_bytes + self._pending_bytes

    def append(self, key: str, payload: bytes) -> int:
        """Queues a record for the next group commit.

        Returns:
            Its sequence.

        Raises:
            LocalProtocolError: the journal is not open.
        """
        if self._thread is None:
            raise LocalProtocolError(f"journal {self._file.path} is not open")
        sequence = self._next
        self._next = sequence + 1
        record = JournalRecord(sequence, self._clock.wall_ns(), key, payload)
        with self._pending_lock:
            self._pending.append(record)
            self._pending_bytes += record.size_bytes
            while self._pending_bytes > _PENDING_LIMIT_BYTES and len(self._pending) > 1:
                self._pending_bytes -= self._pending.popleft().size_bytes
                self.discarded_total += 1
        self.appended_total += 1
        if not self._wake.is_set():
            self._wake.set()
        return sequence

    async def committed(self, sequence: int) -> None:
        """Returns once everything up to this sequence is on disk (or was discarded under pressure).

        Raises:
            CancelledError: the journal was closed while it could not be written.
        """
        if self.committed_sequence < sequence:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((sequence, waiter))
            await waiter

    async def peek(
        self, after: int = 0, limit: int = 200, max_bytes: int = 2 * 1024 * 1024
    ) -> list[JournalRecord]:
        """Returns the oldest committed records beyond a sequence, in order, without removing them.

        Args:
            after: sequence after which to begin; 0 begins with the oldest not acknowledged.
            limit: most records, > 0.
            max_bytes: bytes of records after which to stop; at least one record is returned.
        """
        return await asyncio.to_thread(self._peek, max(after, self._acknowledged), limit, max_bytes)

    def acknowledge(self, up_to: int) -> None:
        """Gives up every record up to and including a sequence; deleted in bulk within about a second."""
        self._acknowledged = max(self._acknowledged, min(up_to, self._next - 1))

    def _progress(self) -> None:
        while self._waiters and self._waiters[0][0] <= self.committed_sequence:
            waiter = self._waiters.popleft()[1]
            if not waiter.done():
                waiter.set_result(None)
        if self.on_progress is not None:
            self.on_progress()

    # -- the writer's side -----------------------------------------------------------------------

    def _run(self) -> None:
        started_s = took_s = 0.0
        while True:
            # Acknowledgements alone wake nobody: they are looked for once a second.
            self._wake.wait(1.0)
            gather_s = max(self._commit_interval_s, min(_GATHER_PER_COMMIT * took_s, _LONGEST_GATHERING_S))
            pause_s = started_s + (_RETRY_S if self.failing else gather_s) - time.monotonic()
            if pause_s > 0:
                self._stopping.wait(pause_s)
            stopping = self._stopping.is_set()
            self._wake.clear()
            started_s = time.monotonic()
            took_s = time.monotonic() - started_s if self._write(started_s) else 0.0
            if stopping and (not self._pending or self.failing):
                break
        with self._file_lock:
            self._file.close()

    def _write(self, now_s: float) -> bool:
        """Commits everything pending; false where there was nothing to do."""
        acknowledged = self._acknowledged
        check_age = now_s - self._age_checked_s >= _AGE_CHECK_S
        if not self._pending and acknowledged < self._file.first and not (check_age and self._file.records):
            return False
        oldest_ns = self._clock.wall_ns() - round(self._max_age_s * 1e9) if check_age else None
        with self._pending_lock:
            records = tuple(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
        try:
            with self._file_lock:
                discarded = self._file.commit(records, acknowledged, oldest_ns)
                self.commits_total += 1
                if self.commits_total % _COMMITS_PER_SHRINK == 0:
                    self._file.shrink()
        except sqlite3.Error as error:
            with self._pending_lock:
                self._pending.extendleft(reversed(records))
                self._pending_bytes += sum(record.size_bytes for record in records)
            self._fault(error)
            return True
        if check_age:
            self._age_checked_s = now_s
        if records:
            self.committed_sequence = records[-1].sequence
        if discarded:
            self.discarded_total += discarded
            self._log.warning("oldest records discarded", records=discarded, total=self.discarded_total)
        if self.failing:
            self.failing = False
            self._log.info("journal writes again")
        self._tell()
        return True

    def _tell(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._progress)

    def _peek(self, after: int, limit: int, max_bytes: int) -> list[JournalRecord]:
        try:
            with self._file_lock:
                return self._file.peek(after, limit, max_bytes)
        except sqlite3.Error as error:
            self._fault(error)
            return []

    def _open(self) -> None:
        path = self._file.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._file.open()
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._file.set_aside(error)
                self._file.open()
        except (OSError, sqlite3.Error) as error:
            raise PermanentError(f"journal {path} cannot be opened: {error}") from error

    def _fault(self, error: sqlite3.Error) -> None:
        with self._file_lock:
            self._file.close()
            reason: Exception = error
            if is_damage(error):
                try:
                    self._file.set_aside(error)
                except OSError as failure:
                    reason = failure
                else:
                    self._wake.set()
                    return
        if not self.failing:
            self.failing = True
            self._log.error("journal cannot be written; kept in memory and tried again", reason=str(reason))
            self._tell()
