"""Prometheus text exposition of what a running site knows of itself.

Source: Prometheus text-based exposition format 0.0.4.
"""

from __future__ import annotations

import os
import re
import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, isnan
from pathlib import Path
from typing import Any

from s4g_gateway import __version__
from s4g_gateway.errors import AccessError, ModelError
from s4g_gateway.model import DataSet
from s4g_gateway.model import quality as q
from s4g_gateway.runtime.database import RealTimeDatabase, View
from s4g_gateway.security import Action, Principal

_VALIDITY = {q.GOOD: "good", q.QUESTIONABLE: "questionable", q.RESERVED: "reserved", q.INVALID: "invalid"}
_NAME = re.compile(r"[^a-zA-Z0-9_]")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Family:
    """One metric family.

    Attributes:
        name: with prefix and unit.
        kind: counter or gauge.
        help_text: one line.
        samples: labels and value.
    """

    name: str
    kind: str
    help_text: str
    samples: list[tuple[Mapping[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """Adds a sample."""
        self.samples.append((labels, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """One supplied DataSet as it stands.

    Attributes:
        data_set: its name.
        owner: the connector that supplies it.
        age_s: seconds since its device last confirmed it; infinite if never.
        validity: number of its points by validity in words.
        stale_points: number of its points that were not confirmed in time (oldData).
        stale: references of some of them.
    """

    data_set: str
    owner: str
    age_s: float
    validity: Mapping[str, int]
    stale_points: int
    stale: tuple[str, ...]


class FreshnessReader:
    """Reads how fresh the points of a site are; resolves each DataSet once.

    Args:
        database: the points.
        principal: who reads.
    """

    def __init__(self, database: RealTimeDatabase, principal: Principal) -> None:
        self._database = database
        self._principal = principal
        self._views: dict[DataSet, View] = {}
        self._policy = database.policy

    def read(self, stale_limit: int = 0) -> Iterator[Freshness]:
        """Yields every DataSet whose points the principal may all read; the caller may pause in between.

        Args:
            stale_limit: how many references of stale points each DataSet names.
        """
        if self._policy is not self._database.policy:
            self._policy = self._database.policy
            self._views.clear()
        data_sets = self._database.data_sets()
        for gone in self._views.keys() - set(data_sets):
            del self._views[gone]
        for data_set in data_sets:
            try:
                view = self._view(data_set)
                state = self._database.read(self._principal, data_set.members[0].reference)
            except (AccessError, ModelError):
                continue  # not for this principal, or gone with a reload since the caller's last pause
            if view is None:
                continue
            quality = view.snapshot().quality
            counts: Counter[str] = Counter()
            stale_points = 0
            for value, count in Counter(quality).items():
                counts[_VALIDITY[q.validity(value)]] += count
                stale_points += count if value & q.OLD_DATA else 0
            stale = [
                data_set.members[position].reference
                for position, value in enumerate(quality if stale_limit else ())
                if value & q.OLD_DATA
            ]
            yield Freshness(
                data_set=data_set.name,
                owner=state.owner,
                age_s=state.age_s,
                validity=counts,
                stale_points=stale_points,
                stale=tuple(stale[:stale_limit]),
            )

    def _view(self, data_set: DataSet) -> View | None:
        view = self._views.get(data_set)
        if view is None and all(
            self._database.policy.allows(self._principal, Action.READ, reference)
            for reference in data_set.references
        ):
            view = self._views[data_set] = self._database.view(self._principal, data_set)
        return view


def families(status: Any, freshness: Iterable[Freshness]) -> list[Family]:
    """Returns every metric family of a site.

    Args:
        status: the site's ``SiteStatus``.
        freshness: from ``FreshnessReader.read``.
    """
    info = Family("s4g_info", "gauge", "the gateway's version and site")
    info.add(1, site=status.name, version=__version__)
    uptime = Family("s4g_uptime_seconds", "gauge", "time since the site started")
    uptime.add(status.uptime_s)
    found = [info, uptime, *_database(status), *_freshness(freshness), *_connectors(status), *_process()]
    return [family for family in found if family.samples]


def render(found: Iterable[Family]) -> bytes:
    """Returns the families in text exposition format."""
    lines = []
    for family in found:
        lines.append(f"# HELP {family.name} {_escape(family.help_text, quotes=False)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            inside = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
            lines.append(
                f"{family.name}{{{inside}}} {_number(value)}" if inside else f"{family.name} {_number(value)}"
            )
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _database(status: Any) -> Iterator[Family]:
    for name, value in status.database.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        family = Family(f"s4g_{_NAME.sub('_', name)}", kind, f"RealTimeDatabase: {name.replace('_', ' ')}")
        family.add(value)
        yield family
    holds = Family("s4g_setpoints_held", "gauge", "set-points in force")
    holds.add(len(status.holds))
    yield holds


def _freshness(freshness: Iterable[Freshness]) -> tuple[Family, ...]:
    validity = Family("s4g_points_validity", "gauge", "points by connector and IEC 61850 validity")
    age = Family("s4g_data_set_age_seconds", "gauge", "time since the device last confirmed a DataSet")
    stale = Family("s4g_points_stale", "gauge", "points that were not confirmed in time")
    points: Counter[tuple[str, str]] = Counter()
    old: Counter[str] = Counter()
    for entry in freshness:
        for word in _VALIDITY.values():
            points[entry.owner, word] += entry.validity.get(word, 0)
        old[entry.owner] += entry.stale_points
        age.add(entry.age_s, connector=entry.owner, data_set=entry.data_set)
    for (owner, word), count in points.items():
        validity.add(count, connector=owner, validity=word)
    for owner, count in old.items():
        stale.add(count, connector=owner)
    return validity, stale, age


def _connectors(status: Any) -> Iterator[Family]:
    running = Family("s4g_supervisor_running", "gauge", "1 while a connector runs")
    restarts = Family("s4g_supervisor_restarts_total", "counter", "how often a connector was started anew")
    own: dict[str, Family] = {}
    for connector in status.connectors:
        labels = {"connector": connector.name, "section": connector.section, "type": connector.type}
        running.add(connector.state == "running", **labels)
        restarts.add(connector.restarts, **labels)
        for name, value in connector.counters.items():
            full = f"s4g_connector_{_NAME.sub('_', name)}"
            kind = "counter" if full.endswith("_total") else "gauge"
            help_text = f"{name.replace('_', ' ')}, by connector"
            family = own.setdefault(full, Family(full, kind, help_text))
            if all(known["connector"] != connector.name for known, _ in family.samples):
                family.add(value, **labels)
    yield running
    yield restarts
    yield from own.values()


def _process() -> Iterator[Family]:
    """The process figures, under the names that Prometheus client libraries use."""
    stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    boot = re.search(r"^btime (\d+)", Path("/proc/stat").read_text(encoding="ascii"), re.MULTILINE)
    figures = [
        ("cpu_seconds_total", "user and system CPU time", (int(stat[11]) + int(stat[12])) / _TICKS_PER_S),
        ("resident_memory_bytes", "resident memory", int(stat[21]) * _PAGE_BYTES),
        ("open_fds", "open file descriptors", len(os.listdir("/proc/self/fd"))),  # noqa: PTH208 - count only
        ("max_fds", "limit of open file descriptors", resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    ]
    if boot is not None:
        started_s = int(boot[1]) + int(stat[19]) / _TICKS_PER_S
        figures.append(("start_time_seconds", "start of the process since 1970 UTC", started_s))
    for name, help_text, value in figures:
        kind = "counter" if name.endswith("_total") else "gauge"
        family = Family(f"process_{name}", kind, help_text)
        family.add(value)
        yield family


def _escape(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


def _number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
