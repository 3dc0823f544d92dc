"""IEC 61850 model of a site: logical devices, nodes and data objects as data, and their SCL. Pure."""

from s4g_gateway.profiles.iec61850.parts import (
    Attribute,
    Binding,
    ModelPlan,
    ObjectType,
    PlannedControl,
    PlannedDataSet,
    PlannedDevice,
    PlannedNode,
    PlannedObject,
    PlannedReport,
    SubObject,
    describe,
    object_path,
)
from s4g_gateway.profiles.iec61850.plan import PlanResult, PlanSettings, plan_model

__all__ = [
    "Attribute",
    "Binding",
    "ModelPlan",
    "ObjectType",
    "PlanResult",
    "PlanSettings",
    "PlannedControl",
    "PlannedDataSet",
    "PlannedDevice",
    "PlannedNode",
    "PlannedObject",
    "PlannedReport",
    "SubObject",
    "describe",
    "object_path",
    "plan_model",
]
