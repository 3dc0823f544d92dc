"""Values to raw numbers: scaling, limits, and what the quality descriptor says when they do not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from s4g_gateway.codecs.iec104.identifiers import QualityBit, TypeId
from s4g_gateway.model import Value
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.iec104.signals import INTEGER_RANGES, NORMALIZED, NORMALIZED_UNITY, Signal

Raw = int | float
ToRaw = Callable[[Value], tuple[Raw, int]]
"""One value -> (raw number, quality bits to add)."""

_FLOAT_MAX: Final = 3.4028234663852886e38
_INVALID: Final = int(QualityBit.INVALID)
_OVERFLOW: Final = int(QualityBit.OVERFLOW)


def quality_table() -> Sequence[int]:
    """Returns the quality descriptor for each of the 8192 IEC 61850 qualities."""
    return _TABLE


def _descriptor(quality: int) -> int:
    bits = 0
    if q.validity(quality) in (q.INVALID, q.RESERVED):
        bits |= QualityBit.INVALID
    if q.validity(quality) == q.QUESTIONABLE or quality & q.OLD_DATA:
        bits |= QualityBit.NOT_TOPICAL
    if quality & (q.OVERFLOW | q.OUT_OF_RANGE):
        bits |= QualityBit.OVERFLOW
    if quality & q.SUBSTITUTED:
        bits |= QualityBit.SUBSTITUTED
    if quality & q.OPERATOR_BLOCKED:
        bits |= QualityBit.BLOCKED
    return int(bits)


_TABLE: Final = bytes(_descriptor(quality) for quality in range(q.ALL_BITS + 1))


@cache
def quality_mask(type_id: TypeId) -> int:
    """Returns the quality bits that an untimed type has room for."""
    if type_id is TypeId.M_IT_NA_1:
        return _INVALID
    if type_id in (TypeId.M_SP_NA_1, TypeId.M_DP_NA_1):
        return 0xF0
    return 0xF1


def raw_converter(signal: Signal) -> ToRaw:
    """Returns the function that turns the signal's values into raw numbers."""
    type_id = signal.type_id
    if type_id is TypeId.M_ME_NC_1:
        return _float_converter(signal.scaling.factor, signal.scaling.offset)
    if type_id is TypeId.M_SP_NA_1:
        return _single
    if type_id is TypeId.M_DP_NA_1:
        return _double
    low, high = INTEGER_RANGES[type_id]
    unity = NORMALIZED_UNITY if type_id in NORMALIZED else 1
    # A counter and a bitstring have no overflow bit that says what happened, so what does not fit is invalid.
    outside = _INVALID if type_id in (TypeId.M_IT_NA_1, TypeId.M_BO_NA_1) else _OVERFLOW
    return _integer_converter(unity / signal.scaling.factor, signal.scaling.offset, low, high, outside)


def _float_converter(factor: float, offset: float) -> ToRaw:
    def convert(value: Value) -> tuple[Raw, int]:
        if value is None or isinstance(value, str):
            return 0.0, _INVALID
        number = (value - offset) / factor
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
        number = (value - offset) * per_unit
        if low - 0.5 < number < high + 0.5:
            return min(max(round(number), low), high), 0
        if number != number:  # noqa: PLR0124 - NaN is the one value unlike itself
            return 0, _INVALID
        return (high if number > 0 else low), outside

    return convert


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
