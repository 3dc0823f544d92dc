"""What a worker prints: cut into bounded lines and logged at a bounded rate; it never reaches the terminal."""

from __future__ import annotations

import asyncio
from typing import Any, Final

MAX_LINE_BYTES: Final = 400
LINES_PER_WINDOW: Final = 50
WINDOW_S: Final = 10.0
READ_BYTES: Final = 1 << 16


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

    def allows(self, now_s: float, lines: int = 1) -> bool:
        """Asks for one line to be logged.

        Args:
            now_s: any steady clock.
            lines: how many are suppressed if not.
        """
        if now_s - self._window_s >= WINDOW_S:
            self.close()
            self._window_s, self._left = now_s, LINES_PER_WINDOW
        if self._left:
            self._left -= 1
            return True
        self._suppressed += lines
        return False

    def close(self) -> None:
        """Tells how many lines were suppressed since the last time."""
        if self._suppressed:
            self._log.warning("worker lines suppressed", stream=self._what, lines=self._suppressed)
            self._suppressed = 0


async def log_output(stream: asyncio.StreamReader, log: Any, what: str) -> None:
    """Logs what a child writes until it closes the stream.

    Args:
        stream: the parent's end.
        log: a structured log.
        what: ``stdout`` is logged at debug, anything else at warning.
    """
    write = log.debug if what == "stdout" else log.warning
    now_s = asyncio.get_running_loop().time
    limit = LineLimit(log, what)
    rest = b""
    while data := await stream.read(READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:  # a line without an end
            lines.append(rest)
            rest = b""
        for place, line in enumerate(lines):
            if not line.strip():
                continue
            if not limit.allows(now_s(), len(lines) - place):
                break
            write("worker printed", stream=what, text=_text(line))
        await asyncio.sleep(0)
    if rest.strip() and limit.allows(now_s()):
        write("worker printed", stream=what, text=_text(rest))
    limit.close()


def _text(line: bytes) -> str:
    text = line[:MAX_LINE_BYTES].decode("utf-8", "backslashreplace").rstrip()
    return text + " ..." if len(line) > MAX_LINE_BYTES else text
