"""Canonical units: SI symbols used inside, each with its IEC 61850 SIUnit number.

Source: SIUnitKind values from the IEC NSD code component (7-3:2007B), see docs/standards.md. The standard has
no plain percent; percentages carry 1 (none), as do pure numbers.
"""

from __future__ import annotations

from types import MappingProxyType

from s4g_gateway.errors import ModelError

SI_UNIT = MappingProxyType(
    {
        "": 1,
        "%": 1,
        "s": 4,
        "A": 5,
        "deg": 9,
        "Cel": 23,
        "V": 29,
        "Hz": 33,
        "W": 62,
        "W/m2": 55,
        "VA": 61,
        "var": 63,
        "VAh": 71,
        "Wh": 72,
        "varh": 73,
        "Ah": 1,
        "W/s": 81,
        "%/s": 87,
        "Ohm": 30,
    }
)


def check_unit(symbol: str) -> str:
    """Returns the symbol if it is a canonical unit.

    Raises:
        ModelError: it is not; the message lists those that are.
    """
    if symbol not in SI_UNIT:
        known = ", ".join(repr(unit) for unit in SI_UNIT)
        raise ModelError(f"unknown unit {symbol!r}; expected one of {known}")
    return symbol
