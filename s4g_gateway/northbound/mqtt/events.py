"""The EB#LESSAg events: the measurement every 1 to 10 s, the status on change.

Source: Storage4Grid D3.1 §4.1.8, Table 6.
"""

from __future__ import annotations

import asyncio

import structlog

from s4g_gateway.codecs.senml import Format
from s4g_gateway.errors import AccessError, ConfigError, EncodeError, Problem
from s4g_gateway.interfaces import Message, MessageBinding, MessageError, bind_message, load_catalogue, topic
from s4g_gateway.model import DataSet, ObjectReference, Reason, Report
from s4g_gateway.model.quality import GOOD
from s4g_gateway.northbound.mqtt.outbox import Outbox
from s4g_gateway.profiles.senml import Encoder, WireMember, compile_encoder
from s4g_gateway.runtime.contract import Services, SiteContext
from s4g_gateway.runtime.database import Subscription, View

_INTERFACE = "lessag-eb"


class SiteMessage:
    """A message of the catalogue, as far as this site has its points.

    Args:
        message: its description.
        context: the site.
        node: name of the gateway.
        form: representation.

    Attributes:
        data_set: what it says here; None where the site has none of its points.
        points: those of its members that come from devices; None likewise.

    Raises:
        ConfigError: the site's roles do not fit the message.
    """

    def __init__(self, message: Message, context: SiteContext, node: str, form: Format) -> None:
        members = {
            member.reference: member for entry in context.supplied for member in entry.data_set.members
        }
        self.topic = topic(context.site, node, _INTERFACE, message)
        self.data_set: DataSet | None = None
        self.points: DataSet | None = None
        # Values the site file gives, by position in data_set.
        self.fixed: dict[int, str] = {}
        self.encoder: Encoder | None = None
        try:
            binding = bind_message(message, context.roles, _devices(message, members.keys()))
        except MessageError as error:
            raise _problem(str(error), "roles that fit the interface catalogue") from error
        present = [entry for entry in binding.data_set.members if entry.reference in members]
        for member in present:
            supplied = members[member.reference]
            if member.unit != supplied.unit:
                raise _problem(
                    f"{member.reference} in {supplied.unit or 'no unit'}",
                    f"a point in {member.unit or 'no unit'} for {message.name}",
                )
        if present:
            self.points = DataSet(message.name, tuple(members[entry.reference] for entry in present))
            told = _told_by_the_file(context, binding.data_set, self.points)
            everything = tuple(
                members.get(entry.reference, entry)
                for entry in binding.data_set.members
                if entry.reference in members or entry.reference in told
            )
            self.data_set = DataSet(message.name, everything) if told else self.points
            self.fixed = {self.data_set.index[reference]: value for reference, value in told.items()}
            self.encoder = compile_encoder(
                self.data_set, site=context.site, form=form, wire=_wire(binding, self.data_set)
            )

    def report(self, view: View) -> Report:
        """Returns what it says now.

        Args:
            view: of ``points``.
        """
        found = view.snapshot(Reason.INTEGRITY)
        if self.data_set is None or not self.fixed:
            return found
        moments = found.times_ns()
        rest = iter(zip(found.values, found.quality, moments, strict=True))
        # What the site file says has held for as long as anything here.
        columns = [
            (self.fixed[at], GOOD, min(moments)) if at in self.fixed else next(rest)
            for at in range(len(self.data_set))
        ]
        values, quality, times = zip(*columns, strict=True)
        return Report(self.data_set, values, quality, times, found.reason, None, found.time_quality)


def _told_by_the_file(context: SiteContext, data_set: DataSet, points: DataSet) -> dict[ObjectReference, str]:
    """Returns what site.toml itself says of the devices of a message, where they do not say it."""
    texts = {"GGIO1.RadialId": context.radial_id, "LPHD1.PhyNam.location": context.position}
    devices = {reference.partition("/")[0] for reference in points.references}
    told = {}
    for reference in data_set.references:
        device, _, rest = reference.partition("/")
        if device in devices and texts.get(rest) and reference not in points.index:
            told[reference] = texts[rest]
    return told


