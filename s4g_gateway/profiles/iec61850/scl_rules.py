"""Rules that an SCL file must keep: every reference resolves, names are unique, mandatory data objects are there.

Source: IEC 61850-6 edition 2.1 (clauses unverified); mandatory data objects from the IEC NSD code components.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lxml import etree

from s4g_gateway.errors import Problem
from s4g_gateway.model.logical_nodes import load_logical_nodes
from s4g_gateway.profiles.iec61850.scl import NAMESPACE

_NS: Final = {"s": NAMESPACE}
BASIC_TYPES: Final = frozenset(
    (
        "BOOLEAN", "INT8", "INT16", "INT32", "INT64", "INT8U", "INT16U", "INT24U", "INT32U", "FLOAT32", "FLOAT64",
        "Enum", "Dbpos", "Tcmd", "Quality", "Timestamp", "VisString32", "VisString64", "VisString65",
        "VisString129", "VisString255", "Octet6", "Octet64", "Struct", "Unicode255", "Check", "ObjRef",
        "Currency", "EntryTime", "PhyComAddr", "TrgOps", "OptFlds",
    )
)  # fmt: skip
"""Basic types that the server knows."""
_TYPED: Final = {"Struct": "DAType", "Enum": "EnumType"}


def check_scl(root: etree._Element, file: str = "") -> list[Problem]:
    """Returns every rule that a file breaks, with its line.

    Args:
        root: the SCL element.
        file: name of the file, for messages.
    """
    return list(_Checker(root, file).check())


class _Checker:
    def __init__(self, root: etree._Element, file: str) -> None:
        self._root = root
        self._file = file
        self._ids: dict[str, dict[str, etree._Element]] = {}

    def check(self) -> Iterator[Problem]:
        root = self._root
        if root.tag != f"{{{NAMESPACE}}}SCL":
            yield self._wrong(root, str(root.tag), f"the element SCL of {NAMESPACE}")
            return
        for tag in ("LNodeType", "DOType", "DAType", "EnumType"):
            own: dict[str, etree._Element] = {}
            for element in root.iterfind(f"s:DataTypeTemplates/s:{tag}", _NS):
                if element.get("id", "") in own:
                    yield self._wrong(element, str(element.get("id")), f"a {tag} id that stands once")
                own[element.get("id", "")] = element
            self._ids[tag] = own
        yield from self._templates()
        for ied in root.iterfind("s:IED", _NS):
            yield from self._ied(ied)

    def _wrong(self, element: etree._Element, found: str, expected: str) -> Problem:
        tag = etree.QName(element).localname
        return Problem(
            file=self._file, key=f"line {element.sourceline} {tag}", found=found, expected=expected
        )

    def _templates(self) -> Iterator[Problem]:
        for node_type in self._ids["LNodeType"].values():
            yield from self._unique(node_type, "DO")
            for element in node_type.findall("s:DO", _NS):
                yield from self._resolves(element, "type", "DOType")
            yield from self._mandatory(node_type)
        for object_type in self._ids["DOType"].values():
            yield from self._unique(object_type, "SDO", "DA")
            for element in object_type.findall("s:SDO", _NS):
                yield from self._resolves(element, "type", "DOType")
            for element in object_type.findall("s:DA", _NS):
                if not element.get("fc"):
                    yield self._wrong(element, "no fc", "a functional constraint")
                yield from self._attribute(element)
        for structure in self._ids["DAType"].values():
            yield from self._unique(structure, "BDA")
            for element in structure.findall("s:BDA", _NS):
                yield from self._attribute(element)

    def _attribute(self, element: etree._Element) -> Iterator[Problem]:
        basic = element.get("bType", "")
        if basic not in BASIC_TYPES:
            yield self._wrong(element, f"bType {basic}", "one of " + ", ".join(sorted(BASIC_TYPES)))
        elif basic in _TYPED:
            yield from self._resolves(element, "type", _TYPED[basic])

    def _mandatory(self, node_type: etree._Element) -> Iterator[Problem]:
        known = load_logical_nodes().get(node_type.get("lnClass", ""))
        if known is None:
            return
        names = {element.get("name", "") for element in node_type.findall("s:DO", _NS)}
        bases = names | {name.rstrip("0123456789") for name in names}
        for entry in known.data_objects.values():
            if entry.presence in ("M", "Mmulti") and entry.name not in bases:
                yield self._wrong(
                    node_type,
                    f"{known.ln_class} without {entry.name}",
                    f"the mandatory data object {entry.name}",
                )

    def _resolves(self, element: etree._Element, attribute: str, tag: str) -> Iterator[Problem]:
        if element.get(attribute, "") not in self._ids[tag]:
            yield self._wrong(element, f"{attribute}={element.get(attribute)}", f"the id of a {tag}")

    def _unique(self, parent: etree._Element, *tags: str) -> Iterator[Problem]:
        seen: set[str] = set()
        for tag in tags:
            for element in parent.findall(f"s:{tag}", _NS):
                name = element.get("name", "")
                if not name or name in seen:
                    yield self._wrong(element, f"name={name!r}", "a name that stands once")
                seen.add(name)

    # -- the IED -----------------------------------------------------------------------------------

    def _ied(self, ied: etree._Element) -> Iterator[Problem]:
        devices = {device.get("inst", ""): device for device in ied.iterfind(".//s:LDevice", _NS)}
        physical = False
        for device in devices.values():
            nodes: set[str] = set()
            if device.find("s:LN0", _NS) is None:
                yield self._wrong(device, f"{device.get('inst')} without LN0", "the logical node LLN0")
            for node in _nodes(device):
                name = _name(node)
                if name in nodes:
                    yield self._wrong(node, name, "a logical node that stands once")
                nodes.add(name)
                physical = physical or node.get("lnClass") == "LPHD"
                yield from self._node(node, devices)
        if devices and not physical:
            yield self._wrong(ied, f"{ied.get('name')} without LPHD", "a logical node LPHD")

    def _node(self, node: etree._Element, devices: dict[str, etree._Element]) -> Iterator[Problem]:
        yield from self._resolves(node, "lnType", "LNodeType")
        node_type = self._ids["LNodeType"].get(node.get("lnType", ""))
        if node_type is None:
            return
        if node_type.get("lnClass") != node.get("lnClass"):
            yield self._wrong(
                node, f"lnType of class {node_type.get('lnClass')}", f"one of class {node.get('lnClass')}"
            )
        for member in node.iterfind("s:DataSet/s:FCDA", _NS):
            yield from self._member(member, devices)
        names = {element.get("name") for element in node.findall("s:DataSet", _NS)}
        for report in node.findall("s:ReportControl", _NS):
            if report.get("datSet") not in names:
                yield self._wrong(report, f"datSet={report.get('datSet')}", "a DataSet of the same node")
        for instance in node.findall("s:DOI", _NS):
            entry = _child(node_type, "DO", instance.get("name", ""))
            if entry is None:
                yield self._wrong(instance, str(instance.get("name")), "a DO of the node's type")
            else:
                yield from self._instance(instance, self._ids["DOType"].get(entry.get("type", "")))

    def _instance(self, element: etree._Element, kind: etree._Element | None) -> Iterator[Problem]:
        for child in element:
            if child.tag not in (f"{{{NAMESPACE}}}SDI", f"{{{NAMESPACE}}}DAI"):
                continue
            if kind is None:
                return  # reported where the type does not resolve
            entry = next(
                (
                    found
                    for tag in ("SDO", "DA", "BDA")
                    if (found := _child(kind, tag, child.get("name", ""))) is not None
                ),
                None,
            )
            if entry is None:
                yield self._wrong(child, str(child.get("name")), f"a part of {kind.get('id')}")
            elif child.tag == f"{{{NAMESPACE}}}SDI":
                yield from self._instance(child, self._kind_of(entry))

    def _kind_of(self, entry: etree._Element) -> etree._Element | None:
        tag = "DOType" if entry.tag == f"{{{NAMESPACE}}}SDO" else "DAType"
        return self._ids[tag].get(entry.get("type", ""))

    def _member(self, member: etree._Element, devices: dict[str, etree._Element]) -> Iterator[Problem]:
        name = f"{member.get('prefix', '')}{member.get('lnClass', '')}{member.get('lnInst', '')}"
        shown = f"{member.get('ldInst')}/{name}.{member.get('doName')}"
        device = devices.get(member.get("ldInst", ""))
        node = None if device is None else next((n for n in _nodes(device) if _name(n) == name), None)
        if node is None:
            yield self._wrong(member, shown, "a logical node of this IED")
            return
        node_type = self._ids["LNodeType"].get(node.get("lnType", ""))
        first, *rest = member.get("doName", "").split(".")
        entry = None if node_type is None else _child(node_type, "DO", first)
        kind = None if entry is None else self._ids["DOType"].get(entry.get("type", ""))
        for step in rest:
            entry = None if kind is None else _child(kind, "SDO", step)
            kind = None if entry is None else self._kind_of(entry)
        if kind is None:
            yield self._wrong(member, shown, "a data object of that node")
            return
        if not any(fc == member.get("fc") for fc in self._constraints(kind)):
            yield self._wrong(member, f"{shown} fc={member.get('fc')}", "a functional constraint that it has")
        head = member.get("daName", "").partition(".")[0]
        if head and _child(kind, "DA", head) is None:
            yield self._wrong(member, f"{shown} daName={member.get('daName')}", "an attribute that it has")

    def _constraints(self, kind: etree._Element) -> Iterator[str | None]:
        for element in kind.findall("s:DA", _NS):
            yield element.get("fc")
        for element in kind.findall("s:SDO", _NS):
            inner = self._kind_of(element)
            if inner is not None:
                yield from self._constraints(inner)


def _nodes(device: etree._Element) -> list[etree._Element]:
    return [*device.findall("s:LN0", _NS), *device.findall("s:LN", _NS)]


def _name(node: etree._Element) -> str:
    return f"{node.get('prefix', '')}{node.get('lnClass', '')}{node.get('inst', '')}"


def _child(parent: etree._Element, tag: str, name: str) -> etree._Element | None:
    return next((entry for entry in parent.findall(f"s:{tag}", _NS) if entry.get("name") == name), None)
