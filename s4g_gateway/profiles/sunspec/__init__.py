"""SunSpec models and the canonical model, translated as data; pure.

``load_template`` and ``build_device`` make a device offline; ``discover`` walks the chain of the real one;
``bind`` joins the two into decoders; ``carry_out`` turns Controls and function
requests into writes with read-back; ``read_function`` reads the state of a function.
"""

from s4g_gateway.profiles.sunspec.binding import SunspecBinding, bind
from s4g_gateway.profiles.sunspec.chain import Chain, ChainModel, discover
from s4g_gateway.profiles.sunspec.controls import ControlMemory, operate
from s4g_gateway.profiles.sunspec.definition import known_models, load_definition
from s4g_gateway.profiles.sunspec.device import DeviceOptions, SunspecDevice, build_device
from s4g_gateway.profiles.sunspec.functions import Reading, carry_out, read_function
from s4g_gateway.profiles.sunspec.layout import (
    Layout,
    compile_layout,
    decode_model,
    encode_model,
    full_length,
)
from s4g_gateway.profiles.sunspec.mapping import Template, load_template, template_names

__all__ = [
    "Chain",
    "ChainModel",
    "ControlMemory",
    "DeviceOptions",
    "Layout",
    "Reading",
    "SunspecBinding",
    "SunspecDevice",
    "Template",
    "bind",
    "build_device",
    "carry_out",
    "compile_layout",
    "decode_model",
    "discover",
    "encode_model",
    "full_length",
    "known_models",
    "load_definition",
    "load_template",
    "operate",
    "read_function",
    "template_names",
]
