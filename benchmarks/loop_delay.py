"""How late an event loop comes to what it was to do: its delay, while something else goes on."""

from __future__ import annotations

import asyncio
from time import perf_counter
from types import TracebackType
from typing import Self

EVERY_S = 0.002


class LoopDelay:
    """Measures inside an ``async with`` block: a timer each 2 ms, and how late each of them came.

    A gateway that is held up for 20 ms delays all timers in that time, so the loop's delay at any moment is what
    counts, not only what one timer saw: each late timer stands for the timers that it kept from being set.
    """

    def __init__(self) -> None:
        self._late_s: list[float] = []
        self._due_s = 0.0
        self._handle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _set(self) -> None:
        self._due_s = perf_counter() + EVERY_S
        self._handle = asyncio.get_running_loop().call_later(EVERY_S, self._fire)

    def _fire(self) -> None:
        late_s = max(perf_counter() - self._due_s, 0.0)
        while late_s >= 0:
            self._late_s.append(late_s)
            late_s -= EVERY_S
        self._set()

    def percentile_ms(self, percent: float) -> float:
        """Returns the delay, in ms, that ``percent`` of the moments stay below."""
        ordered = sorted(self._late_s)
        return 1000 * ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]

    @property
    def moments(self) -> int:
        """How many moments were looked at."""
        return len(self._late_s)
