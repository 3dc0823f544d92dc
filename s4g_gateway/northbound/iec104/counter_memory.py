"""What freezes and resets of integrated totals have left, in a file: it outlives the process."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from s4g_gateway.codecs.iec104 import CounterQualifier
from s4g_gateway.model import Value

_VERSION: Final = 1
_LOG = structlog.get_logger("iec104")


class FrozenReading(NamedTuple):
    """What a freeze has held of one counter.

    Attributes:
        value: the reading since the last reset.
        quality: IEC 61850 quality.
        time_ns: when it was frozen, ns since 1970 UTC.
        sequence: sequence number of the freeze, 1 to 31.
    """

    value: Value
    quality: int
    time_ns: int
    sequence: int


class CounterMemory:
    """Baselines and frozen readings by reference.

    A change is handed to the operating system before ``save`` returns, so no crash of this process takes it
    back; a thread brings it to the disk itself.

    Args:
        path: the file; a damaged one is moved aside.

    Attributes:
        baselines: what a reset has taken off each counter.
        frozen: the latest freeze of each counter.
        sequences: number of the latest freeze of each station.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._disk: ThreadPoolExecutor | None = None
        self._failing = False
        self.baselines: dict[str, float] = {}
        self.frozen: dict[str, FrozenReading] = {}
        self.sequences: dict[int, int] = {}
        try:
            self._take(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except OSError as error:
            _LOG.error("counter memory cannot be read", file=str(path), reason=str(error))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            path.replace(aside)
            _LOG.error("damaged counter memory moved aside", to=aside.name, reason=repr(error))

    def next_sequence(self, common_address: int) -> int:
        """Returns the number of a new freeze of a station."""
        number = self.sequences.get(common_address, 0) % CounterQualifier.SEQUENCE + 1
        self.sequences[common_address] = number
        return number

    def save(self) -> None:
        """Writes the file; a disk that refuses is logged once and stops nothing."""
        document = {
            "version": _VERSION,
            "baselines": self.baselines,
            "frozen": self.frozen,
            "sequences": {str(station): number for station, number in self.sequences.items()},
        }
        partial = self._path.with_suffix(".part")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
                    json.dump(document, file)
                partial.replace(self._path)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            if not self._failing:
                _LOG.error("counter memory cannot be written", file=str(self._path), reason=str(error))
            self._failing = True
            return
        self._failing = False
        if self._disk is None:
            self._disk = ThreadPoolExecutor(1, thread_name_prefix="counters")
        self._disk.submit(_sync, descriptor)

    def close(self) -> None:
        """Returns once everything is on the disk; idempotent."""
        if self._disk is not None:
            self._disk.shutdown()
            self._disk = None

    def _take(self, document: Any) -> None:
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']}, expected {_VERSION}")
        baselines = {str(name): float(value) for name, value in document["baselines"].items()}
        frozen = {str(name): _reading(*row) for name, row in document["frozen"].items()}
        self.sequences = {int(station): int(number) for station, number in document["sequences"].items()}
        self.baselines, self.frozen = baselines, frozen


def _reading(value: Any, quality: Any, time_ns: Any, sequence: Any) -> FrozenReading:
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"a reading, found {value!r}")
    return FrozenReading(value, int(quality), int(time_ns), int(sequence))


def _sync(descriptor: int) -> None:
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
