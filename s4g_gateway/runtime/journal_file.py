"""The file of a Journal: SQLite, one writer, blocking calls.

WAL mode with ``synchronous=FULL``. NORMAL would not corrupt the file either, but a power cut could take back
commits that had returned, and an append is confirmed by its commit.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

ROW_OVERHEAD_BYTES = 32
"""What a record counts beside its key and payload."""

_VERSION = 1
_APPLICATION_ID = 0x5334474A  # "S4GJ"
_DISCARD_CHUNK = 500
_FREE_PAGES_KEPT = 2000
_WAL_KEPT_BYTES = 8 * 1024 * 1024
_SIZE = f"length(key) + length(payload) + {ROW_OVERHEAD_BYTES}"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS head (
    one INTEGER PRIMARY KEY CHECK (one = 1), stream TEXT NOT NULL, next INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS record (
    sequence INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, key TEXT NOT NULL, payload BLOB NOT NULL
)
"""


class JournalRecord(NamedTuple):
    """One record.

    Attributes:
        sequence: rises from record to record, across restarts too; never used twice in a stream.
        time_ns: when it was appended, ns since 1970 UTC.
        key: what it belongs to, such as a topic.
        payload: its bytes.
    """

    sequence: int
    time_ns: int
    key: str
    payload: bytes

    @property
    def size_bytes(self) -> int:
        """What it counts against the journal's bound."""
        return len(self.key) + len(self.payload) + ROW_OVERHEAD_BYTES


