"""A watch over the local socket: a snapshot, then changes joined per interval.

What waits for a slow reader is one Report per DataSet, so memory is bounded by the site's size.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import isfinite
from operator import or_
from typing import Any

from s4g_gateway.errors import ModelError
from s4g_gateway.model import DataSet, Report, Value
from s4g_gateway.runtime.database import RealTimeDatabase, Subscription, View
from s4g_gateway.runtime.local_protocol import CHUNK_POINTS, Watch
from s4g_gateway.security import Action, Principal

# DataSets between two pauses in which the gateway does its real work.
_SETS_PER_PAUSE = 20

Send = Callable[[dict[str, Any]], Awaitable[None]]


def matches(patterns: tuple[str, ...], reference: str) -> bool:
    """True where one of the shell-style patterns fits the reference."""
    return any(pattern == "*" or fnmatchcase(reference, pattern) for pattern in patterns)


def finite(number: float) -> float | None:
    """Returns the number, None where JSON has no word for it."""
    return number if isfinite(number) else None


@dataclass(slots=True, eq=False)
class _Part:
    """What is watched of one supplied DataSet."""

    owner: str
    data_set: DataSet
    view: View
    dirty: bytes | None = None
    subscription: Subscription = field(default_factory=lambda: Subscription(()))

    def deliver(self, report: Report) -> None:
        mask = report.included or bytes([1]) * len(self.data_set)
        self.dirty = mask if self.dirty is None else bytes(map(or_, mask, self.dirty))


class WatchStream:
    """Sends one watch.

    Args:
        database: the site's points.
        principal: who watches.
        request: what it watches.
        status: gives the site's status as JSON types, for watches that want it.
    """

    def __init__(
        self,
        database: RealTimeDatabase,
        principal: Principal,
        request: Watch,
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._database = database
        self._principal = principal
        self._request = request
        self._status = status
        self._known: tuple[DataSet, ...] | None = None
        self._parts: list[_Part] = []

    async def run(self, send: Send) -> None:
        """Sends until cancelled or until ``send`` raises; a reload of the site starts a new snapshot."""
        try:
            while True:
                known = self._database.data_sets()
                if known == self._known:
                    await self._update(send)
                else:
                    await self._open(known)
                    if known != self._database.data_sets():
                        continue  # a reload while we looked
                    await self._snapshot(send)
                await asyncio.sleep(self._request.interval_s)
        finally:
            self._close()

    async def _open(self, known: tuple[DataSet, ...]) -> None:
        self._close()
        self._known = known
        for number, data_set in enumerate(known):
            if number % _SETS_PER_PAUSE == 0:
                await asyncio.sleep(0)
            with contextlib.suppress(ModelError):  # gone meanwhile; the next look starts anew
                self._watch(data_set)

    def _watch(self, data_set: DataSet) -> None:
        chosen = tuple(
            member
            for member in data_set.members
            if matches(self._request.match, member.reference)
            and self._allowed(Action.READ, member.reference)
            and self._allowed(Action.SUBSCRIBE, member.reference)
        )
        if not chosen:
            return
        owner = self._database.read(self._principal, chosen[0].reference).owner
        whole = len(chosen) == len(data_set)
        watched = data_set if whole else DataSet(data_set.name, chosen)
        part = _Part(owner, watched, self._database.view(self._principal, watched))
        if whole:
            part.subscription = self._database.subscribe(self._principal, (data_set,), part.deliver)
        else:
            part.subscription = self._database.subscribe_view(self._principal, watched, part.deliver)
        self._parts.append(part)

    def _close(self) -> None:
        for part in self._parts:
            part.subscription.close()
        self._parts.clear()

    def _allowed(self, action: Action, reference: str) -> bool:
        return self._database.policy.allows(self._principal, action, reference)

    async def _snapshot(self, send: Send) -> None:
        sets = [{"name": part.data_set.name, "owner": part.owner} for part in self._parts]
        first: dict[str, Any] = {"event": "snapshot", "sets": sets, "ages_s": self._ages_s()}
        for points in _chunks(self._all()):
            await send(first | {"points": points, "more": True})
            first = {"event": "snapshot"}
        await send(first | {"points": [], "more": True} | self._extra())

    async def _update(self, send: Send) -> None:
        ages_s = self._ages_s()  # before anything is sent: a reload meanwhile may take points away
        for points in _chunks(self._changed()):
            await send({"event": "update", "points": points, "more": True})
        await send({"event": "update", "points": [], "ages_s": ages_s, "more": True} | self._extra())

    def _extra(self) -> dict[str, Any]:
        complete: dict[str, Any] = {"complete": True}
        return complete | {"status": self._status()} if self._request.status else complete

    def _ages_s(self) -> list[float | None]:
        read, principal = self._database.read, self._principal
        return [finite(read(principal, part.data_set.members[0].reference).age_s) for part in self._parts]

    def _all(self) -> Iterator[dict[str, Any]]:
        for number, part in enumerate(self._parts):
            part.dirty = None
            report = part.view.snapshot()
            times_ns = report.times_ns()
            for position, member in enumerate(report.data_set.members):
                point = _point(report, position, times_ns)
                yield point | {"unit": member.unit, "set": number}

    def _changed(self) -> Iterator[dict[str, Any]]:
        for part in self._parts:
            if part.dirty is None:
                continue
            mask, part.dirty = part.dirty, None
            report = part.view.snapshot()
            times_ns = report.times_ns()
            for position, changed in enumerate(mask):
                if changed:
                    yield _point(report, position, times_ns)


def _point(report: Report, position: int, times_ns: tuple[int, ...]) -> dict[str, Value]:
    return {
        "reference": report.data_set.members[position].reference,
        "value": report.values[position],
        "quality": report.quality[position],
        "time_ns": times_ns[position],
    }


def _chunks(points: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for point in points:
        chunk.append(point)
        if len(chunk) == CHUNK_POINTS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
