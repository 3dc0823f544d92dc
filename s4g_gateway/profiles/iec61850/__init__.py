"""IEC 61850 model of a site: logical devices, nodes and data objects as data, and their SCL. Pure."""

from s4g_gateway.profiles.iec61850.icd import BoundPlan, bind_points, read_scl
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
from s4g_gateway.profiles.iec61850.scl import render_scl
from s4g_gateway.profiles.iec61850.scl_rules import check_scl

__all__ = [
    "Attribute",
    "Binding",
    "BoundPlan",
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
    "bind_points",
    "check_scl",
    "describe",
    "object_path",
    "plan_model",
    "read_scl",
    "render_scl",
]
