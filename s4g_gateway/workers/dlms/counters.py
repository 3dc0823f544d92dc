"""Invocation counters that are never used twice, whatever happens to the process or the power.

A file holds the first counter that was not reserved. Counters are reserved in steps: the file is on disk before the
first one of a step is used, so a crash loses at most the rest of a step.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError

STEP: Final = 1_000
LAST: Final = 0xFFFF_FFFF


class CounterFile:
    """The counter of one system title towards one meter.

    Args:
        path: its file; made when missing.
        first: first counter to use where there is no file.

    Raises:
        MeterFaultError: the file cannot be used; a counter is never guessed.
    """

    def __init__(self, path: Path, first: int = 1) -> None:
        self._path = path
        kept = seen_counter(path)
        self._next = self._reserved = max(kept, first)

    def take(self) -> int:
        """Returns a counter that was never used.

        Raises:
            MeterFaultError: it cannot be reserved on disk, or there are no more.
        """
        if self._next >= self._reserved:
            self._reserve(self._next + STEP)
        self._next += 1
        return self._next - 1

    @property
    def next(self) -> int:
        """The counter that ``take`` would return."""
        return self._next

    def skip_to(self, counter: int) -> None:
        """Makes sure that smaller counters are not used any more."""
        self._next = max(self._next, counter)

    def _reserve(self, end: int) -> None:
        if end > LAST:
            raise MeterFaultError(FaultKind.LOCAL, f"{self._path}: the key has no invocation counters left")
        keep_counter(self._path, end)
        self._reserved = end


def seen_counter(path: Path) -> int:
    """Returns the counter in a file, -1 where there is none.

    Raises:
        MeterFaultError: the file holds something else.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return -1
    except (OSError, UnicodeDecodeError) as error:
        raise MeterFaultError(FaultKind.LOCAL, f"{path}: {error}") from error
    if not text.isdigit():
        raise MeterFaultError(FaultKind.LOCAL, f"{path} holds {text[:40]!r}, expected a counter")
    return int(text)


def keep_counter(path: Path, counter: int) -> None:
    """Puts a counter on disk; once this returns it survives a loss of power.

    Raises:
        MeterFaultError: it cannot.
    """
    new = path.with_suffix(f"{path.suffix}-new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, f"{counter}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise MeterFaultError(FaultKind.LOCAL, f"{path}: {error.strerror}") from error
