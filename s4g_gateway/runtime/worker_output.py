"""What a worker prints: cut into bounded lines and logged at a bounded rate; it never reaches the terminal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

MAX_LINE_BYTES: Final = 400
MAX_FIELDS: Final = 20
LINES_PER_WINDOW: Final = 50
WINDOW_S: Final = 10.0
READ_BYTES: Final = 1 << 16
# Between two reads of a flood: the child waits in its print, and the event loop has other things to do.
FLOOD_PAUSE_S: Final = 0.01
_LEVELS: Final = frozenset({"debug", "info", "warning", "error"})
# What the gateway says of a line itself, or what structlog would act upon.
_OURS: Final = frozenset(
    {"self", "event", "worker", "connector", "logger", "level", "time"}
    | {"exc_info", "stack_info", "stacklevel", "positional_args", "extra"}
)


class LineLimit:
    """Lets through so many log lines in each window of ten seconds and counts the others.

    Args:
        log: where the number of suppressed lines is told.
        what: what the lines are, such as ``stderr``.
    """

    def __init__(self, log: Any, what: str) -> None:
        self._log = log
        self._what = what
        self._window_s = float("-inf")
        self._left = 0
        self._suppressed = 0

    def allows(self, now_s: float) -> bool:
        """Asks for one line to be logged; ``now_s`` is of any steady clock. A refused line is to be suppressed."""
        if now_s - self._window_s >= WINDOW_S:
            self.close()
            self._window_s, self._left = now_s, LINES_PER_WINDOW
        if not self._left:
            return False
        self._left -= 1
        return True

    def suppress(self, lines: int = 1) -> None:
        """Counts lines that are not logged."""
        self._suppressed += lines

    def close(self) -> None:
        """Tells how many lines were suppressed since the last time."""
        if self._suppressed:
            self._log.warning("worker lines suppressed", stream=self._what, lines=self._suppressed)
            self._suppressed = 0


class OutputPipe:
    """A pipe that takes a child's standard output or error.

    Args:
        log: a structured log.
        what: ``stdout`` is logged at debug, anything else at warning.

    Attributes:
        child_end: descriptor for the child; to be closed here once the child has it.
    """

    def __init__(self, log: Any, what: str) -> None:
        # A pipe of our own: asyncio's would have the end of the child wait for whoever else holds it.
        our_end, self.child_end = os.pipe()
        self._file = os.fdopen(our_end, "rb", 0)
        self._write = log.debug if what == "stdout" else log.warning
        self._limit = LineLimit(log, what)
        self._what = what

    async def run(self) -> None:
        """Logs what comes until everybody has closed the other end."""
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader(limit=READ_BYTES)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), self._file)
        try:
            rest = b""
            while data := await stream.read(READ_BYTES):
                rest = self._take(rest + data, loop.time())
                await asyncio.sleep(FLOOD_PAUSE_S if len(data) > READ_BYTES // 2 else 0)
            self._take(rest + b"\n", loop.time())
        finally:
            self._limit.close()
            transport.close()

    def close(self) -> None:
        """Closes our end; only where ``run`` was never begun."""
        self._file.close()

    def _take(self, data: bytes, now_s: float) -> bytes:
        """Logs the lines; returns the beginning of the next."""
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            if data[at:end].strip():
                if not self._limit.allows(now_s):
                    self._limit.suppress(data.count(b"\n", at))
                    return data[data.rfind(b"\n") + 1 :][:MAX_LINE_BYTES]
                self._log_line(data[at:end])
            at = end + 1
        # Of a line without an end only the beginning is kept, and one byte to show that there was more.
        return data[at:][: MAX_LINE_BYTES + 1]

    def _log_line(self, line: bytes) -> None:
        text = line[:MAX_LINE_BYTES].decode("utf-8", "backslashreplace").rstrip()
        self._write("worker printed", stream=self._what, text=text + " ..." * (len(line) > MAX_LINE_BYTES))


def log_line(log: Any, level: str, event: str, fields: Mapping[str, Any]) -> None:
    """Logs what a worker asked to be logged, within bounds."""
    bounded = {
        name[:64] + "_" * (name in _OURS): value[:MAX_LINE_BYTES] if isinstance(value, str) else value
        for name, value in list(fields.items())[:MAX_FIELDS]
    }
    getattr(log, level if level in _LEVELS else "info")(event[:MAX_LINE_BYTES], **bounded)
