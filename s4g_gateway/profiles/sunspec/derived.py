"""Rules for points that no single register holds; ``Derivation.rule`` names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from types import MappingProxyType

from s4g_gateway.model import Value
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.modbus.columns import Pair

Rule = Callable[[Sequence[Value], Sequence[int]], Pair]
Arithmetic = Callable[[Sequence[float]], Pair]

_DISCHARGING = 3
_CHARGING = 4
_BOTH_LIMITS = 3
NO_SET_POINT = q.INVALID | q.INCONSISTENT


def _of_numbers(arithmetic: Arithmetic) -> Rule:
    """Makes a rule that works on good numbers only; a missing input leaves no value."""

    def rule(values: Sequence[Value], qualities: Sequence[int]) -> Pair:
        quality = reduce(q.worst, qualities) if any(qualities) else q.GOOD
        numbers = [value for value in values if isinstance(value, int | float)]
        if len(numbers) != len(values) or not q.is_usable(quality):
            return None, quality if not q.is_usable(quality) else q.INVALID | q.INCONSISTENT
        value, more = arithmetic(numbers)
        return value, q.worst(quality, more)

    return rule


def _sum(numbers: Sequence[float]) -> Pair:
    return sum(numbers), q.GOOD


def _difference(numbers: Sequence[float]) -> Pair:
    return numbers[0] - sum(numbers[1:]), q.GOOD


def _magnitude(numbers: Sequence[float]) -> Pair:
    return abs(numbers[0]), q.GOOD


def _positive(numbers: Sequence[float]) -> Pair:
    return numbers[0] >= 0, q.GOOD


def _signed(numbers: Sequence[float]) -> Pair:
    """Magnitude and charge state (SunSpec ChaSt) to a power in the generator frame."""
    magnitude, state = abs(numbers[0]), numbers[1]
    if state == _DISCHARGING:
        return magnitude, q.GOOD
    if state == _CHARGING:
        return 0.0 - magnitude, q.GOOD
    # Neither charging nor discharging, and yet power flows: which way is not known.
    return magnitude, q.GOOD if magnitude == 0 else q.QUESTIONABLE | q.INCONSISTENT


def _share(numbers: Sequence[float]) -> Pair:
    percent, whole = numbers
    return whole * percent / 100, q.GOOD


def _health(numbers: Sequence[float]) -> Pair:
    """Bits for events to HealthKind: Ok where there is none, else Warning."""
    return 2 if numbers[0] else 1, q.GOOD


def _window(numbers: Sequence[float]) -> Pair:
    """WChaMax, StorCtl_Mod, OutWRte, InWRte to the set-point, where the window is closed on one."""
    w_max, mode, out_pct, in_pct = numbers
    if int(mode) & _BOTH_LIMITS != _BOTH_LIMITS or out_pct != -in_pct:
        return None, NO_SET_POINT
    return w_max * out_pct / 100, q.GOOD


RULES = MappingProxyType(
    {
        "sum": _of_numbers(_sum),
        "difference": _of_numbers(_difference),
        "magnitude": _of_numbers(_magnitude),
        "positive": _of_numbers(_positive),
        "signed": _of_numbers(_signed),
        "share": _of_numbers(_share),
        "health": _of_numbers(_health),
        "window": _of_numbers(_window),
    }
)
