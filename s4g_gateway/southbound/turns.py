"""Turns on something that only one may use at a time."""

from __future__ import annotations

import asyncio


class Turns:
    """One at a time; urgent ones first, the others in order of arrival.

    Every device waits with one request at most, so order of arrival is fair among them.
    """

    def __init__(self) -> None:
        self._busy = False
        # Lists, since an empty deque takes as much as ten of them; few ever wait.
        self._urgent: list[asyncio.Future[None]] = []
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, *, urgent: bool) -> None:
        """Waits for the turn; ``pass_on`` must follow."""
        if not self._busy:
            self._busy = True
            return
        future = asyncio.get_running_loop().create_future()
        queue = self._urgent if urgent else self._waiting
        queue.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.pass_on()  # the turn had come, just too late
            raise

    def pass_on(self) -> None:
        """Hands the turn to the next one; it stays busy in between, so that nobody slips in."""
        for queue in (self._urgent, self._waiting):
            while queue:
                future = queue.pop(0)
                if not future.done():
                    future.set_result(None)
                    return
        self._busy = False
