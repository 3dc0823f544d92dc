"""What a command's number asks for, in the point's own unit."""

from __future__ import annotations

from math import isfinite
from typing import Final

from s4g_gateway.codecs.iec104.identifiers import TypeId
from s4g_gateway.errors import DecodeError
from s4g_gateway.model import ValueType
from s4g_gateway.profiles.iec104.signals import NORMALIZED, NORMALIZED_UNITY, CommandSignal

# The two permitted states of a double and of a step command: off/on, lower/higher.
_OFF_OR_LOWER: Final = 1
_ON_OR_HIGHER: Final = 2


def command_value(command: CommandSignal, raw: float) -> float | int | bool:
    """Turns the number of a command into the ctlVal of its point.

    Args:
        command: the addressed point.
        raw: the number as the codec has it; a normalized value as raw integer.

    Returns:
        A bool for a Boolean point, an integer for an integer or enumerated one, else a float in the point's
        unit. A step command is 1 for lower and 2 for higher.

    Raises:
        DecodeError: a state that the type does not permit, a number that is none, or one that a Boolean point
            cannot take.
    """
    type_id = command.type_id
    if type_id in (TypeId.C_DC_NA_1, TypeId.C_RC_NA_1):
        if raw not in (_OFF_OR_LOWER, _ON_OR_HIGHER):
            raise DecodeError(f"{type_id.name}: state {raw}: expected 1 or 2")
        if command.value_type is ValueType.BOOLEAN:
            return raw == _ON_OR_HIGHER
        return _as(command.value_type, raw)
    if type_id is TypeId.C_SC_NA_1:
        return bool(raw) if command.value_type is ValueType.BOOLEAN else _as(command.value_type, raw)
    if not isfinite(raw):
        raise DecodeError(f"{type_id.name}: {raw}: expected a finite number")
    unity = NORMALIZED_UNITY if type_id in NORMALIZED else 1
    scaling = command.scaling
    # Division first would turn the integers of a plain scaled value into inexact floats.
    value = raw if scaling.is_identity and unity == 1 else raw * scaling.factor / unity + scaling.offset
    if command.value_type is ValueType.BOOLEAN:
        if value not in (0, 1):
            raise DecodeError(f"{type_id.name}: {value}: expected 0 or 1")
        return bool(value)
    return _as(command.value_type, value)


def _as(value_type: ValueType, number: float) -> int | float:
    return float(number) if value_type is ValueType.FLOAT else round(number)
