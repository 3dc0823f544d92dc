"""Set-points that devices hold for us, remembered on disk so that none outlives the gateway unnoticed.

Model 124 and most plain Modbus devices have no reversion timer: a gateway that dies leaves its last set-point
in force for ever. What is noted here before it is written is released when the gateway comes back.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

from s4g_gateway.model import Value

FILE_NAME = "set-points.json"


@dataclass(frozen=True, slots=True)
class SetPoint:
    """What a device should hold.

    Attributes:
        value: ctlVal; None where it is to be given back to its own rule as soon as it can be reached.
        not_after_ns: when it ends, ns since 1970 UTC.
    """

    value: Value
    not_after_ns: int


class SetPointStore:
    """The set-points of one connector.

    Args:
        directory: where the file is kept; exists.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._points: dict[str, SetPoint] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> tuple[str, ...]:
        """Takes in what an earlier run left; all of it is to be released.

        Returns:
            The references.
        """
        left = await asyncio.to_thread(_read, self._path)
        self._points = dict.fromkeys(left, SetPoint(None, 0))
        return left

    @property
    def has_points(self) -> bool:
        """True where a device holds anything for us."""
        return bool(self._points)

    def get(self, reference: str) -> SetPoint | None:
        """Returns what the device should hold, None where nothing is noted."""
        return self._points.get(reference)

    def items(self) -> tuple[tuple[str, SetPoint], ...]:
        """Returns everything noted."""
        return tuple(self._points.items())

    async def note(self, reference: str, point: SetPoint) -> None:
        """Notes what a device should hold; on disk when it returns."""
        is_new = reference not in self._points
        self._points[reference] = point
        if is_new:
            await self._save()

    async def forget(self, reference: str) -> None:
        """Notes that a device follows its own rule again."""
        if self._points.pop(reference, None) is not None:
            await self._save()

    async def _save(self) -> None:
        async with self._writing:
            await asyncio.to_thread(_write, self._path, tuple(self._points))


def _read(path: Path) -> tuple[str, ...]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # No file, or one torn by a power cut: there is nothing to go by.
        return ()
    return tuple(entry for entry in found if isinstance(entry, str)) if isinstance(found, list) else ()


def _write(path: Path, references: tuple[str, ...]) -> None:
    """Replaces the file so that it is whole after a power cut at any moment."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(references, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
