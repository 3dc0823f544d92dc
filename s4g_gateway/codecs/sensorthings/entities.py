"""Entities to JSON and back.

Two forms: as a server shows an entity (id, self-link and navigation links) and as a client creates one
(relations as ``{"Thing": {"@iot.id": 1}}``). The decoder takes both; nested entities of an ``$expand`` are
read for their id. Entities to be created inside another one (deep insert) are refused.

Source: OGC 18-088 (clauses unverified).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from s4g_gateway.codecs.sensorthings.json_text import (
    DEFAULT_LIMITS,
    Limits,
    as_array,
    as_object,
    as_text,
    read_json,
    shown,
    write_json,
)
from s4g_gateway.codecs.sensorthings.schema import EntityType, Link, Property, entity_types
from s4g_gateway.codecs.sensorthings.times import format_interval, format_time, parse_interval, parse_time
from s4g_gateway.errors import DecodeError, EncodeError
from s4g_gateway.model.sensorthings import (
    Entity,
    EntityId,
    Json,
    SensorThingsView,
    UnitOfMeasurement,
)

E = TypeVar("E", bound=Entity)

_ID = "@iot.id"
_UNIT_PARTS = ("name", "symbol", "definition")
_ID_MAX = 2**63


@dataclass(frozen=True, slots=True)
class Page(Generic[E]):
    """One page of a collection.

    Attributes:
        entities: in order.
        count: how many the collection holds in all; None where the server does not say.
        next_link: address of the next page; None on the last.
    """

    entities: tuple[E, ...]
    count: int | None = None
    next_link: str | None = None


def self_link(root_url: str, entity: Entity) -> str:
    """Returns the address of an entity, such as ``http://host/v1.1/Things(1)``.

    Args:
        root_url: the service root without a slash at its end.
        entity: an entity with an id.

    Raises:
        EncodeError: it has no id.
    """
    if entity.id is None:
        raise EncodeError(f"{type(entity).__name__} has no id; expected one given by its server")
    key = str(entity.id)
    if isinstance(entity.id, str):
        key = "'" + quote(entity.id.replace("'", "''"), safe="'") + "'"
    return f"{root_url}/{_type_of(entity).set_name}({key})"


def shown_document(entity: Entity, root_url: str) -> dict[str, Json]:
    """Returns an entity as a server shows it.

    Raises:
        EncodeError: no id, or a time that ISO 8601 cannot hold.
    """
    own = self_link(root_url, entity)
    document: dict[str, Json] = {_ID: entity.id, "@iot.selfLink": own}
    document.update(_properties(entity))
    for link in _type_of(entity).links:
        document[f"{link.name}@iot.navigationLink"] = f"{own}/{link.name}"
    return document


def creation_document(entity: Entity) -> dict[str, Json]:
    """Returns an entity as a client creates it: its relations by id, its own id left to the server.

    Raises:
        EncodeError: a time that ISO 8601 cannot hold.
    """
    document = _properties(entity)
    for link in _type_of(entity).links:
        if not link.attribute:
            continue
        target = getattr(entity, link.attribute)
        if link.many:
            if target:
                document[link.name] = [{_ID: one} for one in target]
        elif target is not None:
            document[link.name] = {_ID: target}
    return document


def encode_entity(entity: Entity, root_url: str) -> bytes:
    """Returns the JSON of an entity as a server shows it.

    Raises:
        EncodeError: no id, or a value that JSON or ISO 8601 cannot hold.
    """
    return write_json(shown_document(entity, root_url))


def encode_creation(entity: Entity) -> bytes:
    """Returns the JSON that creates an entity.

    Raises:
        EncodeError: a value that JSON or ISO 8601 cannot hold.
    """
    return write_json(creation_document(entity))


def encode_collection(
    entities: Iterable[Entity], root_url: str, *, count: int | None = None, next_link: str | None = None
) -> bytes:
    """Returns the JSON of one page of a collection; see ``Page``.

    Raises:
        EncodeError: as ``encode_entity``.
    """
    page: dict[str, Json] = {}
    if count is not None:
        page["@iot.count"] = count
    if next_link is not None:
        page["@iot.nextLink"] = next_link
    page["value"] = [shown_document(entity, root_url) for entity in entities]
    return write_json(page)


def encode_service_root(
    root_url: str, *, conformance: Sequence[str] = (), with_tasking: bool = True
) -> bytes:
    """Returns the JSON of the service root: the entity sets and what the server conforms to.

    Args:
        root_url: the service root without a slash at its end.
        conformance: URIs of the requirements classes that the server meets.
        with_tasking: false hides the sets of Tasking Core, as the OGC test suite of Part 1 needs.
    """
    shown_types = [entry for entry in entity_types().values() if with_tasking or not entry.is_tasking]
    return write_json(
        {
            "value": [
                {"name": entry.set_name, "url": f"{root_url}/{entry.set_name}"} for entry in shown_types
            ],
            "serverSettings": {"conformance": list(conformance)},
        }
    )


def encode_view(view: SensorThingsView, root_url: str) -> bytes:
    """Returns a whole site as one JSON object: each entity set's name with its entities as a server shows them.

    Raises:
        EncodeError: as ``encode_entity``.
    """
    return write_json(
        {
            set_name: [shown_document(entity, root_url) for entity in entities]
            for set_name, entities in view.entities().items()
        }
    )


def decode_entity(
    kind: type[E], data: bytes, *, creating: bool = False, limits: Limits = DEFAULT_LIMITS
) -> E:
    """Reads an entity.

    Args:
        kind: class of the entity.
        data: JSON text.
        creating: true demands the relations without which a server cannot create it.
        limits: what is refused unread.

    Raises:
        DecodeError: no JSON, beyond the limits, or a property missing or of the wrong kind.
    """
    return entity_from(kind, read_json(data, limits), creating=creating)


def decode_collection(kind: type[E], data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Page[E]:
    """Reads one page of a collection.

    Raises:
        DecodeError: as ``decode_entity``.
    """
    page = as_object(read_json(data, limits), "collection")
    if "value" not in page:
        raise DecodeError("collection: 'value' is missing, expected an array")
    count, next_link = page.get("@iot.count"), page.get("@iot.nextLink")
    if isinstance(count, bool) or not (count is None or (isinstance(count, int) and count >= 0)):
        raise DecodeError(f"collection.@iot.count: found {shown(count)}, expected a count")
    return Page(
        tuple(entity_from(kind, item) for item in as_array(page["value"], "collection.value")),
        count,
        None if next_link is None else as_text(next_link, "collection.@iot.nextLink"),
    )


def entity_from(kind: type[E], value: Json, *, creating: bool = False) -> E:
    """Builds an entity from parsed JSON; see ``decode_entity``.

    Raises:
        DecodeError: a property missing or of the wrong kind.
    """
    entry = entity_types()[kind.__name__]
    document = as_object(value, entry.name)
    found: dict[str, Any] = {}
    if document.get(_ID) is not None:
        found["id"] = id_from(document[_ID], f"{entry.name}.{_ID}")
    for item in entry.properties:
        path = f"{entry.name}.{item.name}"
        if item.name in document and (document[item.name] is not None or item.kind == "any"):
            found.update(_decoded(item, document[item.name], path))
        elif item.mandatory:
            raise DecodeError(f"{path} is missing, expected {_EXPECTED[item.kind]}")
    for link in entry.links:
        if link.attribute:
            found.update(_related(entry, link, document, creating=creating))
    return kind(**found)


def reference_from(value: Json, path: str) -> EntityId:
    """Returns the id in ``{"@iot.id": ...}``.

    Raises:
        DecodeError: anything else.
    """
    target = as_object(value, path)
    if _ID not in target:
        raise DecodeError(f"{path}: an entity to create in place is not taken, expected {{'@iot.id': id}}")
    return id_from(target[_ID], f"{path}.{_ID}")


def id_from(value: Json, path: str) -> EntityId:
    """Returns an id.

    Raises:
        DecodeError: neither an integer of 64 bits nor text that is not empty.
    """
    if isinstance(value, int) and not isinstance(value, bool) and -_ID_MAX <= value < _ID_MAX:
        return value
    if isinstance(value, str) and value:
        return value
    raise DecodeError(f"{path}: found {shown(value)}, expected an integer or text")


_EXPECTED: Mapping[str, str] = {
    "text": "text",
    "object": "an object",
    "json": "any value but null",
    "any": "any value",
    "time": "an ISO 8601 time",
    "time-or-null": "an ISO 8601 time or null",
    "phenomenon-time": "an ISO 8601 time or interval",
    "period": "an ISO 8601 interval",
    "unit": "an object with name, symbol and definition",
}


def _type_of(entity: Entity) -> EntityType:
    return entity_types()[type(entity).__name__]


def _properties(entity: Entity) -> dict[str, Json]:
    document: dict[str, Json] = {}
    for item in _type_of(entity).properties:
        value = getattr(entity, item.attribute)
        if item.kind == "time-or-null":
            document[item.name] = None if value is None else format_time(value)
        elif item.mandatory or (value is not None and value != {}):
            document[item.name] = _encoded(item.kind, value, entity)
    return document


def _encoded(kind: str, value: Any, entity: Entity) -> Json:
    if kind == "time":
        return format_time(value)
    if kind == "phenomenon-time":
        end_ns = getattr(entity, "phenomenon_end_ns", None)
        return format_time(value) if end_ns is None else format_interval(value, end_ns)
    if kind == "period":
        return format_interval(*value)
    if kind == "unit":
        return {part: getattr(value, part) for part in _UNIT_PARTS}
    encoded: Json = value
    return encoded


def _decoded(item: Property, value: Json, path: str) -> dict[str, Any]:
    if item.kind in ("json", "any", "object"):
        return {item.attribute: as_object(value, path) if item.kind == "object" else value}
    if item.kind == "unit":
        return {item.attribute: _unit(as_object(value, path), path)}
    text = as_text(value, path)
    if item.kind == "text":
        return {item.attribute: text}
    try:
        if item.kind == "phenomenon-time":
            start_ns, end_ns = parse_interval(text) if "/" in text else (parse_time(text), None)
            return {item.attribute: start_ns, "phenomenon_end_ns": end_ns}
        return {item.attribute: parse_interval(text) if item.kind == "period" else parse_time(text)}
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error


def _unit(value: Mapping[str, Json], path: str) -> UnitOfMeasurement:
    parts: dict[str, str | None] = {}
    for part in _UNIT_PARTS:
        stated = value.get(part)
        parts[part] = None if stated is None else as_text(stated, f"{path}.{part}")
    return UnitOfMeasurement(**parts)


def _related(
    entry: EntityType, link: Link, document: Mapping[str, Json], *, creating: bool
) -> dict[str, Any]:
    path = f"{entry.name}.{link.name}"
    value = document.get(link.name)
    if value is None:
        if creating and link.mandatory:
            raise DecodeError(f"{path} is missing, expected {{'@iot.id': id}}")
        return {}
    if not link.many:
        return {link.attribute: reference_from(value, path)}
    targets = as_array(value, path)
    if creating and link.mandatory and not targets:
        raise DecodeError(f"{path} is empty, expected at least one {{'@iot.id': id}}")
    return {link.attribute: tuple(reference_from(one, path) for one in targets)}
