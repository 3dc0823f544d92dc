"""Controls of clients: from the worker to the RealTimeDatabase, under the client's own name and rights."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from s4g_gateway.model import (
    NS_PER_S,
    AddCause,
    Control,
    ControlAnswer,
    ControlService,
    ObjectReference,
    Origin,
    refused,
)
from s4g_gateway.runtime.contract import Services
from s4g_gateway.security import Principal


class CommandDesk:
    """Carries Controls to the RealTimeDatabase.

    Args:
        services: database, clocks, log, counters.
        select_first: references whose points ask for a selection that the client's own services do not make.
        peers: who stands behind each connection to the worker; read, never written.
        priority: priority of the Controls.
        validity_s: how long a set-point holds, 0 for the site's default.
    """

    def __init__(
        self,
        services: Services,
        select_first: Container[ObjectReference],
        peers: Mapping[str, Principal],
        *,
        priority: int,
        validity_s: float,
    ) -> None:
        self._services = services
        self._select_first = select_first
        self._peers = peers
        self._priority = priority
        self._validity_ns = round(validity_s * NS_PER_S)

    async def control(self, control: Control) -> ControlAnswer:
        """Carries out a Control of the worker, whose originator is the address of a connection."""
        counters = self._services.counters
        principal = self._peers.get(control.origin.identity)
        if control.service is ControlService.OPERATE:
            counters.add("commands_total")
        if principal is None:
            answer = refused(AddCause.NO_ACCESS_AUTHORITY, "a client that nobody has announced")
            name = control.origin.identity
        else:
            name = principal.name
            answer = await self._as_client(principal, control)
        if not answer.accepted and control.service is not ControlService.CANCEL:
            counters.add("commands_rejected_total")
            self._services.log.info(
                "command refused",
                client=name,
                reference=control.reference,
                service=control.service.value,
                add_cause=answer.add_cause.name,
                detail=answer.detail,
            )
        return answer

    async def _as_client(self, principal: Principal, control: Control) -> ControlAnswer:
        not_after_ns = None
        if self._validity_ns and control.service is ControlService.OPERATE:
            not_after_ns = self._services.clock.wall_ns() + self._validity_ns
        whole = replace(
            control,
            origin=Origin(category=control.origin.category, identity=principal.name),
            priority=self._priority,
            not_after_ns=not_after_ns,
        )
        database = self._services.database
        if control.service is ControlService.OPERATE and control.reference in self._select_first:
            # A plain select carries neither value nor ctlNum; the selection is made whole now that they are known.
            answer = await database.control(
                principal, replace(whole, service=ControlService.SELECT, not_after_ns=None)
            )
            if not answer.accepted:
                return answer
        return await database.control(principal, whole)
