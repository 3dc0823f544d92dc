"""The entities of OGC SensorThings 1.1 and Tasking Core 1.0, as plain values.

Entities name each other by id, never by nesting. An id of None is an entity that no server has accepted yet.

Source: OGC 18-088 and 17-079r1 (clauses unverified; properties and relations as in the OGC test suite and
FROST, standards.md §2.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from s4g_gateway.model import quality as q
from s4g_gateway.model.timestamp import TimeQuality

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
EntityId: TypeAlias = "int | str"

GEO_JSON: Final = "application/geo+json"
HTML: Final = "text/html"
PDF: Final = "application/pdf"

_OM: Final = "http://www.opengis.net/def/observationType/OGC-OM/2.0/"
OM_MEASUREMENT: Final = _OM + "OM_Measurement"
OM_COUNT: Final = _OM + "OM_CountObservation"
OM_TRUTH: Final = _OM + "OM_TruthObservation"
OM_CATEGORY: Final = _OM + "OM_CategoryObservation"
OM_ANY: Final = _OM + "OM_Observation"
OM_COMPLEX: Final = _OM + "OM_ComplexObservation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A device or site.

    Attributes:
        id: identity on its server.
        name: label.
        description: one line for people.
        properties: anything else.
        location_ids: where it is.
    """

    id: EntityId | None = None
    name: str
    description: str
    properties: Mapping[str, Json] = field(default_factory=dict)
    location_ids: tuple[EntityId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where Things are.

    Attributes:
        id: identity on its server.
        name: label.
        description: one line for people.
        encoding_type: media type of ``location``.
        location: GeoJSON; coordinates in degrees, longitude first.
        properties: anything else.
    """

    id: EntityId | None = None
    name: str
    description: str
    encoding_type: str = GEO_JSON
    location: Json
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoricalLocation:
    """Since when a Thing is somewhere.

    Attributes:
        id: identity on its server.
        time_ns: ns since 1970 UTC.
        thing_id: the Thing.
        location_ids: its Locations from then on.
    """

    id: EntityId | None = None
    time_ns: int
    thing_id: EntityId | None = None
    location_ids: tuple[EntityId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """What measures: a meter or controller.

    Attributes:
        id: identity on its server.
        name: label.
        description: one line for people.
        encoding_type: media type of ``metadata``.
        metadata: description of the device, or where it is found.
        properties: anything else.
    """

    id: EntityId | None = None
    name: str
    description: str
    encoding_type: str
    metadata: Json
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedProperty:
    """What is measured.

    Attributes:
        id: identity on its server.
        name: label, such as ``MMXU.TotW``.
        definition: URI of its meaning.
        description: one line for people.
        properties: anything else.
    """

    id: EntityId | None = None
    name: str
    definition: str
    description: str
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOfMeasurement:
    """Unit of a Datastream; every attribute is None where results have no unit.

    Attributes:
        name: in words.
        symbol: UCUM code.
        definition: URI.
    """

    name: str | None = None
    symbol: str | None = None
    definition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastream:
    """The Observations of one property by one Sensor at one Thing.

    Attributes:
        id: identity on its server.
        name: label; of this gateway's own: the ObjectReference.
        description: one line for people.
        unit_of_measurement: unit of the results.
        observation_type: URI of the kind of result (``OM_MEASUREMENT`` ...).
        observed_area: GeoJSON around the features observed; None for none.
        phenomenon_time: ISO 8601 interval of its Observations as the server states it; None for none.
        result_time: likewise.
        properties: anything else.
        thing_id: the Thing.
        sensor_id: the Sensor.
        observed_property_id: the ObservedProperty.
    """

    id: EntityId | None = None
    name: str
    description: str
    unit_of_measurement: UnitOfMeasurement
    observation_type: str
    observed_area: Json = None
    phenomenon_time: str | None = None
    result_time: str | None = None
    properties: Mapping[str, Json] = field(default_factory=dict)
    thing_id: EntityId | None = None
    sensor_id: EntityId | None = None
    observed_property_id: EntityId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureOfInterest:
    """What an Observation is about.

    Attributes:
        id: identity on its server.
        name: label.
        description: one line for people.
        encoding_type: media type of ``feature``.
        feature: GeoJSON; coordinates in degrees, longitude first.
        properties: anything else.
    """

    id: EntityId | None = None
    name: str
    description: str
    encoding_type: str = GEO_JSON
    feature: Json
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One result.

    Attributes:
        id: identity on its server.
        phenomenon_time_ns: when it was so, ns since 1970 UTC; None leaves it to the server.
        phenomenon_end_ns: end, where it was so over a period; None for an instant.
        result: any JSON value; None where there is no value and ``result_quality`` says why.
        result_time_ns: when the result was made, ns since 1970 UTC; None for unknown.
        valid_time_ns: from and to, ns since 1970 UTC; None for no limit.
        result_quality: any JSON value; of this gateway: see ``result_quality``.
        parameters: anything else.
        datastream_id: the Datastream.
        feature_of_interest_id: the FeatureOfInterest; None leaves it to the server.
    """

    id: EntityId | None = None
    phenomenon_time_ns: int | None = None
    phenomenon_end_ns: int | None = None
    result: Json
    result_time_ns: int | None = None
    valid_time_ns: tuple[int, int] | None = None
    result_quality: Json = None
    parameters: Mapping[str, Json] = field(default_factory=dict)
    datastream_id: EntityId | None = None
    feature_of_interest_id: EntityId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actuator:
    """What carries out a task.

    Attributes:
        id: identity on its server.
        name: label.
        description: one line for people.
        encoding_type: media type of ``metadata``.
        metadata: description of the device, or where it is found.
        properties: anything else.
    """

    id: EntityId | None = None
    name: str
    description: str
    encoding_type: str
    metadata: Json
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskingCapability:
    """What a Thing can be told to do.

    Attributes:
        id: identity on its server.
        name: label; of this gateway's own: the ObjectReference of the controllable data object.
        description: one line for people.
        tasking_parameters: a DataRecord of SWE Common in JSON: what a Task must carry.
        properties: anything else.
        actuator_id: the Actuator.
        thing_id: the Thing.
    """

    id: EntityId | None = None
    name: str
    description: str
    tasking_parameters: Mapping[str, Json]
    properties: Mapping[str, Json] = field(default_factory=dict)
    actuator_id: EntityId | None = None
    thing_id: EntityId | None = None


Entity: TypeAlias = (
    Thing
    | Location
    | HistoricalLocation
    | Sensor
    | ObservedProperty
    | Datastream
    | FeatureOfInterest
    | Observation
    | Actuator
    | TaskingCapability
)


def result_quality(quality: int, time_quality: TimeQuality = TimeQuality.SYNCHRONISED) -> Mapping[str, Json]:
    """Returns what an Observation's resultQuality says about an IEC 61850 quality.

    ``iec61850`` is the quality as one integer (``s4g_gateway.model.quality``), ``text`` the same in words;
    ``timeQuality`` stands only where the clock is not known to be good.
    """
    stated: dict[str, Json] = {"iec61850": quality, "text": q.describe(quality)}
    if time_quality:
        stated["timeQuality"] = int(time_quality)
    return stated


def quality_of(stated: Json) -> int | None:
    """Returns the IEC 61850 quality in a resultQuality; None where it holds none that this gateway wrote."""
    if not isinstance(stated, Mapping):
        return None
    quality = stated.get("iec61850")
    if isinstance(quality, bool) or not isinstance(quality, int) or not 0 <= quality <= q.ALL_BITS:
        return None
    return quality
