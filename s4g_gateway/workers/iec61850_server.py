"""Worker that serves a site's IEC 61850 model by MMS; behind a front of the gateway, on loopback only.

What it is started with::

    {"model": see libiec61850.model,
     "bindings": [[["ESS1/DSTO1.EffWh.mag.f", "...q", "...t", 1.0] or None, per member], per DataSet],
     "controls": [["ESS1/DWGC1.WSpt", path of the data object, control model, value, quality, time], ...],
     "guarded": whether some client may not read everything,
     "settings": {keys of ServerSettings}}

It says ready with ``{"port": ...}``. The front announces each connection before it opens it, by the call
``peer`` with ``{"address": "127.0.0.1:4711", "hidden": [data objects that this client may not read]}``; who is
not announced is cut off. Controls go up with that address as the originator's identity.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from s4g_gateway.errors import PermanentError
from s4g_gateway.model import (
    NS_PER_S,
    Control,
    ControlAnswer,
    ControlModel,
    ControlService,
    ObjectReference,
    Origin,
    OriginCategory,
    Report,
    TimeQuality,
    Value,
)
from s4g_gateway.model import quality as q
from s4g_gateway.workers.contract import CallFrame, Channel, ReportFrame, StopFrame
from s4g_gateway.workers.libiec61850.library import load, version
from s4g_gateway.workers.libiec61850.model import Model
from s4g_gateway.workers.libiec61850.server import ControlRequest, Hooks, Server, ServerSettings, Service
from s4g_gateway.workers.libiec61850.values import time_octet, utc_time_octets

LOOPBACK: Final = "127.0.0.1"
_PORT_TRIALS: Final = 20
_AT_ONCE: Final = 500  # points updated while clients wait
_CONTROL_THREADS: Final = 16
_TURN_S: Final = 1.0
_INT32: Final = 1 << 31
_INT64: Final = 1 << 63
_SERVICES: Final = {
    Service.SELECT: ControlService.SELECT,
    Service.OPERATE: ControlService.OPERATE,
    Service.CANCEL: ControlService.CANCEL,
}

Setter = Callable[[Any, int, Value], int]
"""Sets an attribute and returns what that adds to the quality."""


def main(channel: Channel) -> None:
    """Serves until told to stop."""
    worker = _Worker(channel)
    try:
        worker.run()
    finally:
        worker.close()


class _Point:
    """A point of the site and its attributes in the library's memory."""

    __slots__ = ("factor", "last_quality", "quality", "setter", "time", "value")

    def __init__(self, value: int, quality: int, time_: int, setter: Setter, factor: float) -> None:
        self.value = value
        self.quality = quality
        self.time = time_
        self.setter = setter
        self.factor = factor
        self.last_quality = -1


class _Columns(NamedTuple):
    values: Sequence[Value]
    quality: Sequence[int]
    time_ns: int | tuple[int, ...]
    time_quality: TimeQuality = TimeQuality.SYNCHRONISED


class _Task:
    """A control that the gateway is working on."""

    __slots__ = ("_done", "answer")

    def __init__(self) -> None:
        self._done = threading.Event()
        self.answer: ControlAnswer | None = None

    def finish(self, answer: ControlAnswer) -> None:
        self.answer = answer
        self._done.set()

    def wait(self, timeout_s: float) -> ControlAnswer | None:
        self._done.wait(timeout_s)
        return self.answer


