"""Command ledger: which commands were begun and how they ended, kept across restarts.

A command id is noted durably before the command goes to a device. After a crash in between, a repeat of that
id is refused: nobody knows whether the device got it, and carrying it out twice is the worse error. Ids are
forgotten after 7 days: whoever repeats a command after that commands anew.

While the disk refuses, ids are kept in memory: within this run no command is carried out twice, and a control
centre can still curtail. A damaged file is moved aside, for the same reason.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog

from s4g_gateway.errors import PermanentError
from s4g_gateway.model import NS_PER_S, AddCause, ControlAnswer, refused

P = ParamSpec("P")
T = TypeVar("T")

# Longer than any validity window in D3.1 (a plan covers two days), short enough to stay small.
KEEP_S = 7 * 86_400
MEMORY_LIMIT = 100_000
"""Ids kept in memory while the disk refuses; the oldest are forgotten first."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
    id TEXT PRIMARY KEY,
    begun_ns INTEGER NOT NULL,
    accepted INTEGER,
    add_cause INTEGER,
    detail TEXT
) WITHOUT ROWID
"""
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOG = structlog.get_logger("ledger")


class SqliteCommandLedger:
    """A ledger in one SQLite file; every note is on disk before the call returns.

    Args:
        path: the file; made if missing.

    Raises:
        PermanentError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # One thread of its own: a commit waits for the disk and must not hold up the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        # What the disk has refused: id -> answer, None while it is being carried out.
        self._memory: dict[str, ControlAnswer | None] = {}
        self._begun_here: set[str] = set()
        self._failing = False
        try:
            self._connection = self._thread.submit(_open, path).result()
        except (OSError, sqlite3.Error) as error:
            self._thread.shutdown()
            raise PermanentError(f"{path}: no usable command ledger: {error}") from error

    async def begin(self, command_id: str, time_ns: int) -> ControlAnswer | None:
        """Notes that a command starts; returns the answer of an earlier run, None the first time."""
        return await self._call(self._begin, command_id, time_ns)

    async def finish(self, command_id: str, answer: ControlAnswer) -> None:
        """Notes how a command ended."""
        await self._call(self._finish, command_id, answer)

    async def close(self) -> None:
        """Closes the file; idempotent."""
        try:
            await self._call(self._connection.close)
        except RuntimeError:  # the thread has ended already
            return
        self._thread.shutdown()

    async def _call(self, function: Callable[P, T], *arguments: P.args, **names: P.kwargs) -> T:
        # shield: a cancelled caller must not leave a note half made
        loop = asyncio.get_running_loop()
        return await asyncio.shield(
            loop.run_in_executor(self._thread, partial(function, *arguments, **names))
        )

    # -- in the ledger's thread ------------------------------------------------------------------

    def _begin(self, command_id: str, time_ns: int) -> ControlAnswer | None:
        if command_id in self._memory:
            return self._memory[command_id] or self._unfinished(command_id)
        try:
            row = self._note_begin(command_id, time_ns)
        except sqlite3.Error as error:
            self._failed(error)
            self._remember(command_id, None)
            self._begun_here.add(command_id)
            return None
        self._worked()
        if row is None:
            self._begun_here.add(command_id)
            return None
        accepted, add_cause, detail = row
        if accepted is None:
            return self._unfinished(command_id)
        return ControlAnswer(accepted=bool(accepted), add_cause=AddCause(add_cause), detail=detail)

    def _note_begin(self, command_id: str, time_ns: int) -> tuple[int | None, int, str] | None:
        with self._connection as connection:
            row: tuple[int | None, int, str] | None = connection.execute(
                "SELECT accepted, add_cause, detail FROM command WHERE id = ?", (command_id,)
            ).fetchone()
            if row is None:
                connection.execute("DELETE FROM command WHERE begun_ns < ?", (time_ns - KEEP_S * NS_PER_S,))
                connection.execute("INSERT INTO command (id, begun_ns) VALUES (?, ?)", (command_id, time_ns))
        return row

    def _finish(self, command_id: str, answer: ControlAnswer) -> None:
        self._begun_here.discard(command_id)
        if command_id in self._memory:
            self._memory[command_id] = answer
            return
        try:
            with self._connection as connection:
                connection.execute(
                    "UPDATE command SET accepted = ?, add_cause = ?, detail = ? WHERE id = ?",
                    (answer.accepted, int(answer.add_cause), answer.detail, command_id),
                )
        except sqlite3.Error as error:
            self._failed(error)
            self._remember(command_id, answer)
        else:
            self._worked()

    def _unfinished(self, command_id: str) -> ControlAnswer:
        return refused(
            AddCause.COMMAND_ALREADY_IN_EXECUTION,
            "still being carried out"
            if command_id in self._begun_here
            else "begun before and never finished; whether the device got it is unknown",
        )

    def _remember(self, command_id: str, answer: ControlAnswer | None) -> None:
        self._memory[command_id] = answer
        while len(self._memory) > MEMORY_LIMIT:
            del self._memory[next(iter(self._memory))]

    def _failed(self, error: sqlite3.Error) -> None:
        if not self._failing:
            self._failing = True
            _LOG.error(
                "ledger cannot be written; ids are kept in memory", file=str(self._path), reason=str(error)
            )

    def _worked(self) -> None:
        if self._failing:
            self._failing = False
            _LOG.info("ledger can be written again", file=str(self._path))


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
            raise
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _LOG.error(
            "damaged ledger moved aside; commands of earlier runs are not known any more",
            to=str(aside),
            reason=str(error),
        )
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL: a note must survive power loss, else a command could run twice
        connection.execute("PRAGMA synchronous=FULL")
        with connection:
            connection.execute(_SCHEMA)
            # DELETE by age needs the order of time
            connection.execute("CREATE INDEX IF NOT EXISTS command_age ON command (begun_ns)")
    except BaseException:
        connection.close()
        raise
    return connection
