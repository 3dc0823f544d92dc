"""Controls, as a client sends them: select, operate, cancel, command termination, AddCause.

Source: IEC 61850-7-2 control model, mapped by IEC 61850-8-1 (clauses unverified, via libiec61850).
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any, Final

from s4g_gateway.errors import TransientError
from s4g_gateway.model import ACCEPTED, AddCause, ControlAnswer, ControlModel, Origin, refused
from s4g_gateway.workers.libiec61850.client import FC, Client, ClientError, ServiceError
from s4g_gateway.workers.libiec61850.library import load
from s4g_gateway.workers.libiec61850.values import assign, default_value, owned

_TERMINATION_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_ENHANCED: Final = (ControlModel.DIRECT_ENHANCED, ControlModel.SBO_ENHANCED)
_SELECTED: Final = (ControlModel.SBO_NORMAL, ControlModel.SBO_ENHANCED)
_NO_LINK: Final = (
    ClientError.NOT_CONNECTED,
    ClientError.CONNECTION_LOST,
    ClientError.TIMEOUT,
    ClientError.OUTSTANDING_CALL_LIMIT_REACHED,
)
_CAUSES: Final = {
    ClientError.ACCESS_DENIED: AddCause.NO_ACCESS_AUTHORITY,
    ClientError.OBJECT_VALUE_INVALID: AddCause.INCONSISTENT_PARAMETERS,
    ClientError.TYPE_INCONSISTENT: AddCause.INCONSISTENT_PARAMETERS,
    ClientError.OBJECT_DOES_NOT_EXIST: AddCause.NOT_SUPPORTED,
    ClientError.OBJECT_UNDEFINED: AddCause.NOT_SUPPORTED,
}


class ControlObject:
    """One controllable data object of a server; its services block.

    Args:
        client: the association; the object lives no longer than it.
        reference: such as ``ER1/DWMX1.WMaxSpt``.

    Raises:
        TransientError: no answer.
        ServiceError: the server has no such object, or it takes no Controls.
    """

    def __init__(self, client: Client, reference: str) -> None:
        self._client = client
        self._lib: Any = load()
        self.reference = reference
        handle = self._lib.ControlObjectClient_create(reference.encode(), client.handle)
        if not handle:
            if not client.is_connected:
                raise TransientError(f"control object {reference}: not connected")
            raise ServiceError(f"control object {reference}", ClientError.OBJECT_DOES_NOT_EXIST)
        self._handle: int | None = handle
        self._terminated = threading.Event()
        self._termination: tuple[int, int] = (0, 0)
        self._handler = _TERMINATION_HANDLER(self._on_termination)
        self._lib.ControlObjectClient_setCommandTerminationHandler(handle, self._handler, None)
        self._release = client.release_with(self._destroy)

    @property
    def model(self) -> ControlModel:
        """The control model that the server asks for."""
        return ControlModel(self._lib.ControlObjectClient_getControlModel(self._handle))

    def close(self) -> None:
        """Frees the object; idempotent."""
        self._client.forget(self._release)
        self._destroy()

    def set_origin(self, origin: Origin, *, test: bool = False) -> None:
        """Sets the originator and the test flag of the next services."""
        self._lib.ControlObjectClient_setOrigin(
            self._handle, origin.identity.encode("ascii", "replace"), int(origin.category)
        )
        self._lib.ControlObjectClient_setTestMode(self._handle, test)

    def select(self, value: object = None) -> ControlAnswer:
        """Selects; with a value where the model is SBO with enhanced security.

        Args:
            value: ctlVal, needed by SBO with enhanced security.

        Raises:
            EncodeError: the value does not fit ctlVal.
            ServiceError: the server shows no type for ctlVal.
        """
        if self.model is ControlModel.SBO_ENHANCED:
            with owned(self._ctl_val(value)) as ctl_val:
                done = self._lib.ControlObjectClient_selectWithValue(self._handle, ctl_val)
        else:
            done = self._lib.ControlObjectClient_select(self._handle)
        return ACCEPTED if done else self._refusal("select", AddCause.SELECT_FAILED)

    def cancel(self) -> ControlAnswer:
        """Cancels a selection."""
        done = self._lib.ControlObjectClient_cancel(self._handle)
        return ACCEPTED if done else self._refusal("cancel", AddCause.UNKNOWN)

    def operate(self, value: object, *, termination_timeout_s: float = 30.0) -> ControlAnswer:
        """Operates; with enhanced security it waits for the command termination.

        Args:
            value: ctlVal; a number goes to the right element of an analogue value.
            termination_timeout_s: longest wait for the command termination.

        Raises:
            EncodeError: the value does not fit ctlVal.
            ServiceError: the server shows no type for ctlVal.
        """
        self._terminated.clear()
        with owned(self._ctl_val(value)) as ctl_val:
            done = self._lib.ControlObjectClient_operate(self._handle, ctl_val, 0)
        if not done:
            return self._refusal("operate", AddCause.UNKNOWN)
        if self.model not in _ENHANCED:
            return ACCEPTED
        if not self._terminated.wait(termination_timeout_s):
            return refused(
                AddCause.TIME_LIMIT_OVER, f"no command termination within {termination_timeout_s} s"
            )
        error, cause = self._termination
        if error == 0 and cause in (AddCause.UNKNOWN, AddCause.NONE):
            return ACCEPTED
        return refused(_add_cause(cause, AddCause.UNKNOWN), "negative command termination")

    def carry_out(self, value: object, *, termination_timeout_s: float = 30.0) -> ControlAnswer:
        """Operates, with the select before where the model asks for it.

        Raises:
            EncodeError: the value does not fit ctlVal.
            ServiceError: the server shows no type for ctlVal.
        """
        if self.model in _SELECTED:
            answer = self.select(value)
            if not answer.accepted:
                return answer
        return self.operate(value, termination_timeout_s=termination_timeout_s)

    def _ctl_val(self, value: object) -> int:
        made = default_value(self._client.specification(f"{self.reference}.Oper.ctlVal", FC.CO))
        try:
            assign(made, value)
        except BaseException:
            self._lib.MmsValue_delete(made)
            raise
        return made

    def _on_termination(self, parameter: int | None, control: int) -> None:
        del parameter
        found = self._lib.ControlObjectClient_getLastApplError(control)
        self._termination = (found.error, found.add_cause)
        self._terminated.set()

    def _refusal(self, what: str, otherwise: AddCause) -> ControlAnswer:
        code = self._lib.ControlObjectClient_getLastError(self._handle)
        known = ClientError(code) if code in ClientError.__members__.values() else ClientError.UNKNOWN
        if known in _NO_LINK:
            return refused(
                AddCause.ABORTION_BY_COMMUNICATION_LOSS, f"{what}: {known.name.lower().replace('_', ' ')}"
            )
        found = self._lib.ControlObjectClient_getLastApplError(self._handle)
        detail = f"{what} refused: {known.name.lower().replace('_', ' ')}"
        if found.add_cause not in (AddCause.UNKNOWN, AddCause.NONE):
            return refused(_add_cause(found.add_cause, otherwise), detail)
        return refused(_CAUSES.get(known, otherwise), detail)

    def _destroy(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._lib.ControlObjectClient_destroy(handle)


def _add_cause(code: int, otherwise: AddCause) -> AddCause:
    return AddCause(code) if code in AddCause.__members__.values() else otherwise
