"""Worker: client of one IEC 61850 server. Reports and readings go up, Controls and requests come down."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from s4g_gateway.errors import EncodeError, GatewayError, TransientError
from s4g_gateway.model import AddCause, Control, ControlAnswer, refused
from s4g_gateway.workers.contract import CallFrame, Channel, ControlFrame, StopFrame
from s4g_gateway.workers.iec61850_entries import EntryFile
from s4g_gateway.workers.iec61850_layout import PointTask
from s4g_gateway.workers.iec61850_session import Session
from s4g_gateway.workers.libiec61850.client import FC, Client, ServiceError
from s4g_gateway.workers.libiec61850.control import ControlObject
from s4g_gateway.workers.libiec61850.values import DataError

_AT_ONCE: Final = 4
_TERMINATION_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 1.0


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the connector gives.

    Attributes:
        host: of the server.
        port: of the server.
        period_s: how often everything is told.
        reports: buffered, unbuffered or none.
        connect_timeout_s: longest wait for the association.
        request_timeout_s: longest wait for an answer.
        retry_min_s: wait before the first new attempt; doubles.
        retry_max_s: longest wait between attempts.
        entry_file: where ids of buffered reports are kept.
        points: in the order of the DataSet.
        controls: reference of the site -> control object of the server.
    """

    host: str
    port: int
    period_s: float
    reports: str
    connect_timeout_s: float
    request_timeout_s: float
    retry_min_s: float
    retry_max_s: float
    entry_file: str
    points: tuple[PointTask, ...]
    controls: dict[str, str]


class Link:
    """Keeps the association up and lends its client to those who ask."""

    def __init__(self, channel: Channel, task: Task) -> None:
        self._channel, self._task = channel, task
        self._entries = EntryFile(Path(task.entry_file))
        self._condition = threading.Condition()
        self._client: Client | None = None
        self._users = 0
        self._stop = threading.Event()
        self._session: Session | None = None
        self._objects: dict[str, ControlObject] = {}
        self._thread = threading.Thread(target=self._run, name="association")

    def start(self) -> None:
        """Starts."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the association and waits for it."""
        self._stop.set()
        session = self._session
        if session is not None:
            session.wake()
        self._thread.join()

    @contextmanager
    def borrowed(self) -> Iterator[Client]:
        """Lends the client; it is not freed while it is lent.

        Raises:
            TransientError: there is no association.
        """
        with self._condition:
            if self._client is None:
                raise TransientError(f"no association with {self._task.host}:{self._task.port}")
            client = self._client
            self._users += 1
        try:
            yield client
        finally:
            with self._condition:
                self._users -= 1
                self._condition.notify_all()

    def control_object(self, client: Client, reference: str) -> ControlObject:
        """Returns the control object of a reference, made once for an association."""
        with self._condition:
            found = self._objects.get(reference)
        if found is None:
            found = ControlObject(client, reference)
            with self._condition:
                found = self._objects.setdefault(reference, found)
        return found

    def _run(self) -> None:
        task, told, wait_s = self._task, False, self._task.retry_min_s
        while not self._stop.is_set():
            session = Session(
                self._channel,
                task.points,
                reports=task.reports,
                period_s=task.period_s,
                entries=self._entries,
                connect_timeout_s=task.connect_timeout_s,
                request_timeout_s=task.request_timeout_s,
            )
            self._session = session
            fault = "the server has closed the association"
            try:
                session.connect(task.host, task.port)
                self._lend(session.client)
                self._channel.gauge("connected", 1)
                self._channel.log("info", "association stands", host=task.host, port=task.port)
                told, wait_s = False, task.retry_min_s
                session.serve(self._stop.is_set)
                if self._stop.is_set():
                    session.release()
            except GatewayError as error:
                fault = str(error)
            finally:
                self._take_back()
                session.client.close()
                self._entries.save()
                self._channel.gauge("connected", 0)
            if self._stop.is_set():
                return
            self._channel.count("connection_failures_total")
            if not told:
                self._channel.log("warning", "no association", host=task.host, port=task.port, fault=fault)
                told = True
            self._stop.wait(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads attempts, guards nothing
            wait_s = min(wait_s * 2, task.retry_max_s)

    def _lend(self, client: Client) -> None:
        with self._condition:
            self._client = client

    def _take_back(self) -> None:
        with self._condition:
            self._client = None
            self._condition.wait_for(lambda: self._users == 0)
            self._objects.clear()


def carry_out(link: Link, objects: dict[str, str], control: Control) -> ControlAnswer:
    """Selects, if the server wants it, and operates.

    Args:
        link: to the server.
        objects: control object by reference.
        control: with the origin that the server is to see.
    """
    reference = objects.get(control.reference)
    if reference is None:
        return refused(AddCause.NOT_SUPPORTED, f"{control.reference} is no control object of this server")
    try:
        with link.borrowed() as client:
            target = link.control_object(client, reference)
            target.set_origin(control.origin, test=control.test)
            return target.carry_out(control.value, termination_timeout_s=_TERMINATION_TIMEOUT_S)
    except EncodeError as error:
        return refused(AddCause.INCONSISTENT_PARAMETERS, f"{reference}: {error}")
    except ServiceError as error:
        return refused(AddCause.NOT_SUPPORTED, str(error))
    except TransientError as error:
        return refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, str(error))


def _read(link: Link, body: Any) -> Any:
    """Reads attributes: [[reference, fc], ...] -> [value or None, ...]."""
    found = []
    with link.borrowed() as client:
        for reference, fc in body:
            try:
                value = client.read(reference, FC[fc])
            except ServiceError:
                value = None
            found.append(None if isinstance(value, DataError | tuple) else value)
    return found


def _write(link: Link, body: Any) -> Any:
    """Writes attributes in order: [[reference, fc, value], ...]; the first refusal ends it."""
    with link.borrowed() as client:
        for reference, fc, value in body:
            client.write(reference, FC[fc], value)


def _browse(link: Link, body: Any) -> Any:
    """Lists the server's model: {logical device: [variable, ...]}."""
    del body
    with link.borrowed() as client:
        return {device: list(client.variables(device)) for device in client.logical_devices()}


_CALLS: Final[dict[str, Callable[[Link, Any], Any]]] = {"read": _read, "write": _write, "browse": _browse}


def _serve_call(channel: Channel, link: Link, frame: CallFrame) -> None:
    call = _CALLS.get(frame.name)
    if call is None:
        channel.refuse(frame, f"unknown request {frame.name!r}")
        return
    try:
        body = call(link, frame.body)
    except TransientError as error:
        channel.refuse(frame, str(error), transient=True)
    except GatewayError as error:
        channel.refuse(frame, str(error))
    else:
        channel.reply(frame, body)


def main(channel: Channel) -> None:
    """Serves until told to stop."""
    task = msgspec.convert(channel.start, Task)
    link = Link(channel, task)
    link.start()
    channel.ready()
    # Controls of one object go in order; several objects may be operated at a time.
    locks = {reference: threading.Lock() for reference in task.controls}

    def control(frame: ControlFrame) -> None:
        with locks.get(frame.control.reference, threading.Lock()):
            channel.answer(frame, carry_out(link, task.controls, frame.control))

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="request") as requests:
        while True:
            frame = channel.receive(_POLL_S)
            if isinstance(frame, StopFrame):
                break
            if isinstance(frame, ControlFrame):
                requests.submit(control, frame)
            elif isinstance(frame, CallFrame):
                requests.submit(_serve_call, channel, link, frame)
    link.stop()
