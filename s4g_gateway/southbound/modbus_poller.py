"""Polls one device, for ever: finds it, reads it in its period, carries out its Controls, waits when it is gone."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Generator
from typing import TypeVar

from s4g_gateway.errors import PermanentError, RemoteProtocolError, TransientError
from s4g_gateway.model import AddCause, Control, ControlAnswer, Value, refused
from s4g_gateway.model.timestamp import NS_PER_S
from s4g_gateway.profiles.iec61850_90_7 import FunctionState
from s4g_gateway.profiles.modbus.answers import (
    GATEWAY_PATH_UNAVAILABLE,
    GATEWAY_TARGET_FAILED,
    ILLEGAL_DATA_ADDRESS,
    Answer,
)
from s4g_gateway.profiles.modbus.reads import Read, Step, Wait, Write
from s4g_gateway.runtime.contract import Services
from s4g_gateway.southbound.modbus_bus import ModbusBus
from s4g_gateway.southbound.modbus_device import BoundDevice, ModbusDevice
from s4g_gateway.southbound.set_points import SetPoint, SetPointStore

# A map that has moved shows as illegal addresses; it is looked for again, but not at every poll.
REDISCOVER_S = 60.0
# Even a device with a long period is read soon after the start.
FIRST_POLL_WITHIN_S = 1.0
# Arbitration ends set-points; the poller steps in when it has not done so in this time.
EXPIRY_GRACE_S = 15.0

Result = TypeVar("Result")


class DevicePoller:
    """One device.

    Args:
        device: as configured.
        bus: its connection.
        services: of the connector.
        store: set-points of the connector.
    """

    def __init__(
        self, device: ModbusDevice, bus: ModbusBus, services: Services, store: SetPointStore
    ) -> None:
        self.device = device
        self._bus = bus
        self._services = services
        self._store = store
        self._unit_id = device.config.unit_id
        self._bound: BoundDevice | None = None
        self._generation = -1
        self._failures = 0
        self._is_lost = False
        self._has_told = False
        self._remarked: set[str] = set()
        self._rediscover_at_s = 0.0
        self._references = frozenset(point.reference for point in device.controls)
        self._expiring = frozenset(point.reference for point in device.controls if point.expires)
        self._functions = frozenset(point.reference for point in device.controls if point.is_function)
        self._one_control = asyncio.Lock()
        self._periods_s = [supplied.period_s for supplied in device.supplied]
        # Spreads devices over the period, the same way after every start.
        seed = zlib.crc32(f"{services.name}/{device.config.label}".encode())
        self._offset = seed / 2**32
        self._due_s: list[float] = []

    async def run(self) -> None:
        """Polls until cancelled."""
        start_s = self._now_s() + self._offset * min(*self._periods_s, FIRST_POLL_WITHIN_S)
        self._due_s = [start_s] * len(self._periods_s)
        while True:
            index = min(range(len(self._due_s)), key=self._due_s.__getitem__)
            await asyncio.sleep(max(self._due_s[index] - self._now_s(), 0.0))
            try:
                bound = await self._find()
                await self._poll(bound, index)
            except (TransientError, RemoteProtocolError) as error:
                _honour_cancellation()
                await self._endure(error)
            else:
                _honour_cancellation()
                self._note_return()
            self._schedule(index)

    async def execute(self, control: Control) -> ControlAnswer:
        """Carries out one Control and reads the device afterwards, so that its effect shows at once."""
        reference, value = control.reference, control.value
        async with self._one_control:
            if self._bound is None or self._is_lost:
                return refused(
                    AddCause.ABORTION_BY_COMMUNICATION_LOSS, f"{self.device.config.label} is out of reach"
                )
            ends = reference in self._functions and value is not None and control.not_after_ns is not None
            if reference not in self._expiring and not ends:
                answer, _ = await self._operate(reference, value, None)
                if answer.accepted:
                    await self._store.forget(reference)
            else:
                answer = await self._operate_set_point(reference, control)
        if answer.accepted:
            await self._refresh()
        return answer

    async def read_function(self, reference: str, code: str) -> FunctionState:
        """Reads the state of a function.

        Raises:
            TransientError: the device is out of reach.
            PermanentError: it lacks the function.
        """
        async with self._one_control:
            if self._bound is None or self._is_lost:
                raise TransientError(f"{self.device.config.label} is out of reach")
            async with self._bus.urgent_turn():
                state, _ = await self._drive(self._bound.read_function(reference, code))
        if isinstance(state, FunctionState):
            return state
        if state.add_cause is AddCause.ABORTION_BY_COMMUNICATION_LOSS:
            raise TransientError(state.detail)
        raise PermanentError(state.detail)

    async def release(self) -> None:
        """Gives back what the device still holds for us, as far as it can be reached."""
        for reference, point in self._store.items():
            if reference not in self._references or self._bound is None:
                continue
            await self._store.note(reference, SetPoint(None, point.not_after_ns))
            answer, _ = await self._operate(reference, None, None)
            if answer.accepted:
                await self._store.forget(reference)

    # -- polling ---------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self._services.clock.monotonic_s()

    def _schedule(self, index: int) -> None:
        """Sets the next poll on the grid of the period; what lies behind is skipped, not made up for."""
        period_s = self._periods_s[index]
        self._due_s[index] += period_s
        late_s = self._now_s() - self._due_s[index]
        if late_s > 0:
            missed = int(late_s / period_s) + 1
            self._due_s[index] += missed * period_s
            self._services.counters.add("missed_polls_total", missed)

    async def _find(self) -> BoundDevice:
        """Returns the device as found behind the present connection, after looking once per connection."""
        bound = self._bound
        if bound is not None and self._generation == self._bus.generation:
            return bound
        walk = self.device.discover()
        try:
            read = next(walk)
            while True:
                answer = await self._answer(read)
                self._generation = self._bus.generation
                read = walk.send(None if answer.exception else answer.data)
        except StopIteration as found:
            fresh: BoundDevice = found.value
        self._bound = bound = fresh
        for remark in bound.remarks:
            if remark not in self._remarked:
                self._remarked.add(remark)
                self._services.log.warning(remark, device=self.device.config.label)
        await self._restore()
        self._generation = self._bus.generation
        return bound

    async def _answer(self, step: Read) -> Answer:
        return _reached(await self._bus.request(self._unit_id, step))

    async def _poll(self, bound: BoundDevice, index: int) -> None:
        decoder = bound.decoders[index]
        blocks: list[bytes | None] = []
        for read in decoder.reads:
            answer = await self._answer(read)
            if answer.exception == ILLEGAL_DATA_ADDRESS and self._now_s() >= self._rediscover_at_s:
                self._rediscover_at_s = self._now_s() + REDISCOVER_S
                self._generation = -1
            blocks.append(None if answer.exception else answer.data)
        try:
            report = decoder.decode(blocks, self._services.clock.wall_ns())
        except RemoteProtocolError:
            self._generation = -1
            raise
        self._services.database.publish(report)
        if self._store.has_points:
            await self._expire()

    async def _endure(self, error: Exception) -> None:
        config = self._bus.config
        self._failures = min(self._failures + 1, 16)
        if not self._is_lost:
            self._is_lost = True
            self._services.counters.add("devices_lost")
            self._has_told = self._bus.is_connected  # else the bus has told it for all its devices
            if self._has_told:
                self._services.log.warning(
                    "device lost", device=self.device.config.label, unit_id=self._unit_id, reason=str(error)
                )
        wait_s = min(config.retry_min_s * 2 ** (self._failures - 1), config.retry_max_s)
        wait_s *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter, no secret
        # While there is no connection, the connection's own back-off decides.
        await asyncio.sleep(wait_s if self._bus.is_connected else max(self._bus.retry_in_s(), 0.01))

    def _note_return(self) -> None:
        if self._failures:
            self._failures = 0
        if self._is_lost:
            self._is_lost = False
            self._services.counters.add("devices_lost", -1)
            if not self._has_told:
                return
            self._services.log.info("device is back", device=self.device.config.label, unit_id=self._unit_id)

    async def _refresh(self) -> None:
        if self._bound is not None:
            try:
                await self._poll(self._bound, 0)
            except (TransientError, RemoteProtocolError):
                return  # the regular poll will notice and say so

    # -- set-points ------------------------------------------------------------------------------

    async def _operate_set_point(self, reference: str, control: Control) -> ControlAnswer:
        before = self._store.get(reference)
        fresh = SetPoint(control.value, 0 if control.value is None else self._end_ns(control))
        await self._store.note(reference, fresh)
        answer, has_written = await self._operate(reference, fresh.value, self._remaining_s(fresh))
        if answer.accepted:
            if fresh.value is None:
                await self._store.forget(reference)
        elif has_written:
            # Nobody knows what the device holds now: back to what it held with certainty, or to its own rule.
            await self._recover(reference, before or SetPoint(None, 0))
        elif before is None:
            await self._store.forget(reference)
        else:
            await self._store.note(reference, before)
        return answer

    async def _recover(self, reference: str, point: SetPoint) -> None:
        await self._store.note(reference, point)
        answer, _ = await self._operate(reference, point.value, self._remaining_s(point))
        if answer.accepted and point.value is None:
            await self._store.forget(reference)

    async def _restore(self) -> None:
        """Makes a device that is back hold what it should: it may have restarted, and so may have we."""
        for reference, point in self._store.items():
            if reference in self._references:
                if point.value is not None and self._remaining_s(point) <= 0:
                    point = SetPoint(None, 0)  # noqa: PLW2901 - ended while it was away
                await self._recover(reference, point)

    async def _expire(self) -> None:
        for reference, point in self._store.items():
            if reference in self._references and self._remaining_s(point) < -EXPIRY_GRACE_S:
                async with self._one_control:
                    if self._store.get(reference) is point:
                        await self._recover(reference, SetPoint(None, 0))

    def _end_ns(self, control: Control) -> int:
        if control.not_after_ns is not None:
            return control.not_after_ns
        timeout_ns = round(self._bus.config.set_point_timeout_s * NS_PER_S)
        return self._services.clock.wall_ns() + timeout_ns

    def _remaining_s(self, point: SetPoint) -> float:
        return (point.not_after_ns - self._services.clock.wall_ns()) / NS_PER_S

    async def _operate(
        self, reference: str, value: Value, remaining_s: float | None
    ) -> tuple[ControlAnswer, bool]:
        """Carries out an exchange; returns the answer, and whether anything was written."""
        assert self._bound is not None  # noqa: S101 - asked for only with a device
        exchange = self._bound.operate(reference, value, remaining_s)
        async with self._bus.urgent_turn():
            answer, has_written = await self._drive(exchange)
        self._services.counters.add("controls_total")
        if not answer.accepted:
            self._services.counters.add("controls_refused_total")
        return answer, has_written

    async def _drive(self, exchange: Generator[Step, Answer, Result]) -> tuple[Result | ControlAnswer, bool]:
        has_written = False
        try:
            step = next(exchange)
            while True:
                has_written = has_written or isinstance(step, Write)
                if isinstance(step, Wait):
                    await asyncio.sleep(step.duration_s)
                    step = exchange.send(Answer())
                    continue
                step = exchange.send(_reached(await self._bus.request_now(self._unit_id, step)))
        except StopIteration as end:
            result: Result = end.value
            return result, has_written
        except (TransientError, RemoteProtocolError) as error:
            return refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, str(error)), has_written


def _reached(answer: Answer) -> Answer:
    """Returns the answer unless it is a gateway's "there is nobody"."""
    if answer.exception in (GATEWAY_PATH_UNAVAILABLE, GATEWAY_TARGET_FAILED):
        raise TransientError(f"the Modbus gateway cannot reach the unit (exception {answer.exception})")
    return answer


def _honour_cancellation() -> None:
    """Ends the task if it was cancelled: wait_for of Python 3.11, which pymodbus uses, can lose that.

    It does so when what it waits for ends in the same turn of the loop, as when the peer goes and we stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
