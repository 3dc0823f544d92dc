"""A site come alive: supervises its connectors, ages its values, reloads without dropping untouched peers."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from s4g_gateway.errors import AccessError, AdapterError, ConfigError, GatewayError, ModelError
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.audit import JsonLinesAuditLog
from s4g_gateway.runtime.clock import Clock, SystemClock
from s4g_gateway.runtime.config import ConnectorEntry, SiteConfig, load_site
from s4g_gateway.runtime.contract import (
    AdoptingConnector,
    AnsweringConnector,
    Counters,
    FunctionReader,
    Services,
)
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.runtime.ledger import SqliteCommandLedger
from s4g_gateway.security import Action, Principal

TICK_S = 0.25
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 60.0
# A connector that ran this long starts its back-off anew.
HEALTHY_S = 60.0
STOP_TIMEOUT_S = 10.0
# How long a reloaded connector must survive before the old configuration is forgotten.
SETTLE_S = 2.0
_LOG = structlog.get_logger("site")


class ConnectorState(StrEnum):
    """What a connector is doing."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing-off"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorStatus:
    """A connector at this moment.

    Attributes:
        name: its name in the site.
        type: its kind.
        section: southbound or northbound.
        state: what it is doing.
        restarts: how often the supervisor started it anew.
        last_error: why, empty if never.
        counters: its counters and gauges.
    """

    name: str
    type: str
    section: str
    state: ConnectorState
    restarts: int
    last_error: str
    counters: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """A site at this moment.

    Attributes:
        name: the site.
        uptime_s: seconds since start.
        connectors: every connector, in the order of the file.
        database: counters and gauges of the RealTimeDatabase.
        holds: set-points in force: reference -> (value, owner, not_after_ns).
    """

    name: str
    uptime_s: float
    connectors: tuple[ConnectorStatus, ...]
    database: Mapping[str, float]
    holds: Mapping[str, tuple[object, str, int | None]]


@dataclass(slots=True)
class _Running:
    entry: ConnectorEntry
    counters: Counters = field(default_factory=Counters)
    state: ConnectorState = ConnectorState.STARTING
    restarts: int = 0
    last_error: str = ""
    task: asyncio.Task[None] | None = None

    @property
    def section(self) -> str:
        return self.entry.key.partition("[")[0]


def _can_adopt(running: _Running) -> bool:
    return running.state is ConnectorState.RUNNING and isinstance(running.entry.connector, AdoptingConnector)


