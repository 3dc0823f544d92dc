"""The properties and relations of every entity, read from ``data/``.

Source: OGC 18-088 and 17-079r1 (clauses unverified; names as in the OGC test suite and FROST).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from s4g_gateway.errors import ModelError
from s4g_gateway.model import sensorthings as sta
from s4g_gateway.model.tables import Row, rows

_CLASSES: Mapping[str, type[sta.Entity]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            sta.Thing,
            sta.Location,
            sta.HistoricalLocation,
            sta.Datastream,
            sta.Sensor,
            sta.ObservedProperty,
            sta.Observation,
            sta.FeatureOfInterest,
            sta.Actuator,
            sta.TaskingCapability,
        )
    }
)
_KINDS = ("text", "object", "json", "any", "time", "time-or-null", "phenomenon-time", "period", "unit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """A property of an entity.

    Attributes:
        name: on the wire.
        attribute: of the model's class.
        kind: how it is written: text, object, json, any (json or null), time, time-or-null, phenomenon-time,
            period, unit.
        mandatory: true where an entity without it is refused.
    """

    name: str
    attribute: str
    kind: str
    mandatory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A relation of an entity.

    Attributes:
        name: on the wire.
        attribute: of the model's class, holding ids; empty where only the other side knows.
        many: true for a collection.
        mandatory: true where an entity cannot be created without it.
    """

    name: str
    attribute: str
    many: bool
    mandatory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityType:
    """An entity as the wire sees it.

    Attributes:
        name: such as ``Thing``.
        set_name: such as ``Things``.
        is_tasking: true for what Tasking Core adds; the OGC test suite wants those sets hidden.
        properties: in order.
        links: in order.
    """

    name: str
    set_name: str
    is_tasking: bool
    properties: tuple[Property, ...]
    links: tuple[Link, ...]


@cache
def entity_types() -> Mapping[str, EntityType]:
    """Returns the entity types by name; read once."""
    folder = files("s4g_gateway.codecs.sensorthings") / "data"
    texts = [
        (folder / name).read_text(encoding="utf-8") for name in ("sets.csv", "properties.csv", "links.csv")
    ]
    return parse_entity_types(*texts)


def parse_entity_types(sets: str, properties: str, links: str) -> Mapping[str, EntityType]:
    """Reads the three tables.

    Raises:
        ModelError: an unknown entity, attribute, kind, cardinality or flag; the message names the line.
    """
    props: dict[str, list[Property]] = {}
    for row in rows("properties.csv", properties, ("entity", "property", "attribute", "kind", "mandatory")):
        props.setdefault(_entity(row), []).append(
            Property(
                name=row["property"],
                attribute=_attribute(row),
                kind=row.choice("kind", _KINDS),
                mandatory=row.choice("mandatory", ("yes", "no")) == "yes",
            )
        )
    relations: dict[str, list[Link]] = {}
    for row in rows("links.csv", links, ("entity", "link", "attribute", "cardinality", "mandatory")):
        relations.setdefault(_entity(row), []).append(
            Link(
                name=row["link"],
                attribute=_attribute(row) if row["attribute"] else "",
                many=row.choice("cardinality", ("one", "many")) == "many",
                mandatory=row.choice("mandatory", ("yes", "no")) == "yes",
            )
        )
    found: dict[str, EntityType] = {}
    for row in rows("sets.csv", sets, ("entity", "set", "part")):
        name = _entity(row)
        found[name] = EntityType(
            name=name,
            set_name=row["set"],
            is_tasking=row.choice("part", ("sensing", "tasking")) == "tasking",
            properties=tuple(props.get(name, ())),
            links=tuple(relations.get(name, ())),
        )
    if set(found) != set(_CLASSES):
        raise ModelError(f"sets.csv: entities are {sorted(found)}, expected {sorted(_CLASSES)}")
    return MappingProxyType(found)


def _entity(row: Row) -> str:
    return row.choice("entity", tuple(_CLASSES))


def _attribute(row: Row) -> str:
    return row.choice("attribute", tuple(field.name for field in fields(_CLASSES[row["entity"]])))
