"""Arbitration of Controls: one owner per set-point, priority, validity, selection, expiry, audit.

Every Control of every connector comes through ``Arbitration.control``; what it lets through goes to the one
connector that declared the point.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Protocol

from s4g_gateway.errors import AccessError, ModelError, TransientError
from s4g_gateway.model import (
    NS_PER_S,
    AddCause,
    Control,
    ControlAnswer,
    ControlModel,
    ControlPoint,
    ControlService,
    ObjectReference,
    Origin,
    OriginCategory,
    Value,
    ValueType,
    refused,
)
from s4g_gateway.profiles.iec61850_90_7 import FunctionState
from s4g_gateway.runtime.clock import Clock
from s4g_gateway.security import AccessPolicy, Action, Principal

Execute = Callable[[Control], Awaitable[ControlAnswer]]
ReadFunction = Callable[[ObjectReference, str], Awaitable[FunctionState]]


class AuditLog(Protocol):
    """Keeps every decision."""

    def record(self, event: Mapping[str, object]) -> None:
        """Appends one decision; must be quick."""
        ...


class CommandLedger(Protocol):
    """Remembers command ids across restarts, so that no command is carried out twice."""

    async def begin(self, command_id: str, time_ns: int) -> ControlAnswer | None:
        """Notes durably that a command starts; returns the answer of an earlier run, None the first time."""
        ...

    async def finish(self, command_id: str, answer: ControlAnswer) -> None:
        """Notes durably how it ended."""
        ...


@dataclass(frozen=True, slots=True)
class Hold:
    """A set-point in force.

    Attributes:
        control: the Control that set it.
        owner: name of the principal that owns it.
        not_after_ns: when it ends.
    """

    control: Control
    owner: str
    not_after_ns: int | None


@dataclass(frozen=True, slots=True)
class _Selection:
    owner: str
    ctl_num: int
    value: Value
    until_s: float


@dataclass(slots=True)
class _Point:
    declaration: ControlPoint
    execute: Execute
    connector: str
    lock: asyncio.Lock
    read_function: ReadFunction | None = None
    hold: Hold | None = None
    selection: _Selection | None = None
    # A release that the device did not confirm is tried again, not forgotten.
    release_due_s: float | None = None


class Arbitration:
    """Decides on Controls.

    Args:
        clock: the clocks.
        policy: who may control what.
        audit: keeps every decision.
        ledger: remembers command ids.
        execute_timeout_s: how long a device may take to confirm.
        validity_s: how long a set-point without its own end holds.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        policy: AccessPolicy,
        audit: AuditLog,
        ledger: CommandLedger,
        execute_timeout_s: float = 10.0,
        validity_s: float = 900.0,
    ) -> None:
        self._clock = clock
        self.policy = policy
        self._audit = audit
        self._ledger = ledger
        self._execute_timeout_s = execute_timeout_s
        self.validity_s = validity_s
        self._points: dict[str, _Point] = {}

    def add(
        self,
        connector: str,
        controls: Iterable[ControlPoint],
        execute: Execute,
        read_function: ReadFunction | None = None,
    ) -> None:
        """Takes in the controllable points of a connector, and how it tells the state of functions."""
        for declaration in controls:
            self._points[declaration.reference] = _Point(
                declaration, execute, connector, asyncio.Lock(), read_function
            )

    def remove(self, connector: str) -> None:
        """Forgets the points of a connector."""
        for reference in [key for key, point in self._points.items() if point.connector == connector]:
            del self._points[reference]

    def points(self) -> tuple[ControlPoint, ...]:
        """Returns every controllable point."""
        return tuple(point.declaration for point in self._points.values())

    def holds(self) -> dict[str, Hold]:
        """Returns the set-points in force by reference."""
        return {name: point.hold for name, point in self._points.items() if point.hold is not None}

    async def control(self, principal: Principal, control: Control) -> ControlAnswer:
        """Decides on one Control and carries it out.

        Returns:
            The answer; accepted means that the device confirmed, or that the selection or cancel took effect.
        """
        answer = self._refusal(principal, control)
        if answer is None:
            point = self._points[control.reference]
            if control.service is ControlService.SELECT:
                answer = self._select(point, principal, control)
            elif control.service is ControlService.CANCEL:
                answer = self._cancel(point, principal)
            else:
                answer = await self._operate_once(point, principal, control)
        self._record(principal, control, answer)
        return answer

    async def read_function(self, principal: Principal, reference: str, code: str = "") -> FunctionState:
        """Asks a device for the state of a function.

        Args:
            principal: who asks.
            reference: the point that takes the function's requests.
            code: which of the functions of that point; empty for the one that the device's settings stand for.

        Raises:
            AccessError: the principal may not read it.
            ModelError: there is no such point, or it takes no function requests.
            AdapterError: the device did not answer, or lacks the function.
        """
        if not self.policy.allows(principal, Action.READ, reference):
            raise AccessError(f"{principal.name} may not read {reference}")
        point = self._points.get(reference)
        if point is None or not point.declaration.functions or point.read_function is None:
            raise ModelError(f"{reference} takes no function requests")
        try:
            async with asyncio.timeout(self._execute_timeout_s):
                return await point.read_function(point.declaration.reference, code)
        except TimeoutError:
            raise TransientError(f"no answer by the device within {self._execute_timeout_s} s") from None

    async def tick(self) -> None:
        """Releases set-points whose validity has ended; call a few times a second."""
        now_ns, now_s = self._clock.wall_ns(), self._clock.monotonic_s()
        due = []
        for point in tuple(self._points.values()):
            if point.selection is not None and now_s >= point.selection.until_s:
                point.selection = None
            hold = point.hold
            if hold is None or hold.not_after_ns is None or now_ns < hold.not_after_ns:
                continue
            if point.release_due_s is None or now_s >= point.release_due_s:
                point.release_due_s = now_s + self._execute_timeout_s
                due.append((point, hold))
        if due:
            await asyncio.gather(*(self._expire(point, hold) for point, hold in due))

    async def _expire(self, point: _Point, hold: Hold) -> None:
        release = Control(
            reference=point.declaration.reference,
            origin=Origin(category=OriginCategory.AUTOMATIC_STATION, identity="arbitration"),
            time_ns=self._clock.wall_ns(),
        )
        async with point.lock:
            if point.hold is not hold:
                return
            answer = await self._execute(point, release)
            if answer.accepted:
                point.hold = None
                point.release_due_s = None
        self._record(Principal(name="arbitration", roles=frozenset()), release, answer)

    def _refusal(self, principal: Principal, control: Control) -> ControlAnswer | None:
        if not self.policy.allows(principal, Action.CONTROL, control.reference):
            return refused(
                AddCause.NO_ACCESS_AUTHORITY, f"{principal.name} may not control {control.reference}"
            )
        point = self._points.get(control.reference)
        if point is None:
            return refused(AddCause.NOT_SUPPORTED, f"{control.reference} is not controllable")
        now_ns = self._clock.wall_ns()
        if control.not_after_ns is not None and control.not_after_ns <= now_ns:
            return refused(AddCause.TIME_LIMIT_OVER, "its validity has ended")
        if control.not_before_ns > now_ns:
            return refused(
                AddCause.INCONSISTENT_PARAMETERS, "its validity starts in the future; send it then"
            )
        if control.service is not ControlService.CANCEL and control.value is not None:
            return _wrong_value(point.declaration, control.value)
        return None

    def _select(self, point: _Point, principal: Principal, control: Control) -> ControlAnswer:
        now_s = self._clock.monotonic_s()
        other = point.selection
        if other is not None and other.owner != principal.name and now_s < other.until_s:
            return refused(AddCause.OBJECT_ALREADY_SELECTED, f"selected by {other.owner}")
        stronger = self._stronger(point, principal, control)
        if stronger is not None:
            return stronger
        until_s = now_s + point.declaration.sbo_timeout_s
        point.selection = _Selection(principal.name, control.ctl_num, control.value, until_s)
        return ControlAnswer(accepted=True, detail="selected")

    def _cancel(self, point: _Point, principal: Principal) -> ControlAnswer:
        if point.selection is None or point.selection.owner != principal.name:
            return refused(AddCause.OBJECT_NOT_SELECTED, "nothing selected by this client")
        point.selection = None
        return ControlAnswer(accepted=True, detail="selection cancelled")

    def _stronger(self, point: _Point, principal: Principal, control: Control) -> ControlAnswer | None:
        hold = point.hold
        if hold is None or hold.owner == principal.name or control.priority <= hold.control.priority:
            return None
        if hold.not_after_ns is not None and self._clock.wall_ns() >= hold.not_after_ns:
            return None
        return refused(
            AddCause.BLOCKED_BY_COMMAND,
            f"{hold.owner} holds it with priority {hold.control.priority}, stronger than {control.priority}",
        )

    async def _operate_once(self, point: _Point, principal: Principal, control: Control) -> ControlAnswer:
        if not control.command_id:
            return await self._operate(point, principal, control)
        key = f"{principal.name}/{control.command_id}"
        earlier = await self._ledger.begin(key, self._clock.wall_ns())
        if earlier is not None:
            return replace(earlier, detail=f"repeat of an earlier command; {earlier.detail}".rstrip("; "))
        answer = await self._operate(point, principal, control)
        await self._ledger.finish(key, answer)
        return answer

    async def _operate(self, point: _Point, principal: Principal, control: Control) -> ControlAnswer:
        async with point.lock:
            selection = point.selection
            if selection is not None and self._clock.monotonic_s() >= selection.until_s:
                selection = point.selection = None
            if selection is not None and selection.owner != principal.name:
                return refused(AddCause.LOCKED_BY_OTHER_CLIENT, f"selected by {selection.owner}")
            if point.declaration.model in (ControlModel.SBO_NORMAL, ControlModel.SBO_ENHANCED):
                if selection is None:
                    return refused(AddCause.OBJECT_NOT_SELECTED, "select it first")
                if (selection.ctl_num, selection.value) != (control.ctl_num, control.value):
                    point.selection = None
                    return refused(
                        AddCause.INCONSISTENT_PARAMETERS, "ctlNum or ctlVal differ from the selection"
                    )
            point.selection = None
            stronger = self._stronger(point, principal, control)
            if stronger is not None:
                return stronger
            if control.test:
                return ControlAnswer(accepted=True, detail="test: not sent to the device")
            answer = await self._execute(point, control)
            if answer.accepted:
                point.hold = self._new_hold(point, principal, control)
                point.release_due_s = None
            return answer

    def _new_hold(self, point: _Point, principal: Principal, control: Control) -> Hold | None:
        declaration, not_after_ns = point.declaration, control.not_after_ns
        # A function stays like a command, unless its request has an end.
        ends = declaration.expires or (declaration.is_function and not_after_ns is not None)
        if control.value is None or not ends:
            return None
        if not_after_ns is None:
            not_after_ns = self._clock.wall_ns() + round(self.validity_s * NS_PER_S)
        return Hold(control, principal.name, not_after_ns)

    async def _execute(self, point: _Point, control: Control) -> ControlAnswer:
        try:
            async with asyncio.timeout(self._execute_timeout_s):
                return await point.execute(control)
        except TimeoutError:
            return refused(
                AddCause.TIME_LIMIT_OVER, f"no confirmation by the device within {self._execute_timeout_s} s"
            )
        except Exception as error:  # noqa: BLE001 - a connector's fault is a refusal, never a lost answer
            return refused(AddCause.UNKNOWN, f"connector {point.connector} failed: {error!r}")

    def _record(self, principal: Principal, control: Control, answer: ControlAnswer) -> None:
        self._audit.record(
            {
                "time_ns": self._clock.wall_ns(),
                "principal": principal.name,
                "origin": control.origin.category.name,
                "identity": control.origin.identity,
                "service": control.service.value,
                "reference": control.reference,
                "value": control.value,
                "priority": control.priority,
                "ctl_num": control.ctl_num,
                "command_id": control.command_id,
                "test": control.test,
                "accepted": answer.accepted,
                "add_cause": answer.add_cause.name,
                "detail": answer.detail,
            }
        )


def _wrong_value(point: ControlPoint, value: Value) -> ControlAnswer | None:
    if isinstance(value, bool):
        fits = point.value_type is ValueType.BOOLEAN
    elif isinstance(value, str):
        fits = point.value_type is ValueType.TEXT or bool(point.functions)
    elif isinstance(value, int):
        fits = point.value_type in (ValueType.FLOAT, ValueType.INTEGER, ValueType.ENUMERATED)
    else:
        fits = point.value_type is ValueType.FLOAT
    if not fits:
        return refused(AddCause.INCONSISTENT_PARAMETERS, f"{value!r} is no {point.value_type} value")
    if isinstance(value, int | float) and not isinstance(value, bool):
        below = point.minimum is not None and not value >= point.minimum
        above = point.maximum is not None and not value <= point.maximum
        if below or above or not isfinite(value):
            limits = f"{point.minimum} to {point.maximum} {point.unit}".rstrip()
            return refused(AddCause.INCONSISTENT_PARAMETERS, f"{value} is outside {limits}")
    return None
