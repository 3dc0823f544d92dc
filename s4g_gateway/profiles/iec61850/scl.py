"""A model as SCL: the CID file that matches what the server serves.

The logical devices carry ``ldName``: their names on the wire are the site's own, without the IED's name.

Source: IEC 61850-6 edition 2.1, schema 2007B4 (clauses unverified).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lxml import etree

from s4g_gateway.profiles.iec61850.parts import (
    OPTION_BITS,
    TRIGGER_BITS,
    Attribute,
    ModelPlan,
    ObjectType,
    Plain,
    PlannedDevice,
    PlannedNode,
    PlannedObject,
    PlannedReport,
    SubObject,
)

NAMESPACE: Final = "http://www.iec.ch/61850/2003/SCL"
_ACCESS_POINT: Final = "AP1"
_NOT_PUBLIC: Final = "unspecified"
_NOT_CONFIGURED: Final = frozenset({"Quality", "Timestamp"})  # process values are not configured
_MMS_PORT: Final = 102


def render_scl(
    plan: ModelPlan, *, description: str = "", host: str = "127.0.0.1", port: int = _MMS_PORT
) -> bytes:
    """Returns the CID file of a model.

    Args:
        plan: the model.
        description: one line for people.
        host: IP address of the server.
        port: its TCP port; left out of the file where it is the standard one.
    """
    return _Writer(plan).render(description, host, port)


class _Writer:
    def __init__(self, plan: ModelPlan) -> None:
        self._plan = plan
        self._node_types: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}
        self._structures: dict[tuple[Attribute, ...], str] = {}

    def render(self, description: str, host: str, port: int) -> bytes:
        plan = self._plan
        root = etree.Element(
            f"{{{NAMESPACE}}}SCL",
            {"version": "2007", "revision": "B", "release": "4"},
            nsmap={None: NAMESPACE},
        )
        _add(root, "Header", id=plan.ied_name, version="1", revision="1", nameStructure="IEDName")
        network = _add(_add(root, "Communication"), "SubNetwork", name="SCADA", type="8-MMS")
        point = _add(network, "ConnectedAP", iedName=plan.ied_name, apName=_ACCESS_POINT)
        address = _add(point, "Address")
        _add(address, "P", type="IP").text = host
        if port != _MMS_PORT:
            _add(address, "P", type="MMS-Port").text = str(port)
        ied = _add(
            root,
            "IED",
            name=plan.ied_name,
            desc=description,
            type="gateway",
            manufacturer="S4G",
            configVersion="1",
            originalSclVersion="2007",
            originalSclRevision="B",
            originalSclRelease="4",
        )
        self._services(ied)
        server = _add(_add(ied, "AccessPoint", name=_ACCESS_POINT), "Server")
        _add(server, "Authentication")
        for device in plan.devices:
            self._device(server, device)
        self._templates(root)
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)

    def _services(self, ied: etree._Element) -> None:
        services = _add(ied, "Services", nameLength="64")
        _add(services, "DynAssociation")
        for name in ("GetDirectory", "GetDataObjectDefinition", "DataObjectDirectory", "GetDataSetValue"):
            _add(services, name)
        _add(services, "DataSetDirectory")
        largest = max(
            (
                len(entry.members)
                for device in self._plan.devices
                for node in device.nodes
                for entry in node.data_sets
            ),
            default=1,
        )
        _add(services, "ConfDataSet", max="999", maxAttributes=str(largest), modify="false")
        _add(services, "ReadWrite")
        _add(services, "ConfReportControl", max="999", bufMode="both")
        _add(services, "GetCBValues")
        _add(
            services,
            "ReportSettings",
            cbName="Fix",
            datSet="Dyn",
            rptID="Dyn",
            optFields="Dyn",
            bufTime="Dyn",
            trgOps="Dyn",
            intgPd="Dyn",
        )
        _add(services, "ConfLNs", fixPrefix="true", fixLnInst="true")

    def _device(self, server: etree._Element, device: PlannedDevice) -> None:
        element = _add(server, "LDevice", inst=device.inst or device.name)
        if device.description:
            element.set("desc", device.description)
        if device.inst in ("", device.name):
            element.set("ldName", device.name)
        for node in device.nodes:
            self._node(element, node)

    def _node(self, parent: etree._Element, node: PlannedNode) -> None:
        key = (node.ln_class, tuple((entry.name, entry.type_id) for entry in node.objects))
        type_id = self._node_types.setdefault(key, f"{node.ln_class}_t{len(self._node_types) + 1}")
        element = _add(parent, "LN0" if node.ln_class == "LLN0" else "LN")
        if node.ln_class != "LLN0" and node.prefix:
            element.set("prefix", node.prefix)
        element.set("lnClass", node.ln_class)
        element.set("inst", node.instance)
        element.set("lnType", type_id)
        for data_set in node.data_sets:
            members = _add(element, "DataSet", name=data_set.name)
            for member in data_set.members:
                _member(members, member, self._plan.devices)
        for report in node.reports:
            _report(element, report)
        for entry in node.objects:
            self._values(element, entry)

    def _values(self, parent: etree._Element, entry: PlannedObject) -> None:
        """Writes the values that are configured."""
        element: etree._Element | None = None
        made: dict[str, etree._Element] = {}
        for path, value in entry.values.items():
            text = self._literal(entry.type_id, path, value)
            if text is None:
                continue
            if element is None:
                element = _add(parent, "DOI", name=entry.name)
            place, below = element, ""
            *structures, name = path.split(".")
            for structure in structures:
                below = f"{below}.{structure}"
                if below not in made:
                    made[below] = _add(place, "SDI", name=structure)
                place = made[below]
            _add(_add(place, "DAI", name=name), "Val").text = text

    def _literal(self, type_id: str, path: str, value: Plain) -> str | None:
        """Returns a value as SCL writes it; None for what is not configured or has no public literal."""
        attribute = find_attribute(self._plan.types, type_id, path)
        if attribute is None or attribute.basic_type in _NOT_CONFIGURED:
            return None
        if attribute.basic_type == "Enum":
            return self._plan.enums.get(attribute.enum, {}).get(int(value))
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    # -- templates ---------------------------------------------------------------------------------

    def _templates(self, root: etree._Element) -> None:
        templates = _add(root, "DataTypeTemplates")
        for (ln_class, objects), type_id in self._node_types.items():
            node_type = _add(templates, "LNodeType", id=type_id, lnClass=ln_class)
            for name, object_type in objects:
                _add(node_type, "DO", name=name, type=object_type)
        for entry in self._plan.types.values():
            self._object_type(templates, entry)
        done: set[str] = set()
        while len(done) < len(self._structures):  # a structure may bring others
            for parts, type_id in tuple(self._structures.items()):
                if type_id not in done:
                    done.add(type_id)
                    self._structure(templates, parts, type_id)
        for name, literals in self._plan.enums.items():
            enum = _add(templates, "EnumType", id=name)
            if not literals:
                _add(enum, "EnumVal", ord="0", desc="its literals are not public").text = _NOT_PUBLIC
            for value, literal in sorted(literals.items()):
                _add(enum, "EnumVal", ord=str(value)).text = literal

    def _object_type(self, templates: etree._Element, entry: ObjectType) -> None:
        element = _add(templates, "DOType", id=entry.type_id, cdc=entry.cdc)
        for part in entry.parts:
            if isinstance(part, SubObject):
                _add(element, "SDO", name=part.name, type=part.type_id)
                continue
            attribute = self._attribute(element, "DA", part)
            attribute.set("fc", part.fc)
            for trigger in part.triggers.split():
                attribute.set(trigger, "true")

    def _structure(self, templates: etree._Element, parts: tuple[Attribute, ...], type_id: str) -> None:
        element = _add(templates, "DAType", id=type_id)
        for part in parts:
            self._attribute(element, "BDA", part)

    def _attribute(self, parent: etree._Element, tag: str, part: Attribute) -> etree._Element:
        element = _add(parent, tag, name=part.name, bType=part.basic_type)
        if part.basic_type == "Struct":
            element.set(
                "type", self._structures.setdefault(part.parts, f"{part.name}_{len(self._structures) + 1}")
            )
        elif part.basic_type == "Enum":
            element.set("type", part.enum)
        if part.count:
            element.set("count", str(part.count))
        return element


def find_attribute(types: Mapping[str, ObjectType], type_id: str, path: str) -> Attribute | None:
    """Returns the attribute at a path of an object type, such as ``phsA.cVal.mag.f``; None where there is none."""
    name, _, rest = path.partition(".")
    entry = types.get(type_id)
    if entry is None:
        return None
    for part in entry.parts:
        if part.name == name:
            if isinstance(part, SubObject):
                return find_attribute(types, part.type_id, rest)
            return _within(part, rest)
    return None


def _within(attribute: Attribute, path: str) -> Attribute | None:
    if not path:
        return attribute
    name, _, rest = path.partition(".")
    found = next((part for part in attribute.parts if part.name == name), None)
    return None if found is None else _within(found, rest)


def _add(parent: etree._Element, tag: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{tag}", attributes)


def _member(parent: etree._Element, member: str, devices: tuple[PlannedDevice, ...]) -> None:
    """Writes ``ESS1/DSTO1$MX$EffWh`` as FCDA."""
    name, _, variable = member.partition("/")
    node_name, fc, *path = variable.split("$")
    device = next(device for device in devices if device.name == name)
    node = next(node for node in device.nodes if node.name == node_name)
    element = _add(parent, "FCDA", ldInst=device.inst or device.name)
    if node.prefix:
        element.set("prefix", node.prefix)
    element.set("lnClass", node.ln_class)
    if node.instance:
        element.set("lnInst", node.instance)
    element.set("doName", path[0])
    if len(path) > 1:
        element.set("daName", ".".join(path[1:]))
    element.set("fc", fc)


def _report(parent: etree._Element, report: PlannedReport) -> None:
    element = _add(
        parent,
        "ReportControl",
        name=report.name,
        datSet=report.data_set,
        rptID=report.rpt_id,
        confRev=str(report.conf_rev),
        buffered=_boolean(report.buffered),
        bufTime=str(report.buffer_time_ms),
        intgPd=str(report.integrity_ms),
        indexed=_boolean(report.indexed),
    )
    if not report.rpt_id:
        del element.attrib["rptID"]  # then it is the instance's own reference
    triggers = _add(element, "TrgOps")
    for name, bit in TRIGGER_BITS.items():
        triggers.set(name, _boolean(bool(report.triggers & bit)))
    options = _add(element, "OptFields")
    for name, bit in OPTION_BITS.items():
        if name != "bufOvfl" or report.buffered:
            options.set(name, _boolean(bool(report.options & bit)))
    _add(element, "RptEnabled", max=str(report.instances))


def _boolean(value: bool) -> str:
    return "true" if value else "false"
