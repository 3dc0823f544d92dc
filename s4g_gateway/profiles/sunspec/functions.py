"""Functions of IEC TR 61850-90-7 on a SunSpec device: requests to register writes with read-back, and the way back.

What stands where is data (``Twin``). Models 705 to 712 hold the curve in force as their first, read-only one: a
spare curve is written and the device is asked to adopt it. Models 126 to 134 name the active one of several curves.

Source: SunSpec DER information models (adopt sequence; clause unverified), model definitions.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from s4g_gateway.errors import EncodeError, ProfileError
from s4g_gateway.model import AddCause, ControlAnswer, refused
from s4g_gateway.model import Value as CanonicalValue
from s4g_gateway.profiles.iec61850_90_7 import (
    Curve,
    FunctionRequest,
    FunctionRequestError,
    FunctionState,
    Parameter,
    ParameterValue,
    Twin,
    TwinPoint,
    decode_request,
    find_function,
)
from s4g_gateway.profiles.iec61850_90_7.functions import Function
from s4g_gateway.profiles.iec61850_90_7.request import NOMINAL_HZ
from s4g_gateway.profiles.modbus.answers import Answer, Exchange
from s4g_gateway.profiles.modbus.reads import Step, Wait
from s4g_gateway.profiles.sunspec.binding import SunspecBinding
from s4g_gateway.profiles.sunspec.chain import ChainModel
from s4g_gateway.profiles.sunspec.controls import ControlMemory, operate
from s4g_gateway.profiles.sunspec.layout import scaled, unscaled
from s4g_gateway.profiles.sunspec.model_access import ModelAccess, RefusedError, Steps
from s4g_gateway.profiles.sunspec.point_types import Value

_ADOPTED, _ADOPT_FAILED = 1, 2
_READ_ONLY = 1
_ACTIVE_CURVE = 1
# Waits between questions whether a curve was adopted: 6.3 s in all, within the time a Control may take.
_ADOPT_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.15)
# Says what the grid is; there is no register for it.
_NOT_WRITTEN = ("nominal_hz",)

Reading = Generator[Step, Answer, FunctionState | ControlAnswer]


def carry_out(
    binding: SunspecBinding,
    reference: str,
    value: CanonicalValue,
    *,
    memory: ControlMemory,
    remaining_s: float | None = None,
) -> Exchange:
    """Carries out a Control of any kind: a set-point or command, a function request, a release.

    Args:
        binding: the device.
        reference: the controllable point.
        value: ctlVal; for a function the request's text form; None releases.
        memory: what earlier Controls left.
        remaining_s: how long it holds; None for good.

    Yields:
        Steps; to be sent an Answer to each.

    Returns:
        Accepted only after the registers read back as written.
    """
    if isinstance(value, str) or (value is None and reference not in binding.controls):
        try:
            return (yield from _function(binding, reference, value, memory, remaining_s))
        except RefusedError as error:
            return error.answer
        except FunctionRequestError as error:
            return refused(AddCause.INCONSISTENT_PARAMETERS, str(error))
        except EncodeError as error:
            return refused(AddCause.NOT_SUPPORTED, str(error))
    return (yield from operate(binding, reference, value, memory=memory, remaining_s=remaining_s))


def read_function(binding: SunspecBinding, reference: str, code: str = "") -> Reading:
    """Reads what the device says of a function.

    Args:
        binding: the device.
        reference: the function's point.
        code: which of the functions of that point; empty for the one that the device's settings stand for.

    Yields:
        Reads; to be sent an Answer to each.

    Returns:
        The state, or a refusal.
    """
    codes = binding.device.functions.get(reference, ())
    if code and code not in codes:
        return refused(AddCause.NOT_SUPPORTED, f"{reference} has no function {code}")
    try:
        functions = [find_function(name) for name in ((code,) if code else codes)]
        model, _ = _twin(binding, functions[0]) if functions else (None, None)
        if model is None or model.layout is None:
            return refused(AddCause.NOT_SUPPORTED, f"{reference} has no function")
        access = ModelAccess(model.layout, model.address, binding.max_registers)
        yield from access.read()
    except RefusedError as error:
        return error.answer
    except ProfileError as error:
        return refused(AddCause.NOT_SUPPORTED, str(error))
    return _state(access, functions, model.model_id)


def _twin(binding: SunspecBinding, function: Function) -> tuple[ChainModel, Twin]:
    for twin in function.sunspec:
        model = binding.chain.find((twin.model,))
        if model is not None and model.layout is not None:
            return model, twin
    models = ", ".join(str(twin.model) for twin in function.sunspec)
    raise RefusedError(
        refused(AddCause.NOT_SUPPORTED, f"{function.name}: the device lacks model {models or 'for it'}")
    )


def _function(
    binding: SunspecBinding,
    reference: str,
    value: str | None,
    memory: ControlMemory,
    remaining_s: float | None,
) -> Exchange:
    codes = binding.device.functions.get(reference)
    if not codes:
        return refused(AddCause.NOT_SUPPORTED, f"{reference} takes no function request")
    request = None if value is None else decode_request(value)
    function = find_function(codes[0]) if request is None else request.function
    if function.code not in codes:
        raise FunctionRequestError(
            f"{reference} takes {', '.join(codes)}, found {function.code} ({function.name})"
        )
    model, twin = _twin(binding, function)
    if model.layout is None:
        return refused(AddCause.NOT_SUPPORTED, f"model {model.model_id} has no definition")
    access = ModelAccess(model.layout, model.address, binding.max_registers)
    yield from access.read()
    if twin.kind == "control" and request is not None:
        place = _Place(binding, reference, twin, access)
        return (yield from _set_point(place, request, memory, remaining_s))
    recipe = _Recipe(access, twin, function)
    if request is None:
        yield from recipe.release(memory.functions.get(reference))
        memory.functions.pop(reference, None)
        return ControlAnswer(accepted=True)
    if remaining_s is None:
        memory.functions.pop(reference, None)
    elif reference not in memory.functions:
        memory.functions[reference] = recipe.present()
    detail = yield from recipe.set(request, keeps_time=remaining_s is not None)
    return ControlAnswer(accepted=True, detail=detail)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a function is carried out."""

    binding: SunspecBinding
    reference: str
    twin: Twin
    access: ModelAccess


