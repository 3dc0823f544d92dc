"""What the masters of a station see of the site: image parts and subscriptions, made anew when the site changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from s4g_gateway.codecs.iec104 import TimeCoder
from s4g_gateway.errors import ModelError, TransientError
from s4g_gateway.model import DataSet, ObjectReference
from s4g_gateway.northbound.iec104.image import ImagePart, invalid_report
from s4g_gateway.northbound.iec104.station import Station
from s4g_gateway.profiles.iec104 import DataSetEncoder, Signal, SignalList
from s4g_gateway.runtime.contract import Services
from s4g_gateway.runtime.database import Subscription
from s4g_gateway.security import Action, Principal


class PointFeed:
    """Leads the site's points to one station.

    Args:
        station: where to.
        principal: whose rights hold.
        services: database and clocks.
        zone_offset_minutes: the wall clock of time tags against UTC.
    """

    def __init__(
        self, station: Station, principal: Principal, services: Services, zone_offset_minutes: int
    ) -> None:
        self._station = station
        self._principal = principal
        self._services = services
        self._coder = TimeCoder(zone_offset_minutes)
        self._subscriptions: list[Subscription] = []

    def load(self, data_sets: Iterable[DataSet], signal_list: SignalList) -> None:
        """Goes over to these points; masters are told of those that are gone.

        Raises:
            TransientError: the database does not have them (yet); everything is as before.
        """
        listed = signal_list.by_reference
        old = {part.source: part for part in self._station.image.parts}
        parts: list[ImagePart] = []
        subscriptions: list[Subscription] = []
        try:
            for data_set in data_sets:
                found = self._part(data_set, listed, old.get(data_set))
                if found is not None:
                    parts.append(found)
                    subscriptions.append(self._subscribe(found))
        except ModelError as error:
            for subscription in subscriptions:
                subscription.close()
            raise TransientError(f"the site's points are not there yet: {error}") from error
        self.close()
        self._subscriptions = subscriptions
        self._station.image.load(signal_list, parts)
        for part in old.values():
            if part.is_gone:
                self._tell_gone(part)

    def close(self) -> None:
        """Ends the subscriptions; idempotent."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions = []

    def _part(
        self, data_set: DataSet, listed: Mapping[ObjectReference, Signal], before: ImagePart | None
    ) -> ImagePart | None:
        """Returns what of a DataSet is for these masters and has a place in the protocol, None for nothing."""
        database, principal = self._services.database, self._principal
        members = tuple(
            member
            for member in data_set.members
            if member.reference in listed
            and database.policy.allows(principal, Action.READ, member.reference)
            and database.policy.allows(principal, Action.SUBSCRIBE, member.reference)
        )
        if not members:
            return None
        signals = tuple(listed[member.reference] for member in members)
        fingerprint = hash(signals)
        if before is not None and before.fingerprint == fingerprint:
            # What it remembers of deadbands stays.
            encoder = before.encoder
        else:
            own = data_set if len(members) == len(data_set) else DataSet(data_set.name, members)
            encoder = DataSetEncoder(own, signals, self._coder)
        return ImagePart(
            source=data_set,
            encoder=encoder,
            view=database.view(principal, encoder.data_set),
            counters=tuple(signal for signal in signals if signal.is_counter),
            fingerprint=fingerprint,
        )

    def _subscribe(self, part: ImagePart) -> Subscription:
        database = self._services.database
        deliver = partial(self._station.deliver, part)
        own = part.encoder.data_set
        if own is part.source:
            return database.subscribe(self._principal, [own], deliver)
        return database.subscribe_view(self._principal, own, deliver)

    def _tell_gone(self, part: ImagePart) -> None:
        """Says that the values of a DataSet hold no more: its points are gone, or not read yet by a new device."""
        report = part.view.snapshot()
        included = bytes(len(report.values) * [1])
        report = invalid_report(report, included, self._services.clock.wall_ns())
        self._station.deliver(part, report)
