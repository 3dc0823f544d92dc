"""How a function request is brought into force in one SunSpec model: spare curves, adoption, times, read-back.

Source: SunSpec DER information models (adopt sequence; clause unverified), model definitions.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

from s4g_gateway.model import AddCause, refused
from s4g_gateway.profiles.iec61850_90_7 import (
    Curve,
    Function,
    FunctionRequest,
    FunctionRequestError,
    Parameter,
    ParameterValue,
    Twin,
    TwinPoint,
)
from s4g_gateway.profiles.iec61850_90_7.request import NOMINAL_HZ
from s4g_gateway.profiles.modbus.answers import Answer
from s4g_gateway.profiles.modbus.reads import Step, Wait
from s4g_gateway.profiles.sunspec.layout import scaled, unscaled
from s4g_gateway.profiles.sunspec.model_access import ModelAccess, RefusedError, Steps
from s4g_gateway.profiles.sunspec.point_types import Value

ACTIVE_CURVE = 1
_ADOPTED, _ADOPT_FAILED = 1, 2
_READ_ONLY = 1
# Waits between questions whether a curve was adopted: 6.3 s in all, within the time a Control may take.
_ADOPT_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.15)
# Says what the grid is; there is no register for it.
_NOT_WRITTEN = ("nominal_hz",)


class FunctionRecipe:
    """One function in one model.

    Args:
        access: the model, read.
        twin: where things stand in it.
        function: the function.
    """

    def __init__(self, access: ModelAccess, twin: Twin, function: Function) -> None:
        self._access = access
        self._twin = twin
        self._function = function

    @property
    def _found(self) -> Mapping[str, Value]:
        return self._access.found

    def present(self) -> dict[str, Value]:
        """Returns the raw values that bring the device back to how it is now."""
        twin = self._twin
        kept: dict[str, Value] = {twin.enable: self._found.get(twin.enable)}
        # A timer that stays behind would end what is given back.
        kept |= {path: self._found[path] for path in self._timers() if self._found.get(path) is not None}
        if twin.active:
            kept[twin.active] = self._found.get(twin.active)
        if twin.kind == "settings":
            paths = (path for place in twin.parameters.values() for path in place.points)
            kept |= {path: self._found[path] for path in paths if self._found.get(path) is not None}
        elif twin.kind == "adopt":
            kept |= self._slot_values(ACTIVE_CURVE)
        else:
            slot = self._spare()
            if slot == self._found.get(twin.active):
                kept |= self._slot_values(slot)
        return kept

    def set(self, request: FunctionRequest, *, keeps_time: bool) -> Generator[Step, Answer, str]:
        """Brings a request into force; returns what a person should know of it."""
        twin = self._twin
        own = dict(registers(self._access, twin, self._function, request.parameters, keeps_time=keeps_time))
        wanted = {path: raw for path, raw in own.items() if not path.startswith(".")}
        in_curve = {path: raw for path, raw in own.items() if path.startswith(".")}
        detail = ""
        if request.curve:
            curve, detail = self._curve_registers(request.curve)
            in_curve |= curve
        if request.enabled:
            in_curve |= self._preset()
        if in_curve:
            yield from self._set_curve(in_curve, wanted)
        elif wanted:
            yield from self._access.write(wanted)
        if request.enabled and twin.active and not in_curve and not self._found.get(twin.active):
            raise RefusedError(
                refused(AddCause.BLOCKED_BY_PROCESS, "no curve is active; expected a request with a curve")
            )
        enable: dict[str, Value] = {twin.enable: twin.enabled if request.enabled else 0}
        yield from self._access.write(enable)
        yield from self._access.confirm({**wanted, **enable}, ignore=self._timers())
        return detail

    def release(self, kept: Mapping[str, Value] | None) -> Steps:
        """Brings the device back to what was kept; switches the function off where nothing was."""
        twin = self._twin
        if kept is None:
            kept = {twin.enable: 0}
        first = f"{twin.slot.format(slot=ACTIVE_CURVE)}."
        curve = {f".{path.removeprefix(first)}": raw for path, raw in kept.items() if path.startswith(first)}
        rest = {path: raw for path, raw in kept.items() if path != twin.enable and raw is not None}
        if twin.kind == "adopt":
            rest = {path: raw for path, raw in rest.items() if not path.startswith(first)}
            if curve:
                yield from self._adopt(curve, {})
        enable = {twin.enable: kept.get(twin.enable) or 0}
        if rest:
            yield from self._access.write(rest)
        yield from self._access.write(enable)
        yield from self._access.confirm({**rest, **enable}, ignore=self._timers())

    # -- curves ----------------------------------------------------------------------------------

    def _set_curve(self, in_curve: dict[str, Value], wanted: dict[str, Value]) -> Steps:
        """Writes a spare curve and makes it the one in force; what the request leaves out is carried over."""
        twin = self._twin
        active = ACTIVE_CURVE if twin.kind == "adopt" else self._found.get(twin.active)
        if isinstance(active, int) and active > 0:
            first = f"{twin.slot.format(slot=active)}."
            kept = {f".{p.removeprefix(first)}": raw for p, raw in self._slot_values(active).items()}
            in_curve = {**kept, **in_curve}
        if twin.kind == "adopt":
            yield from self._adopt(in_curve, wanted)
            return
        slot = self._spare()
        target = {f"{twin.slot.format(slot=slot)}{path}": raw for path, raw in in_curve.items()}
        yield from self._access.write(target)
        yield from self._access.confirm(target)
        wanted[twin.active] = slot
        yield from self._access.write(wanted)

    def _adopt(self, in_curve: Mapping[str, Value], wanted: Mapping[str, Value]) -> Steps:
        twin, access = self._twin, self._access
        slot = self._spare()
        target = {f"{twin.slot.format(slot=slot)}{path}": raw for path, raw in in_curve.items()}
        yield from access.write(target)
        yield from access.confirm(target)
        yield from access.write({**wanted, twin.adopt: slot})
        in_force = {f"{twin.slot.format(slot=ACTIVE_CURVE)}{path}": raw for path, raw in in_curve.items()}
        for wait_s in (0.0, *_ADOPT_WAITS_S):
            if wait_s:
                yield Wait(wait_s)
            yield from access.read()
            result = self._found.get(twin.result)
            if result == _ADOPT_FAILED:
                raise RefusedError(
                    refused(AddCause.INCONSISTENT_PARAMETERS, f"the device refused to adopt curve {slot}")
                )
            # An old result may still stand there, so the curve itself has to agree too.
            if result == _ADOPTED and not access.differences(in_force):
                return
        raise RefusedError(
            refused(
                AddCause.TIME_LIMIT_OVER,
                f"curve {slot} was not adopted in {sum(_ADOPT_WAITS_S):g} s ({twin.result} is {result})",
            )
        )

    def _spare(self) -> int:
        """Returns the curve to write: one that is neither in force nor the one to revert to, if there is any."""
        twin = self._twin
        count = self._found.get(twin.slots)
        taken = {ACTIVE_CURVE if twin.kind == "adopt" else self._found.get(twin.active)}
        writable = [
            slot
            for slot in range(1, (count if isinstance(count, int) else 0) + 1)
            if self._found.get(f"{twin.slot.format(slot=slot)}{twin.read_only}") != _READ_ONLY
            and not (twin.kind == "adopt" and slot == ACTIVE_CURVE)
        ]
        reverts_to = {self._found.get(name) for name in ("RvrtCrv", "RvrtCtl")}
        for avoided in (taken | reverts_to, taken):
            for slot in writable:
                if slot not in avoided:
                    return slot
        if writable:
            return writable[0]
        raise RefusedError(
            refused(
                AddCause.BLOCKED_BY_PROCESS,
                f"model {self._access.layout.model_id} of this device has no curve that can be written",
            )
        )

    def _slot_values(self, slot: int) -> dict[str, Value]:
        """Returns the raw values of a curve's writable points."""
        first = f"{self._twin.slot.format(slot=slot)}."
        return {
            path: self._found[path]
            for path, point in self._access.layout.index.items()
            if path.startswith(first) and point.definition.is_writable and self._found.get(path) is not None
        }

    def _curve_registers(self, curve: Curve) -> tuple[dict[str, Value], str]:
        twin, access = self._twin, self._access
        limit = self._found.get(twin.points_limit)
        if isinstance(limit, int) and len(curve) > limit:
            raise FunctionRequestError(
                f"curve: found {len(curve)} points, expected at most {limit}, as this device has it"
            )
        values: dict[str, Value] = {twin.count: len(curve)}
        rounded = []
        before: Value = None
        slot = twin.slot.format(slot=self._spare())
        for number, pair in enumerate(curve, start=1):
            for place, value in zip((twin.x, twin.y), pair, strict=True):
                if place is None:
                    continue
                path = place.points[0].format(n=number)
                access.point(slot + path)
                raw = unscaled(access.layout, slot + path, value * place.factor, self._found)
                values[path] = raw
                exact = scaled(access.layout, slot + path, {**self._found, slot + path: raw})
                if isinstance(exact, int | float) and abs(exact / place.factor - value) > 1e-9:
                    rounded.append(f"{value:g} to {exact / place.factor:g}")
                if place is twin.x:
                    if raw == before:
                        raise FunctionRequestError(
                            f"curve point {number}: x is {value:g}, which this device cannot tell from the point "
                            "before; expected points further apart"
                        )
                    before = raw
        return values, f"rounded by the device's resolution: {', '.join(rounded)}" if rounded else ""

    def _preset(self) -> dict[str, Value]:
        twin = self._twin
        values: dict[str, Value] = {}
        for path, raw in twin.preset.items():
            where = self._where(path)
            if self._found.get(where) is not None:
                values[path] = raw
            elif twin.needs_preset:
                raise RefusedError(
                    refused(AddCause.NOT_SUPPORTED, f"{self._function.name}: the device has no {where}")
                )
        return values

    def _where(self, path: str) -> str:
        if not path.startswith("."):
            return path
        return self._twin.slot.format(slot=self._spare()) + path

    def _timers(self) -> tuple[str, ...]:
        place = self._twin.parameters.get("revert_s")
        return place.points if place is not None else ()


