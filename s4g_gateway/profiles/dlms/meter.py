"""A meter compiled: its DataSet, and the plan by which the worker reads it."""

from __future__ import annotations

from dataclasses import dataclass

from s4g_gateway.errors import ModelError, ProfileError
from s4g_gateway.model import DataSet, Member, ObjectReference
from s4g_gateway.profiles.dlms.object_map import MappedObject, ObjectMap
from s4g_gateway.profiles.dlms.units import codes_of
from s4g_gateway.workers.dlms.plan import PointPlan


@dataclass(frozen=True, slots=True)
class CompiledMeter:
    """A meter as configured.

    Attributes:
        data_set: its points.
        points: where each comes from, in the same order.
    """

    data_set: DataSet
    points: tuple[PointPlan, ...]


def compile_meter(
    object_map: ObjectMap, name: str, logical_device: str, *, short_names: bool, meter_sign: int = -1
) -> CompiledMeter:
    """Compiles a meter; offline.

    Args:
        object_map: which objects are which points.
        name: of its DataSet.
        logical_device: stands for ``{meter}``.
        short_names: true to take only objects with a short name.
        meter_sign: 1 where this meter is mounted the other way round, so that every -1 of the map becomes 1 and
            energies taken and fed in change places; -1 for what the map says.

    Raises:
        ProfileError: no object can be read so, or a reference stands twice.
    """
    rows = [row for row in object_map.object if row.base_name or not short_names]
    if not rows:
        raise ProfileError("no object of the map has a base_name, which short-name referencing needs")
    try:
        data_set = DataSet(name, tuple(_member(row, logical_device, meter_sign) for row in rows))
    except ModelError as error:
        raise ProfileError(str(error)) from error
    points = tuple(_point(row, position, meter_sign) for position, row in enumerate(rows))
    return CompiledMeter(data_set, points)


_SWAPPED = {"DmdWh": "SupWh", "SupWh": "DmdWh", "DmdVArh": "SupVArh", "SupVArh": "DmdVArh"}


def _member(row: MappedObject, logical_device: str, meter_sign: int) -> Member:
    reference = row.reference.format(meter=logical_device)
    if meter_sign == 1:
        head, _, data_object = reference.rpartition(".")
        reference = f"{head}.{_SWAPPED.get(data_object, data_object)}"
    return Member(
        reference=ObjectReference(reference),
        unit=row.unit,
        cdc=row.cdc,
        description=row.description,
        minimum=row.minimum,
        maximum=row.maximum,
        deadband=row.deadband,
    )


def _point(row: MappedObject, position: int, meter_sign: int) -> PointPlan:
    return PointPlan(
        obis=row.obis,
        class_id=row.class_id,
        attribute=row.attribute,
        base_name=row.base_name,
        position=position,
        factor=1 if meter_sign == 1 else row.factor,
        units=codes_of(row.unit),
        scaler=row.scaler,
        minimum=row.minimum,
        maximum=row.maximum,
    )
