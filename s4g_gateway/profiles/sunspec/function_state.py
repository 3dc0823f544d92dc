"""What a SunSpec model says of a function."""

from __future__ import annotations

from collections.abc import Mapping

from s4g_gateway.profiles.iec61850_90_7 import (
    Curve,
    Function,
    FunctionState,
    ParameterValue,
    Twin,
    TwinPoint,
)
from s4g_gateway.profiles.iec61850_90_7.request import NOMINAL_HZ
from s4g_gateway.profiles.sunspec.function_recipe import ACTIVE_CURVE
from s4g_gateway.profiles.sunspec.layout import scaled
from s4g_gateway.profiles.sunspec.model_access import ModelAccess
from s4g_gateway.profiles.sunspec.point_types import Value


def function_state(access: ModelAccess, functions: list[Function], model_id: int) -> FunctionState:
    """Makes a state of a model that was read.

    Args:
        access: the model, read.
        functions: the functions that the model may stand for.
        model_id: its number.
    """
    found = access.found
    chosen = [(f, next(twin for twin in f.sunspec if twin.model == model_id)) for f in functions]
    slot_of = {id(twin): _slot_in_force(twin, found) for _, twin in chosen}
    function, twin = next(
        (
            (f, twin)
            for f, twin in chosen
            if twin.preset
            and all(found.get(_at(twin, slot_of[id(twin)], path)) == raw for path, raw in twin.preset.items())
        ),
        chosen[0],
    )
    slot = slot_of[id(twin)]
    parameters: dict[str, ParameterValue] = {}
    places = dict(twin.parameters)
    if twin.value is not None and function.value:
        places[function.value] = twin.value
    for name, place in places.items():
        value = _value(access, place, _at(twin, slot, place.points[0]))
        if value is not None and (slot or not place.points[0].startswith(".")):
            parameters[name] = value
    limit = found.get(twin.points_limit)
    enable = found.get(twin.enable)
    place_text = f"model {model_id}" + (f", curve {slot}" if slot else "")
    return FunctionState(
        function=function.code,
        enabled=enable == twin.enabled if isinstance(enable, int) else None,
        parameters=parameters,
        curve=_curve(access, twin, slot),
        points_limit=limit if isinstance(limit, int) else 0,
        place=place_text,
    )


def _slot_in_force(twin: Twin, found: Mapping[str, Value]) -> int:
    """Returns the number of the curve in force, 0 where there is none."""
    if twin.kind == "adopt":
        return ACTIVE_CURVE
    active = found.get(twin.active) if twin.active else 0
    return active if isinstance(active, int) else 0


def _at(twin: Twin, slot: int, path: str) -> str:
    return twin.slot.format(slot=slot) + path if path.startswith(".") else path


def _value(access: ModelAccess, place: TwinPoint, where: str) -> ParameterValue | None:
    found = scaled(access.layout, where, access.found)
    if found is None or isinstance(found, str):
        return None
    if place.codes:
        name = next((name for name, raw in place.codes.items() if raw == access.found.get(where)), None)
        return {"true": True, "false": False}.get(name, name) if name is not None else None
    if place.rule == "magnitude":
        return abs(found)
    if place.rule == "positive":
        return found > 0
    if place.rule == "droop":
        return round(100 / (found * NOMINAL_HZ), 9) if found else None
    if place.rule == "share":
        whole = scaled(access.layout, place.of, access.found)
        return found / 100 * whole if isinstance(whole, int | float) else None
    return found / place.factor if place.factor != 1 else found


def _curve(access: ModelAccess, twin: Twin, slot: int) -> Curve:
    if not slot or twin.x is None or twin.y is None:
        return ()
    count = access.found.get(_at(twin, slot, twin.count))
    points = []
    for number in range(1, (count if isinstance(count, int) else 0) + 1):
        x = _value(access, twin.x, _at(twin, slot, twin.x.points[0].format(n=number)))
        y = _value(access, twin.y, _at(twin, slot, twin.y.points[0].format(n=number)))
        if x is None or y is None or isinstance(x, str) or isinstance(y, str):
            break
        points.append((round(float(x), 9), float(y)))
    return tuple(points)
