"""What a SensorThings view is made from and what it holds; ``s4g_gateway.model.sensorthings`` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from s4g_gateway.errors import ModelError
from s4g_gateway.model.control import ControlPoint
from s4g_gateway.model.data_set import DataSet, Value, ValueType
from s4g_gateway.model.reference import ObjectReference
from s4g_gateway.model.report import Report
from s4g_gateway.model.sensorthings_entities import (
    Actuator,
    Datastream,
    Entity,
    EntityId,
    FeatureOfInterest,
    HistoricalLocation,
    Json,
    Location,
    Observation,
    ObservedProperty,
    Sensor,
    TaskingCapability,
    Thing,
    result_quality,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDescription:
    """One device of a site.

    Attributes:
        name: unique within the site.
        logical_device: LDName of all its points.
        description: one line for people.
        manufacturer: as the device states it, empty for unknown.
        model: likewise.
        serial: likewise.
        metadata_url: page that describes the device; empty for none.
        data_sets: its points.
        controls: what it can be told to do.
    """

    name: str
    logical_device: str
    description: str = ""
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    metadata_url: str = ""
    data_sets: tuple[DataSet, ...] = ()
    controls: tuple[ControlPoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDescription:
    """A site and its devices.

    Attributes:
        name: unique among the sites of a server.
        description: one line for people.
        latitude: degrees north, -90 to 90.
        longitude: degrees east, -180 to 180.
        devices: its devices.
        located_since_ns: since when it stands there, ns since 1970 UTC; None for unknown, and then the view
            holds no HistoricalLocation.
    """

    name: str
    description: str = ""
    latitude: float
    longitude: float
    devices: tuple[DeviceDescription, ...] = ()
    located_since_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorThingsView:
    """A site as SensorThings entities; every tuple in the order of the site's devices and points.

    Attributes:
        things: one per device.
        locations: one, the site's.
        historical_locations: one per device where the site says since when.
        sensors: one per device that has points.
        observed_properties: one per meaning.
        datastreams: one per point.
        features_of_interest: one per device that has points.
        actuators: one per device that takes Controls.
        tasking_capabilities: one per Control.
        datastream_of: Datastream of each point.
        feature_of: id of the FeatureOfInterest of each point.
    """

    things: tuple[Thing, ...]
    locations: tuple[Location, ...]
    historical_locations: tuple[HistoricalLocation, ...]
    sensors: tuple[Sensor, ...]
    observed_properties: tuple[ObservedProperty, ...]
    datastreams: tuple[Datastream, ...]
    features_of_interest: tuple[FeatureOfInterest, ...]
    actuators: tuple[Actuator, ...]
    tasking_capabilities: tuple[TaskingCapability, ...]
    datastream_of: Mapping[ObjectReference, Datastream]
    feature_of: Mapping[ObjectReference, EntityId]

    def observation(self, report: Report, position: int) -> Observation:
        """Returns one value of a Report as an Observation of its Datastream.

        Args:
            report: a Report of one of the site's DataSets.
            position: which member, from 0.

        Raises:
            ModelError: the member is no point of this view.
        """
        reference = report.data_set.members[position].reference
        datastream = self.datastream_of.get(reference)
        if datastream is None:
            raise ModelError(f"{reference} is no Datastream of this site")
        return observation(
            report,
            position,
            datastream_id=datastream.id,
            feature_of_interest_id=self.feature_of[reference],
        )

    def entities(self) -> Mapping[str, tuple[Entity, ...]]:
        """Returns the entities by the name of their set, in the order in which a server can take them."""
        return {
            "Locations": self.locations,
            "Things": self.things,
            "HistoricalLocations": self.historical_locations,
            "Sensors": self.sensors,
            "ObservedProperties": self.observed_properties,
            "Datastreams": self.datastreams,
            "FeaturesOfInterest": self.features_of_interest,
            "Actuators": self.actuators,
            "TaskingCapabilities": self.tasking_capabilities,
        }


def observation(
    report: Report,
    position: int,
    *,
    datastream_id: EntityId | None = None,
    feature_of_interest_id: EntityId | None = None,
) -> Observation:
    """Returns one value of a Report as an Observation.

    The result is a number, boolean or text by the member's type; codes of enumerations become text, for
    an OM_CategoryObservation has no numbers. It is None where there is no value.

    Args:
        report: the Report.
        position: which member, from 0.
        datastream_id: where it belongs.
        feature_of_interest_id: what it is about.
    """
    time_ns = report.time_ns if isinstance(report.time_ns, int) else report.time_ns[position]
    member = report.data_set.members[position]
    return Observation(
        phenomenon_time_ns=time_ns,
        result=_result(report.values[position], member.value_type),
        result_time_ns=time_ns,
        result_quality=result_quality(report.quality[position], report.time_quality),
        datastream_id=datastream_id,
        feature_of_interest_id=feature_of_interest_id,
    )


def _result(value: Value, value_type: ValueType) -> Json:
    if value is None:
        return None
    if value_type is ValueType.ENUMERATED:
        return value if isinstance(value, str) else str(int(value))
    if value_type is ValueType.FLOAT and not isinstance(value, str):
        return float(value)
    return value
