"""An IEC 60870-5-104 master over TCP or TLS: a control centre for trying out, tests and measurements.

Requests are coroutines that end with the outstation's last word; everything that arrives unasked goes to one
callback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from ssl import SSLContext
from types import TracebackType
from typing import Self, cast

from s4g_gateway.codecs.iec104 import (
    BROADCAST_ADDRESS,
    Cause,
    Closed,
    Columns,
    DataReceived,
    FreezeMode,
    InformationObject,
    LinkState,
    Master,
    MasterConfig,
    MasterEvent,
    Outcome,
    RequestProgress,
    ResetQualifier,
    TransferStarted,
    TransferStopped,
    TypeId,
)
from s4g_gateway.errors import TransientError
from s4g_gateway.runtime.clock import Clock, SystemClock

EventCallback = Callable[[MasterEvent], None]


@dataclass(frozen=True, slots=True)
class MasterAnswer:
    """How a request ended.

    Attributes:
        outcome: the outstation's last word.
        data: what a read or an interrogation brought, in order of arrival.
        confirmed: a positive confirmation came, whatever followed.
    """

    outcome: Outcome
    data: tuple[Columns, ...] = ()
    confirmed: bool = False

    @property
    def is_positive(self) -> bool:
        """True where the request was carried out."""
        return self.outcome in (Outcome.CONFIRMED, Outcome.TERMINATED, Outcome.ANSWERED)


class _Waiting:
    """A request under way, and the data that belong to it."""

    def __init__(self, common_address: int, cause: int | None) -> None:
        self.common_address = common_address
        self.cause = cause
        self.data: list[Columns] = []
        self.confirmed = False
        self.future: asyncio.Future[MasterAnswer] = asyncio.get_running_loop().create_future()


class Iec104Master(asyncio.Protocol):
    """One connection to an outstation; made by ``connect``.

    Args:
        config: windows, time-outs, originator, zone.
        clock: the clocks.
        on_event: called with every event of the protocol object, before requests that it ends go on.
    """

    def __init__(self, config: MasterConfig, clock: Clock, on_event: EventCallback | None) -> None:
        self._clock = clock
        self._on_event = on_event
        self._master = Master(config, clock.monotonic_s())
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._transfer: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0
        self._is_writable = True
        self._closed: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        config: MasterConfig | None = None,
        ssl: SSLContext | None = None,
        server_hostname: str | None = None,
        on_event: EventCallback | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Opens a connection; ``start`` begins the data transfer.

        Args:
            host: name or address of the outstation.
            port: its TCP port, usually 2404, or 19998 with TLS.
            config: behaviour of the master.
            ssl: TLS context with the client's certificate; None for plain TCP.
            server_hostname: name to find in the outstation's certificate, where it is not ``host``.
            on_event: called with every event.
            clock: the clocks, the machine's by default.

        Raises:
            TransientError: no connection within t0.
        """
        settings = config or MasterConfig()
        try:
            async with asyncio.timeout(settings.link.t0_s):
                _, protocol = await asyncio.get_running_loop().create_connection(
                    lambda: cls(settings, clock or SystemClock(), on_event),
                    host,
                    port,
                    ssl=ssl,
                    server_hostname=server_hostname,
                )
        except (OSError, TimeoutError) as error:
            raise TransientError(
                f"outstation {host}:{port}: no connection: {error or 't0 is over'}"
            ) from error
        return protocol

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def state(self) -> LinkState:
        """Where the connection stands."""
        return self._master.state

    async def start(self) -> None:
        """Starts the data transfer (STARTDT).

        Raises:
            LocalProtocolError: it is not stopped.
            TransientError: the connection was lost or the outstation did not confirm.
        """
        self._master.start(self._clock.monotonic_s())
        await self._transfer_changed()

    async def stop(self) -> None:
        """Stops the data transfer (STOPDT). Raises as ``start``."""
        self._master.stop(self._clock.monotonic_s())
        await self._transfer_changed()

    async def close(self) -> None:
        """Closes the connection; requests under way end with LINK_LOST."""
        self._master.close("closed by the master", self._clock.monotonic_s())
        self._settle()
        await self.wait_closed()

    async def wait_closed(self) -> Closed:
        """Waits until the connection is over and returns why."""
        return await asyncio.shield(self._closed)

    async def interrogate(self, common_address: int, *, group: int = 0) -> MasterAnswer:
        """General interrogation (group 0) or group 1 to 16, up to its termination."""
        number = self._master.interrogate(common_address, self._clock.monotonic_s(), group=group)
        return await self._finish(number, common_address, cause=Cause.INTERROGATED_BY_STATION + group)

    async def interrogate_counters(
        self, common_address: int, *, group: int = 0, freeze: FreezeMode = FreezeMode.READ
    ) -> MasterAnswer:
        """Counter interrogation of all (group 0) or group 1 to 4, or their freezing."""
        number = self._master.interrogate_counters(
            common_address, self._clock.monotonic_s(), group=group, freeze=freeze
        )
        return await self._finish(number, common_address, cause=Cause.COUNTERS_GENERAL + group)

    async def synchronise_clock(self, common_address: int) -> MasterAnswer:
        """Sends the present time."""
        now = self._clock.monotonic_s()
        return await self._finish(
            self._master.synchronise_clock(common_address, self._clock.wall_ns(), now), common_address
        )

    async def read(self, common_address: int, address: int) -> MasterAnswer:
        """Reads one object."""
        return await self._finish(
            self._master.read(common_address, address, self._clock.monotonic_s()), common_address
        )

    async def test(self, common_address: int, counter: int = 0) -> MasterAnswer:
        """Sends a test command with time tag."""
        now = self._clock.monotonic_s()
        return await self._finish(
            self._master.test(common_address, counter, self._clock.wall_ns(), now), common_address
        )

    async def reset_process(
        self, common_address: int, qualifier: ResetQualifier = ResetQualifier.GENERAL
    ) -> MasterAnswer:
        """Asks for a reset of the process."""
        return await self._finish(
            self._master.reset_process(common_address, qualifier, self._clock.monotonic_s()), common_address
        )

    async def command(
        self,
        common_address: int,
        type_id: TypeId,
        item: InformationObject,
        *,
        cancel: bool = False,
        test: bool = False,
    ) -> MasterAnswer:
        """Sends one command, selection or cancellation; see ``codecs.iec104.Master.command``."""
        number = self._master.command(
            common_address, type_id, item, self._clock.monotonic_s(), cancel=cancel, test=test
        )
        return await self._finish(number, common_address)

    # -- asyncio.Protocol --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the socket."""
        self._transport = cast("asyncio.Transport", transport)
        self._settle()

    def data_received(self, data: bytes) -> None:
        """Takes octets."""
        self._master.receive_data(data, self._clock.monotonic_s())
        self._settle()

    def pause_writing(self) -> None:
        """Stops writing: the socket is full."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """Goes on writing."""
        self._is_writable = True
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Takes the loss of the socket."""
        self._transport = None
        self._master.close(
            "the outstation closed the connection" if exc is None else f"connection lost: {exc}",
            self._clock.monotonic_s(),
        )
        self._settle()

    # -- inside ------------------------------------------------------------------------------------

    async def _transfer_changed(self) -> None:
        self._transfer = asyncio.get_running_loop().create_future()
        self._settle()
        await self._transfer

    async def _finish(self, number: int, common_address: int, *, cause: int | None = None) -> MasterAnswer:
        waiting = self._waiting[number] = _Waiting(common_address, cause)
        self._settle()
        try:
            return await waiting.future
        finally:
            self._waiting.pop(number, None)

    def _settle(self) -> None:
        """Writes, hands out events, sets the timer; the rule after every call."""
        if self._transport is not None and self._is_writable:
            data = self._master.data_to_send(self._clock.monotonic_s())
            if data:
                self._transport.write(data)
        for event in self._master.events():
            if self._on_event is not None:
                self._on_event(event)
            self._take(event)
        self._arm()

    def _take(self, event: MasterEvent) -> None:
        if isinstance(event, DataReceived):
            header = event.columns.header
            for waiting in self._waiting.values():
                if header.cause == waiting.cause and waiting.common_address in (
                    header.common_address,
                    BROADCAST_ADDRESS,
                ):
                    waiting.data.append(event.columns)
                    break
        elif isinstance(event, RequestProgress):
            found = None if event.request is None else self._waiting.get(event.request)
            if found is None or found.future.done():
                return
            found.confirmed = found.confirmed or event.outcome is Outcome.CONFIRMED
            if event.outcome is Outcome.ANSWERED and event.columns is not None:
                found.data.append(event.columns)
            if event.done:
                found.future.set_result(MasterAnswer(event.outcome, tuple(found.data), found.confirmed))
        elif isinstance(event, (TransferStarted, TransferStopped)):
            self._end_transfer_change(None)
        elif isinstance(event, Closed):
            self._end_transfer_change(TransientError(f"the connection is over: {event.reason}"))
            if not self._closed.done():
                self._closed.set_result(event)
            if self._transport is not None and self._is_writable:
                self._transport.close()
            elif self._transport is not None:
                self._transport.abort()

    def _end_transfer_change(self, error: TransientError | None) -> None:
        if self._transfer is not None and not self._transfer.done():
            if error is None:
                self._transfer.set_result(None)
            else:
                self._transfer.set_exception(error)

    def _arm(self) -> None:
        due = self._master.next_deadline()
        if self._timer is not None:
            # A timer that comes too early finds nothing to do and sets itself anew: cheaper than moving it.
            if due is not None and self._timer_due_s <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer_due_s = due
            delay = max(0.0, due - self._clock.monotonic_s())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._master.handle_deadline(self._clock.monotonic_s())
        self._settle()
