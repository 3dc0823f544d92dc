"""A user's SCL file as the model, and the site's points found in it.

Source: IEC 61850-6 edition 2.1, schema 2007B4 (clauses unverified).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from lxml import etree

from s4g_gateway.errors import ConfigError, Problem
from s4g_gateway.model import ControlModel, ControlPoint, Member, parse_reference
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.iec61850.cdc import load_cdc_attributes
from s4g_gateway.profiles.iec61850.parts import (
    OPTION_BITS,
    TRIGGER_BITS,
    Attribute,
    Binding,
    ModelPlan,
    ObjectType,
    Plain,
    PlannedControl,
    PlannedDataSet,
    PlannedDevice,
    PlannedNode,
    PlannedObject,
    PlannedReport,
    SubObject,
)
from s4g_gateway.profiles.iec61850.scl import NAMESPACE, find_attribute
from s4g_gateway.profiles.iec61850.scl_rules import check_scl

_NS: Final = {"s": NAMESPACE}
_NEVER: Final = q.INVALID | q.OLD_DATA
_FLOATS: Final = frozenset({"FLOAT32", "FLOAT64"})
_INTEGERS: Final = frozenset({"INT8", "INT16", "INT32", "INT64", "INT8U", "INT16U", "INT24U", "INT32U"})


def read_scl(data: bytes, file: str, ied_name: str = "") -> ModelPlan:
    """Reads the model of an IED from SCL.

    Args:
        data: content of the file.
        file: its name, for messages.
        ied_name: the IED that is wanted; empty for the only one.

    Returns:
        The model, with no points bound.

    Raises:
        ConfigError: no SCL, no such IED, or rules of SCL broken; every finding with its line.
    """
    try:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as error:
        raise ConfigError([Problem(file=file, key="", found=str(error), expected="an SCL file")]) from error
    problems = check_scl(root, file)
    if problems:
        raise ConfigError(problems)
    ieds = root.findall("s:IED", _NS)
    wanted = [ied for ied in ieds if not ied_name or ied.get("name") == ied_name]
    if len(wanted) != 1:
        names = ", ".join(str(ied.get("name")) for ied in ieds) or "none"
        expected = f"an IED {ied_name!r}" if ied_name else "one IED, or ied_name that says which"
        raise ConfigError([Problem(file=file, key="IED", found=names, expected=expected)])
    return _Reader(root).read(wanted[0])


class _Reader:
    def __init__(self, root: etree._Element) -> None:
        self._structures = _by_id(root, "DAType")
        self._object_types = _by_id(root, "DOType")
        self._node_types = _by_id(root, "LNodeType")
        self.enums: dict[str, dict[int, str]] = {
            name: {
                int(value.get("ord", "0")): value.text or "" for value in element.findall("s:EnumVal", _NS)
            }
            for name, element in _by_id(root, "EnumType").items()
        }
        self._types: dict[str, ObjectType] = {}
        self._defaults: dict[str, dict[str, Plain]] = {}

    def read(self, ied: etree._Element) -> ModelPlan:
        name = ied.get("name", "")
        for type_id, element in self._object_types.items():
            self._types[type_id] = self._object_type(type_id, element)
        devices = tuple(self._device(name, element) for element in ied.iterfind(".//s:LDevice", _NS))
        names = {device.inst: device.name for device in devices}
        devices = tuple(
            replace(device, nodes=tuple(_renamed(node, names) for node in device.nodes)) for device in devices
        )
        return ModelPlan(
            ied_name=name,
            types=MappingProxyType(self._types),
            devices=devices,
            enums=MappingProxyType({key: MappingProxyType(own) for key, own in self.enums.items()}),
        )

    def _object_type(self, type_id: str, element: etree._Element) -> ObjectType:
        parts: list[Attribute | SubObject] = []
        defaults = self._defaults.setdefault(type_id, {})
        for child in element:
            if child.tag == f"{{{NAMESPACE}}}SDO":
                parts.append(SubObject(name=child.get("name", ""), type_id=child.get("type", "")))
            elif child.tag == f"{{{NAMESPACE}}}DA":
                triggers = " ".join(word for word in ("dchg", "qchg", "dupd") if child.get(word) == "true")
                parts.append(self._attribute(child, child.get("fc", ""), triggers, defaults, ""))
        return ObjectType(type_id=type_id, cdc=element.get("cdc", ""), parts=tuple(parts))

    def _attribute(
        self, element: etree._Element, fc: str, triggers: str, defaults: dict[str, Plain], place: str
    ) -> Attribute:
        name, basic = element.get("name", ""), element.get("bType", "")
        kind = element.get("type", "")
        inner: tuple[Attribute, ...] = ()
        if basic == "Struct":
            inner = tuple(
                self._attribute(child, fc, triggers, defaults, f"{place}{name}.")
                for child in self._structures[kind].findall("s:BDA", _NS)
            )
        found = Attribute(
            name=name,
            fc=fc,
            basic_type=basic,
            enum=kind if basic == "Enum" else "",
            triggers=triggers,
            count=int(element.get("count", "0")),
            parts=inner,
        )
        text = element.find("s:Val", _NS)
        if text is not None:
            value = self._value(found, text.text or "")
            if value is not None:
                defaults[f"{place}{name}"] = value
        return found

    def _value(self, attribute: Attribute, text: str) -> Plain | None:
        """Returns a value of SCL; None for kinds that are not configured."""
        basic = attribute.basic_type
        if basic == "BOOLEAN":
            return text.strip() in ("true", "1")
        if basic == "Enum":
            literals = self.enums[attribute.enum]
            known = next((value for value, literal in literals.items() if literal == text), None)
            return known if known is not None or not text.lstrip("-").isdigit() else int(text)
        if basic in _INTEGERS:
            return int(text)
        if basic in _FLOATS:
            return float(text)
        return text if basic.startswith(("Vis", "Unicode", "ObjRef", "Currency")) else None

    def _device(self, ied_name: str, element: etree._Element) -> PlannedDevice:
        inst = element.get("inst", "")
        nodes = [
            self._node(child)
            for child in element
            if child.tag in (f"{{{NAMESPACE}}}LN0", f"{{{NAMESPACE}}}LN")
        ]
        return PlannedDevice(
            name=element.get("ldName") or f"{ied_name}{inst}",
            inst=inst,
            nodes=tuple(nodes),
            description=element.get("desc", ""),
        )

    def _node(self, element: etree._Element) -> PlannedNode:
        node_type = self._node_types[element.get("lnType", "")]
        given = {child.get("name"): child for child in element.findall("s:DOI", _NS)}
        objects: list[PlannedObject] = []
        for child in node_type.findall("s:DO", _NS):
            name, type_id = child.get("name", ""), child.get("type", "")
            values = self._all_defaults(type_id, "")
            if name in given:
                self._given(given[name], type_id, "", values)
            objects.append(PlannedObject(name=name, type_id=type_id, values=MappingProxyType(values)))
        return PlannedNode(
            prefix=element.get("prefix", ""),
            ln_class=element.get("lnClass", ""),
            instance=element.get("inst", ""),
            objects=tuple(objects),
            data_sets=tuple(
                PlannedDataSet(
                    name=child.get("name", ""), members=tuple(map(_fcda, child.findall("s:FCDA", _NS)))
                )
                for child in element.findall("s:DataSet", _NS)
            ),
            reports=tuple(_report(child) for child in element.findall("s:ReportControl", _NS)),
            description=element.get("desc", ""),
        )

    def _all_defaults(self, type_id: str, place: str) -> dict[str, Plain]:
        found = {f"{place}{path}": value for path, value in self._defaults[type_id].items()}
        for part in self._types[type_id].parts:
            if isinstance(part, SubObject):
                found |= self._all_defaults(part.type_id, f"{place}{part.name}.")
        return found

    def _given(self, element: etree._Element, type_id: str, place: str, values: dict[str, Plain]) -> None:
        for child in element:
            path = f"{place}{child.get('name')}"
            if child.tag == f"{{{NAMESPACE}}}SDI":
                self._given(child, type_id, f"{path}.", values)
            elif child.tag == f"{{{NAMESPACE}}}DAI":
                text = child.find("s:Val", _NS)
                attribute = find_attribute(self._types, type_id, path)
                if text is not None and attribute is not None:
                    value = self._value(attribute, text.text or "")
                    if value is not None:
                        values[path] = value


@dataclass(frozen=True, slots=True)
class BoundPlan:
    """A model with the site's points in it.

    Attributes:
        plan: the model.
        unbound: references that the model has no place for.
    """

    plan: ModelPlan
    unbound: tuple[str, ...]


def bind_points(plan: ModelPlan, members: Iterable[Member], controls: Iterable[ControlPoint]) -> BoundPlan:
    """Finds the site's points in a model by logical device, node and data object.

    Args:
        plan: a model that was read from SCL.
        members: every point.
        controls: every controllable point.
    """
    places = {
        (name, node.name, entry.name): (device, node, entry)
        for device in plan.devices
        for name in (device.name, device.inst)
        for node in device.nodes
        for entry in node.objects
    }
    bindings: list[Binding] = []
    planned: list[PlannedControl] = []
    unbound: list[str] = []
    first_quality: dict[tuple[str, str, str], dict[str, Plain]] = {}
    supplied: set[str] = set()
    for member in members:
        parts = parse_reference(member.reference)
        name, _, sub = parts.data.partition(".")
        place = places.get((parts.logical_device, parts.logical_node, name))
        binding = None
        if place is not None:
            device, node, entry = place
            path = f"{device.name}/{node.name}.{name}"
            binding = _bind(plan, entry.type_id, path, sub, member)
        if binding is None:
            unbound.append(member.reference)
            continue
        bindings.append(binding)
        supplied.add(path)
        if binding.quality:
            inner = binding.quality.removeprefix(f"{path}.")
            first_quality.setdefault((device.name, node.name, name), {})[inner] = _NEVER
    for control in controls:
        parts = parse_reference(control.reference)
        place = places.get((parts.logical_device, parts.logical_node, parts.data))
        found = None if place is None else _bind_control(plan, place, control, supplied)
        if found is None:
            unbound.append(control.reference)
        else:
            planned.append(found)
    return BoundPlan(
        replace(
            plan,
            bindings=tuple(bindings),
            controls=tuple(planned),
            devices=tuple(_with_quality(device, first_quality) for device in plan.devices),
        ),
        tuple(unbound),
    )


def _bind(plan: ModelPlan, type_id: str, path: str, sub: str, member: Member) -> Binding | None:
    if sub and find_attribute(plan.types, type_id, sub) is not None:
        return Binding(reference=member.reference, value=f"{path}.{sub}")
    below = f"{sub}." if sub else ""
    cdc = plan.types[type_id].cdc
    if sub:
        inner = next((part for part in plan.types[type_id].parts if part.name == sub), None)
        if not isinstance(inner, SubObject):
            return None
        cdc = plan.types[inner.type_id].cdc
    found: dict[str, str] = {}
    for row in load_cdc_attributes().get(cdc, ()):
        if row.role in ("value", "quality", "time") and find_attribute(
            plan.types, type_id, f"{below}{row.attribute}"
        ):
            found[row.role] = f"{path}.{below}{row.attribute}"
    if "value" not in found:
        return None
    return Binding(
        reference=member.reference,
        value=found["value"],
        quality=found.get("quality", ""),
        time=found.get("time", ""),
    )


def _bind_control(
    plan: ModelPlan,
    place: tuple[PlannedDevice, PlannedNode, PlannedObject],
    control: ControlPoint,
    supplied: set[str],
) -> PlannedControl | None:
    device, node, entry = place
    model = entry.values.get("ctlModel", 0)
    if find_attribute(plan.types, entry.type_id, "Oper") is None or not model:
        return None
    path = f"{device.name}/{node.name}.{entry.name}"
    shown = None
    if path not in supplied:
        shown = _bind(plan, entry.type_id, path, "", Member(reference=control.reference))
    return PlannedControl(
        reference=control.reference,
        path=path,
        model=ControlModel(int(model)),
        feedback=shown.value if shown is not None else "",
        quality=shown.quality if shown is not None else "",
        time=shown.time if shown is not None else "",
    )


def _with_quality(
    device: PlannedDevice, first: Mapping[tuple[str, str, str], dict[str, Plain]]
) -> PlannedDevice:
    """Makes bound points invalid until their first value."""
    nodes = tuple(
        replace(
            node,
            objects=tuple(
                replace(
                    entry,
                    values=MappingProxyType(
                        {**entry.values, **first.get((device.name, node.name, entry.name), {})}
                    ),
                )
                for entry in node.objects
            ),
        )
        for node in device.nodes
    )
    return replace(device, nodes=nodes)


def _by_id(root: etree._Element, tag: str) -> dict[str, etree._Element]:
    return {element.get("id", ""): element for element in root.iterfind(f"s:DataTypeTemplates/s:{tag}", _NS)}


def _fcda(element: etree._Element) -> str:
    """Returns ``ldInst/LN$FC$DO``; the device's name on the wire is put in afterwards."""
    node = f"{element.get('prefix', '')}{element.get('lnClass', '')}{element.get('lnInst', '')}"
    path = "$".join(
        part.replace(".", "$") for part in (element.get("doName", ""), element.get("daName", "")) if part
    )
    return f"{element.get('ldInst', '')}/{node}${element.get('fc', '')}${path}"


