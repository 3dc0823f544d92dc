"""One life of a worker process, seen from the gateway: frames both ways, pings, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from s4g_gateway.errors import DecodeError, GatewayError, ModelError, PermanentError, TransientError
from s4g_gateway.model import AddCause, Control, ControlAnswer, DataSet, Report, refused
from s4g_gateway.runtime.contract import Counters
from s4g_gateway.runtime.worker_output import LineLimit, log_output
from s4g_gateway.workers import frames
from s4g_gateway.workers.frames import Frame

READ_BYTES: Final = 1 << 18
# Frames are handled so long before the event loop gets its turn.
SLICE_S: Final = 0.002
# More than this unsent, and Reports wait for the child, newest only.
QUEUE_BYTES: Final = 1 << 18
# More than this unsent, and Controls and calls are refused.
FULL_BYTES: Final = 4 << 20
MAX_OUTSTANDING: Final = 256
MAX_COUNTERS: Final = 256
_LEVELS: Final = frozenset({"debug", "info", "warning", "error"})
T = TypeVar("T", bound=Frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimes:
    """How long a worker may take for what; all > 0.

    Attributes:
        start_s: from its start to ``ready``.
        hang_s: without an answer to a ping, or without a sign of life of its main thread.
        stop_s: from StopFrame to its end, before it is killed.
        first_backoff_s: before the first restart; doubles with each.
        max_backoff_s: greatest pause before a restart.
        stable_s: after so long a run the back-off starts anew.
    """

    start_s: float = 60.0
    hang_s: float = 30.0
    stop_s: float = 5.0
    first_backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    stable_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """What is called when the child says something.

    Attributes:
        on_ready: it is up.
        on_report: a Report; must be quick.
        on_control: it asks for a Control.
        on_call: it asks something; a GatewayError refuses it.
    """

    on_ready: Callable[[Any], None]
    on_report: Callable[[Report], None] | None
    on_control: Callable[[Control], Awaitable[ControlAnswer]] | None
    on_call: Callable[[str, Any], Awaitable[Any]] | None


class WorkerLink:
    """One life of the child; a new one is made for each start."""

    def __init__(
        self,
        *,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        data_sets: tuple[DataSet, ...],
        callbacks: Callbacks,
        times: WorkerTimes,
        counters: Counters,
        log: Any,
    ) -> None:
        self.process = process
        self.ready = False
        self._data_sets = data_sets
        self._callbacks = callbacks
        self._times = times
        self._reader = reader
        self._writer = writer
        self._counters = counters
        self._log = log.bind(pid=process.pid)
        self._limit = LineLimit(log, "log")
        self._loop = asyncio.get_running_loop()
        self._started_s = self._heard_s = self._loop.time()
        self._number = 0
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._pending: dict[int, frames.ReportFrame] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushing = False
        self._closed = ""
        self._failure = ""
        self._ended: asyncio.Future[None] = self._loop.create_future()

    # -- to the child ----------------------------------------------------------------------------

    def send_report(self, frame: frames.ReportFrame) -> None:
        """Sends a Report, or keeps it while the child is behind, newest only."""
        index = frame.data_set_index
        if self._unsent() <= QUEUE_BYTES and not self._pending:
            self._write(frame)
            return
        older = self._pending.pop(index, None)
        self._pending[index] = frame if older is None else frames.merge(older, frame)
        if older is not None:
            self._counters.add("worker_reports_merged_total")
        if not self._flushing:
            self._flushing = True
            self._start(self._flush())

    async def ask(self, expected: type[T], kind: Callable[..., Frame], *fields: Any) -> T:
        """Sends a Control or call and waits for the frame of the same number.

        Raises:
            TransientError: the child ends, or has too much to do.
            PermanentError: the child refuses.
        """
        if self._closed:
            raise TransientError(self._closed)
        if len(self._asked) >= MAX_OUTSTANDING or self._unsent() > FULL_BYTES:
            raise TransientError(f"it has not answered {len(self._asked)} requests; no more are queued")
        self._number += 1
        number = self._number
        future: asyncio.Future[Frame] = self._loop.create_future()
        self._asked[number] = future
        try:
            self._write(kind(number, *fields))
            found = await future
        finally:
            del self._asked[number]
        if isinstance(found, frames.RefusalFrame):
            raise (TransientError if found.transient else PermanentError)(found.message)
        if not isinstance(found, expected):
            raise TransientError(f"it answered with {type(found).__name__}")
        return found

    def _write(self, frame: Frame) -> None:
        data = frames.encode(frame)
        if not self._closed:
            self._writer.write(data)

    def _unsent(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    async def _flush(self) -> None:
        try:
            while self._pending:
                with contextlib.suppress(ConnectionError):
                    await self._writer.drain()
                if self._closed:
                    return
                self._write(self._pending.pop(next(iter(self._pending))))
        finally:
            self._flushing = False

    # -- from the child --------------------------------------------------------------------------

    async def run(self) -> None:
        """Returns never; raises AdapterError when the child has ended or is to be ended."""
        process = self.process
        if process.stdout is None or process.stderr is None:
            raise TransientError("no pipes to the child")
        self._start(log_output(process.stdout, self._log, "stdout"), essential=False)
        self._start(log_output(process.stderr, self._log, "stderr"), essential=False)
        self._start(self._read())
        self._start(self._watch())
        await self._ended

    async def _read(self) -> None:
        reader = frames.FrameReader()
        clock = self._loop.time
        try:
            while data := await self._reader.read(READ_BYTES):
                reader.feed(data)
                slice_s = clock()
                self._heard_s = slice_s
                for frame in reader.frames():
                    self._take(frame)
                    if clock() - slice_s > SLICE_S:
                        await asyncio.sleep(0)
                        slice_s = clock()
                await asyncio.sleep(0)
        except (DecodeError, ModelError) as error:
            raise TransientError(f"it breaks the contract: {error}") from error
        except ConnectionError:
            pass  # it ended with something unread
        raise TransientError(await self._how_it_ended())

    async def _how_it_ended(self) -> str:
        try:
            async with asyncio.timeout(2.0):
                code = await self.process.wait()
        except TimeoutError:
            return "it closed the channel"
        if self._failure:
            return self._failure
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"it was ended by {signal.Signals(-code).name}"
        return f"it ended with code {code}"

    def _take(self, frame: Frame) -> None:
        callbacks = self._callbacks
        match frame:
            case frames.ReportFrame():
                if callbacks.on_report is not None:
                    callbacks.on_report(frames.report(frame, self._data_sets))
            case frames.AnswerFrame() | frames.ReplyFrame() | frames.RefusalFrame():
                future = self._asked.get(frame.number)
                if future is not None and not future.done():
                    future.set_result(frame)
            case frames.ControlFrame():
                self._start(self._control(frame))
            case frames.CallFrame():
                self._start(self._call(frame))
            case frames.CountFrame(name=name, amount=amount):
                if self._knows(name):
                    self._counters.add(name, amount)
            case frames.GaugeFrame(name=name, value=value):
                if self._knows(name):
                    self._counters.set(name, value)
            case frames.LogFrame(level=level, event=event, fields=fields):
                if self._limit.allows(self._loop.time()):
                    getattr(self._log, level if level in _LEVELS else "info")(
                        "worker says", text=event, **{f"worker_{key}": value for key, value in fields.items()}
                    )
            case frames.PongFrame(stalled_s=stalled_s):
                if stalled_s > self._times.hang_s:
                    self._fail(TransientError(f"its main thread has been stuck for {stalled_s:.0f} s"))
            case frames.ReadyFrame(info=info):
                self.ready = True
                self._counters.set("worker_running", 1)
                self._log.info("worker ready")
                callbacks.on_ready(info)
            case frames.FailureFrame(message=message):
                self._failure = message
            case _:
                raise DecodeError(f"{type(frame).__name__} is nothing that a worker sends")

    def _knows(self, name: str) -> bool:
        return name in self._counters.values or len(self._counters.values) < MAX_COUNTERS

    async def _control(self, frame: frames.ControlFrame) -> None:
        on_control = self._callbacks.on_control
        if on_control is None:
            answer = refused(AddCause.NOT_SUPPORTED, "this worker may not control")
        else:
            try:
                answer = await on_control(frame.control)
            except GatewayError as error:
                answer = refused(AddCause.UNKNOWN, str(error))
        self._write(frames.AnswerFrame(frame.number, answer))

    async def _call(self, frame: frames.CallFrame) -> None:
        on_call = self._callbacks.on_call
        try:
            if on_call is None:
                raise PermanentError(f"nobody answers {frame.name!r}")
            self._write(frames.ReplyFrame(frame.number, await on_call(frame.name, frame.body)))
        except GatewayError as error:
            transient = isinstance(error, TransientError)
            self._write(frames.RefusalFrame(frame.number, str(error), transient))

    async def _watch(self) -> None:
        times = self._times
        period_s = times.hang_s / 4
        while True:
            self._number += 1
            self._write(frames.PingFrame(self._number))
            await asyncio.sleep(period_s)
            now_s = self._loop.time()
            if now_s - self._heard_s > times.hang_s:
                raise TransientError(f"nothing heard of it for {now_s - self._heard_s:.0f} s")
            if not self.ready and now_s - self._started_s > times.start_s:
                raise TransientError(f"not ready within {times.start_s:g} s")

    # -- the end ---------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None], *, essential: bool = True) -> None:
        task = self._loop.create_task(work, name=f"worker {self.process.pid}")
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if essential and not task.cancelled() and (error := task.exception()) is not None:
                self._fail(error)

        task.add_done_callback(done)

    def _fail(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def close(self, why: str) -> None:
        """Answers what is outstanding as lost and takes no more."""
        self.ready = False
        self._closed = why
        self._pending.clear()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(TransientError(why))

    async def end(self, grace_s: float) -> None:
        """Asks the child to stop if it gets the time, then kills its process group and reaps it."""
        try:
            if grace_s and self.process.returncode is None:
                self._writer.write(frames.encode(frames.StopFrame()))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await self.process.wait()
        finally:
            self._kill()
        await self.process.wait()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._writer.transport.abort()

    def _kill(self) -> None:
        # The whole group, also after the leader's end: a library may have started processes of its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
