"""Where the value, quality and time of a point stand in what a server sends.

A server sends a data object, or a member of a data set, as a structure without names; the names come from the
type that the server declares for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from s4g_gateway.errors import TransientError
from s4g_gateway.model import quality as q
from s4g_gateway.workers.libiec61850.client import FC, Client, ServiceError
from s4g_gateway.workers.libiec61850.library import load
from s4g_gateway.workers.libiec61850.values import BitString, DataError, MmsPython, MmsType, UtcTime

_CLOCK_FAILURE = 0x40


class PointTask(msgspec.Struct, frozen=True, kw_only=True):
    """One point to be read, as the connector describes it.

    Attributes:
        object: data object on the server, such as ``ER1/MMXU1.TotW`` or ``ER1/MMXU1.PhV.phsA``.
        fc: functional constraint of its value.
        value: path of the value below the object, such as ``mag.f``.
        quality: path of the quality, empty for none.
        time: path of the time, empty for none.
        factor: value of the model = value of the server x multiplier x factor.
        si_unit: number of the unit that the value must have, None for any. Source: IEC 61850-7-3 SIUnitKind.
        pulse: path of a counter's pulse quantity, empty for none.
        kind: float, integer, boolean, enumerated or text.
    """

    object: str
    fc: str
    value: str
    quality: str = ""
    time: str = ""
    factor: float = 1.0
    si_unit: int | None = None
    pulse: str = ""
    kind: str = "float"


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions within the structure of one data object or data set member; None where it has no such part."""

    value: tuple[int, ...] | None
    quality: tuple[int, ...] | None
    time: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found for a point; parts that did not come are None."""

    value: float | int | bool | str | None
    quality: int | None
    time_ns: int | None


def _children(specification: int) -> Mapping[str, tuple[int, int]]:
    """Returns name -> (position, specification) of a structure's elements."""
    lib = load()
    if lib.MmsVariableSpecification_getType(specification) != MmsType.STRUCTURE:
        return {}
    found: dict[str, tuple[int, int]] = {}
    for position in range(lib.MmsVariableSpecification_getSize(specification)):
        child = lib.MmsVariableSpecification_getChildSpecificationByIndex(specification, position)
        name: bytes | None = lib.MmsVariableSpecification_getName(child)
        if name is not None:
            found[name.decode("ascii", "replace")] = (position, child)
    return found


def _position(specification: int, path: str) -> tuple[int, ...] | None:
    positions: list[int] = []
    for name in path.split(".") if path else ():
        found = _children(specification).get(name)
        if found is None:
            return None
        positions.append(found[0])
        specification = found[1]
    return tuple(positions)


def layout(client: Client, task: PointTask, member: str) -> Layout | None:
    """Finds a point in a data object or data set member.

    Args:
        client: the association.
        task: the point.
        member: the object asked for or the member's reference, such as ``ER1/MMXU1`` or ``ER1/MMXU1.TotW``.

    Returns:
        Where its parts stand; None where the member holds none of them.

    Raises:
        TransientError: no answer.
        ServiceError: the server has no such object.
    """
    specification: int | None = None
    found: list[tuple[int, ...] | None] = []
    for part in (task.value, task.quality, task.time):
        target = f"{task.object}.{part}" if part else ""
        if target == member or target.startswith(f"{member}."):
            if specification is None:
                specification = client.specification(member, FC[task.fc])
            found.append(_position(specification, target[len(member) + 1 :]))
        else:
            found.append(None)
    return None if found == [None, None, None] else Layout(*found)


def _at(structure: MmsPython, positions: tuple[int, ...] | None) -> Any:
    if positions is None:
        return None
    for position in positions:
        if not isinstance(structure, tuple) or isinstance(structure, BitString | UtcTime | DataError):
            return None
        if position >= len(structure):
            return None
        structure = structure[position]
    return structure


def read_parts(structure: MmsPython, where: Layout) -> Reading:
    """Takes a point's parts out of a structure.

    A value that the server refuses, or of another kind than numbers, text and states, becomes None and invalid.
    """
    value, quality, time = (
        _at(structure, where.value),
        _at(structure, where.quality),
        _at(structure, where.time),
    )
    bits = quality.bits if isinstance(quality, BitString) else None
    time_ns = None
    if isinstance(time, UtcTime) and time.time_ns > 0 and not time.quality & _CLOCK_FAILURE:
        time_ns = time.time_ns
    if isinstance(value, BitString):
        value = value.coded
    if where.value is not None and (
        not isinstance(value, bool | int | float | str) or value != value  # noqa: PLR0124 - NaN
    ):
        return Reading(None, (bits or 0) | q.INVALID, time_ns)
    return Reading(value, bits, time_ns)


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a server's number becomes the model's, and why not where it cannot."""

    factor: float
    fault: str = ""

    def apply(self, value: float | bool | str | None, kind: str) -> float | int | bool | str | None:
        """Returns the value of the model in the point's kind; None where it does not fit."""
        if value is None or self.fault:
            return None
        if kind == "text":
            return value if isinstance(value, str) else None
        if isinstance(value, str):
            return None
        if kind == "boolean":
            return bool(value)
        if kind == "float":
            return float(value) if self.factor == 1.0 else float(value) * self.factor
        return int(value) if self.factor == 1.0 else round(value * self.factor)


def scaling(client: Client, task: PointTask) -> Scaling:
    """Reads what a server declares of a point's unit, multiplier and pulse quantity, once for an association.

    Raises:
        TransientError: no answer.
    """
    factor = task.factor
    if task.si_unit is not None:
        unit = _optional(client, f"{task.object}.units.SIUnit")
        if isinstance(unit, int) and unit != task.si_unit:
            return Scaling(factor, f"unit {unit}, expected {task.si_unit} (SIUnitKind)")
        multiplier = _optional(client, f"{task.object}.units.multiplier")
        if isinstance(multiplier, int) and not isinstance(multiplier, bool):
            factor *= 10.0**multiplier
    if task.pulse:
        pulse = _optional(client, f"{task.object}.{task.pulse}")
        if isinstance(pulse, float):
            factor *= pulse
    return Scaling(factor)


def _optional(client: Client, reference: str) -> MmsPython:
    try:
        return client.read(reference, FC.CF)
    except TransientError:
        raise
    except ServiceError:
        return None
