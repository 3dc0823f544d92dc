"""Requests as writes of an IEC 61850 device's data objects, and the way back.

Source: data objects of IEC 61850-7-420:2019A; CSG attributes of 7-3 (code components; clauses unverified).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from s4g_gateway.model import ObjectReference
from s4g_gateway.model.logical_nodes import is_controllable
from s4g_gateway.profiles.iec61850_90_7.functions import Function
from s4g_gateway.profiles.iec61850_90_7.request import (
    NOMINAL_HZ,
    Curve,
    FunctionRequest,
    FunctionRequestError,
    FunctionState,
    ParameterValue,
)

MODE_ON, MODE_OFF = 1, 5


@dataclass(frozen=True, slots=True)
class DataObjectWrite:
    """One step towards a function on an IEC 61850 device.

    Attributes:
        reference: the DO.
        value: number, state, or for a CSG the points of the curve.
        cdc: its common data class.
        is_control: true where it is operated (FC CO), false where it is set (FC SP).
    """

    reference: ObjectReference
    value: float | bool | Curve
    cdc: str
    is_control: bool


def data_object_writes(
    request: FunctionRequest, *, logical_device: str, instance: str = "1"
) -> tuple[DataObjectWrite, ...]:
    """Returns what to write for a request, in this order: timing, parameters, curve, set-point, Mod.

    Args:
        request: a checked request.
        logical_device: name of the logical device that holds the function's LN.
        instance: instance number of the LN.

    Raises:
        FunctionRequestError: 7-420 has no logical node for the function.
    """
    function = request.function
    if not function.ln:
        raise FunctionRequestError(
            f"{function.name}: IEC 61850-7-420 Ed.2 has no logical node for it; expected a SunSpec device"
        )
    writes = list(_parameter_writes(request, logical_device, instance))
    lns = [function.ln]
    if request.curve:
        parts = _curve_parts(request)
        lns = list(parts)
        writes[len(writes) - _set_points(function, request) :] += [  # the set-point itself stays last
            _write(f"{logical_device}/{ln}{instance}.{_curve_do(function)}", points, "CSG")
            for ln, points in parts.items()
        ]
    if function.has_mode:
        state = MODE_ON if request.enabled else MODE_OFF
        off = [function.ln_below] if function.ln_below and function.ln_below not in lns else []
        off += [function.ln] if function.ln not in lns else []
        writes += [_write(f"{logical_device}/{ln}{instance}.Mod", state, "ENC") for ln in lns]
        if request.curve or not request.enabled:
            # The half of a frequency curve that is gone must not stay in force.
            writes += [_write(f"{logical_device}/{ln}{instance}.Mod", MODE_OFF, "ENC") for ln in off]
    return tuple(writes)


def _set_points(function: Function, request: FunctionRequest) -> int:
    return int(bool(function.value) and function.value in request.parameters)


def _curve_do(function: Function) -> str:
    return function.curve.data_object if function.curve is not None else ""


def _parameter_writes(
    request: FunctionRequest, logical_device: str, instance: str
) -> Iterator[DataObjectWrite]:
    function = request.function
    timing_first = sorted(
        function.parameter, key=lambda parameter: (parameter.name == function.value, parameter.cdc != "ING")
    )
    for parameter in timing_first:
        if parameter.name not in request.parameters or not parameter.has_code:
            continue
        value = request.parameters[parameter.name]
        if isinstance(value, str):
            continue
        if parameter.codes:
            value = parameter.codes[str(value).lower()]
        reference = f"{logical_device}/{function.ln_of(parameter)}{instance}.{parameter.data_object}"
        yield _write(reference, value, parameter.cdc)


def _write(reference: str, value: float | bool | Curve, cdc: str) -> DataObjectWrite:
    return DataObjectWrite(ObjectReference(reference), value, cdc, is_controllable(cdc))


def _curve_parts(request: FunctionRequest) -> dict[str, Curve]:
    """A frequency curve stands in two LNs: at and above the nominal frequency, at and below it."""
    function, curve = request.function, request.curve
    if not function.ln_below:
        return {function.ln: curve}
    nominal_hz = request.parameters.get("nominal_hz", NOMINAL_HZ)
    if isinstance(nominal_hz, str):
        nominal_hz = NOMINAL_HZ
    below = tuple(point for point in curve if point[0] <= nominal_hz)
    above = tuple(point for point in curve if point[0] >= nominal_hz)
    if curve[0][0] < nominal_hz < curve[-1][0] and below[-1][0] != nominal_hz:
        middle = (nominal_hz, _between(below[-1], above[0], nominal_hz))
        below, above = (*below, middle), (middle, *above)
    parts = {function.ln: above, function.ln_below: below}
    return {ln: points for ln, points in parts.items() if len(points) > 1}


def _between(left: tuple[float, float], right: tuple[float, float], x: float) -> float:
    return left[1] + (right[1] - left[1]) * (x - left[0]) / (right[0] - left[0])


def curve_attributes(curve: Curve) -> tuple[tuple[str, float], ...]:
    """Returns a CSG's attributes in the order of writing: ``numPts``, then ``crvPts[0].xVal`` and so on."""
    points = [
        (f"crvPts[{index}].{name}", value)
        for index, point in enumerate(curve)
        for name, value in zip(("xVal", "yVal"), point, strict=True)
    ]
    return (("numPts", len(curve)), *points)


def state_from_data_objects(
    function: Function,
    values: Mapping[str, float | bool | Curve | None],
    *,
    logical_device: str,
    instance: str = "1",
) -> FunctionState:
    """Makes a function's state of what a device's data objects hold.

    Args:
        function: the function.
        values: values by DO reference, as ``data_object_writes`` names them; a curve as its points.
        logical_device: name of the logical device that holds the function's LN.
        instance: instance number of the LN.
    """
    parameters: dict[str, ParameterValue] = {}
    for parameter in function.parameter:
        value = values.get(f"{logical_device}/{function.ln_of(parameter)}{instance}.{parameter.data_object}")
        if value is None or isinstance(value, tuple) or not parameter.has_code:
            continue
        if parameter.codes:
            known = {code: name for name, code in parameter.codes.items()}
            if value in known:
                parameters[parameter.name] = known[int(value)] == "true"
        else:
            parameters[parameter.name] = bool(value) if parameter.type == "boolean" else value
    curve: Curve = ()
    modes = []
    for ln in (function.ln_below, function.ln):
        if not ln:
            continue
        part = values.get(f"{logical_device}/{ln}{instance}.{_curve_do(function)}")
        if isinstance(part, tuple):
            curve += part[1:] if curve and part and part[0] == curve[-1] else part
        mode = values.get(f"{logical_device}/{ln}{instance}.Mod")
        if isinstance(mode, int | float):
            modes.append(mode)
    enabled = any(mode == MODE_ON for mode in modes) if modes else None
    place = f"{logical_device}/{function.ln}{instance}"
    return FunctionState(
        function=function.code, enabled=enabled, parameters=parameters, curve=curve, place=place
    )
