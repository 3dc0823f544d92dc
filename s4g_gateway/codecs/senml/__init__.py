"""SenML and SensML: records, packs and streams in JSON, CBOR and XML (RFC 8428, 8798, 9100, 9193).

A pack is decoded into records as they stand (``decode_pack``) and resolved where their meaning is wanted
(``resolve``). This package knows no DataSet; ``s4g_gateway.profiles.senml`` does.
"""

from s4g_gateway.codecs.senml.convert import convert, decode_pack, encode_pack
from s4g_gateway.codecs.senml.dialect import DIALECTS, HISTORIC_S4G, STRICT, Dialect, name_from_topic
from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.codecs.senml.formats import Format, format_of
from s4g_gateway.codecs.senml.fragment import select, selected_positions
from s4g_gateway.codecs.senml.limits import DEFAULT_LIMITS, Limits
from s4g_gateway.codecs.senml.record import (
    DEFAULT_VERSION,
    SECONDARY_UNITS_VERSION,
    ExtensionValue,
    Record,
)
from s4g_gateway.codecs.senml.resolution import RELATIVE_BELOW_S, Resolver, check_pack, resolve
from s4g_gateway.codecs.senml.stream import StreamDecoder, StreamEncoder, stream_decoder
from s4g_gateway.codecs.senml.units import SECONDARY, UNITS, Unit

__all__ = [
    "DEFAULT_LIMITS",
    "DEFAULT_VERSION",
    "DIALECTS",
    "HISTORIC_S4G",
    "RELATIVE_BELOW_S",
    "SECONDARY",
    "SECONDARY_UNITS_VERSION",
    "STRICT",
    "UNITS",
    "Dialect",
    "ExtensionValue",
    "Format",
    "Limits",
    "Record",
    "Resolver",
    "SenmlDecodeError",
    "StreamDecoder",
    "StreamEncoder",
    "Unit",
    "check_pack",
    "convert",
    "decode_pack",
    "encode_pack",
    "format_of",
    "name_from_topic",
    "resolve",
    "select",
    "selected_positions",
    "stream_decoder",
]
