"""From a site's points to its IEC 61850 model: logical devices, nodes, data objects, data sets, reports.

Names on the wire are the site's own: the domain is the LDName of the ObjectReference. A logical device with
more data objects than ``objects_per_device`` goes on in ``<name>_2``, ``<name>_3`` ..., node by node, for
some servers answer GetNameList in quadratic time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from s4g_gateway.errors import ModelError, Problem
from s4g_gateway.model import ControlModel, ControlPoint, Member, ReferenceParts, parse_reference
from s4g_gateway.model import quality as q
from s4g_gateway.model.logical_nodes import (
    check_against_table,
    common_data_class,
    is_controllable,
    load_logical_nodes,
    logical_node,
)
from s4g_gateway.model.units import SI_UNIT
from s4g_gateway.profiles.iec61850.cdc import Features, TypeTable, attribute_for, load_enumerations
from s4g_gateway.profiles.iec61850.parts import (
    Binding,
    ModelPlan,
    Plain,
    PlannedControl,
    PlannedDataSet,
    PlannedDevice,
    PlannedNode,
    PlannedObject,
    PlannedReport,
)

NAMESPACE_7_4: Final = "IEC 61850-7-4:2007B"
_NEVER: Final = q.INVALID | q.OLD_DATA
_ON: Final = 1
_OK: Final = 1
_SELF_MADE: Final = ("SPC", "DPC", "INC", "ENC", "APC")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """What decides about the model.

    Attributes:
        ied_name: name of the IED.
        include: patterns of the references to serve.
        objects_per_device: most data objects of a logical device before it goes on in another.
        members_per_data_set: most members of a data set.
        buffered_clients: instances of each buffered report control block; 0 for none.
        unbuffered_clients: instances of each unbuffered one; 0 for none.
        integrity_ms: IntgPd to begin with, 0 for none.
        buffer_time_ms: BufTm to begin with.
        vendor: of the name plates.
        revision: of the name plates.
    """

    ied_name: str
    include: tuple[str, ...] = ("*",)
    objects_per_device: int = 800
    members_per_data_set: int = 100
    buffered_clients: int = 2
    unbuffered_clients: int = 4
    integrity_ms: int = 0
    buffer_time_ms: int = 0
    vendor: str = "S4G"
    revision: str = "1"


@dataclass(slots=True)
class _Object:
    """A data object being planned."""

    name: str
    cdc: str
    enum: str
    members: dict[str, Member]
    control: ControlPoint | None = None


@dataclass(slots=True)
class _Node:
    """A logical node being planned."""

    parts: ReferenceParts
    objects: dict[str, _Object]


@dataclass(frozen=True, slots=True)
class PlanResult:
    """A plan and what could not be planned.

    Attributes:
        plan: the model.
        problems: points that no model can hold, with keys relative to the connector's table.
    """

    plan: ModelPlan
    problems: tuple[Problem, ...]


def plan_model(
    members: Iterable[Member], controls: Iterable[ControlPoint], settings: PlanSettings
) -> PlanResult:
    """Plans the model of a site.

    Args:
        members: every point.
        controls: every controllable point; those on settings (ASG ...) are not offered, for the control
            services know only SPC, DPC, INC, ENC and APC.
        settings: limits and names.
    """
    planner = _Planner(settings)
    for member in members:
        if any(fnmatchcase(member.reference, pattern) for pattern in settings.include):
            planner.add_member(member)
    for control in controls:
        if any(fnmatchcase(control.reference, pattern) for pattern in settings.include):
            planner.add_control(control)
    return PlanResult(planner.finish(), tuple(planner.problems))


class _Planner:
    def __init__(self, settings: PlanSettings) -> None:
        self._settings = settings
        self._devices: dict[str, dict[str, _Node]] = {}
        self._types = TypeTable()
        self._bindings: list[Binding] = []
        self._controls: list[PlannedControl] = []
        self.problems: list[Problem] = []

    # -- taking in ---------------------------------------------------------------------------------

    def add_member(self, member: Member) -> None:
        try:
            entry, sub = self._object(member.reference, member.cdc)
        except ModelError as error:
            self._wrong(member.reference, error)
            return
        entry.members[sub] = member

    def add_control(self, control: ControlPoint) -> None:
        try:
            name = check_against_table(control.reference)
            if is_controllable(name.cdc):
                entry, sub = self._object(control.reference, name.cdc)
                if not sub:
                    entry.control = control
        except ModelError as error:
            self._wrong(control.reference, error)

    def _wrong(self, reference: str, error: ModelError) -> None:
        self.problems.append(
            Problem(file="", key=reference, found=str(error), expected="a data object that IEC 61850 knows")
        )

    def _object(self, reference: str, cdc: str) -> tuple[_Object, str]:
        """Returns the data object of a reference, made if need be, and the sub-name."""
        parts = parse_reference(reference)
        name, _, sub = parts.data.partition(".")
        enum = ""
        if parts.ln_class in load_logical_nodes():
            known = check_against_table(reference)
            cdc, enum = known.cdc, known.enum
        elif sub:
            raise ModelError(
                f"{reference}: LN class {parts.ln_class} is not in the table, so {sub} is unknown"
            )
        node = self._devices.setdefault(parts.logical_device, {}).setdefault(
            parts.logical_node, _Node(parts, {})
        )
        entry = node.objects.get(name)
        if entry is None:
            common_data_class(cdc)
            entry = node.objects[name] = _Object(name, cdc, enum, {})
        return entry, sub

    # -- giving out --------------------------------------------------------------------------------

    def finish(self) -> ModelPlan:
        devices: list[PlannedDevice] = []
        for device, nodes in self._devices.items():
            number, name, count = 1, device.replace("-", "_"), 0  # MMS knows no hyphens
            share: list[_Node] = []
            for node in nodes.values():
                size = len(node.objects)
                if share and count + size > self._settings.objects_per_device:
                    devices.append(self._device(name, share))
                    number, count, share = number + 1, 0, []
                    name = f"{device.replace('-', '_')}_{number}"
                share.append(node)
                count += size
            devices.append(self._device(name, share))
        enums = load_enumerations()
        used = sorted(_enums_of(self._types))
        return ModelPlan(
            ied_name=self._settings.ied_name,
            types=MappingProxyType(self._types.types),
            devices=tuple(devices),
            bindings=tuple(self._bindings),
            controls=tuple(self._controls),
            enums=MappingProxyType({name: enums.get(name, MappingProxyType({})) for name in used}),
        )

    def _device(self, name: str, share: Sequence[_Node]) -> PlannedDevice:
        by_name = {node.parts.logical_node: node for node in share}
        nodes: list[PlannedNode] = []
        for fixed, ln_class, instance in (("LLN0", "LLN0", ""), ("LPHD1", "LPHD", "1")):
            node = by_name.pop(fixed, None) or _Node(
                ReferenceParts(logical_device=name, prefix="", ln_class=ln_class, instance=instance, data=""),
                {},
            )
            nodes.append(self._node(name, node))
        nodes += [self._node(name, node) for node in by_name.values()]
        data_sets, reports = self._reporting(name, nodes)
        head = nodes[0]
        nodes[0] = PlannedNode(
            prefix=head.prefix,
            ln_class=head.ln_class,
            instance=head.instance,
            objects=head.objects,
            data_sets=data_sets,
            reports=reports,
        )
        return PlannedDevice(name=name, nodes=tuple(nodes))

    def _node(self, device: str, node: _Node) -> PlannedNode:
        parts = node.parts
        for known in logical_node(parts.ln_class).data_objects.values() if _is_known(parts) else ():
            wanted = known.presence in ("M", "Mmulti") or (
                parts.ln_class == "LLN0" and known.presence == "MOrootLD"
            )
            if wanted and not any(_is_instance(name, known.name) for name in node.objects):
                name = f"{known.name}1" if known.presence == "Mmulti" else known.name
                node.objects[name] = _Object(name, known.cdc, known.enum, {})
        return PlannedNode(
            prefix=parts.prefix,
            ln_class=parts.ln_class,
            instance=parts.instance,
            objects=tuple(
                self._planned(f"{device}/{parts.logical_node}", parts, entry)
                for entry in node.objects.values()
            ),
        )

    def _planned(self, node: str, parts: ReferenceParts, entry: _Object) -> PlannedObject:
        path = f"{node}.{entry.name}"
        model = entry.control.model if entry.control is not None else ControlModel.STATUS_ONLY
        values: dict[str, Plain] = {}
        words: set[str] = set()
        subs: dict[str, frozenset[str]] = {}
        for sub, member in entry.members.items():
            if sub:
                subs[sub] = self._fill(path, entry.cdc, sub, member, values)
            else:
                words |= self._fill(path, entry.cdc, "", member, values)
        if not entry.members:
            words |= self._fill_unsupplied(parts, entry, values)
        if entry.control is not None:
            words |= self._fill_control(path, entry, values)
        elif entry.cdc in _SELF_MADE:
            values["ctlModel"] = int(ControlModel.STATUS_ONLY)
        features = Features(words=frozenset(words), subs=MappingProxyType(subs), enum=entry.enum, model=model)
        return PlannedObject(
            name=entry.name,
            type_id=self._types.type_for(entry.cdc, features),
            values=MappingProxyType(values),
        )

    def _fill(
        self, path: str, cdc: str, sub: str, member: Member, values: dict[str, Plain]
    ) -> frozenset[str]:
        """Binds a point and returns the features that it needs."""
        inner = common_data_class(cdc).sub_cdc if sub else cdc
        if sub and not inner:
            self._bindings.append(Binding(reference=member.reference, value=f"{path}.{sub}"))
            return frozenset()
        prefix = f"{sub}." if sub else ""
        words: set[str] = set()
        if member.description:
            words.add("description")
            values[f"{prefix}d"] = member.description[:255]
        unit = attribute_for(inner, "unit")
        if unit is not None and member.unit:
            words.add("unit")
            values[f"{prefix}{unit.attribute}"] = SI_UNIT[member.unit]
        quality, time = attribute_for(inner, "quality"), attribute_for(inner, "time")
        value = attribute_for(inner, "value")
        if value is None:
            self._wrong(member.reference, ModelError(f"CDC {inner} has no single value"))
            return frozenset(words)
        if quality is not None:
            values[f"{prefix}{quality.attribute}"] = _NEVER
        pulse = attribute_for(inner, "pulse")
        if pulse is not None:
            values[f"{prefix}{pulse.attribute}"] = 1.0
        below = f"{path}.{prefix}"
        self._bindings.append(
            Binding(
                reference=member.reference,
                value=f"{below}{value.attribute}",
                quality=f"{below}{quality.attribute}" if quality is not None else "",
                time=f"{below}{time.attribute}" if time is not None else "",
            )
        )
        return frozenset(words)

    def _fill_unsupplied(
        self, parts: ReferenceParts, entry: _Object, values: dict[str, Plain]
    ) -> frozenset[str]:
        """Gives a mandatory data object that no device supplies what the gateway itself knows.

        What it does not know is invalid from the start and stays so.
        """
        settings = self._settings
        known: Mapping[str, dict[str, Plain]] = {
            "Beh": {"stVal": _ON, "q": q.GOOD},
            "Mod": {"stVal": _ON, "q": q.GOOD},
            "Health": {"stVal": _OK, "q": q.GOOD},
            "PhyHealth": {"stVal": _OK, "q": q.GOOD},
            "Proxy": {"stVal": True, "q": q.GOOD},
            "PhyNam": {"vendor": settings.vendor},
            "NamPlt": {
                "vendor": settings.vendor,
                "swRev": settings.revision,
                "d": f"{settings.ied_name} {parts.logical_device}",
            },
        }
        own = known.get(entry.name)
        if own is not None:
            values.update(own)
            return frozenset({"description"} if "d" in own else ())
        quality = attribute_for(entry.cdc, "quality")
        if quality is not None:
            values[quality.attribute] = q.INVALID
        return frozenset()

    def _fill_control(self, path: str, entry: _Object, values: dict[str, Plain]) -> frozenset[str]:
        control = entry.control
        if control is None:
            return frozenset()
        words: set[str] = set()
        values["ctlModel"] = int(control.model)
        if control.model in (ControlModel.SBO_NORMAL, ControlModel.SBO_ENHANCED):
            values["sboTimeout"] = round(control.sbo_timeout_s * 1000)
        if control.description and "d" not in values:
            words.add("description")
            values["d"] = control.description[:255]
        unit = attribute_for(entry.cdc, "unit")
        if unit is not None and control.unit and unit.attribute not in values:
            words.add("unit")
            values[unit.attribute] = SI_UNIT[control.unit]
        for role, limit in (("minimum", control.minimum), ("maximum", control.maximum)):
            row = attribute_for(entry.cdc, role)
            if row is not None and limit is not None:
                words.add(role)
                values[row.attribute] = float(limit)
        feedback = quality = time = ""
        if not entry.members:
            rows = [attribute_for(entry.cdc, role) for role in ("value", "quality", "time")]
            feedback, quality, time = (f"{path}.{row.attribute}" if row is not None else "" for row in rows)
            values["q"] = _NEVER
        self._controls.append(
            PlannedControl(
                reference=control.reference,
                path=path,
                model=control.model,
                feedback=feedback,
                quality=quality,
                time=time,
            )
        )
        return frozenset(words)

    def _reporting(
        self, device: str, nodes: Sequence[PlannedNode]
    ) -> tuple[tuple[PlannedDataSet, ...], tuple[PlannedReport, ...]]:
        """Groups measured values and states of a device into data sets, each with its control blocks."""
        settings = self._settings
        data_sets: list[PlannedDataSet] = []
        reports: list[PlannedReport] = []
        for fc in ("MX", "ST"):
            members = [
                f"{device}/{node.name}${fc}${entry.name}"
                for node in nodes
                for entry in node.objects
                if self._has(entry.type_id, fc)
            ]
            size = settings.members_per_data_set
            for number, start in enumerate(range(0, len(members), size), start=1):
                name = f"{fc}{number:02d}"
                data_sets.append(PlannedDataSet(name=name, members=tuple(members[start : start + size])))
                for buffered, clients in (
                    (True, settings.buffered_clients),
                    (False, settings.unbuffered_clients),
                ):
                    if clients:
                        reports.append(
                            PlannedReport(
                                name=f"{'brcb' if buffered else 'urcb'}{name}",
                                buffered=buffered,
                                data_set=name,
                                instances=clients,
                                buffer_time_ms=settings.buffer_time_ms,
                                integrity_ms=settings.integrity_ms,
                            )
                        )
        return tuple(data_sets), tuple(reports)

    def _has(self, type_id: str, fc: str) -> bool:
        return any(
            part.fc == fc if hasattr(part, "fc") else self._has(part.type_id, fc)
            for part in self._types.types[type_id].parts
        )


def _is_known(parts: ReferenceParts) -> bool:
    return parts.ln_class in load_logical_nodes()


def _is_instance(name: str, base: str) -> bool:
    return name == base or (name.startswith(base) and name[len(base) :].isdigit())


def _enums_of(types: TypeTable) -> set[str]:
    found: set[str] = set()

    def visit(parts: Iterable[object]) -> None:
        for part in parts:
            if getattr(part, "enum", ""):
                found.add(part.enum)  # type: ignore[attr-defined]  # an Attribute: it has an enum
            visit(getattr(part, "parts", ()))

    for entry in types.types.values():
        visit(entry.parts)
    return found