def _renamed(node: PlannedNode, names: Mapping[str, str]) -> PlannedNode:
    data_sets = tuple(
        replace(
            entry,
            members=tuple(
                f"{names[inst]}/{variable}"
                for inst, _, variable in (member.partition("/") for member in entry.members)
            ),
        )
        for entry in node.data_sets
    )
    return replace(node, data_sets=data_sets)


def _report(element: etree._Element) -> PlannedReport:
    triggers = _bits(element.find("s:TrgOps", _NS), TRIGGER_BITS, {"gi": "true"})
    options = _bits(element.find("s:OptFields", _NS), OPTION_BITS, {"bufOvfl": "true"})
    enabled = element.find("s:RptEnabled", _NS)
    return PlannedReport(
        name=element.get("name", ""),
        buffered=element.get("buffered") == "true",
        data_set=element.get("datSet", ""),
        instances=int(enabled.get("max", "1")) if enabled is not None else 1,
        indexed=element.get("indexed", "true") == "true",
        rpt_id=element.get("rptID", ""),
        conf_rev=int(element.get("confRev", "0")),
        triggers=triggers,
        options=options,
        buffer_time_ms=int(element.get("bufTime", "0")),
        integrity_ms=int(element.get("intgPd", "0")),
    )


def _bits(element: Any, bits: Mapping[str, int], defaults: Mapping[str, str]) -> int:
    """Adds up the flags that are set; absent ones have the schema's default."""
    given = {} if element is None else element.attrib
    return sum(bit for name, bit in bits.items() if given.get(name, defaults.get(name, "false")) == "true")
