"""OGC SensorThings 1.1 in JSON: entities, Observations, dataArray, and SenML inside a result.

Bytes to the entities of ``s4g_gateway.model.sensorthings`` and back; decoders raise ``DecodeError`` only,
whatever the input.
"""

from s4g_gateway.codecs.sensorthings.entities import (
    Page,
    creation_document,
    decode_collection,
    decode_entity,
    encode_collection,
    encode_creation,
    encode_entity,
    encode_service_root,
    encode_view,
    self_link,
    shown_document,
)
from s4g_gateway.codecs.sensorthings.json_text import DEFAULT_LIMITS, Limits
from s4g_gateway.codecs.sensorthings.observations import (
    decode_creation_answer,
    decode_data_array,
    decode_observation,
    encode_creation_answer,
    encode_data_array,
    encode_observation,
    observation_with_senml,
    senml_of,
)
from s4g_gateway.codecs.sensorthings.schema import EntityType, Link, Property, entity_types
from s4g_gateway.codecs.sensorthings.times import format_interval, format_time, parse_interval, parse_time

__all__ = [
    "DEFAULT_LIMITS",
    "EntityType",
    "Limits",
    "Link",
    "Page",
    "Property",
    "creation_document",
    "decode_collection",
    "decode_creation_answer",
    "decode_data_array",
    "decode_entity",
    "decode_observation",
    "encode_collection",
    "encode_creation",
    "encode_creation_answer",
    "encode_data_array",
    "encode_entity",
    "encode_observation",
    "encode_service_root",
    "encode_view",
    "entity_types",
    "format_interval",
    "format_time",
    "observation_with_senml",
    "parse_interval",
    "parse_time",
    "self_link",
    "senml_of",
    "shown_document",
]
