"""Audit log: every decision on a Control as one JSON line, in a file of bounded size."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import orjson
import structlog

from s4g_gateway.model import isoformat

MAX_BYTES = 10_000_000
KEEP_FILES = 5
_LOG = structlog.get_logger("audit")


class JsonLinesAuditLog:
    """Appends decisions to a file and rotates it.

    A line is handed to the operating system at once, so it survives ``kill -9``; it is not synced to disk,
    since a control must not wait for one: power loss may cost the last seconds.

    Args:
        path: the file; rotated copies get ``.1`` (newest) to ``.5``.
        max_bytes: size at which it is rotated.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._descriptor = -1
        self._size = 0
        self._broken = False

    def record(self, event: Mapping[str, object]) -> None:
        """Appends one decision; a disk that refuses is logged once and stops no control."""
        time_ns = event.get("time_ns")
        stamp = {"time": isoformat(time_ns)} if isinstance(time_ns, int) else {}
        line = _line({**stamp, **event})
        try:
            if self._descriptor < 0:
                self._open()
            if self._size and self._size + len(line) > self._max_bytes:
                self._rotate()
            written = os.write(self._descriptor, line)
            if written < len(line):
                # A disk that fills up takes a part; the next line must not be glued to it.
                os.close(self._descriptor)
                self._descriptor = -1
                raise OSError(f"{written} of {len(line)} bytes written")
        except OSError as error:
            if not self._broken:
                _LOG.error("audit log cannot be written", path=str(self._path), error=str(error))
            self._broken = True
            return
        self._size += len(line)
        if self._broken:
            _LOG.info("audit log can be written again", path=str(self._path))
            self._broken = False

    def close(self) -> None:
        """Closes the file; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def _rotate(self) -> None:
        self.close()
        for number in range(KEEP_FILES - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._open()


def _line(event: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # An integer beyond 64 bits, a text that is no Unicode: rare, and no reason to lose a decision.
        return json.dumps(event, default=repr).encode() + b"\n"
