"""Client: association, directory, data sets, reads and writes.

Calls block; they may come from several threads. Report control blocks stand in ``reports``, controls in
``control``.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from types import TracebackType
from typing import Any, Final, Self

from s4g_gateway.errors import LocalProtocolError, RemoteProtocolError, TransientError
from s4g_gateway.workers.libiec61850.library import load
from s4g_gateway.workers.libiec61850.values import MmsPython, assign, decode, default_value, owned


class FC(IntEnum):
    """Functional constraints, numbered as the library does. Source: IEC 61850-7-2 (clause unverified)."""

    ST = 0
    MX = 1
    SP = 2
    SV = 3
    CF = 4
    DC = 5
    SG = 6
    SE = 7
    SR = 8
    OR = 9
    BL = 10
    EX = 11
    CO = 12
    US = 13
    MS = 14
    RP = 15
    BR = 16
    LG = 17
    GO = 18


class DirectoryKind(IntEnum):
    """What of a logical node is listed, numbered as the library does."""

    DATA_OBJECTS = 0
    DATA_SETS = 1
    BUFFERED_REPORTS = 2
    UNBUFFERED_REPORTS = 3


class ClientError(IntEnum):
    """Why a service failed, numbered as the library does."""

    OK = 0
    NOT_CONNECTED = 1
    ALREADY_CONNECTED = 2
    CONNECTION_LOST = 3
    SERVICE_NOT_SUPPORTED = 4
    CONNECTION_REJECTED = 5
    OUTSTANDING_CALL_LIMIT_REACHED = 6
    INVALID_ARGUMENT = 10
    DATA_SET_MISMATCH = 11
    OBJECT_REFERENCE_INVALID = 12
    UNEXPECTED_VALUE_RECEIVED = 13
    TIMEOUT = 20
    ACCESS_DENIED = 21
    OBJECT_DOES_NOT_EXIST = 22
    OBJECT_EXISTS = 23
    OBJECT_ACCESS_UNSUPPORTED = 24
    TYPE_INCONSISTENT = 25
    TEMPORARILY_UNAVAILABLE = 26
    OBJECT_UNDEFINED = 27
    INVALID_ADDRESS = 28
    HARDWARE_FAULT = 29
    TYPE_UNSUPPORTED = 30
    OBJECT_ATTRIBUTE_INCONSISTENT = 31
    OBJECT_VALUE_INVALID = 32
    OBJECT_INVALIDATED = 33
    MALFORMED_MESSAGE = 34
    SERVICE_NOT_IMPLEMENTED = 98
    UNKNOWN = 99


class ConnectionState(IntEnum):
    """State of the association, numbered as the library does."""

    CLOSED = 0
    CONNECTING = 1
    CONNECTED = 2
    CLOSING = 3


class ServiceError(RemoteProtocolError):
    """The server refused a service.

    Args:
        what: service and object.
        code: why.
    """

    def __init__(self, what: str, code: ClientError) -> None:
        super().__init__(f"{what}: {code.name.lower().replace('_', ' ')}")
        self.code = code


_LINK: Final = frozenset(
    {
        ClientError.NOT_CONNECTED,
        ClientError.CONNECTION_LOST,
        ClientError.CONNECTION_REJECTED,
        ClientError.TIMEOUT,
        ClientError.OUTSTANDING_CALL_LIMIT_REACHED,
        ClientError.TEMPORARILY_UNAVAILABLE,
    }
)


def check(code: int, what: str) -> None:
    """Raises the error that a code stands for; returns for OK.

    Raises:
        TransientError: the association is gone, or the server did not answer in time.
        ServiceError: the server refused.
    """
    if code == ClientError.OK:
        return
    known = ClientError(code) if code in ClientError.__members__.values() else ClientError.UNKNOWN
    if known in _LINK:
        raise TransientError(f"{what}: {known.name.lower().replace('_', ' ')}")
    raise ServiceError(what, known)


def texts(chain: int | None) -> tuple[str, ...]:
    """Copies a linked list of strings and frees it."""
    if not chain:
        return ()
    lib = load()
    found: list[str] = []
    element = lib.LinkedList_getNext(chain)
    while element:
        found.append(ctypes.string_at(lib.LinkedList_getData(element)).decode("ascii", "replace"))
        element = lib.LinkedList_getNext(element)
    lib.LinkedList_destroy(chain)
    return tuple(found)


_CONNECT_TRIALS: Final = 5
_STATE_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)


class Client:
    """One association with a server.

    Args:
        on_state: called with every new state, on the library's thread: be quick, call nothing back.
        connect_timeout_s: longest wait for the association.
        request_timeout_s: longest wait for an answer.
    """

    def __init__(
        self,
        *,
        on_state: Callable[[ConnectionState], None] | None = None,
        connect_timeout_s: float = 5.0,
        request_timeout_s: float = 5.0,
    ) -> None:
        self._lib = load()
        self._connect_timeout_ms = round(connect_timeout_s * 1000)
        self._request_timeout_ms = round(request_timeout_s * 1000)
        self._on_state = on_state
        self._state_handler = _STATE_HANDLER(self._state_changed)
        self._handle: int | None = self._create()
        self._specifications: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()
        self._dependants: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def handle(self) -> int:
        """The library's object.

        Raises:
            LocalProtocolError: it is closed.
        """
        if self._handle is None:
            raise LocalProtocolError("this client is closed")
        return self._handle

    @property
    def is_connected(self) -> bool:
        """True while the association stands."""
        if self._handle is None:
            return False
        return bool(self._lib.IedConnection_getState(self._handle) == ConnectionState.CONNECTED)

    def _create(self) -> int:
        handle: int = self._lib.IedConnection_create()
        self._lib.IedConnection_setConnectTimeout(handle, self._connect_timeout_ms)
        self._lib.IedConnection_setRequestTimeout(handle, self._request_timeout_ms)
        self._lib.IedConnection_installStateChangedHandler(handle, self._state_handler, None)
        return handle

    def connect(self, host: str, port: int = 102) -> None:
        """Associates.

        Args:
            host: IP address or name.
            port: 1 to 65535.

        Raises:
            TransientError: nobody answers, or the server refuses.
        """
        for _ in range(_CONNECT_TRIALS):
            error = ctypes.c_int()
            self._lib.IedConnection_connect(self.handle, ctypes.byref(error), host.encode(), port)
            try:
                check(error.value, f"association with {host}:{port}")
            except ServiceError as refusal:
                raise TransientError(str(refusal)) from refusal
            if self._is_usable():
                return
            # The library notes "connecting" only after it has begun; an association that is made faster than that
            # is then taken for one in the making, and every service fails. Another one is tried.
            self._lib.IedConnection_destroy(self.handle)
            self._handle = self._create()
        raise TransientError(f"association with {host}:{port}: connection lost")

    def _is_usable(self) -> bool:
        """Finds out by a small request whether services reach the server."""
        error = ctypes.c_int()
        texts(self._lib.IedConnection_getServerDirectory(self.handle, ctypes.byref(error), False))
        return error.value not in (ClientError.NOT_CONNECTED, ClientError.CONNECTION_LOST)

    def close(self) -> None:
        """Ends the association and frees everything; idempotent. Never call it from a callback."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        for release in reversed(self._dependants):
            release()
        self._dependants.clear()
        self._lib.IedConnection_close(handle)
        for specification in self._specifications.values():
            self._lib.MmsVariableSpecification_destroy(specification)
        self._specifications.clear()
        self._lib.IedConnection_destroy(handle)

    def release_with(self, release: Callable[[], None]) -> Callable[[], None]:
        """Has something freed before the association is; returns it as it is."""
        self._dependants.append(release)
        return release

    def forget(self, release: Callable[[], None]) -> None:
        """Takes back ``release_with``."""
        if release in self._dependants:
            self._dependants.remove(release)

    def _state_changed(self, parameter: int | None, connection: int | None, state: int) -> None:
        del parameter, connection
        if self._on_state is None:
            return
        with contextlib.suppress(
            Exception
        ):  # a C caller knows no exceptions; the next service shows the state
            self._on_state(ConnectionState(state))

    # -- directory ---------------------------------------------------------------------------------

    def logical_devices(self) -> tuple[str, ...]:
        """Returns the names of the logical devices, such as ``ER1``."""
        return self._names("IedConnection_getServerDirectory", False)

    def logical_nodes(self, logical_device: str) -> tuple[str, ...]:
        """Returns the names of a device's logical nodes, such as ``LLN0``."""
        return self._names("IedConnection_getLogicalDeviceDirectory", logical_device.encode())

    def variables(self, logical_device: str) -> tuple[str, ...]:
        """Returns every MMS variable of a device, such as ``MMXU1$MX$TotW$mag$f``: its whole model at once."""
        return self._names("IedConnection_getLogicalDeviceVariables", logical_device.encode())

    def data_sets(self, logical_device: str) -> tuple[str, ...]:
        """Returns the data sets of a device, such as ``LLN0$measurements``."""
        return self._names("IedConnection_getLogicalDeviceDataSets", logical_device.encode())

    def directory(
        self, logical_node: str, kind: DirectoryKind = DirectoryKind.DATA_OBJECTS
    ) -> tuple[str, ...]:
        """Returns names in a logical node.

        Args:
            logical_node: such as ``ER1/LLN0``.
            kind: data objects, data sets or report control blocks.
        """
        return self._names("IedConnection_getLogicalNodeDirectory", logical_node.encode(), int(kind))

    def data_directory(self, reference: str) -> tuple[str, ...]:
        """Returns the parts of a data object with their functional constraints, such as ``mag[MX]``."""
        return self._names("IedConnection_getDataDirectoryFC", reference.encode())

    def _names(self, function: str, *arguments: object) -> tuple[str, ...]:
        error = ctypes.c_int()
        chain = getattr(self._lib, function)(self.handle, ctypes.byref(error), *arguments)
        found = texts(chain)
        check(error.value, f"{function.removeprefix('IedConnection_')} {_shown(arguments)}".strip())
        return found

    # -- values ------------------------------------------------------------------------------------

    def read(self, reference: str, fc: FC) -> MmsPython:
        """Reads an attribute, a structure or a whole data object.

        Args:
            reference: such as ``ER1/MMXU1.TotW`` or ``ER1/MMXU1.TotW.mag.f``.
            fc: its functional constraint.

        Returns:
            See ``values``; ``DataError`` where the server has no value.

        Raises:
            TransientError: no answer.
            ServiceError: the server refused the service.
        """
        error = ctypes.c_int()
        value = self._lib.IedConnection_readObject(
            self.handle, ctypes.byref(error), reference.encode(), int(fc)
        )
        if not value:
            check(error.value or ClientError.UNKNOWN, f"read {reference} [{fc.name}]")
        with owned(value):
            check(error.value, f"read {reference} [{fc.name}]")
            return decode(value)

    def write(self, reference: str, fc: FC, value: object) -> None:
        """Writes an attribute.

        Args:
            reference: such as ``ER1/DWMX1.WMaxSpt.setMag.f``.
            fc: its functional constraint.
            value: what fits its type; a sequence for a structure.

        Raises:
            EncodeError: the value does not fit the type that the server declares.
            TransientError: no answer.
            ServiceError: the server refused.
        """
        with owned(default_value(self.specification(reference, fc))) as mms:
            assign(mms, value)
            error = ctypes.c_int()
            self._lib.IedConnection_writeObject(
                self.handle, ctypes.byref(error), reference.encode(), int(fc), mms
            )
            check(error.value, f"write {reference} [{fc.name}]")

    def specification(self, reference: str, fc: FC) -> int:
        """Returns the type that the server declares for an object; asked once, freed with the client.

        Raises:
            TransientError: no answer.
            ServiceError: there is no such object.
        """
        key = (reference, int(fc))
        with self._lock:
            found = self._specifications.get(key)
            if found is None:
                error = ctypes.c_int()
                found = self._lib.IedConnection_getVariableSpecification(
                    self.handle, ctypes.byref(error), reference.encode(), int(fc)
                )
                check(error.value, f"type of {reference} [{fc.name}]")
                if not found:
                    raise ServiceError(f"type of {reference} [{fc.name}]", ClientError.OBJECT_DOES_NOT_EXIST)
                self._specifications[key] = found
        return int(found)

    # -- data sets ---------------------------------------------------------------------------------

    def data_set_members(self, reference: str) -> tuple[str, ...]:
        """Returns the members of a data set, such as ``ER1/MMXU1.TotW[MX]``.

        Args:
            reference: such as ``ER1/LLN0.measurements``.
        """
        error, deletable = ctypes.c_int(), ctypes.c_bool()
        chain = self._lib.IedConnection_getDataSetDirectory(
            self.handle, ctypes.byref(error), reference.encode(), ctypes.byref(deletable)
        )
        found = texts(chain)
        check(error.value, f"members of {reference}")
        return found

    def read_data_set(self, reference: str) -> tuple[MmsPython, ...]:
        """Reads every member of a data set, in order.

        Args:
            reference: such as ``ER1/LLN0.measurements``.
        """
        error = ctypes.c_int()
        found = self._lib.IedConnection_readDataSetValues(
            self.handle, ctypes.byref(error), reference.encode(), None
        )
        try:
            check(error.value, f"read data set {reference}")
            if not found:
                raise ServiceError(f"read data set {reference}", ClientError.UNKNOWN)
            values = decode(self._lib.ClientDataSet_getValues(found))
        finally:
            if found:
                self._lib.ClientDataSet_destroy(found)
        if not isinstance(values, tuple):
            raise ServiceError(f"read data set {reference}", ClientError.UNEXPECTED_VALUE_RECEIVED)
        return values

    def create_data_set(self, reference: str, members: Sequence[str]) -> None:
        """Makes a data set in the server.

        Args:
            reference: such as ``ER1/LLN0.s4g``; ``@s4g`` for one that lives as long as the association.
            members: such as ``ER1/MMXU1.TotW[MX]``.

        Raises:
            TransientError: no answer.
            ServiceError: the server refused.
        """
        error = ctypes.c_int()
        kept = [ctypes.create_string_buffer(member.encode()) for member in members]
        chain = _chain(self._lib, kept)
        try:
            self._lib.IedConnection_createDataSet(self.handle, ctypes.byref(error), reference.encode(), chain)
        finally:
            self._lib.LinkedList_destroyStatic(chain)
        check(error.value, f"create data set {reference}")

    def delete_data_set(self, reference: str) -> None:
        """Deletes a data set that was made through ``create_data_set``."""
        error = ctypes.c_int()
        deleted = self._lib.IedConnection_deleteDataSet(self.handle, ctypes.byref(error), reference.encode())
        check(error.value, f"delete data set {reference}")
        if not deleted:
            raise ServiceError(f"delete data set {reference}", ClientError.ACCESS_DENIED)


def _chain(lib: Any, entries: Iterable[Any]) -> int:
    """Makes a linked list of texts that stay ours."""
    chain: int = lib.LinkedList_create()
    for entry in entries:
        lib.LinkedList_add(chain, ctypes.cast(entry, ctypes.c_void_p))
    return chain


def _shown(arguments: Sequence[object]) -> str:
    return " ".join(part.decode() for part in arguments if isinstance(part, bytes))


__all__ = [
    "FC",
    "Client",
    "ClientError",
    "ConnectionState",
    "DirectoryKind",
    "ServiceError",
    "check",
    "texts",
]
