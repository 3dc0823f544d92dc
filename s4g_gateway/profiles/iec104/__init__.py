"""IEC 60870-5-104: signal list, addresses that never move, encoders compiled per DataSet, command values."""

from s4g_gateway.profiles.iec104.addresses import AddressEntry, parse_ioa_file, render_ioa_file
from s4g_gateway.profiles.iec104.encoder import DataSetEncoder
from s4g_gateway.profiles.iec104.plan import PointOverride, SignalPlan, SignalSettings, plan_signals
from s4g_gateway.profiles.iec104.signals import CommandSignal, Scaling, Signal, SignalList

__all__ = [
    "AddressEntry",
    "CommandSignal",
    "DataSetEncoder",
    "PointOverride",
    "Scaling",
    "Signal",
    "SignalList",
    "SignalPlan",
    "SignalSettings",
    "parse_ioa_file",
    "plan_signals",
    "render_ioa_file",
]
