"""A request for a function, checked; its text form, in which it travels as the value of a Control; what came of it.

The text form is a JSON object: ``{"function": "VV11", "enabled": true, "parameters": {...}, "curve": [[x, y], ...]}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from math import isfinite
from types import MappingProxyType

import msgspec

from s4g_gateway.errors import GatewayError, ProfileError
from s4g_gateway.profiles.iec61850_90_7.functions import (
    CurveShape,
    Function,
    Parameter,
    find_function,
    load_functions,
)

Curve = tuple[tuple[float, float], ...]
ParameterValue = float | bool | str
NOMINAL_HZ = 50.0
_DROOP = "droop"
_GRADIENT = "gradient_pct_per_hz"


class FunctionRequestError(GatewayError):
    """A request that a function cannot take; the message names the point or parameter and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRequest:
    """A checked request; made by ``function_request`` or ``decode_request``.

    Attributes:
        function: which function.
        enabled: false switches it off.
        parameters: values by name; what is missing stays as the device has it.
        curve: its points in order of x; empty leaves the device's curve.
    """

    function: Function
    enabled: bool = True
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    curve: Curve = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionState:
    """What a device says of one function.

    Attributes:
        function: code of the function.
        enabled: true where it is in force, None where the device does not say.
        parameters: values by name, as far as the device has them.
        curve: its curve in force.
        points_limit: how many points its curves may have; 0 where it has none or does not say.
        place: where it was read, such as ``model 705, curve 1``.
    """

    function: str
    enabled: bool | None
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    curve: Curve = ()
    points_limit: int = 0
    place: str = ""


