"""The table of default types and address ranges, loaded from ``data/defaults.toml`` and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from s4g_gateway.codecs.iec104.identifiers import TypeId
from s4g_gateway.errors import ProfileError
from s4g_gateway.model import ValueType
from s4g_gateway.profiles.iec104.signals import COMMANDS, INTEGER_RANGES, TIMED

KINDS = ("indication", "measurement", "counter", "command", "set_point")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a point gets when nobody says otherwise.

    Attributes:
        monitored_by_cdc: type by common data class.
        monitored_by_value: type by value type.
        command_by_cdc: command type by common data class.
        command_by_value: command type by value type.
        wide: replacement where the declared limits do not fit the type.
        ranges: first and last automatic address per kind.
        overflow: first address where every kind goes on when its range is full.
        kind: kind of each type.
    """

    monitored_by_cdc: Mapping[str, TypeId]
    monitored_by_value: Mapping[ValueType, TypeId]
    command_by_cdc: Mapping[str, TypeId]
    command_by_value: Mapping[ValueType, TypeId]
    wide: Mapping[TypeId, TypeId]
    ranges: Mapping[str, range]
    overflow: int
    kind: Mapping[TypeId, str]

    def monitored(
        self, cdc: str, value_type: ValueType, limits: tuple[float | None, float | None]
    ) -> TypeId | None:
        """Returns the type of a monitored point, None where the protocol has no place for it."""
        if value_type is ValueType.TEXT:
            return None
        return self._fitting(
            self.monitored_by_cdc.get(cdc) or self.monitored_by_value.get(value_type), limits
        )

    def command(
        self, cdc: str, value_type: ValueType, limits: tuple[float | None, float | None]
    ) -> TypeId | None:
        """Returns the type of a controllable point, None where the protocol has no place for it."""
        if value_type is ValueType.TEXT:
            return None
        return self._fitting(self.command_by_cdc.get(cdc) or self.command_by_value.get(value_type), limits)

    def _fitting(self, type_id: TypeId | None, limits: tuple[float | None, float | None]) -> TypeId | None:
        if type_id is None or type_id not in self.wide:
            return type_id
        low, high = INTEGER_RANGES[type_id]
        fits = all(limit is None or low <= limit <= high for limit in limits)
        return type_id if fits else self.wide[type_id]


@cache
def load_defaults() -> Defaults:
    """Returns the table.

    Raises:
        ProfileError: the data file contradicts itself.
    """
    text = files("s4g_gateway.profiles.iec104").joinpath("data/defaults.toml").read_text(encoding="utf-8")
    return parse_defaults(tomllib.loads(text))


def parse_defaults(document: Mapping[str, Any]) -> Defaults:
    """Builds the table from its parsed data file.

    Raises:
        ProfileError: a type that does not exist or does not suit, or ranges that are not ascending.
    """
    kind = {_type(name, "kind", TIMED.keys() | COMMANDS): text for name, text in document["kind"].items()}
    for type_id in TIMED.keys() | COMMANDS:
        if kind.get(type_id) not in KINDS:
            raise ProfileError(f"defaults.toml: kind.{type_id.name}: expected one of {', '.join(KINDS)}")
    addresses = document["addresses"]
    bounds = [addresses[name] for name in KINDS] + [addresses["end"]]
    if bounds != sorted(set(bounds)) or addresses["overflow"] < bounds[-1] or bounds[0] < 1:
        raise ProfileError("defaults.toml: addresses: expected ascending from 1 on, overflow last")
    monitored, command = document["monitored"], document["command"]
    return Defaults(
        monitored_by_cdc=_types(monitored["cdc"], "monitored.cdc", TIMED.keys()),
        monitored_by_value=_by_value(monitored["value_type"], "monitored.value_type", TIMED.keys()),
        command_by_cdc=_types(command["cdc"], "command.cdc", COMMANDS),
        command_by_value=_by_value(command["value_type"], "command.value_type", COMMANDS),
        wide=MappingProxyType(
            {
                _type(narrow, "wide", INTEGER_RANGES.keys()): _type(wide, "wide", TIMED.keys() | COMMANDS)
                for narrow, wide in document["wide"].items()
            }
        ),
        ranges=MappingProxyType(
            {name: range(low, high) for name, low, high in zip(KINDS, bounds[:-1], bounds[1:], strict=True)}
        ),
        overflow=addresses["overflow"],
        kind=MappingProxyType(kind),
    )


def _type(name: str, where: str, allowed: Any) -> TypeId:
    if name not in TypeId.__members__ or TypeId[name] not in allowed:
        names = ", ".join(sorted(type_id.name for type_id in allowed))
        raise ProfileError(f"defaults.toml: {where}: found {name!r}, expected one of {names}")
    return TypeId[name]


def _types(table: Mapping[str, str], where: str, allowed: Any) -> Mapping[str, TypeId]:
    return MappingProxyType({key: _type(name, where, allowed) for key, name in table.items()})


def _by_value(table: Mapping[str, str], where: str, allowed: Any) -> Mapping[ValueType, TypeId]:
    for key in table:
        if key not in set(ValueType):
            raise ProfileError(f"defaults.toml: {where}: no value type {key!r}")
    return MappingProxyType({ValueType(key): _type(name, where, allowed) for key, name in table.items()})
