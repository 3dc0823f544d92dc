"""A site seen as OGC SensorThings 1.1: every device a Thing, every point a Datastream, every Control a task.

Logical device -> Thing, Sensor and FeatureOfInterest; with Controls also an Actuator. Data object (and phase)
-> Datastream, its meaning -> ObservedProperty; controllable data object -> TaskingCapability. Value, time and
quality -> Observation.

Ids are integers of 48 bits drawn from the site's and the entity's names: they never move when devices come
and go (docs/adr/0021).

Source: OGC 18-088, 17-079r1; mapping standards.md §2.2 (ours).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from types import MappingProxyType

from s4g_gateway.errors import ModelError
from s4g_gateway.model.control import ControlPoint
from s4g_gateway.model.data_set import Member, ValueType
from s4g_gateway.model.logical_nodes import check_against_table, common_data_class, leaf_cdc, logical_node
from s4g_gateway.model.reference import ObjectReference, ReferenceParts, parse_reference
from s4g_gateway.model.sensorthings_entities import (
    GEO_JSON,
    HTML,
    OM_ANY,
    OM_CATEGORY,
    OM_COMPLEX,
    OM_COUNT,
    OM_MEASUREMENT,
    OM_TRUTH,
    PDF,
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
    UnitOfMeasurement,
    quality_of,
    result_quality,
)
from s4g_gateway.model.sensorthings_site import (
    DeviceDescription,
    SensorThingsView,
    SiteDescription,
    observation,
)
from s4g_gateway.model.unit_of_measurement import load_units_of_measurement
from s4g_gateway.model.units import check_unit

__all__ = [
    "GEO_JSON",
    "HTML",
    "OM_ANY",
    "OM_CATEGORY",
    "OM_COMPLEX",
    "OM_COUNT",
    "OM_MEASUREMENT",
    "OM_TRUTH",
    "PDF",
    "Actuator",
    "Datastream",
    "DeviceDescription",
    "Entity",
    "EntityId",
    "FeatureOfInterest",
    "HistoricalLocation",
    "Json",
    "Location",
    "Observation",
    "ObservedProperty",
    "Sensor",
    "SensorThingsView",
    "SiteDescription",
    "TaskingCapability",
    "Thing",
    "UnitOfMeasurement",
    "entity_id",
    "observation",
    "quality_of",
    "result_quality",
    "sensorthings_view",
]

_DEFINITION = "tag:storage4grid.eu,2016:iec61850/"
_GREGORIAN = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"
_SIGNED_UNITS = ("W", "var")
_OBSERVATION_TYPE: Mapping[ValueType, str] = MappingProxyType(
    {
        ValueType.FLOAT: OM_MEASUREMENT,
        ValueType.INTEGER: OM_COUNT,
        ValueType.BOOLEAN: OM_TRUTH,
        ValueType.ENUMERATED: OM_CATEGORY,
        ValueType.TEXT: OM_ANY,
    }
)
_SWE_TYPE: Mapping[ValueType, str] = MappingProxyType(
    {
        ValueType.FLOAT: "Quantity",
        ValueType.INTEGER: "Count",
        ValueType.BOOLEAN: "Boolean",
        ValueType.ENUMERATED: "Count",
        ValueType.TEXT: "Text",
    }
)


def entity_id(site: str, entity: str, name: str) -> int:
    """Returns the id of an entity: the first 48 bits of a hash of its names, so it fits a double exactly.

    Args:
        site: the site's name; empty for what belongs to no site.
        entity: kind of entity, such as ``Thing``.
        name: its name within the site and kind.
    """
    digest = sha256("\0".join((site, entity, name)).encode()).digest()
    return int.from_bytes(digest[:6], "big")


def sensorthings_view(site: SiteDescription) -> SensorThingsView:
    """Derives the SensorThings entities of a site.

    Raises:
        ModelError: coordinates out of range, a name or reference twice, a reference of another logical
            device or not in the table of logical nodes, or a unit without SensorThings unit.
    """
    if not (-90 <= site.latitude <= 90 and -180 <= site.longitude <= 180):
        raise ModelError(
            f"site {site.name!r}: latitude {site.latitude}, longitude {site.longitude}; expected -90 to 90 "
            "and -180 to 180 degrees"
        )
    return _Derivation(site).view()


class _Derivation:
    """Collects the entities of one site; made, used and dropped in ``sensorthings_view``."""

    def __init__(self, site: SiteDescription) -> None:
        self._site = site
        self._names: dict[tuple[str, int], str] = {}
        self._properties: dict[str, ObservedProperty] = {}
        self._datastreams: dict[ObjectReference, Datastream] = {}
        self._features: dict[ObjectReference, EntityId] = {}
        self._place: Json = {"type": "Point", "coordinates": [site.longitude, site.latitude]}
        self._location = Location(
            id=self._id("Location", site.name),
            name=site.name,
            description=site.description or f"Site {site.name}",
            location=self._place,
        )

    def view(self) -> SensorThingsView:
        devices = self._site.devices
        _check_names(self._site)
        features = tuple(self._feature(device) for device in devices if device.data_sets)
        sensors = tuple(self._sensor(device) for device in devices if device.data_sets)
        actuators = tuple(self._actuator(device) for device in devices if device.controls)
        for device in devices:
            for data_set in device.data_sets:
                for member in data_set.members:
                    self._add_point(device, member)
        return SensorThingsView(
            things=tuple(self._thing(device) for device in devices),
            locations=(self._location,),
            historical_locations=tuple(self._historical_locations()),
            sensors=sensors,
            observed_properties=tuple(self._properties.values()),
            datastreams=tuple(self._datastreams.values()),
            features_of_interest=features,
            actuators=actuators,
            tasking_capabilities=tuple(
                self._capability(device, control) for device in devices for control in device.controls
            ),
            datastream_of=MappingProxyType(self._datastreams),
            feature_of=MappingProxyType(self._features),
        )

    def _id(self, entity: str, name: str) -> int:
        # A meaning belongs to no site, so that sites of one server share it.
        number = entity_id("" if entity == "ObservedProperty" else self._site.name, entity, name)
        known = self._names.setdefault((entity, number), name)
        if known != name:
            raise ModelError(
                f"site {self._site.name!r}: {entity} {name!r} and {known!r} share one id; rename one"
            )
        return number

    def _thing(self, device: DeviceDescription) -> Thing:
        return Thing(
            id=self._id("Thing", device.name),
            name=device.name,
            description=_description(device),
            properties={"iec61850": {"ldName": device.logical_device}, "device": _nameplate(device)},
            location_ids=(self._id("Location", self._site.name),),
        )

    def _historical_locations(self) -> Iterable[HistoricalLocation]:
        since_ns = self._site.located_since_ns
        if since_ns is None:
            return
        for device in self._site.devices:
            yield HistoricalLocation(
                id=self._id("HistoricalLocation", device.name),
                time_ns=since_ns,
                thing_id=self._id("Thing", device.name),
                location_ids=(self._id("Location", self._site.name),),
            )

    def _sensor(self, device: DeviceDescription) -> Sensor:
        return Sensor(
            id=self._id("Sensor", device.name),
            name=device.name,
            description=_description(device),
            encoding_type=PDF if device.metadata_url.lower().endswith(".pdf") else HTML,
            metadata=_metadata(device),
            properties=_nameplate(device),
        )

    def _actuator(self, device: DeviceDescription) -> Actuator:
        return Actuator(
            id=self._id("Actuator", device.name),
            name=device.name,
            description=_description(device),
            encoding_type=PDF if device.metadata_url.lower().endswith(".pdf") else HTML,
            metadata=_metadata(device),
            properties=_nameplate(device),
        )

    def _feature(self, device: DeviceDescription) -> FeatureOfInterest:
        return FeatureOfInterest(
            id=self._id("FeatureOfInterest", device.name),
            name=device.name,
            description=_description(device),
            feature=self._place,
            properties={"iec61850": {"ldName": device.logical_device}},
        )

    def _add_point(self, device: DeviceDescription, member: Member) -> None:
        reference = member.reference
        if reference in self._datastreams:
            raise ModelError(f"site {self._site.name!r}: {reference} stands in two DataSets")
        parts = _own_parts(device, reference)
        meaning = self._observed_property(reference, parts)
        has_unit = member.value_type in (ValueType.FLOAT, ValueType.INTEGER)
        self._datastreams[reference] = Datastream(
            id=self._id("Datastream", reference),
            name=reference,
            description=member.description or f"{meaning.name} of {device.name}",
            unit_of_measurement=_unit(member.unit) if has_unit else UnitOfMeasurement(),
            observation_type=_OBSERVATION_TYPE[member.value_type],
            properties={"iec61850": _iec61850(reference, parts, member.unit)},
            thing_id=self._id("Thing", device.name),
            sensor_id=self._id("Sensor", device.name),
            observed_property_id=meaning.id,
        )
        self._features[reference] = self._id("FeatureOfInterest", device.name)

    def _observed_property(self, reference: ObjectReference, parts: ReferenceParts) -> ObservedProperty:
        node = logical_node(parts.ln_class)
        data_object = check_against_table(reference).name
        name = ".".join((parts.ln_class, data_object, *parts.data.split(".")[1:]))
        if name not in self._properties:
            cdc = leaf_cdc(reference)
            self._properties[name] = ObservedProperty(
                id=self._id("ObservedProperty", name),
                name=name,
                definition=f"{_DEFINITION}{node.namespace.replace(' ', '-')}/{name}",
                description=f"Data object {name} (CDC {cdc}) of {node.namespace}",
                properties={"iec61850": {"lnClass": parts.ln_class, "cdc": cdc, "namespace": node.namespace}},
            )
        return self._properties[name]

    def _capability(self, device: DeviceDescription, control: ControlPoint) -> TaskingCapability:
        reference = control.reference
        parts = _own_parts(device, reference)
        check_against_table(reference)
        properties = dict(_iec61850(reference, parts, control.unit))
        properties["ctlModel"] = int(control.model)
        return TaskingCapability(
            id=self._id("TaskingCapability", reference),
            name=reference,
            description=control.description or f"Set {parts.ln_class}.{parts.data} of {device.name}",
            tasking_parameters=_tasking_parameters(control),
            properties={"iec61850": properties},
            actuator_id=self._id("Actuator", device.name),
            thing_id=self._id("Thing", device.name),
        )


def _check_names(site: SiteDescription) -> None:
    seen: set[str] = set()
    for device in site.devices:
        if not device.name or device.name in seen:
            raise ModelError(f"site {site.name!r}: device {device.name!r} stands twice or is empty")
        seen.add(device.name)


def _own_parts(device: DeviceDescription, reference: ObjectReference) -> ReferenceParts:
    parts = parse_reference(reference)
    if parts.logical_device != device.logical_device:
        raise ModelError(f"device {device.name!r}: {reference} is not of its LD {device.logical_device!r}")
    return parts


def _iec61850(reference: ObjectReference, parts: ReferenceParts, unit: str) -> Mapping[str, Json]:
    cdc = leaf_cdc(reference)
    entry = common_data_class(cdc)
    stated: dict[str, Json] = {
        "ref": reference,
        "ldName": parts.logical_device,
        "prefix": parts.prefix,
        "lnClass": parts.ln_class,
        "inst": parts.instance,
        "cdc": cdc,
        "fc": entry.fc,
    }
    if unit in _SIGNED_UNITS and entry.kind in ("measured", "control"):
        stated["refFrame"] = "generator"
    return stated


def _unit(unit: str) -> UnitOfMeasurement:
    check_unit(unit)
    known = load_units_of_measurement()
    if unit not in known:
        raise ModelError(f"unit {unit!r} has no row in unit_of_measurement.csv")
    return known[unit]


def _description(device: DeviceDescription) -> str:
    return device.description or f"Logical device {device.logical_device}"


def _nameplate(device: DeviceDescription) -> Mapping[str, Json]:
    plate = {"manufacturer": device.manufacturer, "model": device.model, "serialNumber": device.serial}
    return {key: text for key, text in plate.items() if text}


def _metadata(device: DeviceDescription) -> str:
    """Returns the page of the device; where there is none, a line of HTML with its name plate."""
    if device.metadata_url:
        return device.metadata_url
    words = " ".join(str(text) for text in _nameplate(device).values()) or device.name
    return f"<p>{escape(words)}</p>"


def _tasking_parameters(control: ControlPoint) -> Mapping[str, Json]:
    value: dict[str, Json] = {
        "type": _SWE_TYPE[control.value_type],
        "name": "value",
        "label": control.description or control.reference,
    }
    if control.value_type is ValueType.FLOAT:
        value["uom"] = {"code": _unit(control.unit).symbol}
    if control.minimum is not None or control.maximum is not None:
        low = "-Infinity" if control.minimum is None else control.minimum
        high = "Infinity" if control.maximum is None else control.maximum
        value["constraint"] = {"type": "AllowedValues", "interval": [[low, high]]}
    return {
        "type": "DataRecord",
        "field": [
            value,
            {
                "type": "Time",
                "name": "notAfter",
                "label": "end of validity",
                "optional": True,
                "uom": {"href": _GREGORIAN},
            },
            {"type": "Count", "name": "priority", "label": "1 is the strongest", "optional": True},
        ],
    }
