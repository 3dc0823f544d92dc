"""A running server: the worker, the front before it, the site's values on their way down to both."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from fnmatch import fnmatchcase
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from s4g_gateway.errors import GatewayError, ModelError, TransientError
from s4g_gateway.model import ControlModel, DataSet, ObjectReference, Report
from s4g_gateway.northbound.iec104.config import split_listen
from s4g_gateway.northbound.iec61850.commands import CommandDesk
from s4g_gateway.northbound.iec61850.config import ClientTable
from s4g_gateway.northbound.iec61850.front import Front, FrontLimits
from s4g_gateway.profiles.iec61850 import Binding, describe, object_path
from s4g_gateway.runtime.contract import Services
from s4g_gateway.runtime.database import Subscription
from s4g_gateway.runtime.worker import Worker
from s4g_gateway.security import Action, Principal

if TYPE_CHECKING:
    from s4g_gateway.northbound.iec61850.connector import Iec61850Server

MODULE = "s4g_gateway.workers.iec61850_server"
ANNOUNCE_S = 5.0
WORKER_HOST = "127.0.0.1"


class ServerRun:
    """One run of the server.

    Args:
        connector: what was compiled.
        services: what the runtime gives.
        tls: certificates, None for plain TCP.
    """

    def __init__(self, connector: Iec61850Server, services: Services, tls: SSLContext | None) -> None:
        self._connector = connector
        self._config = connector.config
        self._services = services
        self._log = services.log
        self._plan = connector.plan
        self._port = 0
        self._peers: dict[str, Principal] = {}
        self._connections: dict[str, int] = {}
        self._hidden: dict[frozenset[str], list[str]] = {}
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._desk = CommandDesk(
            services,
            _select_first(connector),
            self._peers,
            priority=self._config.command_priority,
            validity_s=self._config.setpoint_validity_s,
        )
        self._front = Front(
            self,
            FrontLimits(association_s=self._config.association_timeout_s, idle_s=self._config.idle_timeout_s),
            tls,
        )
        roles = frozenset(role for table in self._config.clients for role in table.roles)
        self._reader = Principal(name=services.principal.name, roles=roles)
        self._data_sets = self._readable()
        self._worker = self._make_worker()

    async def run(self) -> None:
        """Serves until cancelled."""
        try:
            self._subscribe()
            host, port = split_listen(self._config.listen) or (WORKER_HOST, 0)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._worker.run(self._services))
                self._connector.address = await self._front.listen(host, port)
                self._log.info(
                    "IEC 61850 server listens",
                    host=self._connector.address[0],
                    port=self._connector.address[1],
                    tls=self._config.tls is not None,
                )
                group.create_task(self._front.sweep())
        finally:
            self._connector.address = None
            for subscription in self._subscriptions:
                subscription.close()
            await self._front.close()
            for task in tuple(self._tasks):
                task.cancel()

    # -- values ------------------------------------------------------------------------------------

    def _readable(self) -> list[DataSet]:
        """Returns the DataSets as far as any client may read them."""
        policy = self._services.database.policy
        bound = {binding.reference for binding in self._plan.bindings}
        found: list[DataSet] = []
        for data_set in self._connector.data_sets:
            members = tuple(
                member
                for member in data_set.members
                if member.reference in bound
                and policy.allows(self._reader, Action.READ, member.reference)
                and policy.allows(self._reader, Action.SUBSCRIBE, member.reference)
            )
            if len(members) == len(data_set):
                found.append(data_set)
            elif members:
                found.append(DataSet(data_set.name, members))
        return found

    def _make_worker(self) -> Worker:
        by_reference = {binding.reference: binding for binding in self._plan.bindings}
        config = self._config
        return Worker(
            MODULE,
            start={
                "model": describe(self._plan),
                "bindings": [
                    [_plain(by_reference[reference]) for reference in data_set.references]
                    for data_set in self._data_sets
                ],
                "controls": [
                    [
                        control.reference,
                        control.path,
                        int(control.model),
                        control.feedback,
                        control.quality,
                        control.time,
                    ]
                    for control in self._plan.controls
                ],
                "guarded": any(
                    self._hidden_from(Principal(name=table.name, roles=frozenset(table.roles)))
                    for table in config.clients
                ),
                "settings": {
                    "max_connections": config.max_connections + 2,
                    "report_buffer_bytes": config.report_buffer_bytes,
                },
            },
            data_sets=self._data_sets,
            on_control=self._desk.control,
            on_ready=self._ready,
        )

    def _ready(self, info: Any) -> None:
        self._port = int(info["port"])

    def _subscribe(self) -> None:
        database = self._services.database
        own = set(self._connector.data_sets)
        try:
            for index, data_set in enumerate(self._data_sets):
                deliver = partial(self._deliver, index)
                if data_set in own:
                    self._subscriptions.append(database.subscribe(self._reader, [data_set], deliver))
                else:
                    self._subscriptions.append(database.subscribe_view(self._reader, data_set, deliver))
                self._deliver(index, database.view(self._reader, data_set).snapshot())
        except ModelError as error:
            raise TransientError(f"the site's points are not there yet: {error}") from error

    def _deliver(self, index: int, report: Report) -> None:
        self._worker.send_report(index, report)

    # -- clients -----------------------------------------------------------------------------------

    def admit(self, identity: str, address: str) -> bool:
        """Takes a client in unless nobody knows it or there are too many."""
        table = self._table(identity)
        reason = ""
        if table is None:
            reason = "no client table takes it"
        elif not self._worker.running:
            reason = "the worker does not run"
        elif sum(self._connections.values()) >= self._config.max_connections:
            reason = f"{self._config.max_connections} connections are open already"
        elif self._connections.get(identity, 0) >= table.max_connections:
            reason = f"it has {table.max_connections} connections already"
        if reason:
            self._services.counters.add("connections_rejected_total")
            self._log.warning("connection refused", client=identity, address=address, reason=reason)
            return False
        self._connections[identity] = self._connections.get(identity, 0) + 1
        self._count()
        return True

    async def announce(self, identity: str, local: str) -> tuple[str, int]:
        """Tells the worker who is about to connect from ``local``."""
        table = self._table(identity)
        if table is None:
            raise TransientError("no client table takes it")
        principal = Principal(name=identity, roles=frozenset(table.roles))
        body = {"address": local, "hidden": self._hidden_from(principal)}
        await self._worker.call("peer", body, timeout_s=ANNOUNCE_S)
        self._peers[local] = principal
        self._log.info("client connected", client=identity, table=table.name)
        return WORKER_HOST, self._port

    def gone(self, identity: str, local: str, reason: str) -> None:
        """Forgets a client."""
        left = self._connections.get(identity, 1) - 1
        if left:
            self._connections[identity] = left
        else:
            self._connections.pop(identity, None)
        self._count()
        self._log.info("client gone", client=identity, reason=reason)
        if self._peers.pop(local, None) is not None:
            self._start(self._forget(local))

    async def _forget(self, local: str) -> None:
        try:
            await self._worker.call("peer_gone", {"address": local}, timeout_s=ANNOUNCE_S)
        except GatewayError as error:
            # A worker that is away forgets its clients by itself.
            self._log.debug("the worker was not told", error=str(error))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count(self) -> None:
        self._services.counters.set("connections", sum(self._connections.values()))

    def _table(self, identity: str) -> ClientTable | None:
        if not identity:
            return None
        return next(
            (
                table
                for table in self._config.clients
                if any(fnmatchcase(identity, pattern) for pattern in table.identities)
            ),
            None,
        )

    def _hidden_from(self, principal: Principal) -> list[str]:
        """Returns the data objects of points that a client may not read."""
        found = self._hidden.get(principal.roles)
        if found is None:
            policy = self._services.database.policy
            found = self._hidden[principal.roles] = sorted(
                {
                    object_path(binding.value)
                    for binding in self._plan.bindings
                    if not policy.allows(principal, Action.READ, binding.reference)
                }
            )
        return found


def _plain(binding: Binding) -> list[Any]:
    return [binding.value, binding.quality, binding.time, binding.factor]


def _select_first(connector: Iec61850Server) -> frozenset[ObjectReference]:
    """Returns the points that ask for a selection with value and number, which only SBOw brings."""
    served = {control.reference: control.model for control in connector.plan.controls}
    return frozenset(
        point.reference
        for point in connector.controls
        if point.model in (ControlModel.SBO_NORMAL, ControlModel.SBO_ENHANCED)
        and served.get(point.reference) is not ControlModel.SBO_ENHANCED
    )
