"""Registers of any Modbus device and the canonical model; pure.

``load_table`` and ``build_table_device`` make a device from a TOML file; ``operate_table`` writes to it.
"""

from s4g_gateway.profiles.modbus.answers import Answer, Exchange
from s4g_gateway.profiles.modbus.decoder import ReportDecoder
from s4g_gateway.profiles.modbus.reads import Function, Read, Span, Step, Wait, Write, plan_reads
from s4g_gateway.profiles.modbus.table import RegisterTable, load_table, parse_table
from s4g_gateway.profiles.modbus.table_device import TableDevice, build_table_device, operate_table

__all__ = [
    "Answer",
    "Exchange",
    "Function",
    "Read",
    "RegisterTable",
    "ReportDecoder",
    "Span",
    "Step",
    "TableDevice",
    "Wait",
    "Write",
    "build_table_device",
    "load_table",
    "operate_table",
    "parse_table",
    "plan_reads",
]