def _set_point(
    place: _Place, request: FunctionRequest, memory: ControlMemory, remaining_s: float | None
) -> Exchange:
    """A function that is one set-point goes through the Control of that point, its times along with it."""
    binding, reference, twin, access = place.binding, place.reference, place.twin, place.access
    function, bound = request.function, binding.controls[reference]
    if bound.model is None or bound.model.model_id != twin.model:
        return refused(AddCause.NOT_SUPPORTED, f"the device lacks model {twin.model}")
    if not request.enabled:
        if not function.has_mode:
            raise FunctionRequestError(f"{function.name} cannot be switched off, expected {function.value}")
        return (yield from operate(binding, reference, None, memory=memory))
    times = {
        name: value
        for name, value in request.parameters.items()
        if name not in (function.value, "over_excited")
    }
    extra = dict(_registers(access, twin, function, times, keeps_time=remaining_s is not None))
    if "over_excited" in request.parameters:
        companion = next(
            (
                other.mapped.point.reference
                for other in binding.controls.values()
                if other.mapped.is_excitation and other.mapped.row is bound.mapped.row
            ),
            None,
        )
        if companion is None:
            return refused(AddCause.NOT_SUPPORTED, f"{reference}: excitation cannot be chosen")
        answer = yield from operate(binding, companion, request.parameters["over_excited"], memory=memory)
        if not answer.accepted:
            return answer
    value: CanonicalValue = request.parameters[function.value]
    codes = function.parameters[function.value].codes
    if codes:
        value = codes[str(value).lower()]
    point = bound.mapped.point
    low, high = point.minimum, point.maximum
    if isinstance(value, float) and (
        (low is not None and value < low) or (high is not None and value > high)
    ):
        raise FunctionRequestError(
            f"{function.value}: found {value:g}, expected {low:g} to {high:g} {point.unit}"
        )
    return (
        yield from operate(binding, reference, value, memory=memory, remaining_s=remaining_s, extra=extra)
    )


class _Recipe:
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
        if twin.active:
            kept[twin.active] = self._found.get(twin.active)
        if twin.kind == "settings":
            paths = (path for place in twin.parameters.values() for path in place.points)
            kept |= {path: self._found[path] for path in paths if self._found.get(path) is not None}
        elif twin.kind == "adopt":
            kept |= self._slot_values(_ACTIVE_CURVE)
        else:
            slot = self._spare()
            if slot == self._found.get(twin.active):
                kept |= self._slot_values(slot)
        return kept

    def set(self, request: FunctionRequest, *, keeps_time: bool) -> Generator[Step, Answer, str]:
        """Brings a request into force; returns what a person should know of it."""
        twin = self._twin
        own = dict(_registers(self._access, twin, self._function, request.parameters, keeps_time=keeps_time))
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
        first = f"{twin.slot.format(slot=_ACTIVE_CURVE)}."
        curve = {f".{path.removeprefix(first)}": raw for path, raw in kept.items() if path.startswith(first)}
        rest = {path: raw for path, raw in kept.items() if path != twin.enable and raw is not None}
        if twin.kind == "adopt":
            rest = {}
            if curve:
                yield from self._adopt(curve, {})
        enable = {twin.enable: kept.get(twin.enable) or 0}
        if rest:
            yield from self._access.write(rest)
        yield from self._access.write(enable)
        yield from self._access.confirm({**rest, **enable})

    # -- curves ----------------------------------------------------------------------------------

    def _set_curve(self, in_curve: dict[str, Value], wanted: dict[str, Value]) -> Steps:
        """Writes a spare curve and makes it the one in force; what the request leaves out is carried over."""
        twin = self._twin
        active = _ACTIVE_CURVE if twin.kind == "adopt" else self._found.get(twin.active)
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
        in_force = {f"{twin.slot.format(slot=_ACTIVE_CURVE)}{path}": raw for path, raw in in_curve.items()}
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
        taken = {_ACTIVE_CURVE if twin.kind == "adopt" else self._found.get(twin.active)}
        writable = [
            slot
            for slot in range(1, (count if isinstance(count, int) else 0) + 1)
            if self._found.get(f"{twin.slot.format(slot=slot)}{twin.read_only}") != _READ_ONLY
            and not (twin.kind == "adopt" and slot == _ACTIVE_CURVE)
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


def _registers(
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


def _state(access: ModelAccess, functions: list[Function], model_id: int) -> FunctionState:
    """Makes a state of a model that was read."""
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
        return _ACTIVE_CURVE
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