class JournalFile:
    """The records on disk.

    Every method blocks and raises ``sqlite3.Error``; ``is_damage`` tells a wrong file from a full disk.

    Args:
        path: the file.
        max_bytes: most bytes of records kept.

    Attributes:
        stream: names this file's sequence of numbers; another file, another stream.
        records: how many it holds.
        size_bytes: how much they count.
        last: highest sequence ever committed.
        first: lowest sequence held, ``last + 1`` where there is none.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._database: sqlite3.Connection | None = None
        self.stream = ""
        self.records = 0
        self.size_bytes = 0
        self.last = 0
        self.first = 1

    @property
    def is_open(self) -> bool:
        """True between ``open`` and ``close``."""
        return self._database is not None

    def open(self) -> None:
        """Opens or creates the file; refuses one that another process has open."""
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            # Exclusive: a second process is refused, and the index of the WAL needs no shared memory.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
            self._check_identity(database)
            database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute(
                "INSERT OR IGNORE INTO head VALUES (1, ?, ?)", (secrets.token_hex(4), self.last + 1)
            )
            stream, following = database.execute("SELECT stream, next FROM head").fetchone()
            records, size, first, last = database.execute(
                f"SELECT count(*), total({_SIZE}), min(sequence), coalesce(max(sequence), 0) FROM record"  # noqa: S608
            ).fetchone()
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        self.stream, self.records, self.size_bytes = stream, records, int(size)
        self.last = max(self.last, last, following - 1)
        self.first = first or self.last + 1
        self._database = database

    @staticmethod
    def _check_identity(database: sqlite3.Connection) -> None:
        identity = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and (identity, version) != (_APPLICATION_ID, _VERSION):
            raise sqlite3.DatabaseError(f"no journal of version {_VERSION}")

    def close(self) -> None:
        """Closes the file; idempotent."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def commit(self, records: Sequence[JournalRecord], acknowledged: int, oldest_ns: int | None) -> int:
        """Adds records and deletes what is acknowledged, too old or too much, in one transaction.

        Args:
            records: in order, beyond ``last``.
            acknowledged: delete up to and including this sequence.
            oldest_ns: delete from the front what was appended before; None leaves ages alone.

        Returns:
            How many were discarded without having been acknowledged.
        """
        if self._database is None:
            self.open()
        database = self._database
        assert database is not None  # noqa: S101 - opened above
        before = (self.records, self.size_bytes, self.first, self.last)
        database.execute("BEGIN IMMEDIATE")
        try:
            if acknowledged >= self.first:
                self._delete(database, acknowledged)
            discarded = self._add(database, records, acknowledged)
            if oldest_ns is not None:
                discarded += self._delete_older(database, oldest_ns)
            if self.records == 0:
                # Where records are left the next sequence follows from the newest.
                database.execute("UPDATE head SET next = ? WHERE next <> ?", (self.last + 1, self.last + 1))
            database.execute("COMMIT")
        except BaseException:
            self.records, self.size_bytes, self.first, self.last = before
            if database.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
            raise
        return discarded

    def _add(self, database: sqlite3.Connection, records: Sequence[JournalRecord], acknowledged: int) -> int:
        if not records:
            return 0
        # What was acknowledged before it could be written needs no writing any more.
        fresh = [record for record in records if record.sequence > acknowledged]
        # OR REPLACE: a commit that reported a failure may have reached the disk all the same.
        database.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", fresh)
        if fresh and not self.records:
            self.first = fresh[0].sequence
        self.records += len(fresh)
        self.size_bytes += sum(record.size_bytes for record in fresh)
        self.last = records[-1].sequence
        if not self.records:
            self.first = self.last + 1
        discarded = 0
        while self.size_bytes > self._max_bytes and self.records > 1:
            discarded += self._delete(database, self._cut(database, self.size_bytes - self._max_bytes))
        return discarded

    @staticmethod
    def _cut(database: sqlite3.Connection, excess: int) -> int:
        cut = 0
        query = f"SELECT sequence, {_SIZE} FROM record ORDER BY sequence LIMIT ?"  # noqa: S608
        for cut, size in database.execute(query, (_DISCARD_CHUNK,)):  # noqa: B007
            excess -= size
            if excess <= 0:
                break
        return cut

    def _delete(self, database: sqlite3.Connection, up_to: int) -> int:
        query = f"SELECT count(*), total({_SIZE}) FROM record WHERE sequence <= ?"  # noqa: S608
        count, size = database.execute(query, (up_to,)).fetchone()
        if count:
            database.execute("DELETE FROM record WHERE sequence <= ?", (up_to,))
            self.records -= count
            self.size_bytes -= int(size)
        first = database.execute("SELECT min(sequence) FROM record").fetchone()[0]
        self.first = first or self.last + 1
        return int(count)

    def _delete_older(self, database: sqlite3.Connection, oldest_ns: int) -> int:
        front = database.execute("SELECT time_ns FROM record ORDER BY sequence LIMIT 1").fetchone()
        if front is None or front[0] >= oldest_ns:
            return 0
        kept = database.execute(
            "SELECT sequence FROM record WHERE time_ns >= ? ORDER BY sequence LIMIT 1", (oldest_ns,)
        ).fetchone()
        return self._delete(database, kept[0] - 1 if kept else self.last)

    def shrink(self) -> None:
        """Gives space that a backlog has left behind back to the file system, a bit at a time."""
        if self._database is not None:
            free = self._database.execute("PRAGMA freelist_count").fetchone()[0]
            if free > _FREE_PAGES_KEPT:
                # As a script, because execute() would stop after the first page. Only a checkpoint then
                # shortens the file itself.
                self._database.executescript(
                    f"PRAGMA incremental_vacuum({_FREE_PAGES_KEPT}); PRAGMA wal_checkpoint(PASSIVE);"
                )

    def peek(self, after: int, limit: int, max_bytes: int) -> list[JournalRecord]:
        """Returns the oldest records beyond a sequence, at least one where there is one."""
        if self._database is None:
            self.open()
        assert self._database is not None  # noqa: S101 - opened above
        found: list[JournalRecord] = []
        rows = self._database.execute(
            "SELECT sequence, time_ns, key, payload FROM record WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, limit),
        )
        for row in rows:
            record = JournalRecord(*row)
            found.append(record)
            max_bytes -= record.size_bytes
            if max_bytes <= 0:
                break
        rows.close()
        return found

    def set_aside(self, reason: sqlite3.Error) -> None:
        """Moves a damaged file away, so that ``open`` begins a new one; says so in one line of the log.

        Raises:
            OSError: it cannot be moved.
        """
        self.close()
        aside = move_aside(self.path)
        structlog.get_logger("journal").error(
            "damaged journal moved aside, a new one begins",
            file=str(self.path),
            to=str(aside),
            reason=str(reason),
        )


def move_aside(path: Path) -> Path:
    """Renames a SQLite file and its companions; returns the new path."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.replace(aside.with_name(aside.name + suffix))
    return aside


def is_damage(error: sqlite3.Error) -> bool:
    """True where the file itself is wrong, false for a full disk, a lock and the like."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
