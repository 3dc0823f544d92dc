"""Object maps: which COSEM objects of a kind of meter are which points.

Maps of known meters stand in ``data/``; any other is a TOML file with the same columns as keys (docs/dlms.md).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from s4g_gateway.errors import ConfigError, ModelError, Problem, ProfileError
from s4g_gateway.model import parse_reference
from s4g_gateway.model.tables import rows
from s4g_gateway.model.units import check_unit
from s4g_gateway.profiles.dlms.units import codes_of

METERS = ("landis-gyr-zmg310", "iskra-mt831")
"""Maps that come with the product."""
Certainty = Literal["solid", "medium", "weak"]
_OBIS = re.compile(r"(?:(\d{1,3})-(\d{1,3}):)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:[.*](\d{1,3}))?\Z")
_LOGICAL_NAME = re.compile(r"\d{1,3}(?:\.\d{1,3}){5}\Z")
_COLUMNS = (
    "obis", "class_id", "attribute", "base_name", "reference", "unit", "cdc", "factor", "deadband", "minimum",
    "maximum", "certainty", "source", "description",
)  # fmt: skip


def canonical_obis(text: str) -> str:
    """Returns an OBIS code as six numbers with points.

    Args:
        text: ``1.0.16.7.0.255``, ``1-0:16.7.0*255`` or ``1-0:16.7.0``; F is 255 where it is missing.

    Raises:
        ProfileError: it is none.
    """
    if _LOGICAL_NAME.match(text):
        numbers = text.split(".")
    else:
        match = _OBIS.match(text)
        if match is None:
            raise ProfileError(f"{text!r} is no OBIS code; expected such as 1-0:16.7.0 or 1.0.16.7.0.255")
        a, b, c, d, e, f = match.groups()
        numbers = [a or "1", b or "0", c, d, e, f or "255"]
    if any(int(number) > 255 for number in numbers):
        raise ProfileError(f"{text!r} is no OBIS code; its numbers go from 0 to 255")
    return ".".join(str(int(number)) for number in numbers)


class MappedObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One object that is a point.

    Attributes:
        obis: logical name.
        reference: ObjectReference with the role ``{meter}`` for its logical device.
        class_id: interface class: 1 Data, 3 Register, 4 Extended register, 5 Demand register.
        attribute: of the value: 2, and 2 or 3 of a Demand register.
        base_name: short name; 0 for none.
        unit: canonical unit.
        cdc: common data class.
        factor: -1 where the meter counts the other way round.
        scaler: power of ten, for objects without a scaler-unit of their own.
        deadband: smallest change worth reporting, in ``unit``.
        minimum: smallest plausible value, in ``unit``, after the factor.
        maximum: greatest plausible value, likewise.
        certainty: how sure the row is.
        source: where it comes from.
        description: one line for people.
    """

    obis: str
    reference: str
    class_id: Literal[1, 3, 4, 5] = 3
    attribute: Annotated[int, Meta(ge=2, le=20)] = 2
    base_name: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    unit: str = ""
    cdc: str = "MV"
    factor: Literal[1, -1] = 1
    scaler: Annotated[int, Meta(ge=-30, le=30)] | None = None
    deadband: Annotated[float, Meta(ge=0)] = 0.0
    minimum: float | None = None
    maximum: float | None = None
    certainty: Certainty = "solid"
    source: str = ""
    description: str = ""


class ObjectMap(msgspec.Struct, frozen=True, eq=False, kw_only=True, forbid_unknown_fields=True):
    """A kind of meter; two maps are the same only if they are one object.

    Attributes:
        title: what it is, for people.
        object: its objects.
    """

    title: str
    object: Annotated[list[MappedObject], Meta(min_length=1)]


def load_object_map(meter: str, directory: Path) -> ObjectMap:
    """Returns the map of a meter.

    Args:
        meter: name of one that comes with the product, or path of a TOML file.
        directory: where a relative path starts.

    Raises:
        ConfigError: every problem, with file and key.
    """
    if meter in METERS:
        return _bundled(meter)
    path = directory / meter
    if not meter.endswith(".toml"):
        expected = f"one of {', '.join(METERS)}, or a file ending in .toml"
        raise ConfigError([Problem(file="", key="meter", found=repr(meter), expected=expected)])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            [Problem(file=str(path), key="", found=str(error), expected="an object map")]
        ) from error
    return parse_object_map(data, str(path))


@lru_cache(maxsize=64)
def parse_object_map(data: bytes, file: str) -> ObjectMap:
    """Decodes and checks an object map; errors as ``load_object_map``.

    Args:
        data: the file's contents.
        file: its path, for errors.
    """
    try:
        found = msgspec.toml.decode(data, type=ObjectMap)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        problem = Problem(file=file, key=where.rstrip("`"), found=what, expected="the format of docs/dlms.md")
        raise ConfigError([problem]) from error
    except msgspec.DecodeError as error:
        raise ConfigError([Problem(file=file, key="", found=str(error), expected="a TOML file")]) from error
    return _checked(found, file)


@cache
def _bundled(meter: str) -> ObjectMap:
    name = f"{meter}.csv"
    text = (files("s4g_gateway.profiles.dlms") / "data" / name).read_text("utf-8")
    # empty cells have the defaults, everything else the same types as in a TOML file
    objects: list[dict[str, Any]] = []
    for row in rows(name, text, _COLUMNS):
        filled = {key: cell for key, cell in row.cells.items() if cell}
        objects.append(filled)
    try:
        found = msgspec.convert({"title": meter, "object": objects}, ObjectMap, strict=False)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{name}: {error}") from error
    return _checked(found, name)


def _checked(found: ObjectMap, file: str) -> ObjectMap:
    problems: list[Problem] = []
    seen: dict[tuple[str, int], int] = {}
    objects: list[MappedObject] = []
    for position, row in enumerate(found.object):
        faults = list(_faults(row))
        try:
            name = canonical_obis(row.obis)
            place = (name, row.attribute)
            if place in seen:
                faults.append(("obis", row.obis, f"an object that object[{seen[place]}] does not have"))
            seen[place] = position
            objects.append(msgspec.structs.replace(row, obis=name))
        except ProfileError as error:
            faults.append(("obis", repr(row.obis), str(error).partition("; ")[2]))
        problems += [
            Problem(file=file, key=f"object[{position}].{key}", found=what, expected=expected)
            for key, what, expected in faults
        ]
    if problems:
        raise ConfigError(problems)
    return msgspec.structs.replace(found, object=objects)


def _faults(row: MappedObject) -> list[tuple[str, str, str]]:
    faults = []
    try:
        check_unit(row.unit)
        if not codes_of(row.unit):
            faults.append(("unit", repr(row.unit), "a unit that DLMS has"))
    except ModelError as error:
        faults.append(("unit", repr(row.unit), str(error).partition("; expected ")[2]))
    try:
        parse_reference(row.reference.format(meter="METER1"))
    except (ModelError, KeyError, ValueError, IndexError) as error:
        faults.append(("reference", row.reference, f"an ObjectReference, {{meter}} for the device ({error})"))
    if row.class_id == 1 and row.scaler is None:
        faults.append(("scaler", "none", "a scaler: class Data has none of its own"))
    return faults
