"""Command ledger: which commands were begun and how they ended, kept across restarts.

A command id is noted durably before the command goes to a device. After a crash in between, a repeat of that
id is refused: nobody knows whether the device got it, and carrying it out twice is the worse error.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from s4g_gateway.errors import PermanentError
from s4g_gateway.model import NS_PER_S, AddCause, ControlAnswer, refused

P = ParamSpec("P")
T = TypeVar("T")

# Longer than any validity window in D3.1 (a plan covers two days), short enough to stay small.
KEEP_S = 7 * 86_400

_SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
    id TEXT PRIMARY KEY,
    begun_ns INTEGER NOT NULL,
    accepted INTEGER,
    add_cause INTEGER,
    detail TEXT
) WITHOUT ROWID
"""


class SqliteCommandLedger:
    """A ledger in one SQLite file; every note is on disk before the call returns.

    Args:
        path: the file; made if missing.

    Raises:
        PermanentError: the file cannot be opened or is no ledger.
    """

    def __init__(self, path: Path) -> None:
        # One thread of its own: a commit waits for the disk and must not hold up the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        try:
            self._connection = self._thread.submit(_open, path).result()
        except sqlite3.Error as error:
            self._thread.shutdown()
            raise PermanentError(
                f"{path}: no usable command ledger ({error}); move it away to start anew"
            ) from error

    async def begin(self, command_id: str, time_ns: int) -> ControlAnswer | None:
        """Notes that a command starts; returns the answer of an earlier run, None the first time."""
        return await self._call(self._begin, command_id, time_ns)

    async def finish(self, command_id: str, answer: ControlAnswer) -> None:
        """Notes how a command ended."""
        await self._call(self._finish, command_id, answer)

    async def close(self) -> None:
        """Closes the file; idempotent."""
        await self._call(self._connection.close)
        self._thread.shutdown()

    async def _call(self, function: Callable[P, T], *arguments: P.args, **names: P.kwargs) -> T:
        # shield: a cancelled caller must not leave a note half made
        loop = asyncio.get_running_loop()
        return await asyncio.shield(
            loop.run_in_executor(self._thread, partial(function, *arguments, **names))
        )

    def _begin(self, command_id: str, time_ns: int) -> ControlAnswer | None:
        with self._connection as connection:
            row = connection.execute(
                "SELECT accepted, add_cause, detail FROM command WHERE id = ?", (command_id,)
            ).fetchone()
            if row is None:
                connection.execute("DELETE FROM command WHERE begun_ns < ?", (time_ns - KEEP_S * NS_PER_S,))
                connection.execute("INSERT INTO command (id, begun_ns) VALUES (?, ?)", (command_id, time_ns))
                return None
        accepted, add_cause, detail = row
        if accepted is None:
            return refused(
                AddCause.COMMAND_ALREADY_IN_EXECUTION,
                "begun before and never finished; whether the device got it is unknown",
            )
        return ControlAnswer(accepted=bool(accepted), add_cause=AddCause(add_cause), detail=detail)

    def _finish(self, command_id: str, answer: ControlAnswer) -> None:
        with self._connection as connection:
            connection.execute(
                "UPDATE command SET accepted = ?, add_cause = ?, detail = ? WHERE id = ?",
                (answer.accepted, int(answer.add_cause), answer.detail, command_id),
            )


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    # FULL: a note must survive power loss, else a command could run twice
    connection.execute("PRAGMA synchronous=FULL")
    with connection:
        connection.execute(_SCHEMA)
        # DELETE by age needs the order of time
        connection.execute("CREATE INDEX IF NOT EXISTS command_age ON command (begun_ns)")
    return connection