class _Worker:
    """The model, its server and the way to the gateway."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        start: Mapping[str, Any] = channel.start
        self._peers: dict[str, frozenset[str]] = {}
        self._model = Model(start["model"])
        self._server = Server(
            self._model,
            Hooks(
                begin=self._begin,
                connection=self._connection,
                # Asked for every object of every read, so only where it makes a difference.
                may_read=self._may_read if start["guarded"] else None,
                fault=lambda message: channel.log("error", "callback failed", error=message),
            ),
            ServerSettings(**start["settings"]),
        )
        self._points = [[self._bind(entry) for entry in row] for row in start["bindings"]]
        self._references: dict[str, str] = {}
        self._feedback: dict[str, _Point] = {}
        for reference, path, model, value, quality, time_ in start["controls"]:
            self._server.serve_control(path, ControlModel(model))
            self._references[path] = reference
            if value:
                point = self._bind((value, quality, time_, 1.0))
                if point is not None:
                    self._feedback[path] = point
        self._executor = ThreadPoolExecutor(_CONTROL_THREADS, thread_name_prefix="control")

    def run(self) -> None:
        channel = self._channel
        port = self._listen()
        channel.ready({"port": port, "library": version()})
        connections = -1
        while True:
            frame = channel.receive(_TURN_S)
            match frame:
                case ReportFrame():
                    self._update(frame.data_set_index, channel.report(frame))
                case CallFrame():
                    self._call(frame)
                case StopFrame():
                    return
            if connections != self._server.connections:
                connections = self._server.connections
                channel.gauge("associations", connections)

    def close(self) -> None:
        self._server.stop()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._model.close()

    def _listen(self) -> int:
        """Takes a free port; the library can neither choose one nor be given a socket."""
        failure: PermanentError | None = None
        for _ in range(_PORT_TRIALS):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((LOOPBACK, 0))
                port = int(probe.getsockname()[1])
            try:
                self._server.start(LOOPBACK, port)
            except PermanentError as error:  # somebody else was quicker
                failure = error
                continue
            return port
        raise failure or PermanentError("no free port on loopback")

    # -- values ------------------------------------------------------------------------------------

    def _bind(self, entry: Sequence[Any] | None) -> _Point | None:
        if entry is None:
            return None
        value, quality, time_, factor = entry
        handle, kind = self._model.attributes[value]
        return _Point(
            handle,
            self._model.attributes[quality][0] if quality else 0,
            self._model.attributes[time_][0] if time_ else 0,
            setter(kind),
            factor,
        )

    def _update(self, index: int, report: Report) -> None:
        points = self._points[index]
        positions = [position for position in report.positions() if points[position] is not None]
        columns = _Columns(report.values, report.quality, report.time_ns, report.time_quality)
        for start in range(0, len(positions), _AT_ONCE):
            with self._server.batch():
                self._update_points(points, positions[start : start + _AT_ONCE], columns)

    def _update_points(
        self, points: Sequence[_Point | None], positions: Sequence[int], columns: _Columns
    ) -> None:
        lib, server = load(), self._server.handle
        set_time, set_quality = lib.IedServer_updateTimestampAttributeValue, lib.IedServer_updateQuality
        values, qualities, times, clock_quality = columns
        clock = time_octet(clock_quality)
        known_ns, octets = -1, b""
        for position in positions:
            point = points[position]
            if point is None:
                continue
            time_ns = times if isinstance(times, int) else times[position]
            if time_ns != known_ns:
                known_ns, octets = time_ns, utc_time_octets(time_ns, clock)
            value, quality = values[position], qualities[position]
            # Time first: a change of value or quality makes a report, which carries the time as it then is.
            if point.time:
                set_time(server, point.time, octets)
            if value is not None:
                if point.factor != 1.0 and isinstance(value, int | float):
                    value /= point.factor
                quality |= point.setter(server, point.value, value)
            if point.quality and quality != point.last_quality:
                point.last_quality = quality
                set_quality(server, point.quality, quality)

    # -- peers -------------------------------------------------------------------------------------

    def _call(self, frame: CallFrame) -> None:
        match frame.name:
            case "peer":
                hidden = frozenset(frame.body["hidden"])
                # A node is read as a whole only by those who may read all of it.
                nodes = {f"{path.partition('.')[0]}." for path in hidden}
                self._peers[frame.body["address"]] = hidden | nodes
                self._channel.reply(frame, None)
            case "peer_gone":
                self._peers.pop(frame.body["address"], None)
                self._channel.reply(frame, None)
            case _:
                self._channel.refuse(frame, f"unknown call {frame.name!r}; expected peer or peer_gone")

    def _connection(self, peer: str, is_open: bool) -> None:
        """Cuts off who was not announced: whoever else on this machine found the port."""
        if is_open and peer not in self._peers:
            self._channel.log("warning", "connection that was not announced", peer=peer)
            cut_off(peer)

    def _may_read(self, peer: str, path: str) -> bool:
        hidden = self._peers.get(peer)
        return hidden is not None and path not in hidden

    # -- controls ----------------------------------------------------------------------------------

    def _begin(self, request: ControlRequest) -> _Task:
        task = _Task()
        self._executor.submit(self._carry_out, request, task)
        return task

    def _carry_out(self, request: ControlRequest, task: _Task) -> None:
        value = request.value[0] if isinstance(request.value, tuple) else request.value
        plain = value if isinstance(value, bool | int | float | str) else None
        answer = self._channel.operate(
            Control(
                reference=ObjectReference(self._references[request.reference]),
                service=_SERVICES[request.service],
                value=plain,
                origin=Origin(category=OriginCategory(request.origin_category), identity=request.peer),
                ctl_num=request.ctl_num,
                time_ns=request.time_ns or time.time_ns(),
                test=request.test,
            )
        )
        if answer.accepted and request.service is Service.OPERATE and not request.test:
            self._show(request.reference, plain)
        task.finish(answer)

    def _show(self, path: str, value: Value) -> None:
        """Shows the accepted value where no device supplies one."""
        point = self._feedback.get(path)
        if point is not None and value is not None:
            with self._server.batch():
                self._update_points([point], [0], _Columns((value,), (q.GOOD,), time.time_ns()))


def cut_off(peer: str) -> None:
    """Shuts down this process's connection to an address; the library notices as if the peer had closed it.

    Args:
        peer: address and port, as the library shows them.
    """
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as connection:
            host, port = connection.getpeername()[:2]
            if f"{host}:{port}" == peer:
                connection.shutdown(socket.SHUT_RDWR)


# -- setters: one for each basic type ----------------------------------------------------------------


def setter(kind: str) -> Setter:
    """Returns what sets attributes of a basic type.

    Raises:
        PermanentError: no point is bound to such an attribute.
    """
    found = _SETTERS.get(kind)
    if found is None:
        raise PermanentError(f"a point cannot be shown as {kind}; expected one of {', '.join(_SETTERS)}")
    return found


def _set_float(server: Any, attribute: int, value: Value) -> int:
    if not isinstance(value, int | float):
        return q.INVALID
    load().IedServer_updateFloatAttributeValue(server, attribute, value)
    return q.GOOD


def _set_boolean(server: Any, attribute: int, value: Value) -> int:
    load().IedServer_updateBooleanAttributeValue(server, attribute, bool(value))
    return q.GOOD


def _integer(value: Value, limit: int) -> int | None:
    if not isinstance(value, int | float):
        return None
    number = round(value)
    return number if -limit <= number < limit else None


def _set_int32(server: Any, attribute: int, value: Value) -> int:
    number = _integer(value, _INT32)
    if number is None:
        return q.INVALID | q.OVERFLOW
    load().IedServer_updateInt32AttributeValue(server, attribute, number)
    return q.GOOD


def _set_int64(server: Any, attribute: int, value: Value) -> int:
    number = _integer(value, _INT64)
    if number is None:
        return q.INVALID | q.OVERFLOW
    load().IedServer_updateInt64AttributeValue(server, attribute, number)
    return q.GOOD


def _set_unsigned(server: Any, attribute: int, value: Value) -> int:
    number = _integer(value, 1 << 32)
    if number is None or number < 0:
        return q.INVALID | q.OVERFLOW
    load().IedServer_updateUnsignedAttributeValue(server, attribute, number)
    return q.GOOD


def _set_double_point(server: Any, attribute: int, value: Value) -> int:
    number = _integer(value, 4)
    if number is None or number < 0:
        return q.INVALID
    load().IedServer_updateDbposValue(server, attribute, number)
    return q.GOOD


def _set_text(server: Any, attribute: int, value: Value) -> int:
    octets = str(value).encode("ascii", "replace")[:255]
    load().IedServer_updateVisibleStringAttributeValue(server, attribute, octets)
    return q.GOOD


def _set_timestamp(server: Any, attribute: int, value: Value) -> int:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return q.INVALID
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    octets = utc_time_octets(round(moment.timestamp() * NS_PER_S))
    load().IedServer_updateTimestampAttributeValue(server, attribute, octets)
    return q.GOOD


_SETTERS: Final[Mapping[str, Setter]] = {
    "FLOAT32": _set_float,
    "BOOLEAN": _set_boolean,
    "INT8": _set_int32,
    "INT16": _set_int32,
    "INT32": _set_int32,
    "Enum": _set_int32,
    "INT64": _set_int64,
    "INT8U": _set_unsigned,
    "INT16U": _set_unsigned,
    "INT32U": _set_unsigned,
    "Dbpos": _set_double_point,
    "VisString64": _set_text,
    "VisString129": _set_text,
    "VisString255": _set_text,
    "ObjRef": _set_text,
    "Timestamp": _set_timestamp,
}
