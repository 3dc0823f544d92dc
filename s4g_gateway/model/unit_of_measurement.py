"""The SensorThings unit of each canonical unit: name, UCUM code and URI, from ``data/unit_of_measurement.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from s4g_gateway.errors import ModelError
from s4g_gateway.model.sensorthings_entities import UnitOfMeasurement
from s4g_gateway.model.tables import rows, table_text
from s4g_gateway.model.units import check_unit


@cache
def load_units_of_measurement() -> Mapping[str, UnitOfMeasurement]:
    """Returns the SensorThings unit of each canonical unit; read once.

    Raises:
        ModelError: the table names a unit that the model does not have.
    """
    return parse_units_of_measurement(table_text("unit_of_measurement.csv"))


def parse_units_of_measurement(text: str) -> Mapping[str, UnitOfMeasurement]:
    """Reads ``unit_of_measurement.csv``.

    Raises:
        ModelError: a unit that the model does not have, or one twice; the message names the line.
    """
    found: dict[str, UnitOfMeasurement] = {}
    for row in rows("unit_of_measurement.csv", text, ("unit", "name", "symbol", "definition")):
        try:
            unit = check_unit(row["unit"])
        except ModelError as error:
            raise row.fail(str(error)) from error
        if unit in found:
            raise row.fail(f"unit {unit!r} stands twice")
        found[unit] = UnitOfMeasurement(name=row["name"], symbol=row["symbol"], definition=row["definition"])
    return MappingProxyType(found)
