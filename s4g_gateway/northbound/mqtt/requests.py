"""Requests: what points there are, their values now, and their changes for the length of a lease.

Everything goes to the one who asked, on a topic of its own, as it depends on that client's rights.
Source: Storage4Grid D3.1 §4.1.17.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from s4g_gateway.codecs.senml import Format, Record, encode_pack
from s4g_gateway.errors import AccessError, DecodeError, EncodeError, ModelError
from s4g_gateway.model import AddCause, DataSet, Member, ObjectReference, Reason, Report, Value
from s4g_gateway.northbound.mqtt.packs import Request, decode_request, named, report_records, sniff
from s4g_gateway.profiles.senml import Encoder, columns_of, compile_encoder
from s4g_gateway.runtime.contract import Services
from s4g_gateway.runtime.database import Subscription, View
from s4g_gateway.security import Action, Principal

POINTS_PER_MESSAGE = 1000
MAX_LEASES = 16
"""Subscriptions of one client."""

Respond = Callable[[bytes], None]


class _RefusedError(Exception):
    def __init__(self, cause: AddCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


@dataclass(slots=True, eq=False)
class _Lease:
    principal: Principal
    request: Request
    until_s: float
    respond: Respond
    # None while none of its points exists.
    encoder: Encoder | None = None
    view: View | None = None
    subscription: Subscription | None = None

    @property
    def points(self) -> int:
        return 0 if self.view is None else len(self.view.data_set)

    def send(self, report: Report) -> None:
        if self.encoder is not None:
            self.respond(self.encoder.encode(report))

    def state(self) -> object:
        if self.view is None:
            return None
        report = self.view.snapshot()
        return self.view.data_set.members, report.values, report.quality

    def close(self) -> None:
        if self.subscription is not None:
            self.subscription.close()
            self.subscription = None


class RequestDesk:
    """Answers requests.

    Args:
        services: database, clock, counters.
        site: name of the site.
        form: representation of answers to requests without payload, and of reports.
        max_lease_s: longest lease.
        max_lease_points: most points of all subscriptions of one client.
    """

    def __init__(
        self, services: Services, site: str, form: Format, *, max_lease_s: float, max_lease_points: int
    ) -> None:
        self._services = services
        self._site = site
        self._form = form
        self._max_lease_s = max_lease_s
        self._max_lease_points = max_lease_points
        self._leases: dict[tuple[str, str], _Lease] = {}

    async def handle(
        self, message: str, principal: Principal, payload: bytes, respond: Respond, report: Respond
    ) -> None:
        """Answers one request.

        Args:
            message: ``points``, ``read`` or ``subscribe``.
            principal: who asks.
            payload: the FETCH pack.
            respond: sends an answer to the one who asks.
            report: sends reports of a subscription to the one who asks.
        """
        self._services.counters.add("requests_total")
        try:
            request = decode_request(payload, site=self._site)
            form = sniff(payload) if payload else self._form
        except DecodeError as error:
            self._services.counters.add("malformed_total")
            self._services.log.debug("malformed request", sender=principal.name, reason=str(error))
            return
        end = self._end(request, AddCause.NONE)
        try:
            records: Iterator[Record] = iter(())
            if message == "points":
                records = self._points(principal, self._members(principal, request))
            elif message == "read":
                records = self._read(principal, self._members(principal, request))
            else:
                lease_s = self._subscribe(principal, request, report)
                end.append(named(f"{self._site}/cmd.lease", lease_s))
        except _RefusedError as error:
            self._services.counters.add("requests_refused_total")
            self._services.log.debug("request refused", sender=principal.name, reason=str(error))
            respond(encode_pack(self._end(request, error.cause), form))
            return
        chunk = list(islice(records, POINTS_PER_MESSAGE))
        while following := list(islice(records, POINTS_PER_MESSAGE)):
            respond(encode_pack([*self._identity(request), *chunk], form))
            chunk = following
            await asyncio.sleep(0)  # a long list must not hold up the devices
        respond(encode_pack([*end, *chunk], form))

    def renew(self) -> None:
        """Sends every subscription's values anew, after the broker was away."""
        for lease in self._leases.values():
            self._snapshot(lease)

    def adopt(self) -> None:
        """Follows a change of the site's points or rights.

        A subscription goes on with what is left of the points it names; one that names none takes in new points.
        Where that is another state than before, all its values are sent anew.
        """
        for lease in self._leases.values():
            before = lease.state()
            lease.close()
            members = tuple(self._left(lease.principal, lease.request))
            if members:
                self._bind(lease, members)
            else:
                lease.view = lease.encoder = None
            if lease.state() != before:
                self._snapshot(lease)

    def expire(self) -> None:
        """Ends subscriptions whose lease is over; call about once a second."""
        now_s = self._services.clock.monotonic_s()
        for key in [key for key, lease in self._leases.items() if now_s >= lease.until_s]:
            self._leases.pop(key).close()
        self._services.counters.set("subscriptions", len(self._leases))

    def stop(self) -> None:
        """Ends every subscription; idempotent."""
        for lease in self._leases.values():
            lease.close()
        self._leases.clear()

    # -- the three requests ----------------------------------------------------------------------

    def _points(self, principal: Principal, members: Iterable[Member]) -> Iterator[Record]:
        policy = self._services.database.policy
        controls = {point.reference for point in self._services.database.arbitration.points()}
        for member in members:
            (column,) = columns_of(DataSet("points", (member,)), site=self._site)
            words = [member.cdc, str(member.value_type)]
            if member.reference in controls and policy.allows(principal, Action.CONTROL, member.reference):
                words.append("control")
            text = " ".join(words) + (f": {member.description}" if member.description else "")
            yield named(column.full_name, text, unit=column.unit)

    def _read(self, principal: Principal, members: Iterable[Member]) -> Iterator[Record]:
        rest = iter(members)
        database = self._services.database
        while chunk := tuple(islice(rest, POINTS_PER_MESSAGE)):
            data_set = DataSet("read", chunk)
            report = database.view(principal, data_set).snapshot(Reason.GENERAL_INTERROGATION)
            yield from report_records(data_set, report, self._site)

    def _subscribe(self, principal: Principal, request: Request, report: Respond) -> float:
        lease_s = request.members.get("lease", self._max_lease_s)
        if not isinstance(lease_s, int | float) or not lease_s >= 0:
            raise _RefusedError(AddCause.INCONSISTENT_PARAMETERS, f"lease {lease_s!r} s")
        lease_s = min(float(lease_s), self._max_lease_s)
        key = (principal.name, str(request.members.get("id", "")))
        if lease_s == 0:
            earlier = self._leases.pop(key, None)
            if earlier is not None:
                earlier.close()
            return 0.0
        members = tuple(self._members(principal, request, Action.SUBSCRIBE))
        others = [lease for other, lease in self._leases.items() if other[0] == key[0] and other != key]
        points = sum(lease.points for lease in others) + len(members)
        if len(others) >= MAX_LEASES or points > self._max_lease_points:
            raise _RefusedError(AddCause.STEP_LIMIT, f"{len(others) + 1} subscriptions with {points} points")
        lease = _Lease(
            principal=principal,
            request=request,
            until_s=self._services.clock.monotonic_s() + lease_s,
            respond=report,
        )
        self._bind(lease, members)
        earlier = self._leases.pop(key, None)
        if earlier is not None:
            earlier.close()
        self._leases[key] = lease
        self._snapshot(lease)
        return lease_s

    def _bind(self, lease: _Lease, members: tuple[Member, ...]) -> None:
        data_set = DataSet("subscription", members)
        database = self._services.database
        lease.encoder = compile_encoder(data_set, site=self._site, form=self._form)
        lease.view = database.view(lease.principal, data_set)
        lease.subscription = database.subscribe_view(lease.principal, data_set, lease.send)

    def _snapshot(self, lease: _Lease) -> None:
        if lease.view is None:
            return
        try:
            lease.send(lease.view.snapshot(Reason.INTEGRITY))
        except EncodeError as error:
            self._services.log.error("subscription cannot be encoded", reason=str(error))  # noqa: TRY400

    # -- names and rights ------------------------------------------------------------------------

    def _members(
        self, principal: Principal, request: Request, action: Action = Action.READ
    ) -> Iterable[Member]:
        database = self._services.database
        if not principal.roles:
            raise _RefusedError(AddCause.NO_ACCESS_AUTHORITY, "unknown client")
        names: Iterable[str] = request.names or database.references(principal)
        members = []
        for name in names:
            if not database.policy.allows(principal, action, name):
                raise _RefusedError(AddCause.NO_ACCESS_AUTHORITY, f"may not {action} {name:.80}")
            try:
                members.append(database.read(principal, ObjectReference(name)).member)
            except AccessError as error:
                raise _RefusedError(AddCause.NO_ACCESS_AUTHORITY, str(error)) from error
            except ModelError as error:
                raise _RefusedError(AddCause.NOT_SUPPORTED, str(error)) from error
        if not members:
            raise _RefusedError(AddCause.NO_ACCESS_AUTHORITY, "no point that this client may read")
        return members

    def _left(self, principal: Principal, request: Request) -> Iterator[Member]:
        database = self._services.database
        for name in request.names or database.references(principal):
            if database.policy.allows(principal, Action.SUBSCRIBE, name):
                with contextlib.suppress(AccessError, ModelError):
                    yield database.read(principal, ObjectReference(name)).member

    def _identity(self, request: Request) -> list[Record]:
        command_id = request.members.get("id")
        return [] if command_id is None else [named(f"{self._site}/cmd.id", str(command_id))]

    def _end(self, request: Request, cause: AddCause) -> list[Record]:
        accepted: Value = cause is AddCause.NONE
        return [
            *self._identity(request),
            named(f"{self._site}/cmd.accepted", accepted),
            named(f"{self._site}/cmd.addCause", cause.name.lower().replace("_", "-")),
        ]
