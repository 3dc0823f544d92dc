"""DLMS/COSEM meters as data: units, object maps, compiled meters."""

from s4g_gateway.profiles.dlms.meter import CompiledMeter, compile_meter
from s4g_gateway.profiles.dlms.object_map import (
    METERS,
    MappedObject,
    ObjectMap,
    canonical_obis,
    load_object_map,
    parse_object_map,
)
from s4g_gateway.profiles.dlms.units import codes_of, symbol_of

__all__ = [
    "METERS",
    "CompiledMeter",
    "MappedObject",
    "ObjectMap",
    "canonical_obis",
    "codes_of",
    "compile_meter",
    "load_object_map",
    "parse_object_map",
    "symbol_of",
]