def registers(
    access: ModelAccess,
    twin: Twin,
    function: Function,
    values: Mapping[str, ParameterValue],
    *,
    keeps_time: bool,
) -> Iterator[tuple[str, Value]]:
    """Yields raw values by path, those in the curve with a leading dot.

    Args:
        access: the model, read.
        twin: where things stand.
        function: the function.
        values: parameters of the request.
        keeps_time: true where the gateway itself ends the request: a device without a timer will do then.
    """
    slot = twin.slot.format(slot=2 if twin.kind == "adopt" else 1) if twin.slot else ""
    for name, value in values.items():
        if name in _NOT_WRITTEN:
            continue
        place = twin.parameters.get(name)
        for path in place.points if place is not None else ("",):
            where = slot + path if path.startswith(".") else path
            if place is None or access.found.get(where) is None:
                if name == "revert_s" and (keeps_time or value == 0):
                    break
                what = f"has no {where}" if where else f"has no place for {name}"
                raise RefusedError(
                    refused(AddCause.NOT_SUPPORTED, f"{name}: model {twin.model} of this device {what}")
                )
            yield path, _raw(access, where, place, function.parameters[name], value)


def _raw(
    access: ModelAccess, where: str, place: TwinPoint, parameter: Parameter, value: ParameterValue
) -> Value:
    if place.codes:
        raw = place.codes.get(str(value).lower() if isinstance(value, bool) else str(value))
        if raw is None:
            raise FunctionRequestError(
                f"{parameter.name}: found {value!r}, expected one of {', '.join(place.codes)} on this device"
            )
        return raw
    if isinstance(value, str):
        raise FunctionRequestError(f"{parameter.name}: found {value!r}, expected a number")
    number = 100 / (value * NOMINAL_HZ) if place.rule == "droop" else value * place.factor
    return unscaled(access.layout, where, number, access.found)
