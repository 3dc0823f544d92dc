"""The canonical IEC 61850 model: pure values, no I/O, no clock.

Sign, once for the whole product: the generator frame. Positive power leaves the equipment or site towards the
grid (PV +, discharge +, charging -, load -, export at the PCC +); + reactive power is injected. Limits,
ratings and energies are unsigned. The edge converts, by the factor in its protocol's mapping data.
"""

from s4g_gateway.model.control import (
    ACCEPTED,
    AddCause,
    Control,
    ControlAnswer,
    ControlModel,
    ControlPoint,
    ControlService,
    Origin,
    OriginCategory,
    refused,
)
from s4g_gateway.model.data_set import DataSet, Member, Value, ValueType, data_set
from s4g_gateway.model.reference import ObjectReference, ReferenceParts, parse_reference
from s4g_gateway.model.report import Reason, Report, check_report
from s4g_gateway.model.timestamp import NS_PER_MS, NS_PER_S, TimeQuality, isoformat

__all__ = [
    "ACCEPTED",
    "NS_PER_MS",
    "NS_PER_S",
    "AddCause",
    "Control",
    "ControlAnswer",
    "ControlModel",
    "ControlPoint",
    "ControlService",
    "DataSet",
    "Member",
    "ObjectReference",
    "Origin",
    "OriginCategory",
    "Reason",
    "ReferenceParts",
    "Report",
    "TimeQuality",
    "Value",
    "ValueType",
    "check_report",
    "data_set",
    "isoformat",
    "parse_reference",
    "refused",
]
