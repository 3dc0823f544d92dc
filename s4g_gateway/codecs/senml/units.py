"""The SenML unit registry, loaded from data.

Source: RFC 8428 §12.1, RFC 8798 §2 and §3; the IANA registry for later rows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from types import MappingProxyType
from typing import Final

from s4g_gateway.errors import ProfileError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit name of the registry.

    Attributes:
        symbol: as it stands in ``u``.
        description: for people.
        discouraged: new senders should not use it.
        primary: symbol of the primary unit; the symbol itself for a primary unit.
        scale: multiply by this, then add ``offset``, to come to the primary unit.
        offset: in the primary unit.
    """

    symbol: str
    description: str
    discouraged: bool
    primary: str
    scale: Fraction
    offset: Fraction

    @property
    def is_secondary(self) -> bool:
        """True where a pack must declare ``bver`` 26 to use it."""
        return self.symbol != self.primary


def _rows(file: str, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    text = resources.files("s4g_gateway.codecs.senml").joinpath("data", file).read_text("utf-8")
    reader = csv.DictReader(text.splitlines(), strict=True)
    if tuple(reader.fieldnames or ()) != columns:
        raise ProfileError(f"{file}: columns {reader.fieldnames}, expected {list(columns)}")
    for number, row in enumerate(reader, start=2):
        if None in row or None in row.values():
            raise ProfileError(f"{file} line {number}: expected {len(columns)} columns")
        yield f"{file} line {number}", row


def _rational(text: str, where: str) -> Fraction:
    numerator, _, denominator = text.partition("/")
    try:
        return Fraction(numerator) / Fraction(denominator or "1")
    except (ValueError, ZeroDivisionError) as error:
        raise ProfileError(f"{where}: {text!r} is no rational number") from error


def _load() -> Mapping[str, Unit]:
    units: dict[str, Unit] = {}
    for where, row in _rows("units.csv", ("symbol", "description", "discouraged", "registered_by")):
        symbol = row["symbol"]
        if symbol in units or row["discouraged"] not in ("yes", "no"):
            raise ProfileError(f"{where}: {symbol!r} stands twice, or 'discouraged' is neither yes nor no")
        units[symbol] = Unit(
            symbol=symbol,
            description=row["description"],
            discouraged=row["discouraged"] == "yes",
            primary=symbol,
            scale=Fraction(1),
            offset=Fraction(0),
        )
    columns = ("symbol", "description", "primary", "scale", "offset", "registered_by")
    for where, row in _rows("secondary_units.csv", columns):
        symbol, primary = row["symbol"], units.get(row["primary"])
        if symbol in units or primary is None or primary.is_secondary:
            raise ProfileError(f"{where}: {symbol!r} stands twice, or {row['primary']!r} is no primary unit")
        units[symbol] = Unit(
            symbol=symbol,
            description=row["description"],
            discouraged=False,
            primary=primary.symbol,
            scale=_rational(row["scale"], where),
            offset=_rational(row["offset"], where),
        )
    return MappingProxyType(units)


UNITS: Final = _load()
"""Every registered unit by its symbol."""
SECONDARY: Final = frozenset(symbol for symbol, unit in UNITS.items() if unit.is_secondary)
"""Symbols that need ``bver`` 26."""
