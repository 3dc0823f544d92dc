"""Every DataSet of the site to a topic of its own: on change, and whole at least once a period.

Source: Storage4Grid D3.1 §4.1.17.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from s4g_gateway.codecs.senml import Format
from s4g_gateway.errors import AccessError, EncodeError
from s4g_gateway.interfaces import load_catalogue
from s4g_gateway.interfaces.topics import ROOT
from s4g_gateway.model import DataSet, Reason, Report
from s4g_gateway.northbound.mqtt.outbox import Outbox
from s4g_gateway.profiles.senml import Encoder, compile_encoder
from s4g_gateway.runtime.contract import Counters, Services
from s4g_gateway.runtime.database import Subscription, View

INTERFACE = "smx-eb"
ONLINE = "online"
_OTHERS = re.compile(r"[^A-Za-z0-9]+")
_LONGEST = 63


def topic_names(data_sets: Iterable[DataSet]) -> list[str]:
    """Returns one topic level per DataSet: its name with hyphens for what a topic may not hold, made unique.

    The names of the interface's own messages are not given out.
    """
    taken = {message.slug for message in load_catalogue().interface(INTERFACE).messages} | {ONLINE}
    names = []
    for data_set in data_sets:
        plain = _OTHERS.sub("-", data_set.name).strip("-")[:_LONGEST].rstrip("-") or "data-set"
        name, number = plain, 1
        while name in taken or name.endswith("-answer"):
            number += 1
            name = f"{plain[: _LONGEST - 1 - len(str(number))]}-{number}"
        taken.add(name)
        names.append(name)
    return names


@dataclass(slots=True, eq=False)
class _Entry:
    data_set: DataSet
    topic: str
    encoder: Encoder
    view: View | None = None
    whole_due_s: float = 0.0
    failed: bool = False


class DataSetPublisher:
    """Publishes DataSets.

    Args:
        data_sets: which.
        site: name of the site.
        node: name of the gateway.
        form: representation.
        mode: on change, send the changes or the whole DataSet.
        integrity_period_s: how often a DataSet is sent whole at least.
    """

    def __init__(
        self,
        data_sets: Iterable[DataSet],
        *,
        site: str,
        node: str,
        form: Format,
        mode: Literal["changes", "whole"],
        integrity_period_s: float,
    ) -> None:
        chosen = tuple(data_sets)
        self._mode = mode
        self._period_s = integrity_period_s
        self._entries = tuple(
            _Entry(
                data_set,
                f"{ROOT}/{site}/{node}/{INTERFACE}/{name}",
                compile_encoder(data_set, site=site, form=form),
            )
            for data_set, name in zip(chosen, topic_names(chosen), strict=True)
        )
        self._subscriptions: list[Subscription] = []
        self._outbox: Outbox | None = None
        self._counters = Counters()
        self._services: Services | None = None
        self._log = structlog.get_logger("mqtt")

    @property
    def topics(self) -> tuple[str, ...]:
        """Topic of each DataSet."""
        return tuple(entry.topic for entry in self._entries)

    def start(self, services: Services, outbox: Outbox) -> None:
        """Subscribes to the database; what the connector's principal may not read is left out."""
        self._services, self._outbox = services, outbox
        self._counters, self._log = services.counters, services.log
        self._subscribe(services)

    def _subscribe(self, services: Services) -> None:
        database, principal = services.database, services.principal
        for entry in self._entries:
            try:
                subscription = database.subscribe(principal, [entry.data_set], partial(self._changed, entry))
                entry.view = database.view(principal, entry.data_set)
            except AccessError as error:
                self._log.warning("data set not published", data_set=entry.data_set.name, reason=str(error))
                continue
            self._subscriptions.append(subscription)

    def stop(self) -> None:
        """Ends the subscriptions; idempotent."""
        self._services = None
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()
        for entry in self._entries:
            entry.view = None

    def adopt(self, successor: DataSetPublisher) -> None:
        """Goes on with the successor's DataSets; one that both have keeps its place in its period."""
        known = {(entry.data_set, entry.topic): entry for entry in self._entries}
        self._unsubscribe()
        self._entries = successor._entries
        for entry in self._entries:
            before = known.get((entry.data_set, entry.topic))
            if before is not None:
                entry.whole_due_s, entry.failed = before.whole_due_s, before.failed
        if self._services is not None:
            self._subscribe(self._services)

    def publish_due(self, *, everything: bool = False) -> None:
        """Sends every DataSet whole whose period is over; call about once a second."""
        if self._services is None:
            return
        now_s = self._services.clock.monotonic_s()
        for entry in self._entries:
            if entry.view is not None and (everything or now_s >= entry.whole_due_s):
                self._send(entry, entry.view.snapshot(Reason.INTEGRITY))

    def _changed(self, entry: _Entry, report: Report) -> None:
        if report.included is not None and self._mode == "whole" and entry.view is not None:
            report = entry.view.snapshot(Reason.DATA_CHANGE)
        self._send(entry, report)

    def _send(self, entry: _Entry, report: Report) -> None:
        if self._outbox is None or self._services is None:
            return
        whole = report.included is None
        if whole:
            entry.whole_due_s = self._services.clock.monotonic_s() + self._period_s
        try:
            payload = entry.encoder.encode(report)
        except EncodeError as error:
            self._counters.add("encode_errors_total")
            if not entry.failed:
                entry.failed = True
                self._log.error("report cannot be encoded", data_set=entry.data_set.name, reason=str(error))
            return
        entry.failed = False
        # Only a whole DataSet is a state that a late subscriber can start from.
        self._outbox.put(entry.topic, payload, retain=whole)
