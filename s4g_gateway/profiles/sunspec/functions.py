"""Functions of IEC TR 61850-90-7 on a SunSpec device: requests to register writes with read-back, and the way back.

What stands where is data (``Twin``). Models 705 to 712 hold the curve in force as their first, read-only one: a
spare curve is written and the device is asked to adopt it. Models 126 to 134 name the active one of several curves.

Source: SunSpec DER information models (adopt sequence; clause unverified), model definitions.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from s4g_gateway.errors import EncodeError, ProfileError
from s4g_gateway.model import AddCause, ControlAnswer, refused
from s4g_gateway.model import Value as CanonicalValue
from s4g_gateway.profiles.iec61850_90_7 import (
    Function,
    FunctionRequest,
    FunctionRequestError,
    FunctionState,
    Twin,
    decode_request,
    find_function,
)
from s4g_gateway.profiles.modbus.answers import Answer, Exchange
from s4g_gateway.profiles.modbus.reads import Step
from s4g_gateway.profiles.sunspec.binding import SunspecBinding
from s4g_gateway.profiles.sunspec.chain import ChainModel
from s4g_gateway.profiles.sunspec.controls import ControlMemory, operate
from s4g_gateway.profiles.sunspec.function_recipe import FunctionRecipe, registers
from s4g_gateway.profiles.sunspec.function_state import function_state
from s4g_gateway.profiles.sunspec.model_access import ModelAccess, RefusedError

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
    return function_state(access, functions, model.model_id)


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
    recipe = FunctionRecipe(access, twin, function)
    if request is None:
        yield from recipe.release(memory.functions.get(reference))
        memory.functions.pop(reference, None)
        return ControlAnswer(accepted=True)
    is_first = remaining_s is not None and reference not in memory.functions
    if is_first:
        memory.functions[reference] = recipe.present()
    try:
        detail = yield from recipe.set(request, keeps_time=remaining_s is not None)
    except (RefusedError, FunctionRequestError, EncodeError):
        if is_first and not access.has_written:
            del memory.functions[reference]
        raise
    if remaining_s is None:
        memory.functions.pop(reference, None)
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
    extra = dict(registers(access, twin, function, times, keeps_time=remaining_s is not None))
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