def _devices(message: Message, references: object) -> tuple[str, ...]:
    """Returns the logical devices that a message per device tells of; empty for any other message."""
    if not message.per_device:
        return ()
    endings = {str(variable.point).partition("/")[2] for variable in message.records}
    found: dict[str, None] = {}
    for reference in references:  # type: ignore[attr-defined]  # the keys of a dict
        device, _, rest = str(reference).partition("/")
        if rest in endings:
            found[device] = None
    return tuple(found)


def _wire(binding: MessageBinding, data_set: DataSet) -> dict[ObjectReference, WireMember]:
    wire = {}
    for entry in binding.fields:
        reference = binding.data_set.members[entry.position].reference
        if reference in data_set.index:
            wire[reference] = WireMember(name=entry.path, unit=entry.unit, factor=1 / entry.divisor)
    return wire


def _problem(found: str, expected: str) -> ConfigError:
    return ConfigError([Problem(file="", key="site.roles", found=found, expected=expected)])


class LessagEvents:
    """Publishes the two events of Table 6.

    Args:
        context: the site.
        node: name of the gateway.
        form: representation.
        period_s: of the measurement event, 1 to 10 s.

    Raises:
        ConfigError: the site's roles do not fit the messages.
    """

    def __init__(self, context: SiteContext, node: str, form: Format, period_s: float) -> None:
        catalogue = load_catalogue()
        self.measurement = SiteMessage(catalogue.message(f"{_INTERFACE}/measurement"), context, node, form)
        self.status = SiteMessage(catalogue.message(f"{_INTERFACE}/status"), context, node, form)
        self._period_s = period_s
        self._views: dict[SiteMessage, View] = {}
        self._subscription: Subscription | None = None
        self._outbox: Outbox | None = None
        self._services: Services | None = None
        self._log = structlog.get_logger("mqtt")

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics of the events that this site has points for."""
        return tuple(
            message.topic for message in (self.measurement, self.status) if message.data_set is not None
        )

    def start(self, services: Services, outbox: Outbox) -> None:
        """Resolves the points; a message whose points the connector may not read is left out."""
        self._outbox, self._log, self._services = outbox, services.log, services
        self._subscribe(services)

    def _subscribe(self, services: Services) -> None:
        for message in (self.measurement, self.status):
            if message.points is None:
                continue
            try:
                self._views[message] = services.database.view(services.principal, message.points)
                if message is self.status:
                    self._subscription = services.database.subscribe_view(
                        services.principal, message.points, self._status_changed
                    )
            except AccessError as error:
                self._views.pop(message, None)
                self._log.warning("message not published", topic=message.topic, reason=str(error))

    def stop(self) -> None:
        """Ends the subscription; idempotent."""
        self._services = None
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        self._views.clear()

    def adopt(self, successor: LessagEvents) -> None:
        """Goes on with the successor's messages; the status is sent if it is another one now."""
        before = self._status()
        self._unsubscribe()
        self.measurement, self.status = successor.measurement, successor.status
        if self._services is not None:
            self._subscribe(self._services)
            if self._status() != before:
                self.publish_status()

    def _status(self) -> object:
        view = self._views.get(self.status)
        if view is None:
            return None
        report = self.status.report(view)
        return report.data_set.members, report.values, report.quality

    async def run(self) -> None:
        """Publishes the measurement in its period until cancelled, whether or not the broker is there."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            self._publish(self.measurement)
            # Counted from the last due time, so that the period does not drift.
            due_s = max(due_s + self._period_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    def publish_status(self) -> None:
        """Publishes the status event out of turn."""
        self._publish(self.status)

    def _status_changed(self, _: Report) -> None:
        self._publish(self.status)

    def _publish(self, message: SiteMessage) -> None:
        view = self._views.get(message)
        if view is None or message.encoder is None or self._outbox is None:
            return
        try:
            payload = message.encoder.encode(message.report(view))
        except EncodeError as error:
            self._log.error("event cannot be encoded", topic=message.topic, reason=str(error))
            return
        self._outbox.put(message.topic, payload, retain=True)
