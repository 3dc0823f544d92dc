"""Server: serves a model, takes values in batches, asks before it operates.

The library serves all clients on one thread of its own, so nothing that it calls here ever waits: a control
is begun, and looked after again whenever the library asks (CONTROL_RESULT_WAITING).
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Protocol

from s4g_gateway.errors import PermanentError
from s4g_gateway.model import AddCause, ControlAnswer, ControlModel, refused
from s4g_gateway.workers.libiec61850.library import load
from s4g_gateway.workers.libiec61850.model import Model
from s4g_gateway.workers.libiec61850.values import DataAccessError, MmsPython, decode, utc_time

_ACCEPT: Final = -1  # CheckHandlerResult
_SELECT_LATER: Final = 0
_DENY: Final = 3
_FAILED: Final = 0  # ControlHandlerResult
_DONE: Final = 1
_WAIT: Final = 2
_READ_ALLOWED: Final = -1  # DATA_ACCESS_ERROR_SUCCESS
_ERROR_UNKNOWN: Final = 1  # CONTROL_ERROR_UNKNOWN
_EDITION_2: Final = 1
_SELECTION_LOST: Final = frozenset({1, 2, 5})  # cancelled, timed out, disconnected

_TOO_SLOW: Final = refused(AddCause.TIME_LIMIT_OVER, "nobody answered the selection in time")

_CONNECTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
_READ = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
)
_CHECK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_bool, ctypes.c_bool
)
_OPERATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_bool)
_SELECTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_bool, ctypes.c_int)


class Service(IntEnum):
    """What a client asks of a control object."""

    SELECT = 0
    OPERATE = 1
    CANCEL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """A control service of a client.

    Attributes:
        reference: the control object.
        service: what is asked.
        value: ctlVal; None where the service carries none.
        peer: address and port of the client's connection.
        ctl_num: ctlNum.
        origin_category: orCat.
        origin_identity: orIdent as sent, unauthenticated.
        time_ns: T, ns since 1970 UTC; 0 where the service carries none.
        test: the test flag.
    """

    reference: str
    service: Service
    value: MmsPython
    peer: str
    ctl_num: int
    origin_category: int
    origin_identity: bytes
    time_ns: int
    test: bool


class Task(Protocol):
    """A control on its way."""

    @property
    def answer(self) -> ControlAnswer | None:
        """What became of it; None while it is on its way."""
        ...

    def wait(self, timeout_s: float) -> ControlAnswer | None:
        """Waits for the answer; None where it is still on its way."""
        ...


@dataclass(slots=True)
class _Point:
    """A control object and what goes on with it."""

    reference: str
    model: ControlModel
    key: object = None
    task: Task | None = None
    looks: int = 0
    selection: ControlRequest | None = None


@dataclass(slots=True, kw_only=True)
class ServerSettings:
    """Limits of a server.

    Attributes:
        max_connections: most connections at a time.
        report_buffer_bytes: of each buffered report control block.
        data_set_entries: most members of a data set that a client makes.
        early_looks: how often an enhanced operate is looked at, some 10 ms apart, before it is confirmed
            without a result; a refusal within that time is a negative response instead of a termination.
        select_wait_s: longest that a plain select (SBO, normal security) may hold up the other clients.
        vendor: of the identify service.
        product: likewise.
        revision: likewise.
    """

    max_connections: int = 16
    report_buffer_bytes: int = 65536
    data_set_entries: int = 200
    early_looks: int = 30
    select_wait_s: float = 0.2
    vendor: str = "S4G"
    product: str = "S4G Gateway"
    revision: str = "1"


@dataclass(slots=True, kw_only=True)
class Hooks:
    """What a server calls, on the library's thread: every function must return at once.

    Attributes:
        begin: starts on a control and returns its task.
        connection: told of connections that come and go: address and port, true for coming.
        may_read: asked with peer and reference of a data object, such as ``ESS1/DSTO1.EffWh``; None allows all.
        fault: told of an error of ours inside a callback.
    """

    begin: Callable[[ControlRequest], Task]
    connection: Callable[[str, bool], None] = field(default=lambda _peer, _is_open: None)
    may_read: Callable[[str, str], bool] | None = None
    fault: Callable[[str], None] = field(default=lambda _message: None)


class Server:
    """Serves a model on one address.

    Args:
        model: the model; it must live longer than the server.
        hooks: what is called.
        settings: limits.
    """

    def __init__(self, model: Model, hooks: Hooks, settings: ServerSettings) -> None:
        lib = self._lib = load()
        self._model = model
        self._hooks = hooks
        self._settings = settings
        self._points: list[_Point] = []
        self._lock = threading.Lock()
        self._names = {handle: path for path, handle in model.objects.items()}
        self._peers: dict[int, str] = {}
        config = lib.IedServerConfig_create()
        lib.IedServerConfig_setEdition(config, _EDITION_2)
        lib.IedServerConfig_setMaxMmsConnections(config, settings.max_connections)
        lib.IedServerConfig_setReportBufferSize(config, settings.report_buffer_bytes)
        lib.IedServerConfig_setReportBufferSizeForURCBs(config, settings.report_buffer_bytes)
        lib.IedServerConfig_setMaxDataSetEntries(config, settings.data_set_entries)
        lib.IedServerConfig_enableFileService(config, False)
        lib.IedServerConfig_enableLogService(config, False)
        lib.IedServerConfig_enableDynamicDataSetService(config, True)
        self._handle: int | None = lib.IedServer_createWithConfig(model.handle, None, config)
        lib.IedServerConfig_destroy(config)
        lib.IedServer_setServerIdentity(
            self._handle, settings.vendor.encode(), settings.product.encode(), settings.revision.encode()
        )
        # Nothing but controls may change the model: settings are written through controls, if at all.
        self._callbacks: list[Any] = [_CONNECTION(self._connection)]
        lib.IedServer_setConnectionIndicationHandler(self._handle, self._callbacks[0], None)
        if hooks.may_read is not None:
            self._callbacks.append(_READ(self._may_read))
            lib.IedServer_setReadAccessHandler(self._handle, self._callbacks[-1], None)
        self._check, self._wait = _CHECK(self._on_check), _CHECK(self._on_wait)
        self._operate, self._selection = _OPERATE(self._on_operate), _SELECTION(self._on_selection)

    # -- life --------------------------------------------------------------------------------------

    def start(self, address: str, port: int) -> None:
        """Starts to serve.

        Args:
            address: IP address to bind.
            port: 1 to 65535.

        Raises:
            PermanentError: the port is taken.
        """
        self._lib.IedServer_setLocalIpAddress(self._handle, address.encode())
        self._lib.IedServer_start(self._handle, port)
        if not self._lib.IedServer_isRunning(self._handle):
            raise PermanentError(f"cannot serve on {address}:{port}: the port is taken")

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return int(self._lib.IedServer_getNumberOfOpenConnections(self._handle))

    def stop(self) -> None:
        """Stops and frees the server; idempotent."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._lib.IedServer_stop(handle)
            self._lib.IedServer_destroy(handle)

    # -- values ------------------------------------------------------------------------------------

    @property
    def handle(self) -> int | None:
        """The library's object, for update loops."""
        return self._handle

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Holds the model while values change: no client sees half of it, reports leave at the end."""
        self._lib.IedServer_lockDataModel(self._handle)
        try:
            yield
        finally:
            self._lib.IedServer_unlockDataModel(self._handle)

    # -- connections and rights --------------------------------------------------------------------

    def _connection(self, server: int | None, connection: int, is_open: bool, parameter: int | None) -> None:
        del server, parameter
        try:
            if is_open:
                peer = self._lib.ClientConnection_getPeerAddress(connection).decode("ascii", "replace")
                self._peers[connection] = peer
            else:
                peer = self._peers.pop(connection, "")
            self._hooks.connection(peer, is_open)
        except Exception as error:  # noqa: BLE001 - a C caller knows no exceptions
            self._hooks.fault(f"connection: {error!r}")

    def _may_read(  # noqa: PLR0917 - the library's signature
        self, device: int, node: int, data_object: int, fc: int, connection: int, parameter: int | None
    ) -> int:
        del fc, parameter
        try:
            assert self._hooks.may_read is not None  # noqa: S101 - installed only then
            peer = self._peers.get(connection, "")
            names = self._model.names
            path = self._names.get(data_object) or f"{names.get(device, '')}/{names.get(node, '')}."
            if self._hooks.may_read(peer, path):
                return _READ_ALLOWED
        except Exception as error:  # noqa: BLE001 - a C caller knows no exceptions
            self._hooks.fault(f"read access: {error!r}")
        return DataAccessError.OBJECT_ACCESS_DENIED

    # -- controls ----------------------------------------------------------------------------------

    def serve_control(self, reference: str, model: ControlModel) -> None:
        """Has controls of a data object asked for through ``Hooks.begin``.

        Args:
            reference: a data object of the model that has ``Oper``.
            model: its control model, the same as its ``ctlModel``.
        """
        lib, node = self._lib, self._model.objects[reference]
        self._points.append(_Point(reference, model))
        parameter = len(self._points)
        lib.IedServer_setPerformCheckHandler(self._handle, node, self._check, parameter)
        lib.IedServer_setWaitForExecutionHandler(self._handle, node, self._wait, parameter)
        lib.IedServer_setControlHandler(self._handle, node, self._operate, parameter)
        lib.IedServer_setSelectStateChangedHandler(self._handle, node, self._selection, parameter)

    def _on_check(self, action: int, parameter: int, value: int | None, test: bool, interlock: bool) -> int:
        del interlock
        try:
            if not self._lib.ControlAction_isSelect(action):
                return _ACCEPT  # judged while waiting for execution, where there is time
            point = self._points[parameter - 1]
            answer = self._look(point, action, Service.SELECT, value, test)
            if point.model is ControlModel.SBO_NORMAL and answer is None and point.task is not None:
                # This release of the library loses a delayed answer to a plain select.
                answer = point.task.wait(self._settings.select_wait_s) or _TOO_SLOW
            if answer is None:
                return _SELECT_LATER
            point.task = None
            if answer.accepted:
                return _ACCEPT
            self._refuse(action, answer)
        except Exception as error:  # noqa: BLE001 - a C caller knows no exceptions
            self._hooks.fault(f"check: {error!r}")
        return _DENY

    def _on_wait(self, action: int, parameter: int, value: int | None, test: bool, synchro: bool) -> int:
        del synchro
        try:
            point = self._points[parameter - 1]
            answer = self._look(point, action, Service.OPERATE, value, test)
            if answer is None:
                point.looks += 1
                enhanced = point.model in (ControlModel.DIRECT_ENHANCED, ControlModel.SBO_ENHANCED)
                return _DONE if enhanced and point.looks > self._settings.early_looks else _WAIT
            if answer.accepted:
                return _DONE
            point.task = None
            self._refuse(action, answer)
        except Exception as error:  # noqa: BLE001 - a C caller knows no exceptions
            self._hooks.fault(f"wait: {error!r}")
        return _FAILED

    def _on_operate(self, action: int, parameter: int, value: int | None, test: bool) -> int:
        del value, test
        try:
            point = self._points[parameter - 1]
            task = point.task
            if task is None:
                return _FAILED
            answer = task.answer
            if answer is None:
                return _WAIT
            point.task = None
            if answer.accepted:
                return _DONE
            self._refuse(action, answer)
        except Exception as error:  # noqa: BLE001 - a C caller knows no exceptions
            self._hooks.fault(f"operate: {error!r}")
        return _FAILED

    def _on_selection(self, action: int, parameter: int, is_selected: bool, reason: int) -> None:
        del action
        try:
            point = self._points[parameter - 1]
            selected, point.selection = point.selection, point.selection if is_selected else None
            if not is_selected and selected is not None and reason in _SELECTION_LOST:
                self._hooks.begin(
                    ControlRequest(
                        reference=selected.reference,
                        service=Service.CANCEL,
                        value=None,
                        peer=selected.peer,
                        ctl_num=selected.ctl_num,
                        origin_category=selected.origin_category,
                        origin_identity=selected.origin_identity,
                        time_ns=selected.time_ns,
                        test=selected.test,
                    )
                )
        except Exception as error:  # noqa: BLE001 - a C caller knows no exceptions
            self._hooks.fault(f"selection: {error!r}")

    def _look(
        self, point: _Point, action: int, service: Service, value: int | None, test: bool
    ) -> ControlAnswer | None:
        """Returns the answer to a service, None while it is awaited; begins on it when first asked."""
        lib = self._lib
        connection = lib.ControlAction_getClientConnection(action)
        ctl_num = lib.ControlAction_getCtlNum(action)
        octets = b""
        if service is Service.OPERATE:
            octets = ctypes.string_at(lib.ControlAction_getT(action), 8)
        key = (connection, ctl_num, service, octets)
        if point.task is None or point.key != key:
            size = ctypes.c_int()
            identity = lib.ControlAction_getOrIdent(action, ctypes.byref(size))
            request = ControlRequest(
                reference=point.reference,
                service=service,
                value=decode(value),
                peer=self._peers.get(connection, ""),
                ctl_num=ctl_num,
                origin_category=lib.ControlAction_getOrCat(action),
                origin_identity=ctypes.string_at(identity, size.value) if identity else b"",
                time_ns=utc_time(octets).time_ns if octets else 0,
                test=test,
            )
            point.key, point.looks = key, 0
            point.task = self._hooks.begin(request)
            if service is Service.SELECT:
                point.selection = request
        return point.task.answer

    def _refuse(self, action: int, answer: ControlAnswer) -> None:
        cause = AddCause.UNKNOWN if answer.add_cause is AddCause.NONE else answer.add_cause
        self._lib.ControlAction_setError(action, _ERROR_UNKNOWN)
        self._lib.ControlAction_setAddCause(action, int(cause))
