"""The child process itself: how it is started, what it inherits, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import Any, Final

from s4g_gateway.errors import TransientError
from s4g_gateway.runtime.worker_output import OutputPipe

# How long the last lines of a dead child may take to come.
_LAST_LINES_S: Final = 0.5
# From the end of the channel to that of the process.
_EXIT_S: Final = 2.0


class WorkerProcess:
    """A running child, its end of the channel given away, its output logged.

    Attributes:
        reader: what it sends.
        writer: what it is sent.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pipes: tuple[OutputPipe, ...],
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._process = process
        loop = asyncio.get_running_loop()
        self._output = [loop.create_task(pipe.run(), name=f"output of {process.pid}") for pipe in pipes]

    @classmethod
    async def start(cls, module: str, log: Any) -> WorkerProcess:
        """Starts ``python -m s4g_gateway.workers MODULE FD``.

        Raises:
            TransientError: it cannot be started.
        """
        with contextlib.ExitStack() as undo:
            try:
                ours, theirs = socket.socketpair()
                undo.callback(ours.close)
                with theirs:
                    pipes = tuple(OutputPipe(log, what) for what in ("stdout", "stderr"))
                    for pipe in pipes:
                        undo.callback(pipe.close)
                    try:
                        process = await _spawn(module, theirs.fileno(), *(pipe.child_end for pipe in pipes))
                    finally:
                        for pipe in pipes:
                            os.close(pipe.child_end)
            except OSError as error:
                raise TransientError(f"it cannot be started: {error}") from error
            undo.callback(_kill_group, process.pid)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            undo.pop_all()
            return cls(process, reader, writer, pipes)

    @property
    def pid(self) -> int:
        """Its process id, also of its session and process group."""
        return self._process.pid

    async def how_it_ended(self) -> str:
        """Says in words how it ended, now that its channel has."""
        try:
            async with asyncio.timeout(_EXIT_S):
                code = await self._process.wait()
        except TimeoutError:
            return "it closed the channel"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"it was ended by {signal.Signals(-code).name}"
        return f"it ended with code {code}"

    async def wait(self, timeout_s: float) -> None:
        """Waits for its end, but no longer than so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._process.wait()

    async def end(self) -> None:
        """Kills it and what it started, reaps it, and logs its last lines."""
        self.kill()
        try:
            await self._process.wait()
            await asyncio.wait(self._output, timeout=_LAST_LINES_S)
        finally:
            for task in self._output:
                task.cancel()
            self.writer.transport.abort()

    def kill(self) -> None:
        """Kills the whole group, also after its leader's end: a library may have started processes of its own."""
        _kill_group(self.pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def _spawn(module: str, channel: int, stdout: int, stderr: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        # No module of the current folder takes the place of one that is installed.
        "-P",
        "-m",
        "s4g_gateway.workers",
        module,
        str(channel),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=(channel,),
        start_new_session=True,
    )
