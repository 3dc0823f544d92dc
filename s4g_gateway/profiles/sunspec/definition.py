"""The SunSpec Alliance's model definitions, vendored unchanged, loaded when first asked for.

``data/SOURCE.toml`` records where they come from. Standard models and the Alliance's test models are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec

from s4g_gateway.errors import ProfileError
from s4g_gateway.profiles.sunspec.point_types import POINT_TYPES, PointType

_MODELS = files("s4g_gateway.profiles.sunspec") / "data" / "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointDefinition:
    """One point of a model.

    Attributes:
        name: as the Alliance spells it, such as ``WMaxLimPct``.
        type: its type.
        registers: how many registers it fills.
        scale_factor: name of the sunssf point or the fixed power of ten; None for none.
        unit: the Alliance's unit text, empty for none.
        is_writable: true where access is RW.
        is_mandatory: true where every device must implement it.
        symbols: names of the states or bits by number.
        label: one line for people.
    """

    name: str
    type: PointType
    registers: int
    scale_factor: str | int | None
    unit: str
    is_writable: bool
    is_mandatory: bool
    symbols: MappingProxyType[int, str]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDefinition:
    """A group of points, perhaps repeated.

    Attributes:
        name: as the Alliance spells it.
        count: how often it stands there: a number, the name of the point that says so, or 0 for "as often as
            the model's length allows".
        points: its points, in order of address.
        groups: its groups, after the points.
    """

    name: str
    count: int | str
    points: tuple[PointDefinition, ...]
    groups: tuple[GroupDefinition, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelDefinition:
    """One SunSpec model; loaded once, so compared by identity.

    Attributes:
        model_id: its number.
        label: its name for people.
        group: the top-level group; its first two points are ID and L.
    """

    model_id: int
    label: str
    group: GroupDefinition


def known_models() -> frozenset[int]:
    """Returns the numbers of all models that have a definition."""
    return _known()


@cache
def _known() -> frozenset[int]:
    return frozenset(
        int(entry.name.removeprefix("model_").removesuffix(".json"))
        for entry in _MODELS.iterdir()
        if entry.name.startswith("model_")
    )


@cache
def load_definition(model_id: int) -> ModelDefinition:
    """Loads one model definition.

    Raises:
        ProfileError: there is none of that number, or its file breaks the rules.
    """
    if model_id not in known_models():
        raise ProfileError(f"no SunSpec definition of model {model_id}")
    name = f"model_{model_id}.json"
    try:
        document = msgspec.json.decode((_MODELS / name).read_bytes())
        group = _group(document["group"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise ProfileError(f"{name}: {error!r}") from error
    if document["id"] != model_id or [point.name for point in group.points[:2]] != ["ID", "L"]:
        raise ProfileError(f"{name}: expected model {model_id} beginning with ID and L")
    return ModelDefinition(
        model_id=model_id, label=str(document["group"].get("label", group.name)), group=group
    )


def _group(entry: dict[str, Any]) -> GroupDefinition:
    return GroupDefinition(
        name=entry["name"],
        count=entry.get("count", 1),
        points=tuple(_point(point) for point in entry.get("points", ())),
        groups=tuple(_group(group) for group in entry.get("groups", ())),
    )


def _point(entry: dict[str, Any]) -> PointDefinition:
    return PointDefinition(
        name=entry["name"],
        type=POINT_TYPES[entry["type"]],
        registers=int(entry["size"]),
        scale_factor=entry.get("sf"),
        unit=entry.get("units", ""),
        is_writable=entry.get("access") == "RW",
        is_mandatory=entry.get("mandatory") == "M",
        symbols=MappingProxyType({symbol["value"]: symbol["name"] for symbol in entry.get("symbols", ())}),
        label=entry.get("label", entry["name"]),
    )
