"""IEC 60870-5-104: signal list, addresses that never move, encoders compiled per DataSet, command values."""

from s4g_gateway.profiles.iec104.addresses import AddressEntry, parse_ioa_file, render_ioa_file
from s4g_gateway.profiles.iec104.commands import command_value
from s4g_gateway.profiles.iec104.compare import compare
from s4g_gateway.profiles.iec104.encoder import DataSetEncoder
from s4g_gateway.profiles.iec104.export import csv_text, markdown_text, signal_list_rows, write_xlsx
from s4g_gateway.profiles.iec104.plan import PointOverride, SignalPlan, SignalSettings, plan_signals
from s4g_gateway.profiles.iec104.refusals import Refusal, Refusals, load_refusals
from s4g_gateway.profiles.iec104.signals import CommandSignal, Scaling, Signal, SignalList

__all__ = [
    "AddressEntry",
    "CommandSignal",
    "DataSetEncoder",
    "PointOverride",
    "Refusal",
    "Refusals",
    "Scaling",
    "Signal",
    "SignalList",
    "SignalPlan",
    "SignalSettings",
    "command_value",
    "compare",
    "csv_text",
    "load_refusals",
    "markdown_text",
    "parse_ioa_file",
    "plan_signals",
    "render_ioa_file",
    "signal_list_rows",
    "write_xlsx",
]
