"""The two clocks of a running gateway, injected so that tests and twins can turn them."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def wall_ns(self) -> int:
        """Returns ns since 1970 UTC."""
        ...

    def monotonic_s(self) -> float:
        """Returns seconds that never run backwards."""
        ...


class SystemClock:
    """The machine's clocks."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_s = staticmethod(time.monotonic)


class ManualClock:
    """A clock that moves only when told to; for tests.

    Args:
        wall_ns: where it starts, ns since 1970 UTC.
    """

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self._wall_ns = wall_ns
        self._monotonic_s = 1000.0

    def wall_ns(self) -> int:
        """Returns ns since 1970 UTC."""
        return self._wall_ns

    def monotonic_s(self) -> float:
        """Returns seconds that never run backwards."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward by seconds >= 0."""
        self._monotonic_s += seconds
        self._wall_ns += round(seconds * 1e9)
