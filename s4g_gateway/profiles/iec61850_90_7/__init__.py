"""Functions of IEC TR 61850-90-7 as data: what each takes, its place in 7-420 and its SunSpec twin.

``function_request`` checks a request; ``data_object_writes`` turns it into writes of an IEC 61850 device;
``s4g_gateway.profiles.sunspec`` turns it into writes of a SunSpec device. Pure.
"""

from s4g_gateway.profiles.iec61850_90_7.energy_router import (
    EnergyRouterTable,
    OperationMode,
    RouterSetPoint,
    energy_router_table,
)
from s4g_gateway.profiles.iec61850_90_7.functions import (
    Axis,
    CurveShape,
    Function,
    Parameter,
    Twin,
    TwinPoint,
    find_function,
    load_functions,
)
from s4g_gateway.profiles.iec61850_90_7.mms import (
    DataObjectWrite,
    curve_attributes,
    data_object_writes,
    state_from_data_objects,
)
from s4g_gateway.profiles.iec61850_90_7.request import (
    Curve,
    FunctionRequest,
    FunctionRequestError,
    FunctionState,
    NamedCurve,
    ParameterValue,
    curve_text,
    decode_request,
    encode_request,
    function_request,
    named_curves,
    parse_curve,
)

__all__ = [
    "Axis",
    "Curve",
    "CurveShape",
    "DataObjectWrite",
    "EnergyRouterTable",
    "Function",
    "FunctionRequest",
    "FunctionRequestError",
    "FunctionState",
    "NamedCurve",
    "OperationMode",
    "Parameter",
    "ParameterValue",
    "RouterSetPoint",
    "Twin",
    "TwinPoint",
    "curve_attributes",
    "curve_text",
    "data_object_writes",
    "decode_request",
    "encode_request",
    "energy_router_table",
    "find_function",
    "function_request",
    "load_functions",
    "named_curves",
    "parse_curve",
    "state_from_data_objects",
]
