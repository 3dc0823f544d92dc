"""Commands of masters become Controls, and answers of devices become confirmations."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import structlog

from s4g_gateway.codecs.iec104 import Cause, CommandRefused, CommandReleased, CommandRequested, RefusalReason
from s4g_gateway.errors import DecodeError
from s4g_gateway.model import (
    NS_PER_S,
    AddCause,
    Control,
    ControlAnswer,
    ControlService,
    Origin,
    OriginCategory,
    Value,
    refused,
)
from s4g_gateway.northbound.iec104.station import Station
from s4g_gateway.profiles.iec104.commands import command_value
from s4g_gateway.profiles.iec104.refusals import load_refusals
from s4g_gateway.profiles.iec104.signals import CommandSignal
from s4g_gateway.runtime.contract import Services
from s4g_gateway.security import Principal


class CommandDesk:
    """Carries commands to the RealTimeDatabase and the answers back.

    Args:
        services: database, clocks, log, counters.
        priority: priority of the Controls.
        validity_s: how long a set-point holds, 0 for the site's default.
    """

    def __init__(self, services: Services, *, priority: int, validity_s: float) -> None:
        self._services = services
        self._log: structlog.stdlib.BoundLogger = services.log
        self._priority = priority
        self._validity_ns = round(validity_s * NS_PER_S)
        self._ctl_num = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._selections: dict[int, tuple[Principal, Control]] = {}

    def request(self, station: Station, principal: Principal, request: CommandRequested) -> None:
        """Starts on a command; the confirmation follows when the device has answered."""
        self._services.counters.add("commands_total")
        command = station.image.command(request.common_address, request.address)
        self._start(self._carry_out(station, principal, request, command))

    def refused(self, station: Station, event: CommandRefused) -> None:
        """Notes a command that the protocol object has refused by itself; the master sees less than this."""
        row = load_refusals().by_reason[event.reason]
        command = station.image.command_at(event.common_address, event.address)
        if event.reason is not RefusalReason.NO_ANSWER:  # that one was counted when it was requested
            self._services.counters.add("commands_total")
        self._services.counters.add("commands_rejected_total")
        self._log.info(
            "command refused",
            master=event.peer,
            reference=None if command is None else command.reference,
            common_address=event.common_address,
            address=event.address,
            add_cause=row.add_cause.name,
            cause=int(row.cause),
            detail=row.meaning,
        )

    def release(self, released: CommandReleased) -> None:
        """Gives back a selection that ended without execution."""
        self._give_back(released.token)

    async def stop(self) -> None:
        """Ends what is under way; nobody is left to be told."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for held in tuple(self._selections.values()):
            await self._cancel(*held)
        self._selections.clear()

    def _give_back(self, token: int) -> None:
        held = self._selections.pop(token, None)
        if held is not None:
            self._start(self._cancel(*held))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(
        self, station: Station, principal: Principal, request: CommandRequested, command: CommandSignal
    ) -> None:
        try:
            value = command_value(command, request.value)
        except DecodeError as error:
            answer = refused(AddCause.INCONSISTENT_PARAMETERS, str(error))
        else:
            answer = await self._control(principal, request, command, value)
        cause = Cause.ACTIVATION_CON
        if not answer.accepted:
            cause = load_refusals().by_add_cause[answer.add_cause].cause
            self._services.counters.add("commands_rejected_total")
            self._log.info(
                "command refused",
                master=principal.name,
                reference=command.reference,
                add_cause=answer.add_cause.name,
                cause=int(cause),
                detail=answer.detail,
            )
        heard = station.answer(request.token, accepted=answer.accepted, ended=not request.select, cause=cause)
        if not heard and answer.accepted and request.select:
            self._give_back(request.token)

    async def _control(
        self, principal: Principal, request: CommandRequested, command: CommandSignal, value: Value
    ) -> ControlAnswer:
        database = self._services.database
        if request.select:
            control = self._as_control(principal, request, command, value, ControlService.SELECT)
            answer = await database.control(principal, control)
            if answer.accepted:
                self._selections[request.token] = (principal, control)
            return answer
        selected = None if request.selection is None else self._selections.pop(request.selection, None)
        if selected is not None:
            control = self._as_control(
                principal, request, command, value, ControlService.OPERATE, ctl_num=selected[1].ctl_num
            )
            return await database.control(principal, control)
        control = self._as_control(principal, request, command, value, ControlService.OPERATE)
        if command.device_select:
            # The device's model asks for a select that this master's point does not show.
            select = self._as_control(
                principal, request, command, value, ControlService.SELECT, ctl_num=control.ctl_num
            )
            answer = await database.control(principal, select)
            if not answer.accepted:
                return answer
        return await database.control(principal, control)

    def _as_control(
        self,
        principal: Principal,
        request: CommandRequested,
        command: CommandSignal,
        value: Value,
        service: ControlService,
        *,
        ctl_num: int | None = None,
    ) -> Control:
        if ctl_num is None:
            ctl_num = self._ctl_num = (self._ctl_num + 1) % 256
        time_ns = request.received_ns if request.time is None else request.time.time_ns
        not_after_ns = None
        if self._validity_ns and service is ControlService.OPERATE:
            not_after_ns = self._services.clock.wall_ns() + self._validity_ns
        return Control(
            reference=command.reference,
            service=service,
            value=value,
            origin=Origin(category=OriginCategory.REMOTE_CONTROL, identity=principal.name),
            ctl_num=ctl_num,
            time_ns=time_ns,
            test=request.test,
            priority=self._priority,
            not_after_ns=not_after_ns,
        )

    async def _cancel(self, principal: Principal, selected: Control) -> None:
        control = Control(
            reference=selected.reference,
            service=ControlService.CANCEL,
            origin=selected.origin,
            ctl_num=selected.ctl_num,
            time_ns=self._services.clock.wall_ns(),
            priority=self._priority,
        )
        await self._services.database.control(principal, control)
