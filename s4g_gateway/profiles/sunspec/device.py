"""A SunSpec device as the site sees it: its DataSets and controls, known before the device is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from s4g_gateway.errors import ModelError, ProfileError
from s4g_gateway.model import ControlPoint, DataSet, Member, ObjectReference, ValueType
from s4g_gateway.profiles.sunspec.mapping import (
    ControlMapping,
    Derivation,
    FunctionMapping,
    MappingFile,
    PointMapping,
    Rate,
    Template,
    Use,
    load_mapping,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """What a site may say about one device.

    Attributes:
        logical_devices: role to logical device name, in place of the template's.
        meter_sign: -1 where a meter counts power taken from the grid as positive, 1 where power fed in.
        battery_sign: 1 where a battery bank counts discharging as positive, -1 where charging.
        rated_power_w: rated power, > 0; gives powers their plausible range, set-points their limits.
        grid_charging: true lets a charging set-point switch the battery to charging from the grid too.
    """

    logical_devices: Mapping[str, str] = field(default_factory=dict)
    meter_sign: int = -1
    battery_sign: int = 1
    rated_power_w: float | None = None
    grid_charging: bool = False


@dataclass(frozen=True, slots=True)
class MappedPoint:
    """One row of a mapping file, filled in for one device.

    Attributes:
        file: the mapping file.
        use: how the template uses it.
        row: the row.
        path: path of the SunSpec point.
        sign: 1 or -1, option applied.
    """

    file: MappingFile
    use: Use
    row: PointMapping
    path: str
    sign: int


@dataclass(frozen=True, slots=True)
class MappedDerivation:
    """A derived point, filled in.

    Attributes:
        row: the row.
        inputs: ``model:point`` or ObjectReferences.
    """

    row: Derivation
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MappedControl:
    """A controllable point, filled in.

    Attributes:
        file: the mapping file.
        use: how the template uses it.
        row: the row.
        point: what the connector declares.
        is_excitation: true for the companion point that chooses the excitation of a power factor.
    """

    file: MappingFile
    use: Use
    row: ControlMapping
    point: ControlPoint
    is_excitation: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """The points read at one rate.

    Attributes:
        rate: measurement or setting.
        data_set: the members.
        points: per reference the rows that may supply it; the first whose model the device has does.
        derived: per reference what it is made of.
    """

    rate: Rate
    data_set: DataSet
    points: Mapping[str, tuple[MappedPoint, ...]]
    derived: Mapping[str, MappedDerivation]


@dataclass(frozen=True, slots=True)
class SunspecDevice:
    """A device as configured.

    Attributes:
        name: unique within its connector.
        template: what kind of device it is.
        options: what the site says about it.
        sections: measurements first, then settings where the template has any.
        mapped_controls: its controllable points that are one set-point or command.
        function_points: its points that take nothing but function requests.
    """

    name: str
    template: Template
    options: DeviceOptions
    sections: tuple[Section, ...]
    mapped_controls: tuple[MappedControl, ...]
    function_points: tuple[ControlPoint, ...] = ()

    @property
    def data_sets(self) -> tuple[DataSet, ...]:
        """One DataSet per rate."""
        return tuple(section.data_set for section in self.sections)

    @property
    def controls(self) -> tuple[ControlPoint, ...]:
        """The controllable points."""
        return (*(control.point for control in self.mapped_controls), *self.function_points)

    @property
    def functions(self) -> Mapping[str, tuple[str, ...]]:
        """Codes of the functions by the point that takes their requests."""
        return {point.reference: point.functions for point in self.controls if point.functions}


def build_device(template: Template, name: str, options: DeviceOptions | None = None) -> SunspecDevice:
    """Builds a device from its template; offline.

    Args:
        template: what kind of device it is.
        name: unique within its connector; its DataSets are called ``<name>-measurements`` and
            ``<name>-settings``.
        options: what the site says about it.

    Raises:
        ProfileError: the template contradicts itself, or an option names a role that it does not have.
    """
    options = options or DeviceOptions()
    unknown = options.logical_devices.keys() - template.logical_devices.keys()
    if unknown:
        raise ProfileError(
            f"logical_devices: {', '.join(sorted(unknown))} unknown, expected some of "
            + ", ".join(template.logical_devices)
        )
    builder = _Builder({**template.logical_devices, **options.logical_devices}, options, name)
    for use in template.use:
        builder.add_use(use)
    for derivation in template.derived:
        builder.add_derivation(derivation, {})
    try:
        sections = builder.sections(name)
    except ModelError as error:
        raise ProfileError(f"template {template.title!r}: {error}") from error
    return SunspecDevice(
        name, template, options, sections, tuple(builder.controls), tuple(builder.function_points)
    )


class _Builder:
    def __init__(self, roles: Mapping[str, str], options: DeviceOptions, name: str) -> None:
        self._name = name
        self._roles = roles
        self._options = options
        self._signs = {"meter": options.meter_sign, "battery": options.battery_sign}
        self._members: dict[Rate, dict[str, Member]] = {"measurement": {}, "setting": {}}
        self._points: dict[str, tuple[MappedPoint, ...]] = {}
        self._derived: dict[str, MappedDerivation] = {}
        self.controls: list[MappedControl] = []
        self.function_points: list[ControlPoint] = []

    def add_use(self, use: Use) -> None:
        file = load_mapping(use.mapping)
        fill = {key: self._filled(text, {}, use.mapping) for key, text in use.fill.items()}
        own: set[str] = set()
        for row in file.point:
            if row.reference in use.omit:
                continue
            reference = self._filled(row.reference, fill, use.mapping)
            sign = self._signs[row.sign] if isinstance(row.sign, str) else int(row.sign)
            point = MappedPoint(file, use, row, self._filled(row.point, fill, use.mapping), sign)
            if reference in own:
                self._points[reference] += (point,)
                continue
            own.add(reference)
            self._add_member(row.rate, self._member(reference, row, fill), use.mapping)
            self._points[reference] = (point,)
        for derivation in file.derived:
            if derivation.reference not in use.omit:
                self.add_derivation(derivation, fill)
        for control in file.control:
            if control.reference not in use.omit:
                self._add_control(file, use, control, fill)
        for function in file.function:
            if function.reference not in use.omit:
                self._add_function(use, function, fill)

    def add_derivation(self, row: Derivation, fill: Mapping[str, str]) -> None:
        reference = self._filled(row.reference, fill, "derived")
        self._add_member("measurement", self._member(reference, row, fill), "derived")
        inputs = tuple(self._filled(text, fill, row.reference) for text in row.inputs)
        self._derived[reference] = MappedDerivation(row, inputs)

    def sections(self, name: str) -> tuple[Section, ...]:
        made = []
        rates: tuple[tuple[Rate, str], ...] = (("measurement", "measurements"), ("setting", "settings"))
        for rate, title in rates:
            members = self._members[rate]
            if not members:
                continue
            # Scaled, then translated, then derived: the order in which the decoder makes them.
            order = sorted(members, key=self._stage)
            made.append(
                Section(
                    rate,
                    DataSet(f"{name}-{title}", tuple(members[reference] for reference in order)),
                    MappingProxyType({ref: self._points[ref] for ref in order if ref in self._points}),
                    MappingProxyType({ref: self._derived[ref] for ref in order if ref in self._derived}),
                )
            )
        return tuple(made)

    def _stage(self, reference: str) -> int:
        if reference in self._derived:
            return 2
        return 0 if self._points[reference][0].row.is_analog else 1

    def _add_member(self, rate: Rate, member: Member, where: str) -> None:
        for members in self._members.values():
            if member.reference in members:
                raise ProfileError(f"{where}: {member.reference} is mapped twice")
        self._members[rate][member.reference] = member

    def _member(self, reference: str, row: PointMapping | Derivation, fill: Mapping[str, str]) -> Member:
        minimum, maximum = self._limits(row)
        return Member(
            reference=ObjectReference(reference),
            value_type=row.type,
            unit=row.unit,
            cdc=row.cdc,
            description=self._filled(row.description, fill, reference),
            minimum=minimum,
            maximum=maximum,
            deadband=row.deadband,
        )

    def _limits(self, row: PointMapping | Derivation | ControlMapping) -> tuple[float | None, float | None]:
        rated_w = self._options.rated_power_w
        if row.rated is None or rated_w is None:
            return row.minimum, row.maximum
        reach_w = row.rated * rated_w
        return (-reach_w if row.minimum is None else row.minimum), reach_w

    def _add_control(self, file: MappingFile, use: Use, row: ControlMapping, fill: Mapping[str, str]) -> None:
        minimum, maximum = self._limits(row)
        if row.commands:
            states = [int(state) for state in row.commands]
            minimum, maximum = float(min(states)), float(max(states))
        reference = self._filled(row.reference, fill, use.mapping)
        point = ControlPoint(
            reference=ObjectReference(reference),
            value_type=row.type,
            unit=row.unit,
            minimum=minimum,
            maximum=maximum,
            expires=row.expires,
            description=row.description,
            functions=row.functions,
            device=self._name if row.functions else "",
        )
        self.controls.append(MappedControl(file, use, row, point))
        if row.excitation_reference:
            companion = ControlPoint(
                reference=ObjectReference(self._filled(row.excitation_reference, fill, use.mapping)),
                value_type=ValueType.BOOLEAN,
                expires=False,
                description=f"Over-excited (true) or under-excited (false) with {reference}",
            )
            self.controls.append(MappedControl(file, use, row, companion, is_excitation=True))

    def _add_function(self, use: Use, row: FunctionMapping, fill: Mapping[str, str]) -> None:
        self.function_points.append(
            ControlPoint(
                reference=ObjectReference(self._filled(row.reference, fill, use.mapping)),
                value_type=ValueType.TEXT,
                expires=False,
                description=row.description,
                functions=row.functions,
                device=self._name,
            )
        )

    def _filled(self, pattern: str, fill: Mapping[str, str], where: str) -> str:
        try:
            return pattern.format_map({**self._roles, **fill})
        except (KeyError, ValueError, IndexError) as error:
            raise ProfileError(f"{where}: {pattern!r}: nothing to fill in for {error}") from error
