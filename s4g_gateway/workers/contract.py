"""What a worker module is given: a Channel to the gateway.

A worker module has ``def main(channel: Channel) -> None``. It calls ``channel.ready()`` once it is up, then
``channel.receive()`` in its main thread, which is also its sign of life, and returns when a StopFrame comes.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from s4g_gateway.errors import DecodeError, GatewayError, ModelError, PermanentError, TransientError
from s4g_gateway.model import AddCause, Control, ControlAnswer, DataSet, Reason, Report, Value, refused
from s4g_gateway.workers.frames import (
    AnswerFrame,
    CallFrame,
    ControlFrame,
    CountFrame,
    FailureFrame,
    Frame,
    FrameReader,
    GaugeFrame,
    LogFrame,
    PingFrame,
    PongFrame,
    ReadyFrame,
    RefusalFrame,
    ReplyFrame,
    ReportFrame,
    StartFrame,
    StopFrame,
    encode,
    merge,
    one_for_all,
    report,
)

__all__ = [
    "AnswerFrame",
    "CallFrame",
    "Channel",
    "ControlFrame",
    "RefusalFrame",
    "ReplyFrame",
    "ReportFrame",
    "StopFrame",
]

READ_BYTES: Final = 1 << 18
# Controls and calls that wait for receive().
MAX_REQUESTS: Final = 512
_BUSY: Final = "the worker is busy; no more requests are queued"


class Channel:
    """The worker's end of the channel; every method may be called from any thread.

    Args:
        connection: the inherited end of the socket pair.
        on_gone: called in a thread of the channel when the gateway is gone, after ``receive`` has begun to say so.

    Attributes:
        start: what the connector gave: plain builtins.
        data_sets: the connector's DataSets, rebuilt here, in its order.

    Raises:
        GatewayError: the first frame is no start.
    """

    def __init__(self, connection: socket.socket, *, on_gone: Callable[[], None] | None = None) -> None:
        self._gone_hook = on_gone
        self._socket = connection
        self._sending = threading.Lock()
        self._reader = FrameReader()
        self._numbers = itertools.count(1)
        self._condition = threading.Condition()
        # What waits for receive(): Reports by DataSet, so that a slow worker gets the newest, and the others in order.
        self._reports: dict[int, ReportFrame] = {}
        self._requests: deque[ControlFrame | CallFrame] = deque()
        self._stop = self._gone = False
        self._answers: dict[int, AnswerFrame | ReplyFrame | RefusalFrame | None] = {}
        self._main = threading.get_ident()
        self._waiting = False
        self._sign_s = monotonic()
        first, more = self._first_frames()
        self.start: Any = first.start
        self.data_sets: tuple[DataSet, ...] = tuple(
            DataSet(frame.name, frame.members) for frame in first.data_sets
        )
        for frame in more:
            self._take(frame)
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    # -- to the gateway -------------------------------------------------------------------------

    def ready(self, info: Any = None) -> None:
        """Says that start-up is finished; Controls and calls come only afterwards.

        Args:
            info: plain builtins for the connector.
        """
        self._send(ReadyFrame(info))

    def send_report(
        self,
        data_set_index: int,
        values: Sequence[Value],
        quality: Sequence[int],
        timestamp_ns: int | Sequence[int],
        *,
        reason: Reason = Reason.INTEGRITY,
        included: bytes | None = None,
    ) -> None:
        """Sends a Report; blocks while the gateway is behind.

        Args:
            data_set_index: position in ``data_sets``.
            values: one per member, None where there is none.
            quality: one IEC 61850 quality per member.
            timestamp_ns: one for all members or one per member, ns since 1970 UTC.
            reason: why it was made.
            included: one byte per member, 1 where it belongs to the Report; None includes all.

        Raises:
            ModelError: a column has another length than the DataSet, or a value is NaN.
            EncodeError: a value that MessagePack cannot carry.
        """
        if len(quality) != len(values):
            raise ModelError(f"{len(values)} values and {len(quality)} qualities")
        time_ns = timestamp_ns if isinstance(timestamp_ns, int) else tuple(timestamp_ns)
        frame = ReportFrame(
            data_set_index, tuple(values), one_for_all(tuple(quality)), time_ns, reason, included
        )
        report(frame, self.data_sets)
        self._send(frame)

    def log(self, level: str, event: str, /, **fields: Any) -> None:
        """Writes to the gateway's log.

        Args:
            level: debug, info, warning or error.
            event: what happened, in words that do not vary.
            fields: what varies; plain builtins.
        """
        self._send(LogFrame(level, event, fields))

    def count(self, name: str, amount: float = 1) -> None:
        """Adds to a counter of the connector; names are lower_snake and end in ``_total``."""
        self._send(CountFrame(name, amount))

    def gauge(self, name: str, value: float) -> None:
        """Sets a gauge of the connector; names end in their unit."""
        self._send(GaugeFrame(name, value))

    def answer(self, frame: ControlFrame, answer: ControlAnswer) -> None:
        """Answers a Control; each is to be answered once."""
        self._send(AnswerFrame(frame.number, answer))

    def reply(self, frame: CallFrame, body: Any) -> None:
        """Answers a call with plain builtins."""
        self._send(ReplyFrame(frame.number, body))

    def refuse(self, frame: CallFrame, message: str, *, transient: bool = False) -> None:
        """Refuses a call.

        Args:
            frame: the call.
            message: one line for people.
            transient: whether another try may help.
        """
        self._send(RefusalFrame(frame.number, message, transient))

    def call(self, name: str, body: Any, *, timeout_s: float = 10) -> Any:
        """Asks the gateway and waits; what else arrives meanwhile is kept for ``receive``.

        Args:
            name: of the question.
            body: plain builtins.
            timeout_s: how long to wait, > 0.

        Returns:
            The connector's answer.

        Raises:
            TransientError: no answer in time, or the gateway is gone, or it says that another try may help.
            PermanentError: the gateway refuses.
        """
        number = next(self._numbers)
        found = self._ask(number, CallFrame(number, name, body), timeout_s)
        if isinstance(found, ReplyFrame):
            return found.body
        if isinstance(found, RefusalFrame):
            raise (TransientError if found.transient else PermanentError)(found.message)
        raise TransientError(f"the gateway did not answer {name!r} within {timeout_s:g} s")

    def operate(self, control: Control, *, timeout_s: float = 60) -> ControlAnswer:
        """Has the gateway carry out a Control and waits for the answer.

        Args:
            control: with the origin as this worker has authenticated it.
            timeout_s: how long to wait, > 0; afterwards the answer is ABORTION_BY_COMMUNICATION_LOSS.
        """
        number = next(self._numbers)
        found = self._ask(number, ControlFrame(number, control), timeout_s)
        if isinstance(found, AnswerFrame):
            return found.answer
        return refused(
            AddCause.ABORTION_BY_COMMUNICATION_LOSS, f"the gateway did not answer within {timeout_s:g} s"
        )

    def fail(self, message: str) -> None:
        """Says why the worker is about to end; for what comes out of ``main`` this is done already."""
        self._send(FailureFrame(message))

    # -- from the gateway -----------------------------------------------------------------------

    def receive(
        self, timeout_s: float | None = None
    ) -> ReportFrame | ControlFrame | CallFrame | StopFrame | None:
        """Waits for the next frame: stop first, then Controls and calls in order, then Reports, newest only.

        Args:
            timeout_s: how long; None waits for ever, 0 only looks.

        Returns:
            The frame; None when there is none in time. Once the gateway is gone: StopFrame.
        """
        with self._condition:
            self._rest(waiting=True)
            self._condition.wait_for(lambda: self._stop or self._requests or self._reports, timeout_s)
            self._rest(waiting=False)
            if self._stop:
                return StopFrame()
            if self._requests:
                return self._requests.popleft()
            if self._reports:
                return self._reports.pop(next(iter(self._reports)))
            return None

    def report(self, frame: ReportFrame) -> Report:
        """Returns the Report of a frame, on this worker's own DataSet."""
        return report(frame, self.data_sets)

    @property
    def stopping(self) -> bool:
        """Whether the worker is to return; for loops that do not call ``receive``."""
        self.alive()
        return self._stop

    def alive(self) -> None:
        """A sign of life of the main thread; to be called where it works long without using the channel."""
        if threading.get_ident() == self._main:
            self._sign_s = monotonic()

    # -- inside ---------------------------------------------------------------------------------

    def _rest(self, *, waiting: bool) -> None:
        if threading.get_ident() == self._main:
            self._waiting = waiting
            self._sign_s = monotonic()

    def _send(self, frame: Frame) -> None:
        data = encode(frame)
        self.alive()
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError:
            self._end()  # the gateway is gone: nobody is left to hear of it

    def _ask(
        self, number: int, frame: CallFrame | ControlFrame, timeout_s: float
    ) -> AnswerFrame | ReplyFrame | RefusalFrame | None:
        with self._condition:
            self._answers[number] = None
        try:
            self._send(frame)
            with self._condition:
                self._rest(waiting=True)
                self._condition.wait_for(lambda: self._gone or self._answers[number], timeout_s)
                self._rest(waiting=False)
        finally:
            with self._condition:
                found = self._answers.pop(number)
        return found

    def _end(self) -> None:
        with self._condition:
            self._stop = self._gone = True
            self._condition.notify_all()

    def _first_frames(self) -> tuple[StartFrame, list[Frame]]:
        while True:
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise TransientError("the gateway is gone")
            self._reader.feed(data)
            frames = list(self._reader.frames())
            if frames:
                first, *more = frames
                if not isinstance(first, StartFrame):
                    raise DecodeError(f"{type(first).__name__} before the start")
                return first, more

    def _read(self) -> None:
        """Reads for ever, in a thread: a library that holds the interpreter stops it, and pings stay unanswered."""
        try:
            while data := self._socket.recv(READ_BYTES):
                self._reader.feed(data)
                for frame in self._reader.frames():
                    self._take(frame)
        except (OSError, GatewayError) as error:
            os.write(2, f"channel lost: {error}\n".encode())
        self._end()
        if self._gone_hook is not None:
            self._gone_hook()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, PingFrame):
            stalled_s = 0.0 if self._waiting else monotonic() - self._sign_s
            self._send(PongFrame(frame.number, stalled_s))
            return
        refuse: ControlFrame | CallFrame | None = None
        with self._condition:
            match frame:
                case ReportFrame(data_set_index=index):
                    older = self._reports.pop(index, None)
                    self._reports[index] = frame if older is None else merge(older, frame)
                case ControlFrame() | CallFrame() if len(self._requests) < MAX_REQUESTS:
                    self._requests.append(frame)
                case ControlFrame() | CallFrame():
                    refuse = frame
                case AnswerFrame() | ReplyFrame() | RefusalFrame():
                    if frame.number in self._answers:
                        self._answers[frame.number] = frame
                case StopFrame():
                    self._stop = True
                case _:
                    raise DecodeError(f"{type(frame).__name__} is nothing that a gateway sends")
            self._condition.notify_all()
        # The gateway asks little at a time, but what it no longer waits for still stands here.
        if isinstance(refuse, ControlFrame):
            self.answer(refuse, refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, _BUSY))
        elif refuse is not None:
            self.refuse(refuse, _BUSY, transient=True)
