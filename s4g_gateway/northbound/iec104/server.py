"""A running outstation: listener, masters and their rights, subscription, periodic work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING

from s4g_gateway.codecs.iec104 import (
    Cause,
    ClockSynchronised,
    CommandReleased,
    CommandRequested,
    EventsDropped,
    GroupConfig,
    LinkClosed,
    LinkParameters,
    LinkStarted,
    LinkStopped,
    Outstation,
    OutstationConfig,
    OutstationEvent,
    ResetQualifier,
    ResetRequested,
    TimeCoder,
)
from s4g_gateway.errors import (
    ModelError,
    RemoteProtocolError,
    TransientError,
)
from s4g_gateway.model import NS_PER_S, DataSet, ObjectReference
from s4g_gateway.northbound.iec104.commands import CommandDesk
from s4g_gateway.northbound.iec104.config import GroupTable, split_listen
from s4g_gateway.northbound.iec104.image import DatabaseImage
from s4g_gateway.northbound.iec104.station import Station
from s4g_gateway.northbound.iec104.wire import MasterWire, WireOwner
from s4g_gateway.profiles.iec104 import (
    Signal,
)
from s4g_gateway.runtime.contract import Services
from s4g_gateway.runtime.database import Subscription
from s4g_gateway.security import Action, Principal

if TYPE_CHECKING:
    from s4g_gateway.northbound.iec104.connector import Iec104Outstation

TLS_HANDSHAKE_S = 10.0
GAUGES_S = 1.0
CLOSE_S = 2.0


class OutstationServer(WireOwner):
    """One run of the outstation.

    Args:
        connector: what was compiled.
        services: what the runtime gives.
        tls: certificates, None for plain TCP.
    """

    def __init__(self, connector: Iec104Outstation, services: Services, tls: SSLContext | None) -> None:
        self._connector = connector
        self._config = connector.config
        self._services = services
        self._tls = tls
        self._log = services.log
        self._desk = CommandDesk(
            services,
            priority=self._config.command_priority,
            validity_s=self._config.setpoint_validity_s,
        )
        self._stations: list[Station] = []
        self._station_of: dict[str, Station] = {}
        self._groups = {group.name: group for group in self._config.groups}
        self._wires: dict[MasterWire, tuple[Station, GroupTable]] = {}
        self._principals: dict[tuple[Station, int], Principal] = {}
        self._subscriptions: list[Subscription] = []
        self._is_gone = asyncio.Event()
        self._overflowing: set[str] = set()
        self._periods_s: set[float] = set()

    async def run(self) -> None:
        """Listens until cancelled, then closes links in order."""
        try:
            self._build()
            self._connector.release_signal_list()
            server = await self._listen()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._gauge())
                    for station in self._stations:
                        for work in self._periodic(station):
                            group.create_task(work)
            finally:
                server.close()
        finally:
            await self._stop()

    # -- building ----------------------------------------------------------------------------------

    def _build(self) -> None:
        """Makes one protocol object for every set of roles: masters with equal rights share one."""
        signal_list = self._connector.signal_list
        listed = signal_list.by_reference
        self._periods_s = {signal.cyclic_period_s for signal in signal_list.signals}
        by_roles: dict[frozenset[str], list[GroupTable]] = {}
        for group in self._config.groups:
            by_roles.setdefault(frozenset(group.roles), []).append(group)
        for roles, groups in by_roles.items():
            principal = Principal(name=self._services.principal.name, roles=roles)
            image = DatabaseImage(
                signal_list,
                select_timeout_s=self._config.select_timeout_s,
                counter_time_tags=self._config.counter_time_tags,
            )
            outstation = Outstation(self._protocol_config(groups), image)
            station = Station(
                outstation,
                image,
                clock=self._services.clock,
                counters=self._services.counters,
                on_event=self._on_event,
            )
            self._stations.append(station)
            self._station_of.update({group.name: station for group in groups})
            for data_set in self._connector.data_sets:
                self._add_data_set(station, principal, data_set, listed)

    def _protocol_config(self, groups: Iterable[GroupTable]) -> OutstationConfig:
        config = self._config
        return OutstationConfig(
            groups=tuple(
                GroupConfig(
                    name=group.name,
                    event_capacity=group.event_capacity,
                    overflow_point=(config.common_address, group.overflow_ioa)
                    if group.overflow_ioa
                    else None,
                    max_links=group.max_connections,
                )
                for group in groups
            ),
            link=LinkParameters(k=config.k, w=config.w, t1_s=config.t1_s, t2_s=config.t2_s, t3_s=config.t3_s),
            zone_offset_minutes=config.time_zone_offset_minutes,
            end_of_initialisation=config.initialisation,
            command_max_age_s=config.command_max_age_s,
            command_max_ahead_s=config.command_max_age_s,
            terminate_commands=config.terminate_commands,
        )

    def _add_data_set(
        self,
        station: Station,
        principal: Principal,
        data_set: DataSet,
        listed: Mapping[ObjectReference, Signal],
    ) -> None:
        database = self._services.database
        members = [
            member
            for member in data_set.members
            if member.reference in listed
            and database.policy.allows(principal, Action.READ, member.reference)
            and database.policy.allows(principal, Action.SUBSCRIBE, member.reference)
        ]
        if not members:
            return
        signals = tuple(listed[member.reference] for member in members)
        coder = TimeCoder(self._config.time_zone_offset_minutes)
        try:
            if len(members) == len(data_set):
                part = station.image.add(data_set, database.view(principal, data_set), signals, coder)
                deliver = partial(station.deliver, part)
                self._subscriptions.append(database.subscribe(principal, [data_set], deliver))
            else:
                # The rest is not for these masters, or has no place in the protocol.
                reduced = DataSet(data_set.name, tuple(members))
                part = station.image.add(reduced, database.view(principal, reduced), signals, coder)
                deliver = partial(station.deliver, part)
                self._subscriptions.append(database.subscribe_view(principal, reduced, deliver))
        except ModelError as error:
            raise TransientError(f"the site's points are not there yet: {error}") from error

    async def _listen(self) -> asyncio.Server:
        where = split_listen(self._config.listen)
        host, port = where if where is not None else ("127.0.0.1", 0)
        try:
            server = await asyncio.get_running_loop().create_server(
                partial(MasterWire, self),
                host,
                port,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else TLS_HANDSHAKE_S,
            )
        except OSError as error:
            raise TransientError(f"cannot listen on {self._config.listen}: {error}") from error
        host, port = server.sockets[0].getsockname()[:2]
        self._connector.address = (host, port)
        self._log.info("outstation listens", host=host, port=port, tls=self._tls is not None)
        return server

    # -- connections -------------------------------------------------------------------------------

    def accept(self, wire: MasterWire) -> Callable[[bytes], None] | None:
        """Finds the group of a new connection."""
        group = self._group_for(wire)
        reason = ""
        if group is None:
            reason = "no group takes this master"
        elif len(self._wires) >= self._config.max_connections:
            reason = f"{len(self._wires)} connections are open already"
        else:
            station = self._station_of[group.name]
            try:
                wire.link = station.open(group.name, wire.identity, wire)
            except RemoteProtocolError as error:
                reason = str(error)
            else:
                self._wires[wire] = (station, group)
                self._principals[station, wire.link] = Principal(
                    name=wire.identity, roles=frozenset(group.roles)
                )
                return partial(station.received, wire.link)
        self._services.counters.add("connections_rejected_total")
        self._log.warning("connection refused", master=wire.identity, address=wire.address, reason=reason)
        return None

    def _group_for(self, wire: MasterWire) -> GroupTable | None:
        """Returns the first matching group without a connection, else the first matching one."""
        if not wire.identity:
            return None
        matching = [
            group
            for group in self._groups.values()
            if any(fnmatchcase(wire.identity, pattern) for pattern in group.masters)
        ]
        busy = {group.name for _, group in self._wires.values()}
        return next(
            (group for group in matching if group.name not in busy), matching[0] if matching else None
        )

    def gone(self, wire: MasterWire) -> None:
        """The socket is gone."""
        held = self._wires.pop(wire, None)
        if held is not None:
            held[0].lost(wire.link)
        self._is_gone.set()

    def writable(self, wire: MasterWire) -> None:
        """The socket takes data again."""
        held = self._wires.get(wire)
        if held is not None:
            held[0].resume(wire.link)

    # -- events ------------------------------------------------------------------------------------

    def _on_event(self, station: Station, event: OutstationEvent) -> None:
        match event:
            case CommandRequested():
                principal = self._principals.get((station, event.link))
                if principal is None:
                    station.answer(event.token, accepted=False)
                else:
                    self._desk.request(station, principal, event)
            case CommandReleased():
                self._desk.release(event)
            case ResetRequested():
                self._reset(station, event)
            case LinkClosed():
                self._closed(station, event)
            case LinkStarted():
                self._overflowing.discard(event.group)
                self._log.info("master started", master=event.peer, group=event.group)
            case LinkStopped():
                self._log.info("master stopped", master=event.peer, group=event.group)
            case EventsDropped():
                self._services.counters.add("events_dropped_total", event.count)
                self._dropped(event)
            case ClockSynchronised():
                self._clock(event)

    def _dropped(self, event: EventsDropped) -> None:
        """Says once per outage that a group's buffer is full; the counter tells how much was lost."""
        if event.group not in self._overflowing:
            self._overflowing.add(event.group)
            self._log.warning(
                "event buffer full, oldest events are lost", group=event.group, total=event.total
            )

    def _closed(self, station: Station, event: LinkClosed) -> None:
        wire = station.forget(event.link)
        self._principals.pop((station, event.link), None)
        if event.fault is not None:
            self._services.counters.add("protocol_errors_total")
        self._log.info("master gone", master=event.peer, group=event.group, reason=event.reason)
        if wire is not None:
            wire.close()

    def _clock(self, event: ClockSynchronised) -> None:
        """Notes how far the master's clock is from ours; the gateway's clock belongs to the operating system."""
        if event.time.time_ns:
            offset_s = (event.time.time_ns - event.received_ns) / NS_PER_S
            self._services.counters.set("master_clock_offset_s", round(offset_s, 3))

    def _reset(self, station: Station, event: ResetRequested) -> None:
        """Empties the event buffer if asked; nobody restarts the gateway from afar."""
        station.answer(event.token, accepted=event.qualifier is ResetQualifier.EVENT_BUFFER)

    # -- periodic work -----------------------------------------------------------------------------

    def _periodic(self, station: Station) -> Iterator[Coroutine[None, None, None]]:
        for period_s in sorted(period for period in self._periods_s if period > 0):
            yield self._every(period_s, partial(self._send_cyclic, station, period_s))
        if self._config.background_period_s > 0:
            yield self._every(self._config.background_period_s, partial(self._send_background, station))

    async def _every(self, period_s: float, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s = max(due_s + period_s, loop.time())
            await asyncio.sleep(due_s - loop.time())
            work()

    def _send_cyclic(self, station: Station, period_s: float) -> None:
        for part in station.image.parts:
            asdus = part.encoder.cyclic(part.view.snapshot(), period_s)
            if asdus:
                station.publish(asdus)

    def _send_background(self, station: Station) -> None:
        for part in station.image.parts:
            station.publish(part.encoder.present(part.view.snapshot(), cause=Cause.BACKGROUND))

    async def _gauge(self) -> None:
        counters = self._services.counters
        while True:
            statuses = [self._station_of[name].outstation.group_status(name) for name in self._groups]
            counters.set("links", len(self._wires))
            counters.set("links_active", sum(status.active_link is not None for status in statuses))
            counters.set("events_buffered", sum(status.buffered for status in statuses))
            await asyncio.sleep(GAUGES_S)

    async def _stop(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        await self._desk.stop()
        for wire, (station, _) in tuple(self._wires.items()):
            station.close(wire.link, "the outstation stops")
        for station in self._stations:
            station.stop()
        # Transports write what is left in the next turns of the loop.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._wires:
                    self._is_gone.clear()
                    await self._is_gone.wait()
        for wire in tuple(self._wires):
            wire.abort()
