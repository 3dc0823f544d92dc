"""RealTimeDatabase: the last Report of every DataSet of a site, its subscribers, the way down for Controls.

This is D3.1's SMXCore real-time database (§3.4, §4.1.17). Change detection, ageing and access checks
happen here and nowhere else; Controls go through ``s4g_gateway.runtime.arbitration``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import ne, or_
from typing import Final

import structlog

from s4g_gateway.errors import AccessError, ModelError
from s4g_gateway.model import Control, ControlAnswer, DataSet, Member, ObjectReference, Reason, Report, Value
from s4g_gateway.model import quality as q
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.clock import Clock
from s4g_gateway.runtime.contract import SuppliedDataSet
from s4g_gateway.security import AccessPolicy, Action, Principal

Deliver = Callable[[Report], None]

NO_VALUE_YET: Final = q.INVALID | q.OLD_DATA
_STALE: Final = q.QUESTIONABLE | q.OLD_DATA
_DEAD: Final = q.INVALID | q.OLD_DATA
_LOG = structlog.get_logger("database")


@dataclass(frozen=True, slots=True)
class PointState:
    """What the database knows of one point.

    Attributes:
        member: name, type and unit.
        value: last value, None where there is none.
        quality: IEC 61850 quality.
        time_ns: time of the last change of value or quality.
        age_s: seconds since its device last confirmed it; infinite if never.
        owner: the connector that supplies it.
    """

    member: Member
    value: Value
    quality: int
    time_ns: int
    age_s: float
    owner: str


class _Slot:
    """The last columns of one supplied DataSet."""

    __slots__ = (
        "age_level", "data_set", "invalid_s", "owner", "quality", "refreshed_s", "stale_s", "subscribers",
        "time_ns", "time_quality", "values",
    )  # fmt: skip

    def __init__(self, owner: str, supplied: SuppliedDataSet, clock: Clock) -> None:
        size = len(supplied.data_set)
        self.owner = owner
        self.data_set = supplied.data_set
        self.stale_s, self.invalid_s = supplied.ages_s()
        self.values: tuple[Value, ...] = (None,) * size
        self.quality: tuple[int, ...] = (NO_VALUE_YET,) * size
        self.time_ns: int | tuple[int, ...] = clock.wall_ns()
        self.time_quality = Report(self.data_set, self.values, self.quality, 0).time_quality
        self.refreshed_s = float("-inf")
        self.age_level = 2
        self.subscribers: tuple[Deliver, ...] = ()

    def report(self, reason: Reason, included: bytes | None = None) -> Report:
        return Report(
            self.data_set, self.values, self.quality, self.time_ns, reason, included, self.time_quality
        )


class View:
    """A DataSet whose members live anywhere in the site, resolved once, read often.

    Made by ``RealTimeDatabase.view`` after the access check.
    """

    __slots__ = ("_parts", "_whole", "data_set")

    def __init__(self, data_set: DataSet, source: _Slot | tuple[tuple[_Slot, int], ...]) -> None:
        self.data_set = data_set
        self._whole = source if isinstance(source, _Slot) else None
        self._parts = () if isinstance(source, _Slot) else source

    def snapshot(self, reason: Reason = Reason.INTEGRITY, included: bytes | None = None) -> Report:
        """Returns the present values of every member."""
        if self._whole is not None:
            return self._whole.report(reason, included)
        parts = self._parts
        times = tuple(
            slot.time_ns if isinstance(slot.time_ns, int) else slot.time_ns[position]
            for slot, position in parts
        )
        return Report(
            self.data_set,
            tuple(slot.values[position] for slot, position in parts),
            tuple(slot.quality[position] for slot, position in parts),
            times,
            reason,
            included,
            max(slot.time_quality for slot, _ in parts),
        )


class Subscription:
    """A live subscription; ``close`` ends it."""

    __slots__ = ("_entries",)

    def __init__(self, entries: tuple[tuple[_Slot, Deliver], ...]) -> None:
        self._entries = entries
        for slot, deliver in entries:
            slot.subscribers += (deliver,)

    def close(self) -> None:
        """Ends the subscription; idempotent."""
        for slot, deliver in self._entries:
            slot.subscribers = tuple(other for other in slot.subscribers if other is not deliver)
        self._entries = ()


class RealTimeDatabase:
    """The points of one site.

    Args:
        clock: the clocks.
        policy: who may do what.
        arbitration: the way down for Controls.
    """

    def __init__(self, *, clock: Clock, policy: AccessPolicy, arbitration: Arbitration) -> None:
        self._clock = clock
        self.policy = policy
        self.arbitration = arbitration
        self._slots: dict[DataSet, _Slot] = {}
        # Slots only: their positions stand in the index of each DataSet.
        self._owners: dict[str, _Slot] = {}
        self.updates_total = 0
        self.changes_total = 0

    # -- what connectors supply ------------------------------------------------------------------

    def add(self, owner: str, supplied: Iterable[SuppliedDataSet]) -> None:
        """Takes in the DataSets of a south-bound connector.

        Raises:
            ModelError: a reference is supplied already.
        """
        slots = [_Slot(owner, entry, self._clock) for entry in supplied]
        owners: dict[str, _Slot] = {}
        for slot in slots:
            for reference in slot.data_set.index:
                other = owners.get(reference) or self._owners.get(reference)
                if other is not None:
                    raise ModelError(f"{reference} is supplied by {other.owner!r} and by {owner!r}")
                owners[reference] = slot
        self._slots.update((slot.data_set, slot) for slot in slots)
        self._owners.update(owners)

    def remove(self, owner: str) -> None:
        """Forgets every DataSet of a connector."""
        for data_set in [key for key, slot in self._slots.items() if slot.owner == owner]:
            del self._slots[data_set]
            for reference in data_set.references:
                del self._owners[reference]

    def publish(self, report: Report) -> None:
        """Takes a Report of a supplied DataSet: stores it, finds what changed, tells the subscribers.

        A Report with an inclusion mask updates only the included members. Every Report, changed or not,
        counts as a sign of life of its DataSet.

        Raises:
            ModelError: the DataSet is not supplied here.
        """
        slot = self._slots.get(report.data_set)
        if slot is None:
            raise ModelError(f"DataSet {report.data_set.name!r} is not supplied to this database")
        slot.refreshed_s = self._clock.monotonic_s()
        slot.age_level = 0
        slot.time_quality = report.time_quality
        values, quality, times = report.values, report.quality, report.time_ns
        if report.included is not None:
            mask = report.included
            values = tuple(new if m else old for m, new, old in zip(mask, values, slot.values, strict=True))
            quality = tuple(
                new if m else old for m, new, old in zip(mask, quality, slot.quality, strict=True)
            )
        self.updates_total += len(values)
        if quality is slot.quality or quality == slot.quality:
            if values == slot.values:
                return
            changed = bytes(map(ne, values, slot.values))
        else:
            changed = bytes(map(or_, map(ne, values, slot.values), map(ne, quality, slot.quality)))
            if not any(changed):
                return
        self._store(slot, values, quality, times, changed)

    def _store(
        self,
        slot: _Slot,
        values: tuple[Value, ...],
        quality: tuple[int, ...],
        times: int | tuple[int, ...],
        changed: bytes,
    ) -> None:
        slot.values = values
        slot.quality = quality
        if 0 not in changed:
            slot.time_ns = times
            included = None
        else:
            size = len(values)
            new = (times,) * size if isinstance(times, int) else times
            old = (slot.time_ns,) * size if isinstance(slot.time_ns, int) else slot.time_ns
            slot.time_ns = tuple(n if c else o for c, n, o in zip(changed, new, old, strict=True))
            included = changed
        self.changes_total += sum(changed)
        if slot.subscribers:
            self._deliver(slot, slot.report(Reason.DATA_CHANGE, included))

    def _deliver(self, slot: _Slot, report: Report) -> None:
        for deliver in slot.subscribers:
            try:
                deliver(report)
            except Exception:  # noqa: BLE001 - one consumer's fault must not reach device or other consumers
                _LOG.exception("subscriber failed", data_set=slot.data_set.name, owner=slot.owner)

    def age(self) -> None:
        """Lowers the quality of what was not refreshed in its time; call a few times a second."""
        now_s = self._clock.monotonic_s()
        for slot in tuple(self._slots.values()):
            age_s = now_s - slot.refreshed_s
            level = 0 if age_s < slot.stale_s else 1 if age_s < slot.invalid_s else 2
            if level > slot.age_level:
                slot.age_level = level
                lowered = _STALE if level == 1 else _DEAD
                quality = tuple(q.worst(old, lowered) for old in slot.quality)
                changed = bytes(map(ne, quality, slot.quality))
                if any(changed):
                    self._store(slot, slot.values, quality, self._clock.wall_ns(), changed)

    # -- what consumers see ----------------------------------------------------------------------

    def references(self, principal: Principal) -> Iterator[ObjectReference]:
        """Yields every reference the principal may read, in the order of supply."""
        for data_set in tuple(self._slots):
            for reference in data_set.references:
                if self.policy.allows(principal, Action.READ, reference):
                    yield reference

    def data_sets(self) -> tuple[DataSet, ...]:
        """Returns the supplied DataSets, in the order of supply."""
        return tuple(self._slots)

    def read(self, principal: Principal, reference: str) -> PointState:
        """Returns the state of one point.

        Raises:
            AccessError: the principal may not read it.
            ModelError: there is no such point.
        """
        self._check(principal, Action.READ, reference)
        slot, position = self._place(reference)
        time_ns = slot.time_ns if isinstance(slot.time_ns, int) else slot.time_ns[position]
        return PointState(
            slot.data_set.members[position],
            slot.values[position],
            slot.quality[position],
            time_ns,
            self._clock.monotonic_s() - slot.refreshed_s,
            slot.owner,
        )

    def view(self, principal: Principal, data_set: DataSet) -> View:
        """Resolves a DataSet for repeated reading.

        Raises:
            AccessError: the principal may not read a member.
            ModelError: a member is no point of this site.
        """
        for reference in data_set.references:
            self._check(principal, Action.READ, reference)
        slot = self._slots.get(data_set)
        if slot is not None:
            return View(data_set, slot)
        return View(data_set, tuple(self._place(reference) for reference in data_set.references))

    def subscribe(self, principal: Principal, data_sets: Iterable[DataSet], deliver: Deliver) -> Subscription:
        """Calls ``deliver`` with a data-change Report whenever a member of a supplied DataSet changes.

        ``deliver`` runs inside ``publish``: it must be quick and must not block.

        Raises:
            AccessError: the principal may not subscribe to a member.
            ModelError: a DataSet is not supplied here.
        """
        entries = []
        for data_set in data_sets:
            slot = self._slots.get(data_set)
            if slot is None:
                raise ModelError(f"DataSet {data_set.name!r} is not supplied to this database")
            for reference in data_set.references:
                self._check(principal, Action.SUBSCRIBE, reference)
            entries.append((slot, deliver))
        return Subscription(tuple(entries))

    def subscribe_view(self, principal: Principal, data_set: DataSet, deliver: Deliver) -> Subscription:
        """Calls ``deliver`` with a data-change Report of any DataSet whenever one of its members changes.

        Raises:
            AccessError: the principal may not subscribe to a member.
            ModelError: a member is no point of this site.
        """
        view = self.view(principal, data_set)
        by_slot: dict[_Slot, list[tuple[int, int]]] = {}
        for target, reference in enumerate(data_set.references):
            self._check(principal, Action.SUBSCRIBE, reference)
            slot, source = self._place(reference)
            by_slot.setdefault(slot, []).append((target, source))
        entries = [
            (slot, _mapped(view, len(data_set), tuple(pairs), deliver)) for slot, pairs in by_slot.items()
        ]
        return Subscription(tuple(entries))

    async def control(self, principal: Principal, control: Control) -> ControlAnswer:
        """Sends one Control down; see ``Arbitration.control``."""
        return await self.arbitration.control(principal, control)

    def statistics(self) -> Mapping[str, float]:
        """Returns counters and gauges of the database."""
        fresh = sum(1 for slot in self._slots.values() if slot.age_level == 0)
        return {
            "points": len(self._owners),
            "data_sets": len(self._slots),
            "data_sets_fresh": fresh,
            "updates_total": self.updates_total,
            "changes_total": self.changes_total,
        }

    def _place(self, reference: str) -> tuple[_Slot, int]:
        slot = self._owners.get(reference)
        if slot is None:
            raise ModelError(f"no point {reference!r} in this site")
        return slot, slot.data_set.index[ObjectReference(reference)]

    def _check(self, principal: Principal, action: Action, reference: str) -> None:
        if not self.policy.allows(principal, action, reference):
            raise AccessError(f"{principal.name} may not {action} {reference}")


def _mapped(view: View, size: int, pairs: tuple[tuple[int, int], ...], deliver: Deliver) -> Deliver:
    def forward(report: Report) -> None:
        mask = bytearray(size)
        for target, source in pairs:
            if report.included is None or report.included[source]:
                mask[target] = 1
        if any(mask):
            deliver(view.snapshot(Reason.DATA_CHANGE, bytes(mask)))

    return forward
