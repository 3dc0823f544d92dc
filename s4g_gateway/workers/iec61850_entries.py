"""Ids of the last buffered reports that were passed on, so that a server goes on after them."""

from __future__ import annotations

import json
import os
from pathlib import Path


class EntryFile:
    """Ids by report control block, in a file.

    A damaged file is as good as none: the server then sends all that it has buffered.

    Args:
        path: the file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids: dict[str, str] = {}
        self._is_saved = True
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return
        if isinstance(found, dict):
            self._ids = {
                name: entry
                for name, entry in found.items()
                if isinstance(entry, str) and all(digit in "0123456789abcdef" for digit in entry)
            }

    def last(self, reference: str) -> bytes:
        """Returns the id of a block's last report, empty for none."""
        entry = self._ids.get(reference, "")
        return bytes.fromhex(entry) if len(entry) % 2 == 0 else b""

    def passed_on(self, reference: str, entry: bytes) -> None:
        """Notes a report that the gateway has been given."""
        self._ids[reference] = entry.hex()
        self._is_saved = False

    def save(self) -> None:
        """Writes what is new, so that a crash leaves the old file or the new one."""
        if self._is_saved:
            return
        beside = self._path.with_suffix(".new")
        with beside.open("w", encoding="ascii") as file:
            json.dump(self._ids, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        self._is_saved = True
