"""What an IEC 61850 model is made of: types, data objects, logical nodes and devices, as frozen data.

The shape is that of SCL (DataTypeTemplates and IED); ``describe`` gives the builtins that a server worker
builds its dynamic model from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from s4g_gateway.model import ControlModel, ObjectReference

Plain = bool | int | float | str

TRIGGER_BITS: Final = {"dchg": 1, "qchg": 2, "dupd": 4, "period": 8, "gi": 16}
OPTION_BITS: Final = {
    "seqNum": 1,
    "timeStamp": 2,
    "reasonCode": 4,
    "dataSet": 8,
    "dataRef": 16,
    "bufOvfl": 32,
    "entryID": 64,
    "configRef": 128,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A data attribute.

    Attributes:
        name: such as ``mag``.
        fc: functional constraint.
        basic_type: SCL basic type; ``Struct`` has parts.
        enum: enumeration of an ``Enum``.
        triggers: any of dchg, qchg, dupd.
        count: elements of an array, 0 for none.
        parts: of a structure.
    """

    name: str
    fc: str
    basic_type: str
    enum: str = ""
    triggers: str = ""
    count: int = 0
    parts: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubObject:
    """A data object within a data object, such as ``phsA``.

    Attributes:
        name: its name.
        type_id: its type.
    """

    name: str
    type_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectType:
    """A type of data objects.

    Attributes:
        type_id: unique in the model.
        cdc: common data class.
        parts: attributes and data objects, in order.
    """

    type_id: str
    cdc: str
    parts: tuple[Attribute | SubObject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedObject:
    """A data object of a logical node.

    Attributes:
        name: such as ``TotW``.
        type_id: its type.
        values: first values by attribute path, such as ``{"units.SIUnit": 62}``.
    """

    name: str
    type_id: str
    values: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDataSet:
    """A data set.

    Attributes:
        name: unique in its node.
        members: MMS variable names with their device, such as ``ESS1/DSTO1$MX$EffWh``.
    """

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedReport:
    """A report control block, in as many instances as clients may have at a time.

    Attributes:
        name: without the two digits of the instance where it is indexed.
        buffered: BRCB or URCB.
        data_set: name of the data set, in the same node.
        instances: 1 to 99.
        indexed: true where two digits follow the name.
        rpt_id: RptID; empty for the instance's reference.
        conf_rev: ConfRev.
        triggers: TrgOps as bits (``TRIGGER_BITS``).
        options: OptFlds as bits (``OPTION_BITS``).
        buffer_time_ms: BufTm.
        integrity_ms: IntgPd.
    """

    name: str
    buffered: bool
    data_set: str
    instances: int = 1
    indexed: bool = True
    rpt_id: str = ""
    conf_rev: int = 1
    triggers: int = 1 | 2 | 8 | 16
    options: int = 1 | 2 | 4 | 8 | 32 | 64 | 128
    buffer_time_ms: int = 0
    integrity_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    """A logical node.

    Attributes:
        prefix: often empty.
        ln_class: four letters.
        instance: digits, empty for LLN0.
        objects: its data objects.
        data_sets: its data sets.
        reports: its report control blocks.
        description: one line for people.
    """

    prefix: str
    ln_class: str
    instance: str
    objects: tuple[PlannedObject, ...]
    data_sets: tuple[PlannedDataSet, ...] = ()
    reports: tuple[PlannedReport, ...] = ()
    description: str = ""

    @property
    def name(self) -> str:
        """Such as ``DSTO1``."""
        return f"{self.prefix}{self.ln_class}{self.instance}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDevice:
    """A logical device.

    Attributes:
        name: its full name on the wire, such as ``ESS1``.
        nodes: LLN0 first.
        inst: its name within the IED in SCL; empty for the same.
        description: one line for people.
    """

    name: str
    nodes: tuple[PlannedNode, ...]
    inst: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Where a point of the site stands in the model.

    Attributes:
        reference: the point.
        value: path of the attribute that carries its value, such as ``ESS1/DSTO1.EffWh.mag.f``.
        quality: path of its quality, empty for none.
        time: path of its time, empty for none.
        factor: attribute value = point value / factor (a counter's ``pulsQty``).
    """

    reference: ObjectReference
    value: str
    quality: str = ""
    time: str = ""
    factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedControl:
    """A control object of the model and the point of the site behind it.

    Attributes:
        reference: the ControlPoint's reference.
        path: the data object in the model.
        model: its control model.
        feedback: path of the attribute that shows the last accepted ctlVal; empty where a point supplies it.
        quality: path of that attribute's quality.
        time: path of its time.
    """

    reference: ObjectReference
    path: str
    model: ControlModel
    feedback: str = ""
    quality: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """A whole model and how a site fills it.

    Attributes:
        ied_name: name of the IED.
        types: by type id.
        devices: logical devices.
        bindings: points that are served.
        controls: control objects that are served.
        enums: literals of each enumeration in use, empty where they are not public.
    """

    ied_name: str
    types: Mapping[str, ObjectType]
    devices: tuple[PlannedDevice, ...]
    bindings: tuple[Binding, ...] = ()
    controls: tuple[PlannedControl, ...] = ()
    enums: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def describe(plan: ModelPlan) -> dict[str, Any]:
    """Returns the model as builtins, see ``s4g_gateway.workers.libiec61850.model``."""
    return {
        "types": {
            type_id: [_describe_part(part) for part in entry.parts] for type_id, entry in plan.types.items()
        },
        "logical_devices": [
            {
                "name": device.name,
                "nodes": [
                    {
                        "name": node.name,
                        "objects": [
                            {"name": entry.name, "type": entry.type_id, "values": dict(entry.values)}
                            for entry in node.objects
                        ],
                        "data_sets": [
                            {"name": entry.name, "members": list(entry.members)} for entry in node.data_sets
                        ],
                        "reports": [
                            entry
                            for block in node.reports
                            for entry in _instances(f"{device.name}/{node.name}", block)
                        ],
                    }
                    for node in device.nodes
                ],
            }
            for device in plan.devices
        ],
    }


def _describe_part(part: Attribute | SubObject) -> dict[str, Any]:
    if isinstance(part, SubObject):
        return {"name": part.name, "object": part.type_id}
    return {
        "name": part.name,
        "fc": part.fc,
        "type": part.basic_type,
        "triggers": part.triggers,
        "count": part.count,
        "parts": [_describe_part(inner) for inner in part.parts],
    }


def _instances(node: str, block: PlannedReport) -> Iterator[dict[str, Any]]:
    for instance in range(1, block.instances + 1):
        name = f"{block.name}{instance:02d}" if block.indexed else block.name
        yield {
            "name": name,
            # The control block's own reference (IEC 61850-7-2, clause unverified): clients tell reports apart by it.
            "rpt_id": block.rpt_id or f"{node}${'BR' if block.buffered else 'RP'}${name}",
            "buffered": block.buffered,
            "data_set": block.data_set,
            "conf_rev": block.conf_rev,
            "triggers": block.triggers,
            "options": block.options,
            "buffer_time_ms": block.buffer_time_ms,
            "integrity_ms": block.integrity_ms,
        }


def object_path(attribute: str) -> str:
    """Returns the data object of an attribute: ``ESS1/DSTO1.EffWh`` of ``ESS1/DSTO1.EffWh.mag.f``."""
    node, _, rest = attribute.partition(".")
    return f"{node}.{rest.partition('.')[0]}"