class Site:
    """One site, running.

    Args:
        config: from ``load_site``.
        clock: the clocks.

    Attributes:
        listeners: moves what the site itself listens on to where a configuration says, before a reload changes
            anything else; raises AdapterError where that cannot be. None where it listens nowhere.
    """

    def __init__(self, config: SiteConfig, clock: Clock | None = None) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        state = config.state_directory
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.audit = JsonLinesAuditLog(state / "audit.jsonl")
        self.ledger = SqliteCommandLedger(state / "commands.sqlite")
        self.arbitration = Arbitration(
            clock=self.clock,
            policy=config.policy,
            audit=self.audit,
            ledger=self.ledger,
            validity_s=config.site.setpoint_validity_s,
        )
        self.database = RealTimeDatabase(clock=self.clock, policy=config.policy, arbitration=self.arbitration)
        self._started_s = self.clock.monotonic_s()
        self._running: dict[str, _Running] = {}
        self._reloading = asyncio.Lock()
        self.ready = asyncio.Event()
        self.listeners: Callable[[SiteConfig], Awaitable[None]] | None = None

    async def run(self) -> None:
        """Runs the site until cancelled, then stops every connector in order, consumers first."""
        ticking = [
            asyncio.create_task(self._age(), name="age"),
            asyncio.create_task(self._expire(), name="expire"),
        ]
        try:
            self._start(self.config.southbound)
            self._start(self.config.northbound)
            self.ready.set()
            _LOG.info("site runs", site=self.config.site.name, connectors=len(self._running))
            await asyncio.gather(*ticking)
        finally:
            for task in ticking:
                task.cancel()
            await self._stop("northbound", self._running.values())
            await self._stop("southbound", self._running.values())
            await self.ledger.close()
            self.audit.close()
            _LOG.info("site stopped", site=self.config.site.name)

    def status(self) -> SiteStatus:
        """Returns what the site is doing."""
        return SiteStatus(
            name=self.config.site.name,
            uptime_s=self.clock.monotonic_s() - self._started_s,
            connectors=tuple(
                ConnectorStatus(
                    name=running.entry.name,
                    type=running.entry.type,
                    section=running.section,
                    state=running.state,
                    restarts=running.restarts,
                    last_error=running.last_error,
                    counters=dict(running.counters.values),
                )
                for running in self._running.values()
            ),
            database=self.database.statistics(),
            holds={
                reference: (hold.control.value, hold.owner, hold.not_after_ns)
                for reference, hold in self.arbitration.holds().items()
            },
        )

    async def ask(self, principal: Principal, device: str, question: str, body: Mapping[str, Any]) -> Any:
        """Asks a device for what is no point.

        Args:
            principal: who asks; must be allowed to read every point of the device.
            device: its name in the site.
            question: what is asked for.
            body: particulars, JSON types.

        Raises:
            AccessError: the principal may not.
            AdapterError: the device did not answer, or refuses.
            ModelError: no device of that name answers questions.
        """
        found: dict[str, AnsweringConnector] = {}
        for running in self._running.values():
            connector = running.entry.connector
            if isinstance(connector, AnsweringConnector):
                found |= dict.fromkeys(connector.devices, connector)
        if device not in found:
            raise ModelError(
                f"no device {device!r} answers questions; expected one of: {', '.join(found) or 'none'}"
            )
        policy = self.database.policy
        for reference in found[device].devices[device].references:
            if not policy.allows(principal, Action.READ, reference):
                raise AccessError(f"{principal.name} may not read {reference}")
        return await found[device].ask(device, question, body)

    async def reload(self) -> None:
        """Reads the site file again and changes over; connectors without a change keep their connections.

        Raises:
            ConfigError: the file is wrong; the running configuration stays.
            AdapterError: a new connector failed at once, or an address to listen on cannot be had; the old
                configuration has been put back.
        """
        async with self._reloading:
            old = self.config
            new = await asyncio.to_thread(load_site, old.path, old)
            if new.site.name != old.site.name or new.state_directory != old.state_directory:
                raise AdapterError("name and state_directory of a running site cannot change; restart it")
            # A connector whose own table is as before goes on as its successor, if it knows how to.
            successors = {
                entry.name: entry.connector
                for entry in new.northbound
                if (running := self._running.get(entry.name)) is not None
                and running.entry is not entry
                and running.entry.fingerprint == entry.fingerprint
                and _can_adopt(running)
            }
            await self._listen(new)
            failed = await self._change(new, successors)
            if failed:
                await self._go_back(old, tuple(successors))
                raise AdapterError(f"reload rolled back: {failed}")
            _LOG.info("site reloaded", site=new.site.name, adopted=len(successors))

    async def _listen(self, config: SiteConfig) -> None:
        if self.listeners is not None:
            await self.listeners(config)

    async def _change(self, new: SiteConfig, successors: Mapping[str, Any], *, back: bool = False) -> str:
        """Goes over to a configuration.

        Args:
            new: the configuration.
            successors: what running north-bound connectors of these names are to adopt.
            back: whether this is a rollback, which nothing stops any more.

        Returns:
            Why a connector failed; empty if none did.
        """
        keep = {id(entry) for entry in (*new.southbound, *new.northbound)}
        gone = [
            running
            for running in self._running.values()
            if running.entry.name not in successors and id(running.entry) not in keep
        ]
        for section in ("northbound", "southbound"):
            await self._stop(section, gone)
        for running in gone:
            del self._running[running.entry.name]
        self.config = new
        self.database.policy = self.arbitration.policy = new.policy
        self.arbitration.validity_s = new.site.setpoint_validity_s
        # From here to the end of the adoptions nothing waits, so no new device has said anything yet.
        fresh = self._start(entry for entry in new.southbound if entry.name not in self._running)
        failures: list[str] = []
        adopted: list[tuple[_Running, int]] = []
        restarted: list[ConnectorEntry] = []
        for entry in new.northbound:
            if entry.name not in successors:
                continue
            running, successor = self._running[entry.name], successors[entry.name]
            if running.state is ConnectorState.RUNNING:
                failure = self._adopt(running, entry, successor)
                if not failure:
                    adopted.append((running, running.restarts))
                    continue
                failures.append(f"{entry.name}: {failure}")
            restarted.append(replace(entry, connector=successor))
        if failures and not back:
            return "; ".join(failures)
        await self._stop("northbound", [self._running.pop(entry.name) for entry in restarted])
        for entry in restarted:
            self._keep(entry)
        fresh += self._start(entry for entry in self.config.northbound if entry.name not in self._running)
        if fresh or adopted:
            await asyncio.sleep(SETTLE_S)
        failures += [
            f"{running.entry.name}: {running.last_error}"
            for running, restarts in (*((running, 0) for running in fresh), *adopted)
            if running.restarts > restarts
        ]
        return "; ".join(failures)

    def _adopt(self, running: _Running, entry: ConnectorEntry, successor: Any) -> str:
        """Lets a running connector go on as its successor; returns why it refused, empty if it did not."""
        connector = running.entry.connector
        try:
            connector.adopt(successor)
        except GatewayError as error:
            return str(error) or repr(error)
        except Exception as error:  # noqa: BLE001 - a connector's bug must not end in half a reload
            _LOG.exception("connector crashed", connector=entry.name)
            return repr(error)
        running.entry = entry if entry.connector is connector else replace(entry, connector=connector)
        self._keep(running.entry)
        return ""

    def _keep(self, entry: ConnectorEntry) -> None:
        """Puts an entry in the place of the one of its name."""
        northbound = tuple(entry if old.name == entry.name else old for old in self.config.northbound)
        if northbound != self.config.northbound:
            self.config = replace(self.config, northbound=northbound)

    async def _go_back(self, old: SiteConfig, names: Iterable[str]) -> None:
        """Goes back to the configuration before.

        Args:
            old: that configuration.
            names: north-bound connectors that may have adopted another one.
        """
        successors = {}
        for entry in [entry for entry in old.northbound if entry.name in names]:
            try:
                successors[entry.name] = await asyncio.to_thread(entry.create_again)
            except ConfigError as error:
                # Such as a certificate that is gone since: better without it than with the wrong points.
                _LOG.error("connector cannot be put back", connector=entry.name, error=str(error))
                others = tuple(other for other in old.northbound if other is not entry)
                old = replace(old, northbound=others)
        try:
            await self._listen(old)
        except AdapterError as error:
            _LOG.error("listener cannot be put back", error=str(error))
        failed = await self._change(old, successors, back=True)
        if failed:
            _LOG.error("connectors failed after the rollback", error=failed)

    def _start(self, entries: Iterable[ConnectorEntry]) -> list[_Running]:
        started = []
        for entry in entries:
            running = self._running[entry.name] = _Running(entry)
            if running.section == "southbound":
                self.database.add(entry.name, entry.connector.supplied)
                connector = entry.connector
                reader = connector.read_function if isinstance(connector, FunctionReader) else None
                self.arbitration.add(entry.name, connector.controls, connector.execute, reader)
            running.task = asyncio.create_task(self._supervise(running), name=entry.name)
            started.append(running)
        return started

    async def _stop(self, section: str, connectors: Iterable[_Running]) -> None:
        chosen = [running for running in connectors if running.section == section]
        tasks = [running.task for running in chosen if running.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_TIMEOUT_S)
            for task in late:
                _LOG.error("connector does not stop", connector=task.get_name(), timeout_s=STOP_TIMEOUT_S)
        for running in chosen:
            running.state = ConnectorState.STOPPED
            if section == "southbound":
                self.arbitration.remove(running.entry.name)
                self.database.remove(running.entry.name)

    async def _supervise(self, running: _Running) -> None:
        entry = running.entry
        directory = self.config.state_directory / entry.name
        backoff_s = FIRST_BACKOFF_S
        while True:
            started_s = self.clock.monotonic_s()
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                running.state = ConnectorState.RUNNING
                await entry.connector.run(self._services(running, directory))
                running.last_error = "it returned; a connector runs until it is cancelled"
            except asyncio.CancelledError:
                raise
            except (GatewayError, OSError) as error:
                running.last_error = str(error) or repr(error)
                _LOG.error("connector failed", connector=entry.name, error=running.last_error)
            except Exception as error:  # noqa: BLE001 - the one place that contains a connector's bugs
                running.last_error = repr(error)
                _LOG.exception("connector crashed", connector=entry.name)
            running.state = ConnectorState.BACKING_OFF
            running.restarts += 1
            if self.clock.monotonic_s() - started_s >= HEALTHY_S:
                backoff_s = FIRST_BACKOFF_S
            await asyncio.sleep(backoff_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    def _services(self, running: _Running, directory: Path) -> Services:
        name = running.entry.name
        return Services(
            name=name,
            database=self.database,
            clock=self.clock,
            log=structlog.get_logger(running.entry.type).bind(connector=name),
            counters=running.counters,
            state_directory=directory,
            principal=Principal(name=name, roles=frozenset({"VIEWER"})),
        )

    async def _age(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.database.age()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            with contextlib.suppress(GatewayError):
                await self.arbitration.tick()
