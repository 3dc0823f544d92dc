"""Points as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s4g_gateway.model import isoformat
from s4g_gateway.model.quality import describe


def value_text(value: object) -> str:
    """Returns a value for people: at most six digits after the point, ``-`` for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:.6f}".rstrip("0").rstrip(".")
        return "0" if text == "-0" else text
    # A device's text must not steer the terminal.
    return "".join(character if character.isprintable() else "?" for character in str(value))


def age_text(age_s: float | None) -> str:
    """Returns an age for people: ``0.4 s``, ``12 s``, ``2.5 min``, ``14 h``, ``5 d``; ``never`` for None."""
    if age_s is None:
        return "never"
    for limit_s, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if age_s < limit_s:
            return f"{age_s / divisor:.{1 if age_s / divisor < 10 else 0}f} {unit}"
    return f"{age_s / 86_400:.0f} d"


def point_line(point: Mapping[str, Any]) -> str:
    """Returns one point as a line: reference, value with unit, quality, time of change, age."""
    value = f"{value_text(point['value'])} {point['unit']}".rstrip()
    quality, time = describe(point["quality"]), isoformat(point["time_ns"])
    return f"{point['reference']}  {value}  {quality}  {time}  {age_text(point.get('age_s'))}"
