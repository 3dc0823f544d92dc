"""Reports as SenML: encoders and decoders compiled per DataSet.

``compile_encoder`` and ``compile_decoder`` serve DataSets; ``ColumnEncoder`` and ``ColumnDecoder`` serve lists
of values whose names and units stand elsewhere, such as the interface catalogue's messages.
"""

from s4g_gateway.profiles.senml.assembly import Moment
from s4g_gateway.profiles.senml.columns import (
    QUALITY_SUFFIX,
    Column,
    Scale,
    WireMember,
    columns_of,
    scale_of,
)
from s4g_gateway.profiles.senml.decoder import ColumnDecoder, Decoded, Decoder, compile_decoder
from s4g_gateway.profiles.senml.encoder import ColumnEncoder, Encoder, compile_encoder
from s4g_gateway.profiles.senml.fast_encoders import MAX_TIME_NS, MIN_TIME_NS, time_to_wire_s

__all__ = [
    "MAX_TIME_NS",
    "MIN_TIME_NS",
    "QUALITY_SUFFIX",
    "Column",
    "ColumnDecoder",
    "ColumnEncoder",
    "Decoded",
    "Decoder",
    "Encoder",
    "Moment",
    "Scale",
    "WireMember",
    "columns_of",
    "compile_decoder",
    "compile_encoder",
    "scale_of",
    "time_to_wire_s",
]
