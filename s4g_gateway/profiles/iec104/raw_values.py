"""Values to raw numbers: scaling, limits, and what the quality descriptor says when they do not hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import inf
from typing import Final

from s4g_gateway.codecs.iec104.identifiers import QualityBit, TypeId
from s4g_gateway.model import Value
from s4g_gateway.model.quality_map import IEC104_BCR, IEC104_QDS, IEC104_SIQ
from s4g_gateway.profiles.iec104.signals import INTEGER_RANGES, NORMALIZED, NORMALIZED_UNITY, Scaling

Raw = int | float
ToRaw = Callable[[Value], tuple[Raw, int]]
"""One value -> (raw number, quality bits to add)."""

_FLOAT_MAX: Final = 3.4028234663852886e38
_FLOAT_EXPONENT: Final = 1023
_INVALID: Final = int(QualityBit.INVALID)
_OVERFLOW: Final = int(QualityBit.OVERFLOW)


def quality_octets(type_id: TypeId) -> bytes:
    """Returns the octet of quality bits for each of the 8192 IEC 61850 qualities, as far as the type has them."""
    if type_id is TypeId.M_IT_NA_1:
        return IEC104_BCR
    return IEC104_SIQ if type_id in (TypeId.M_SP_NA_1, TypeId.M_DP_NA_1) else IEC104_QDS


@lru_cache(maxsize=1024)
def raw_converter(type_id: TypeId, scaling: Scaling) -> ToRaw:
    """Returns the function that turns values into raw numbers of a type."""
    if type_id is TypeId.M_ME_NC_1:
        return _float_converter(scaling.factor, scaling.offset)
    if type_id is TypeId.M_SP_NA_1:
        return _single
    if type_id is TypeId.M_DP_NA_1:
        return _double
    low, high = INTEGER_RANGES[type_id]
    unity = NORMALIZED_UNITY if type_id in NORMALIZED else 1
    # A counter and a bitstring have no overflow bit that says what happened, so what does not fit is invalid.
    outside = _INVALID if type_id in (TypeId.M_IT_NA_1, TypeId.M_BO_NA_1) else _OVERFLOW
    return _integer_converter(unity / scaling.factor, scaling.offset, low, high, outside)


def _float_converter(factor: float, offset: float) -> ToRaw:
    def convert(value: Value) -> tuple[Raw, int]:
        if value is None or isinstance(value, str):
            return 0.0, _INVALID
        number = (_finite(value) - offset) / factor
        if -_FLOAT_MAX <= number <= _FLOAT_MAX:
            return number, 0
        if number != number:  # noqa: PLR0124 - NaN is the one value unlike itself
            return 0.0, _INVALID
        return (_FLOAT_MAX if number > 0 else -_FLOAT_MAX), _OVERFLOW

    return convert


def _integer_converter(per_unit: float, offset: float, low: int, high: int, outside: int) -> ToRaw:
    def convert(value: Value) -> tuple[Raw, int]:
        if value is None or isinstance(value, str):
            return 0, _INVALID
        number = (_finite(value) - offset) * per_unit
        if low - 0.5 < number < high + 0.5:
            return min(max(round(number), low), high), 0
        if number != number:  # noqa: PLR0124 - NaN is the one value unlike itself
            return 0, _INVALID
        return (high if number > 0 else low), outside

    return convert


def _finite(value: float) -> float | int:
    """Returns the value, or infinity for an integer that no float holds."""
    if isinstance(value, int) and value.bit_length() > _FLOAT_EXPONENT:
        return inf if value > 0 else -inf
    return value


def _single(value: Value) -> tuple[Raw, int]:
    if value is None or isinstance(value, str):
        return 0, _INVALID
    return (1 if value else 0), 0


def _double(value: Value) -> tuple[Raw, int]:
    """A Boolean is off (1) or on (2); a number is the position itself, 0 to 3."""
    if value is None or isinstance(value, str):
        return 0, _INVALID
    if isinstance(value, bool):
        return (2 if value else 1), 0
    if value in (0, 1, 2, 3):
        return int(value), 0
    return 0, _INVALID
