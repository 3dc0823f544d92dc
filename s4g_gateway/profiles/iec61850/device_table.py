"""Tables of IEC 61850 servers that the gateway is a client of: which of their data objects are points of the site.

docs/iec61850.md explains the format; ``DeviceTable`` is its schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from s4g_gateway.errors import ConfigError, ModelError, Problem
from s4g_gateway.model import ControlPoint, DataSet, Member, ObjectReference, ValueType
from s4g_gateway.model.logical_nodes import check_against_table, is_controllable, leaf_cdc, value_type_of
from s4g_gateway.model.units import SI_UNIT, check_unit
from s4g_gateway.profiles.iec61850.cdc import attribute_for

_NO_UNIT = 1


class TablePoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One point of a server.

    Attributes:
        reference: ObjectReference in the site, roles of ``logical_devices`` in braces.
        object: data object on the server; empty where it has the same reference. ``fc`` follows from its CDC.
        unit: canonical unit; the server's multiplier is applied, another SI unit is refused.
        factor: value in the model = value of the server x factor; -1 turns the direction.
        operate: true where the data object takes Controls.
        release: value that gives the device back to its own rule; none where a set-point stays.
        minimum: smallest plausible value and smallest set-point.
        maximum: greatest plausible value and greatest set-point.
        deadband: smallest change worth reporting, in ``unit``.
        description: one line for people.
    """

    reference: str
    object: str = ""
    unit: str = ""
    factor: float = 1.0
    operate: bool = False
    release: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    deadband: Annotated[float, Meta(ge=0)] = 0.0
    description: str = ""


class DeviceTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of server.

    Attributes:
        title: what it is, for people.
        point: its points.
        logical_devices: roles and the usual names of their logical devices.
        repeat_s: how often set-points in force are sent again; 0 for never.
    """

    title: str
    point: Annotated[tuple[TablePoint, ...], Meta(min_length=1)]
    logical_devices: dict[str, str] = {}
    repeat_s: Annotated[float, Meta(ge=0)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDevice:
    """A table bound to a site.

    Attributes:
        data_set: the points.
        controls: those that take Controls.
        tasks: what a client worker reads, as builtins, in the order of the DataSet.
        objects: control objects of the server by reference of the site.
        factors: by reference of a control: value of the server = value in the model / factor.
        releases: values that release, by reference.
        repeat_s: how often set-points in force are sent again; 0 for never.
    """

    data_set: DataSet
    controls: tuple[ControlPoint, ...]
    tasks: tuple[dict[str, Any], ...]
    objects: dict[str, str]
    factors: dict[str, float]
    releases: dict[str, float]
    repeat_s: float


def templates() -> tuple[str, ...]:
    """Returns the names of the tables that come with the product."""
    folder = files("s4g_gateway.profiles.iec61850") / "devices"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir()))


def load_device_table(template: str, directory: Path) -> DeviceTable:
    """Reads a table.

    Args:
        template: name of one that comes with the product, or a path ending in .toml.
        directory: where relative paths start.

    Raises:
        ConfigError: it cannot be read or breaks the rules.
    """
    if template.endswith(".toml"):
        file = str(directory / template)
        try:
            data = (directory / template).read_bytes()
        except OSError as error:
            raise _wrong(file, "", str(error), "a table of points") from error
    elif template in templates():
        file = template
        data = (files("s4g_gateway.profiles.iec61850") / "devices" / f"{template}.toml").read_bytes()
    else:
        known = ", ".join(templates())
        raise _wrong("", "template", template, f"one of {known}, or a file ending in .toml")
    try:
        return msgspec.toml.decode(data, type=DeviceTable)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise _wrong(file, where.rstrip("`"), what, "the format of docs/iec61850.md") from error
    except msgspec.DecodeError as error:
        raise _wrong(file, "", str(error), "a TOML file") from error


def bind_device(name: str, table: DeviceTable, logical_devices: dict[str, str], file: str) -> ServerDevice:
    """Binds a table to a site.

    Args:
        name: name of the DataSet.
        table: the table.
        logical_devices: role -> logical device name in the site, in place of the table's.
        file: where the table stands, for errors.

    Raises:
        ConfigError: every reference, unit or factor that is wrong.
    """
    roles = {**table.logical_devices, **logical_devices}
    problems: list[Problem] = []
    members: list[Member] = []
    controls: list[ControlPoint] = []
    tasks: list[dict[str, Any]] = []
    objects: dict[str, str] = {}
    factors: dict[str, float] = {}
    releases: dict[str, float] = {}
    for position, row in enumerate(table.point):
        key = f"point[{position}]"
        if row.factor == 0 or not isfinite(row.factor):
            problems.append(
                Problem(
                    file=file,
                    key=f"{key}.factor",
                    found=str(row.factor),
                    expected="a finite number other than 0",
                )
            )
            continue
        try:
            reference = row.reference.format_map(roles)
            # Where the site calls its logical devices otherwise, the server keeps its own names.
            target = row.object.format_map(table.logical_devices) or row.reference.format_map(
                table.logical_devices
            )
            cdc = _cdc(reference)
            check_unit(row.unit)
            task = _task(target, cdc, row)
        except (ModelError, KeyError, ValueError, IndexError) as error:
            problems.append(
                Problem(
                    file=file,
                    key=key,
                    found=row.reference,
                    expected=f"a point of the model's tables ({error})",
                )
            )
            continue
        kind = ValueType(task["kind"])
        members.append(
            Member(
                reference=ObjectReference(reference),
                value_type=kind,
                unit=row.unit,
                cdc=cdc,
                deadband=row.deadband,
                minimum=row.minimum,
                maximum=row.maximum,
                description=row.description,
            )
        )
        tasks.append(task)
        if row.operate and not is_controllable(cdc):
            problems.append(
                Problem(
                    file=file,
                    key=f"{key}.operate",
                    found=f"true for {cdc}",
                    expected="SPC, DPC, INC, ENC or APC",
                )
            )
        elif row.operate:
            controls.append(
                ControlPoint(
                    reference=ObjectReference(reference),
                    value_type=kind,
                    unit=row.unit,
                    expires=row.release is not None,
                    minimum=row.minimum,
                    maximum=row.maximum,
                    description=row.description,
                )
            )
            objects[reference] = target
            factors[reference] = row.factor
            if row.release is not None:
                releases[reference] = row.release
    if problems:
        raise ConfigError(problems)
    try:
        data_set = DataSet(name, tuple(members))
    except ModelError as error:
        raise _wrong(file, "point", str(error), "each reference once") from error
    return ServerDevice(
        data_set=data_set,
        controls=tuple(controls),
        tasks=tuple(tasks),
        objects=objects,
        factors=factors,
        releases=releases,
        repeat_s=table.repeat_s,
    )


def _cdc(reference: str) -> str:
    check_against_table(reference)
    cdc = leaf_cdc(reference)
    value_type_of(cdc)
    return cdc


def _task(target: str, cdc: str, row: TablePoint) -> dict[str, Any]:
    """Returns what a client worker needs; see ``workers.iec61850_layout.PointTask``.

    Raises:
        ModelError: the CDC has no single value, or a factor stands at one that is no number.
    """
    value = attribute_for(cdc, "value")
    if value is None:
        raise ModelError(f"CDC {cdc} has no single value")
    kind = value_type_of(cdc)
    if row.factor != 1.0 and kind is not ValueType.FLOAT:
        raise ModelError(f"a factor for {kind} values")
    quality, time, pulse = (attribute_for(cdc, role) for role in ("quality", "time", "pulse"))
    unit = SI_UNIT[row.unit]
    return {
        "object": target,
        "fc": value.fc,
        "value": value.attribute,
        "quality": quality.attribute if quality is not None else "",
        "time": time.attribute if time is not None else "",
        "factor": row.factor,
        "si_unit": unit if unit != _NO_UNIT else None,
        "pulse": pulse.attribute if pulse is not None else "",
        "kind": str(kind),
    }


def _wrong(file: str, key: str, found: str, expected: str) -> ConfigError:
    return ConfigError([Problem(file=file, key=key, found=found, expected=expected)])
