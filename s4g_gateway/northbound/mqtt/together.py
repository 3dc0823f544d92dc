"""Tasks that run together and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

CANCEL_AGAIN_S = 3.0


async def run_together(*coroutines: Coroutine[None, None, None]) -> None:
    """Runs them until one fails or the caller is cancelled; then ends the others.

    No TaskGroup: before Python 3.13 a cancellation that meets a failure is lost in it, and wait_for, which aiomqtt
    uses, may lose one too. So it is repeated until it has worked.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=CANCEL_AGAIN_S)


def reasons(group: BaseExceptionGroup[BaseException]) -> str:
    """Returns what the errors of a group say, each once."""
    found = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found.append(reasons(error))
        else:
            found.append(str(error) or type(error).__name__)
    return "; ".join(dict.fromkeys(found))
