"""A worker seen from the gateway: a supervised child process that speaks ``s4g_gateway.workers.contract``.

The child runs in a session of its own, dies with the gateway, and is started anew with back-off whenever it ends,
stops answering or breaks the contract. What was asked of it is then answered as lost; what it supplied ages.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from s4g_gateway.errors import AdapterError, EncodeError, TransientError
from s4g_gateway.model import AddCause, Control, ControlAnswer, DataSet, Reason, Report, refused
from s4g_gateway.runtime.contract import Services
from s4g_gateway.runtime.worker_link import Callbacks, WorkerLink, WorkerTimes
from s4g_gateway.runtime.worker_process import WorkerProcess
from s4g_gateway.workers import frames

__all__ = ["Worker", "WorkerTimes"]


class Worker:
    """One worker process.

    Args:
        module: dotted name of a module with ``main(channel)``, importable by the same interpreter.
        start: plain builtins for the child.
        data_sets: what Reports, either way, speak of.
        on_report: called with each Report of the child; must be quick.
        on_control: carries out a Control that the child asks for.
        on_call: answers a call of the child; a GatewayError refuses it.
        on_ready: called with the child's info each time it is up.
        times: how long the child may take.

    Attributes:
        restarts: how often it was started anew.
    """

    def __init__(
        self,
        module: str,
        *,
        start: Any,
        data_sets: Sequence[DataSet] = (),
        on_report: Callable[[Report], None] | None = None,
        on_control: Callable[[Control], Awaitable[ControlAnswer]] | None = None,
        on_call: Callable[[str, Any], Awaitable[Any]] | None = None,
        on_ready: Callable[[Any], None] | None = None,
        times: WorkerTimes | None = None,
    ) -> None:
        self.module = module
        self.restarts = 0
        self._start = start
        self._data_sets = tuple(data_sets)
        self._on_ready = on_ready
        self._callbacks = Callbacks(
            on_ready=self._is_ready, on_report=on_report, on_control=on_control, on_call=on_call
        )
        self._times = times or WorkerTimes()
        self._link: WorkerLink | None = None
        self._was_ready = False
        # The newest Report of each DataSet sent to the child: a new child starts with them.
        self._reports: dict[int, Report] = {}

    @property
    def running(self) -> bool:
        """Whether the child is up and has said that it is ready."""
        return self._link is not None and self._link.ready

    @property
    def process_id(self) -> int | None:
        """The child's process id while there is a child."""
        return None if self._link is None else self._link.pid

    async def run(self, services: Services) -> None:
        """Keeps the child running until cancelled; then asks it to stop, waits, and kills it if need be.

        An exception of a callback ends the child and comes out here.

        Raises:
            EncodeError: ``start`` is not made of plain builtins.
        """
        first = frames.encode(frames.StartFrame(self._start, frames.data_set_frames(self._data_sets)))
        log, times = services.log.bind(worker=self.module), self._times
        loop = asyncio.get_running_loop()
        backoff_s, last_error = times.first_backoff_s, ""
        while True:
            started_s, self._was_ready = loop.time(), False
            try:
                await self._run_once(first, services, log)
            except AdapterError as error:
                # Once for each reason: a worker that cannot start must not fill the log.
                write = log.error if self._was_ready or str(error) != last_error else log.debug
                last_error = str(error)
                write("worker lost, starting it again", error=last_error)
            self.restarts += 1
            services.counters.add("worker_restarts_total")
            if loop.time() - started_s >= times.stable_s:
                backoff_s, last_error = times.first_backoff_s, ""
            await asyncio.sleep(backoff_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
            backoff_s = min(2 * backoff_s, times.max_backoff_s)

    async def execute(self, control: Control) -> ControlAnswer:
        """Has the child carry out a Control.

        Returns:
            The child's answer; ABORTION_BY_COMMUNICATION_LOSS where there is no child or it ends meanwhile.
        """
        link = self._link
        try:
            if link is None or not link.ready:
                raise TransientError(f"worker {self.module} does not run")
            async with asyncio.timeout(self._times.control_s):
                return (await link.ask(frames.AnswerFrame, frames.ControlFrame, control)).answer
        except TimeoutError:
            reason = f"worker {self.module} did not answer within {self._times.control_s:g} s"
        except (AdapterError, EncodeError) as error:
            reason = str(error)
        return refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, reason)

    async def call(self, name: str, body: Any, *, timeout_s: float) -> Any:
        """Asks the child.

        Args:
            name: of the question.
            body: plain builtins.
            timeout_s: how long to wait, > 0.

        Returns:
            The child's answer.

        Raises:
            TransientError: there is no child, it ends meanwhile, has too much to do, or does not answer in time.
            PermanentError: it refuses.
            EncodeError: ``body`` is not made of plain builtins.
        """
        link = self._link
        if link is None or not link.ready:
            raise TransientError(f"worker {self.module} does not run")
        try:
            async with asyncio.timeout(timeout_s):
                found = await link.ask(frames.ReplyFrame, frames.CallFrame, name, body)
        except TimeoutError as error:
            raise TransientError(
                f"worker {self.module} did not answer {name!r} within {timeout_s:g} s"
            ) from error
        return found.body

    def send_report(self, data_set_index: int, report: Report) -> None:
        """Sends a Report to the child; where that is slow or away, it gets the newest of each DataSet later.

        Raises:
            EncodeError: a value that MessagePack cannot carry.
        """
        self._reports[data_set_index] = report
        self._send(data_set_index, report)

    async def _run_once(self, first: bytearray, services: Services, log: Any) -> None:
        process = await WorkerProcess.start(self.module, log)
        link = self._link = WorkerLink(
            process,
            data_sets=self._data_sets,
            callbacks=self._callbacks,
            times=self._times,
            counters=services.counters,
            log=log,
        )
        grace_s, why = 0.0, f"worker {self.module} ended"
        try:
            await link.run(first)
        except AdapterError as error:
            why = f"worker {self.module}: {error}"
            raise
        except asyncio.CancelledError:
            grace_s = self._times.stop_s
            raise
        finally:
            services.counters.set("worker_running", 0)
            self._was_ready = link.was_ready
            try:
                await link.end(why, grace_s=grace_s)
            finally:
                self._link = None

    def _is_ready(self, info: Any) -> None:
        for index, report in self._reports.items():
            self._send(index, replace(report, included=None, reason=Reason.INTEGRITY))
        if self._on_ready is not None:
            self._on_ready(info)

    def _send(self, data_set_index: int, report: Report) -> None:
        if self._link is not None and self._link.ready:
            self._link.send_report(frames.report_frame(data_set_index, report))
