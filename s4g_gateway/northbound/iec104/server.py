"""A running outstation: listener, masters and their rights, subscription, periodic work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING

from s4g_gateway.codecs.iec104 import (
    Cause,
    ClockSynchronised,
    CommandRefused,
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
)
from s4g_gateway.errors import PermanentError, RemoteProtocolError, TransientError
from s4g_gateway.model import NS_PER_S
from s4g_gateway.northbound.iec104.address_book import AddressBook
from s4g_gateway.northbound.iec104.commands import CommandDesk
from s4g_gateway.northbound.iec104.config import GroupTable, split_listen
from s4g_gateway.northbound.iec104.counter_memory import CounterMemory
from s4g_gateway.northbound.iec104.event_store import EventStore, open_journal
from s4g_gateway.northbound.iec104.feed import PointFeed
from s4g_gateway.northbound.iec104.image import DatabaseImage
from s4g_gateway.northbound.iec104.station import Station
from s4g_gateway.northbound.iec104.wire import MasterWire, WireOwner
from s4g_gateway.runtime.contract import Services
from s4g_gateway.runtime.journal import Journal
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
        self._feeds: list[PointFeed] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._is_gone = asyncio.Event()
        self._overflowing: set[str] = set()
        self._periods_s: set[float] = set()
        self._followed_s: set[float] = set()
        self._is_loaded = False
        self._is_new_book_due = False

    async def run(self) -> None:
        """Listens until cancelled, then closes links in order."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                await self._build(stack)
                server = await self._listen()
                try:
                    async with asyncio.TaskGroup() as self._tasks:
                        self._tasks.create_task(self._gauge())
                        self._tasks.create_task(self._every(self._config.event_commit_s / 2, self._save))
                        if self._config.background_period_s > 0:
                            work = self._every(self._config.background_period_s, self._send_background)
                            self._tasks.create_task(work)
                        self._follow_periods()
                finally:
                    server.close()
            finally:
                await self._stop()

    # -- building ----------------------------------------------------------------------------------

    async def _build(self, stack: contextlib.AsyncExitStack) -> None:
        """Makes one protocol object for every set of roles: masters with equal rights share one."""
        journals = await self._open_journals(stack)
        by_roles: dict[frozenset[str], list[GroupTable]] = {}
        for group in self._config.groups:
            by_roles.setdefault(frozenset(group.roles), []).append(group)
        for roles, groups in by_roles.items():
            principal = Principal(name=self._services.principal.name, roles=roles)
            memory = CounterMemory(
                self._services.state_directory / f"counters-{'-'.join(sorted(roles))}.json"
            )
            stack.callback(memory.close)
            image = DatabaseImage(
                memory,
                select_timeout_s=self._config.select_timeout_s,
                counter_time_tags=self._config.counter_time_tags,
            )
            station = Station(
                Outstation(self._protocol_config(groups, journals), image),
                image,
                clock=self._services.clock,
                counters=self._services.counters,
                on_event=self._on_event,
            )
            self._stations.append(station)
            self._station_of.update({group.name: station for group in groups})
            self._feeds.append(
                PointFeed(station, principal, self._services, self._config.time_zone_offset_minutes)
            )
        if journals:
            await self._restore(journals)
        # From here on nothing waits, so no change of the site comes in between.
        self._load()

    async def _open_journals(self, stack: contextlib.AsyncExitStack) -> dict[str, Journal]:
        """Opens the journal of every group; a disk that cannot be used leaves events in memory only."""
        folder = self._services.state_directory / "events"
        journals: dict[str, Journal] = {}
        for group in self._config.groups:
            journal = open_journal(
                folder, group.name, group.event_capacity, self._config.event_commit_s, self._services.clock
            )
            try:
                journals[group.name] = await stack.enter_async_context(journal)
            except PermanentError as error:
                self._log.error("events are kept in memory only", group=group.name, reason=str(error))
        return journals

    async def _restore(self, journals: Mapping[str, Journal]) -> None:
        """Puts the events of earlier runs back into the queues."""
        folder = self._services.state_directory / "events"
        book = await asyncio.to_thread(AddressBook.of, self._connector.signal_list)
        for name, journal in journals.items():
            station = self._station_of[name]
            store = EventStore(name, station.outstation, journal, book)
            await store.restore(folder, self._services.clock.wall_ns())
            station.stores.append(store)
        self._keep_book(book)
        with contextlib.suppress(OSError):
            book.delete_others(folder)

    def _keep_book(self, book: AddressBook) -> None:
        try:
            book.write(self._services.state_directory / "events")
        except OSError as error:
            # Events stored from now on are given up if the site changes before the next start.
            self._log.error("meaning of addresses cannot be kept", reason=str(error))
        for station in self._stations:
            for store in station.stores:
                store.save()
                store.book = book

    def _load(self) -> None:
        """Leads the site's points to the stations."""
        signal_list = self._connector.signal_list
        for feed in self._feeds:
            feed.load(self._connector.data_sets, signal_list)
        self._periods_s = {s.cyclic_period_s for s in signal_list.signals if s.cyclic_period_s > 0}
        if self._is_new_book_due and any(station.stores for station in self._stations):
            self._is_new_book_due = False
            self._keep_book(AddressBook.of(signal_list))
        self._connector.release_signal_list()
        self._is_loaded = True

    def adopt(self) -> None:
        """Goes over to the connector's new points; masters stay connected.

        Raises:
            TransientError: the database does not have them; everything is as before.
        """
        self._is_new_book_due = True
        if self._is_loaded:
            self._load()
            self._follow_periods()

    def _protocol_config(
        self, groups: Iterable[GroupTable], journals: Mapping[str, Journal]
    ) -> OutstationConfig:
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
                    keep_unsaved=group.name in journals,
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
            case CommandRefused():
                self._desk.refused(station, event)
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
        """Empties the event buffer, or begins anew towards every master, for one that may also command."""
        principal = self._principals.get((station, event.link))
        if event.qualifier is ResetQualifier.EVENT_BUFFER:
            station.answer(event.token, accepted=True)
            return
        may_reset = principal is not None and self._may_command(station, principal)
        self._log.warning(
            "process reset" if may_reset else "process reset refused",
            master="" if principal is None else principal.name,
        )
        if may_reset:
            self._services.counters.add("process_resets_total")
        station.answer(event.token, accepted=may_reset)
        if may_reset:
            for other in self._stations:
                if other is not station:
                    other.reset()

    def _may_command(self, station: Station, principal: Principal) -> bool:
        policy = self._services.database.policy
        return any(
            policy.allows(principal, Action.CONTROL, reference)
            for reference in ("*", *station.image.command_references)
        )

    # -- periodic work -----------------------------------------------------------------------------

    def _follow_periods(self) -> None:
        """Begins with cyclic periods that are new; one that no point has any more sends nothing."""
        if self._tasks is not None:
            for period_s in sorted(self._periods_s - self._followed_s):
                self._followed_s.add(period_s)
                self._tasks.create_task(self._every(period_s, partial(self._send_cyclic, period_s)))

    async def _every(self, period_s: float, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s = max(due_s + period_s, loop.time())
            await asyncio.sleep(due_s - loop.time())
            work()

    def _send_cyclic(self, period_s: float) -> None:
        for station in self._stations:
            for part in station.image.parts:
                asdus = part.encoder.cyclic(part.view.snapshot(), period_s)
                if asdus:
                    station.publish(asdus)

    def _send_background(self) -> None:
        for station in self._stations:
            for part in station.image.parts:
                station.publish(part.encoder.present(part.view.snapshot(), cause=Cause.BACKGROUND))

    def _save(self) -> None:
        for station in self._stations:
            for store in station.stores:
                store.save()
                store.settle()

    async def _gauge(self) -> None:
        counters = self._services.counters
        while True:
            statuses = [self._station_of[name].outstation.group_status(name) for name in self._groups]
            counters.set("links", len(self._wires))
            counters.set("links_active", sum(status.active_link is not None for status in statuses))
            counters.set("events_buffered", sum(status.buffered for status in statuses))
            journals = [store.journal for station in self._stations for store in station.stores]
            counters.set(
                "events_stored", sum(store.stored for station in self._stations for store in station.stores)
            )
            counters.set("event_journal_bytes", sum(journal.size_bytes for journal in journals))
            counters.set(
                "event_journal_failing",
                len(journals) < len(self._groups) or any(journal.failing for journal in journals),
            )
            await asyncio.sleep(GAUGES_S)

    async def _stop(self) -> None:
        self._is_loaded = False
        for feed in self._feeds:
            feed.close()
        await self._desk.stop()
        for wire, (station, _) in tuple(self._wires.items()):
            station.close(wire.link, "the outstation stops")
        for station in self._stations:
            station.stop()
        self._save()
        # Transports write what is left in the next turns of the loop.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._wires:
                    self._is_gone.clear()
                    await self._is_gone.wait()
        for wire in tuple(self._wires):
            wire.abort()