class NamedCurve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ready-made curve or set of parameters.

    Attributes:
        name: such as ``ieee1547-volt-var-1``.
        function: code of the function it is for.
        points: its points; empty for a set of parameters alone.
        parameters: parameters that go with it.
    """

    name: str
    function: str
    points: tuple[tuple[float, float], ...] = ()
    parameters: dict[str, float | bool | str] = {}


class _Text(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    function: str
    enabled: bool = True
    parameters: dict[str, float | bool | str] = {}
    curve: tuple[tuple[float, float], ...] = ()


class _CurveFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    curve: tuple[NamedCurve, ...]


@cache
def named_curves() -> Mapping[str, NamedCurve]:
    """Returns the ready-made curves by name.

    Raises:
        ProfileError: the file breaks the rules, or one of its curves does not fit its function.
    """
    data = files("s4g_gateway.profiles.iec61850_90_7") / "data" / "curves.toml"
    try:
        curves = msgspec.toml.decode(data.read_bytes(), type=_CurveFile).curve
        for curve in curves:
            function_request(curve.function, curve=curve.points, parameters=curve.parameters)
    except (msgspec.MsgspecError, FunctionRequestError) as error:
        raise ProfileError(f"curves.toml: {error}") from error
    return MappingProxyType({curve.name: curve for curve in curves})


def parse_curve(text: str) -> Curve:
    """Reads a curve of points ``x:y`` with commas between them.

    Raises:
        FunctionRequestError: a point is no ``x:y``; the message names it.
    """
    points = []
    for number, part in enumerate(text.split(","), start=1):
        x, colon, y = part.strip().partition(":")
        try:
            if not colon:
                raise ValueError
            points.append((float(x), float(y)))
        except ValueError:
            raise FunctionRequestError(
                f"curve point {number}: found {part.strip()!r}, expected x:y with two numbers, such as 0.92:44"
            ) from None
    return tuple(points)


def curve_text(curve: Curve) -> str:
    """Returns a curve as ``parse_curve`` reads it."""
    return ",".join(f"{x:.10g}:{y:.10g}" for x, y in curve)


def function_request(
    function: str | Function,
    *,
    enabled: bool = True,
    parameters: Mapping[str, ParameterValue] | None = None,
    curve: Sequence[tuple[float, float]] = (),
) -> FunctionRequest:
    """Makes a checked request.

    ``droop`` (per unit of frequency for the whole power) stands for ``gradient_pct_per_hz`` where the function
    has that; a function such as ``no-volt-var`` becomes its counterpart switched off.

    Args:
        function: code, name or the function itself.
        enabled: false switches the function off.
        parameters: values by name.
        curve: points in order of x.

    Raises:
        FunctionRequestError: the message names point or parameter, what was found and what was expected.
    """
    if isinstance(function, str):
        try:
            function = find_function(function)
        except ProfileError as error:
            raise FunctionRequestError(str(error)) from error
    if function.is_off:
        enabled = False
        function = _counterpart(function)
    given = _without_droop(function, dict(parameters or {}))
    checked: dict[str, ParameterValue] = {}
    for name, value in given.items():
        parameter = function.parameters.get(name)
        if parameter is None:
            names = ", ".join(function.parameters) or "no parameters"
            raise FunctionRequestError(f"{function.name} has no parameter {name!r}; expected {names}")
        checked[name] = _checked_value(parameter, value)
    points = tuple((float(x), float(y)) for x, y in curve)
    if points:
        if function.curve is None:
            raise FunctionRequestError(
                f"{function.name} has no curve; expected {', '.join(function.parameters)}"
            )
        _check_curve(function.curve, points)
    if enabled:
        for parameter in function.parameter:
            if parameter.required and parameter.name not in checked:
                raise FunctionRequestError(
                    f"{function.name} needs {parameter.name}: {parameter.description.lower()}"
                )
            if parameter.default is not None and points:
                checked.setdefault(parameter.name, parameter.default)
    return FunctionRequest(
        function=function, enabled=enabled, parameters=MappingProxyType(checked), curve=points
    )


def _counterpart(off: Function) -> Function:
    return next(other for other in load_functions().values() if not other.is_off and other.curve == off.curve)


def _without_droop(function: Function, given: dict[str, ParameterValue]) -> dict[str, ParameterValue]:
    droop = given.pop(_DROOP, None)
    if droop is None or _GRADIENT not in function.parameters:
        return given if droop is None else {**given, _DROOP: droop}
    nominal_hz = given.get("nominal_hz", NOMINAL_HZ)
    if _GRADIENT in given:
        raise FunctionRequestError(f"{function.name}: expected either {_DROOP} or {_GRADIENT}, found both")
    if isinstance(droop, str | bool) or isinstance(nominal_hz, str | bool) or not droop > 0:
        raise FunctionRequestError(f"{_DROOP}: found {droop!r}, expected a number above 0, such as 0.05")
    return {**given, _GRADIENT: 100 / (droop * nominal_hz)}


def _checked_value(parameter: Parameter, value: ParameterValue) -> ParameterValue:
    def wrong(expected: str) -> FunctionRequestError:
        return FunctionRequestError(f"{parameter.name}: found {value!r}, expected {expected}")

    if parameter.type == "boolean":
        if not isinstance(value, bool):
            raise wrong("true or false")
        return value
    if parameter.type == "enumerated":
        if value not in parameter.choices:
            raise wrong("one of " + ", ".join(parameter.choices))
        return value
    limits = f"{parameter.minimum:g} to {parameter.maximum:g}" if parameter.maximum is not None else ""
    kind = "a whole number" if parameter.type == "integer" else "a number"
    expected = " ".join(part for part in (kind, f"from {limits}" if limits else "", parameter.unit) if part)
    if isinstance(value, bool | str) or not isfinite(value):
        raise wrong(expected)
    low, high = parameter.minimum, parameter.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        raise wrong(expected)
    if parameter.type == "integer":
        if value != int(value):
            raise wrong(expected)
        return int(value)
    return float(value)


def _check_curve(shape: CurveShape, points: Curve) -> None:
    if not shape.min_points <= len(points) <= shape.max_points:
        raise FunctionRequestError(
            f"curve: found {len(points)} points, expected {shape.min_points} to {shape.max_points}"
        )
    before: tuple[float, float] | None = None
    for number, point in enumerate(points, start=1):
        for letter, axis, value in (("x", shape.x, point[0]), ("y", shape.y, point[1])):
            if not axis.minimum <= value <= axis.maximum:
                raise FunctionRequestError(
                    f"curve point {number}: {letter} is {value:g}, expected {axis.quantity} from {axis.minimum:g} "
                    f"to {axis.maximum:g} {axis.unit}".rstrip()
                    + f" ({axis.description})"
                )
        if before is not None and point[0] <= before[0]:
            raise FunctionRequestError(
                f"curve point {number}: x is {point[0]:g}, expected more than {before[0]:g} of point {number - 1}"
            )
        if before is not None and shape.y_falls and point[1] > before[1]:
            raise FunctionRequestError(
                f"curve point {number}: y is {point[1]:g}, expected at most {before[1]:g} of point {number - 1}"
            )
        before = point


def encode_request(request: FunctionRequest) -> str:
    """Returns a request's text form."""
    body = {
        "function": request.function.code,
        "enabled": request.enabled,
        "parameters": dict(request.parameters),
        "curve": request.curve,
    }
    return msgspec.json.encode(body).decode()


def decode_request(text: str) -> FunctionRequest:
    """Reads a request's text form and checks it.

    Raises:
        FunctionRequestError: it is none, or the function cannot take it.
    """
    try:
        body = msgspec.json.decode(text, type=_Text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise FunctionRequestError(f"no function request: {error}") from error
    return function_request(body.function, enabled=body.enabled, parameters=body.parameters, curve=body.curve)
