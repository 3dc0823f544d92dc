"""DLMS unit codes and the model's units: ``data/units.csv``.

Source: IEC 62056-6-2 units of measurement (clause unverified, via the Gurux source).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from types import MappingProxyType

from s4g_gateway.errors import ModelError
from s4g_gateway.model.tables import rows
from s4g_gateway.model.units import check_unit

_COLUMNS = ("code", "symbol", "unit", "name")


@cache
def _units() -> tuple[MappingProxyType[int, str], MappingProxyType[int, str]]:
    text = (files("s4g_gateway.profiles.dlms") / "data" / "units.csv").read_text("utf-8")
    units, symbols = {}, {}
    for row in rows("units.csv", text, _COLUMNS):
        code = int(row.number("code"))
        if code in units or not 0 <= code <= 255:
            raise row.fail(f"code {code} stands twice or is no byte")
        try:
            units[code] = check_unit(row["unit"])
        except ModelError as error:
            raise row.fail(str(error)) from error
        symbols[code] = row["symbol"]
    return MappingProxyType(units), MappingProxyType(symbols)


def codes_of(unit: str) -> list[int]:
    """Returns the DLMS codes of a canonical unit; empty where DLMS has none."""
    return [code for code, found in _units()[0].items() if found == unit]


def symbol_of(code: int | None) -> str:
    """Returns how a unit code is written; empty for none or an unknown one."""
    return "" if code is None else _units()[1].get(code, "")
