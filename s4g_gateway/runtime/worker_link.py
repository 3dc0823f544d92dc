"""One life of a worker process, seen from the gateway: frames both ways, pings, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from s4g_gateway.errors import DecodeError, GatewayError, ModelError, PermanentError, TransientError
from s4g_gateway.model import AddCause, Control, ControlAnswer, DataSet, Report, refused
from s4g_gateway.runtime.contract import Counters
from s4g_gateway.runtime.worker_output import LineLimit, log_line
from s4g_gateway.runtime.worker_process import WorkerProcess
from s4g_gateway.workers import frames
from s4g_gateway.workers.frames import Frame

READ_BYTES: Final = 1 << 18
# Frames are handled so long before the event loop gets its turn.
SLICE_S: Final = 0.002
# More than this unsent, and Reports wait for the child, newest only.
QUEUE_BYTES: Final = 1 << 18
# More than this unsent, and Controls and calls are refused.
FULL_BYTES: Final = 4 << 20
# Controls and calls on their way at a time, either direction.
MAX_OUTSTANDING: Final = 256
_BUSY: Final = f"the gateway is busy with {MAX_OUTSTANDING} requests of this worker; no more are queued"
MAX_COUNTERS: Final = 256
_PINGS_PER_HANG: Final = 4
_CANCEL_S: Final = 1.0
T = TypeVar("T", bound=Frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimes:
    """How long a worker may take for what; all > 0.

    Attributes:
        start_s: from its start to ``ready``.
        hang_s: without an answer to a ping, or without a sign of life of its main thread.
        control_s: from a Control to its answer.
        stop_s: from StopFrame to its end, before it is killed.
        first_backoff_s: before the first restart; doubles with each.
        max_backoff_s: greatest pause before a restart.
        stable_s: after so long a run the back-off starts anew.
    """

    start_s: float = 60.0
    hang_s: float = 30.0
    control_s: float = 60.0
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
    """One life of the child; a new one is made for each start.

    Args:
        process: the child, just started.
        data_sets: what Reports speak of.
        callbacks: what is called.
        times: how long the child may take.
        counters: of the connector.
        log: a structured log, bound to the worker.

    Attributes:
        ready: whether the child has said so, and lives.
        was_ready: whether it has ever said so.
    """

    def __init__(
        self,
        process: WorkerProcess,
        *,
        data_sets: tuple[DataSet, ...],
        callbacks: Callbacks,
        times: WorkerTimes,
        counters: Counters,
        log: Any,
    ) -> None:
        self.pid = process.pid
        self.ready = self.was_ready = False
        self._process = process
        self._data_sets = data_sets
        self._callbacks = callbacks
        self._times = times
        self._counters = counters
        self._log = log
        self._limit = LineLimit(log, "log")
        self._loop = asyncio.get_running_loop()
        self._heard = False
        self._number = 0
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._serving = 0
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
            self._spawn(self._flush())

    async def ask(self, expected: type[T], kind: Callable[..., Frame], *fields: Any) -> T:
        """Sends a Control or call and waits for the frame of the same number.

        Raises:
            TransientError: the child ends, or has too much to do.
            PermanentError: the child refuses.
            EncodeError: a field is not made of plain builtins.
        """
        if self._closed:
            raise TransientError(self._closed)
        if len(self._asked) >= MAX_OUTSTANDING or self._unsent() > FULL_BYTES:
            raise TransientError(f"the worker is busy with {len(self._asked)} requests; no more are queued")
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
            raise TransientError(f"the worker answered with {type(found).__name__}")
        return found

    def _write(self, frame: Frame | bytearray) -> None:
        data = frame if isinstance(frame, bytearray) else frames.encode(frame)
        if not self._process.writer.transport.is_closing():
            self._process.writer.write(data)

    def _unsent(self) -> int:
        return self._process.writer.transport.get_write_buffer_size()

    async def _flush(self) -> None:
        try:
            while self._pending:
                with contextlib.suppress(ConnectionError):
                    await self._process.writer.drain()
                if self._closed:
                    return
                self._write(self._pending.pop(next(iter(self._pending))))
        finally:
            self._flushing = False

    # -- from the child --------------------------------------------------------------------------

    async def run(self, first: bytearray) -> None:
        """Sends the first frame, then serves the child; returns never.

        Raises:
            AdapterError: the child has ended or is to be ended.
        """
        self._write(first)
        self._spawn(self._read())
        self._spawn(self._watch())
        await self._ended

    async def _read(self) -> None:
        reader = frames.FrameReader()
        clock = self._loop.time
        with contextlib.suppress(ConnectionError):  # it ended with something unread
            while data := await self._process.reader.read(READ_BYTES):
                self._heard = True
                reader.feed(data)
                slice_s = clock()
                for frame in _complete(reader):
                    self._take(frame)
                    if clock() - slice_s > SLICE_S:
                        await asyncio.sleep(0)
                        slice_s = clock()
                # A stream with data at hand never waits; others shall have their turn all the same.
                await asyncio.sleep(0)
        how = await self._process.how_it_ended()
        raise TransientError(self._failure or how)

    def _take(self, frame: Frame) -> None:
        callbacks = self._callbacks
        match frame:
            case frames.ReportFrame():
                if callbacks.on_report is not None:
                    callbacks.on_report(self._report(frame))
            case frames.AnswerFrame() | frames.ReplyFrame() | frames.RefusalFrame():
                future = self._asked.get(frame.number)
                if future is not None and not future.done():
                    future.set_result(frame)
            case frames.ControlFrame(number=number) if self._serving >= MAX_OUTSTANDING:
                self._write(
                    frames.AnswerFrame(number, refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, _BUSY))
                )
            case frames.CallFrame(number=number) if self._serving >= MAX_OUTSTANDING:
                self._write(frames.RefusalFrame(number, _BUSY, transient=True))
            case frames.ControlFrame():
                self._serve(self._control(frame))
            case frames.CallFrame():
                self._serve(self._call(frame))
            case frames.CountFrame(name=name, amount=amount):
                if self._knows(name):
                    self._counters.add(name, amount)
            case frames.GaugeFrame(name=name, value=value):
                if self._knows(name):
                    self._counters.set(name, value)
            case frames.LogFrame(level=level, event=event, fields=fields):
                if self._limit.allows(self._loop.time()):
                    log_line(self._log, level, event, fields)
                else:
                    self._limit.suppress()
            case frames.PongFrame(stalled_s=stalled_s):
                if self.was_ready and stalled_s > self._times.hang_s:
                    raise TransientError(f"its main thread has been stuck for {stalled_s:.0f} s")
            case frames.ReadyFrame(info=info):
                if self._closed:
                    return
                self.ready = self.was_ready = True
                self._counters.set("worker_running", 1)
                self._log.info("worker ready", pid=self.pid)
                callbacks.on_ready(info)
            case frames.FailureFrame(message=message):
                self._failure = message
            case _:
                raise TransientError(f"{type(frame).__name__} is nothing that a worker sends")

    def _report(self, frame: frames.ReportFrame) -> Report:
        try:
            return frames.report(frame, self._data_sets)
        except ModelError as error:
            raise TransientError(f"it breaks the contract: {error}") from error

    def _knows(self, name: str) -> bool:
        return name in self._counters.values or len(self._counters.values) < MAX_COUNTERS

    def _serve(self, work: Coroutine[Any, Any, Frame]) -> None:
        self._serving += 1
        self._spawn(self._serve_one(work))

    async def _serve_one(self, work: Coroutine[Any, Any, Frame]) -> None:
        try:
            self._write(await work)
        finally:
            self._serving -= 1

    async def _control(self, frame: frames.ControlFrame) -> Frame:
        on_control = self._callbacks.on_control
        if on_control is None:
            answer = refused(AddCause.NOT_SUPPORTED, "this worker may not control")
        else:
            try:
                answer = await on_control(frame.control)
            except GatewayError as error:
                answer = refused(AddCause.UNKNOWN, str(error))
        return frames.AnswerFrame(frame.number, answer)

    async def _call(self, frame: frames.CallFrame) -> Frame:
        on_call = self._callbacks.on_call
        try:
            if on_call is None:
                raise PermanentError(f"nobody answers {frame.name!r}")
            reply = frames.ReplyFrame(frame.number, await on_call(frame.name, frame.body))
            frames.encode(reply)
        except GatewayError as error:
            return frames.RefusalFrame(frame.number, str(error), isinstance(error, TransientError))
        return reply

    async def _watch(self) -> None:
        """Pings. Silence is counted in pings, so that a gateway that was itself held up blames no child for it."""
        times = self._times
        started_s, silent = self._loop.time(), 0
        while True:
            self._heard = False
            self._number += 1
            self._write(frames.PingFrame(self._number))
            await asyncio.sleep(times.hang_s / _PINGS_PER_HANG)
            # What it imports and opens first has a time of its own.
            silent = 0 if self._heard or not self.was_ready else silent + 1
            if silent >= _PINGS_PER_HANG:
                raise TransientError(f"it answers no ping for {times.hang_s:g} s")
            if not self.was_ready and self._loop.time() - started_s > times.start_s:
                raise TransientError(f"it is not ready within {times.start_s:g} s")

    # -- the end ---------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name=f"worker {self.pid}")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._ended.done():
            self._ended.set_exception(error)

    async def end(self, why: str, *, grace_s: float) -> None:
        """Answers what is outstanding as lost, then ends the child.

        Args:
            why: for those who wait for answers.
            grace_s: 0 kills it; else it is asked to stop and gets so many seconds, while its own requests and
                Reports are served.
        """
        self.ready = False
        self._closed = why
        self._pending.clear()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(TransientError(why))
        try:
            if grace_s:
                self._write(frames.StopFrame())
                await self._process.wait(grace_s)
        finally:
            self._process.kill()
            for task in self._tasks:
                task.cancel()
            self._limit.close()
            await self._process.end()
            if self._tasks:
                await asyncio.wait(tuple(self._tasks), timeout=_CANCEL_S)
            if self._ended.done() and not self._ended.cancelled():
                self._ended.exception()  # seen, also where it failed while it stopped


def _complete(reader: frames.FrameReader) -> Iterator[Frame]:
    try:
        yield from reader.frames()
    except DecodeError as error:
        raise TransientError(f"it breaks the contract: {error}") from error
