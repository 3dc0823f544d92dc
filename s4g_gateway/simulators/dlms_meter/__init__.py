"""A simulated DLMS/COSEM meter: our own small server, one module per layer."""

from s4g_gateway.simulators.dlms_meter.application import LogicalDevice, MeterSecurity
from s4g_gateway.simulators.dlms_meter.demands import meter_security
from s4g_gateway.simulators.dlms_meter.household_meter import LOAD_PROFILE_OBIS, HouseholdMeter
from s4g_gateway.simulators.dlms_meter.security import Keys, Mechanism
from s4g_gateway.simulators.dlms_meter.server import DlmsMeterServer, Faults, data_notification, push

__all__ = [
    "LOAD_PROFILE_OBIS",
    "DlmsMeterServer",
    "Faults",
    "HouseholdMeter",
    "Keys",
    "LogicalDevice",
    "Mechanism",
    "MeterSecurity",
    "data_notification",
    "meter_security",
    "push",
]
