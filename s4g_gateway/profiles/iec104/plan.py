"""From the points of a site and the operator's wishes to the signal list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from math import isfinite
from typing import Annotated, Final, Literal

import msgspec

from s4g_gateway.codecs.iec104.identifiers import TypeId
from s4g_gateway.errors import Problem
from s4g_gateway.model import ControlModel, ControlPoint, Member
from s4g_gateway.profiles.iec104.addresses import (
    COMMAND,
    MAX_COMMON_ADDRESS,
    MONITOR,
    AddressEntry,
    WantedAddress,
    assign_addresses,
)
from s4g_gateway.profiles.iec104.defaults import load_defaults
from s4g_gateway.profiles.iec104.signals import (
    IDENTITY,
    NORMALIZED,
    CommandSignal,
    Scaling,
    Signal,
    SignalList,
)

MonitoredName = Literal[
    "M_SP_NA_1",
    "M_DP_NA_1",
    "M_ST_NA_1",
    "M_BO_NA_1",
    "M_ME_NA_1",
    "M_ME_NB_1",
    "M_ME_NC_1",
    "M_IT_NA_1",
    "none",
]
CommandName = Literal[
    "C_SC_NA_1", "C_DC_NA_1", "C_RC_NA_1", "C_SE_NA_1", "C_SE_NB_1", "C_SE_NC_1", "C_BO_NA_1", "none"
]
Ioa = Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFF)]

_SELECT_MODELS: Final = (ControlModel.SBO_NORMAL, ControlModel.SBO_ENHANCED)
_NUMBERS: Final = frozenset({TypeId.M_ME_NC_1, TypeId.C_SE_NC_1, TypeId.M_ME_NB_1, TypeId.C_SE_NB_1})
_WIDE_TYPES: Final = _NUMBERS | NORMALIZED | {TypeId.M_IT_NA_1}


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOverride:
    """One ``[[northbound.point]]`` table: what differs from the defaults for the points it names.

    Attributes:
        reference: an ObjectReference, or a shell-style pattern such as ``*/MMXU1.*``.
    """

    reference: Annotated[str, msgspec.Meta(description="ObjectReference or pattern such as */MMXU1.TotW")]
    common_address: (
        Annotated[int, msgspec.Meta(ge=1, le=MAX_COMMON_ADDRESS, description="station address")] | None
    ) = None
    ioa: (
        Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFF, description="address of the monitored point")] | None
    ) = None
    type: Annotated[MonitoredName, msgspec.Meta(description="ASDU type without time tag, or none")] | None = (
        None
    )
    command_ioa: (
        Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFF, description="address of the command")] | None
    ) = None
    command_type: Annotated[CommandName, msgspec.Meta(description="command type, or none")] | None = None
    command_mode: Annotated[
        Literal["direct", "select"] | None, msgspec.Meta(description="direct or select before operate")
    ] = None
    full_scale: (
        Annotated[float, msgspec.Meta(description="normalized: value at +1, in the point's unit; not 0")]
        | None
    ) = None
    factor: (
        Annotated[
            float, msgspec.Meta(description="value per 1 of the number on the wire; negative turns the sign")
        ]
        | None
    ) = None
    offset: Annotated[float, msgspec.Meta(description="value where the number on the wire is 0")] | None = (
        None
    )
    deadband: (
        Annotated[
            float, msgspec.Meta(ge=0, description="smallest change sent spontaneously, in the point's unit")
        ]
        | None
    ) = None
    group: (
        Annotated[
            int, msgspec.Meta(ge=0, le=16, description="interrogation group 1 to 16, counters 1 to 4; 0 none")
        ]
        | None
    ) = None
    spontaneous: Annotated[bool, msgspec.Meta(description="send changes")] | None = None
    cyclic_period_s: (
        Annotated[
            float, msgspec.Meta(ge=0, description="send with cause periodic every so many seconds; 0 never")
        ]
        | None
    ) = None
    event_time_tag: (
        Annotated[bool, msgspec.Meta(description="false sends events in the type without time tag")] | None
    ) = None
    description: Annotated[str, msgspec.Meta(description="text in the signal list")] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSettings:
    """What decides about the signal list, apart from the points themselves.

    Attributes:
        common_address: station of points that no other setting places.
        common_addresses: pattern over logical device names -> station.
        include: patterns; a point that none matches is left out unless an override names it in full.
        points: overrides, later ones win key by key.
    """

    common_address: int = 1
    common_addresses: Mapping[str, int] = field(default_factory=dict)
    include: Sequence[str] = ("*",)
    points: Sequence[PointOverride] = ()


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """The outcome of ``plan_signals``.

    Attributes:
        signal_list: the addresses; those with a problem are missing.
        entries: what to write to the address file.
        problems: every finding; ``file`` is empty, ``key`` is relative to the connector's table.
    """

    signal_list: SignalList
    entries: tuple[AddressEntry, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Point:
    """A member or ControlPoint with the overrides that hold for it."""

    reference: str
    wish: PointOverride
    key: str


def plan_signals(
    members: Iterable[Member],
    controls: Iterable[ControlPoint],
    settings: SignalSettings,
    existing: Iterable[AddressEntry] = (),
) -> SignalPlan:
    """Makes the signal list of one outstation.

    Args:
        members: every point of the site, in the order of supply.
        controls: every controllable point.
        settings: the operator's wishes.
        existing: rows of the address file.
    """
    members, controls = list(members), list(controls)
    problems: list[Problem] = []
    if settings.points:
        references = {str(member.reference) for member in members}
        references.update(str(control.reference) for control in controls)
        problems += _check_overrides(settings.points, references)
    controlled = {control.reference for control in controls}
    cdcs = {member.reference: member.cdc for member in members if member.reference in controlled}
    drafts: list[Signal | CommandSignal] = []
    wanted: list[WantedAddress] = []
    for member in members:
        point = _point(member.reference, settings)
        if point is not None:
            signal = _signal(member, point, settings, problems)
            if signal is not None:
                drafts.append(signal)
                wanted.append(
                    _want(
                        signal,
                        MONITOR,
                        point.wish.ioa,
                        "ioa" if point.wish.ioa is None else f"{point.key}.ioa",
                    )
                )
    for control in controls:
        point = _point(control.reference, settings)
        if point is not None:
            command = _command(control, cdcs.get(control.reference, ""), point, settings, problems)
            if command is not None:
                drafts.append(command)
                wanted.append(
                    _want(
                        command,
                        COMMAND,
                        point.wish.command_ioa,
                        "command_ioa" if point.wish.command_ioa is None else f"{point.key}.command_ioa",
                    )
                )
    assignment = assign_addresses(wanted, existing)
    del wanted
    drafts.reverse()
    # Draft by draft, so that a large site is never held twice.
    placed = [replace(drafts.pop(), ioa=ioa) for ioa in assignment.ioas]
    placed = [entry for entry in placed if entry.ioa]
    placed.sort(key=lambda entry: (entry.common_address, entry.ioa))
    return SignalPlan(
        SignalList(
            tuple(entry for entry in placed if isinstance(entry, Signal)),
            tuple(entry for entry in placed if isinstance(entry, CommandSignal)),
        ),
        assignment.entries,
        (*problems, *assignment.problems),
    )


def _want(entry: Signal | CommandSignal, direction: str, ioa: int | None, key: str) -> WantedAddress:
    return WantedAddress(
        common_address=entry.common_address,
        direction=direction,
        reference=entry.reference,
        kind=load_defaults().kind[entry.type_id],
        ioa=ioa,
        key=key,
    )


def _check_overrides(points: Sequence[PointOverride], references: set[str]) -> list[Problem]:
    problems = []
    for position, wish in enumerate(points):
        matches = [name for name in references if fnmatchcase(name, wish.reference)]
        if not matches:
            expected = "the reference of a point of this site, or a pattern that matches one"
            problems.append(
                Problem(file="", key=f"point[{position}].reference", found=wish.reference, expected=expected)
            )
        problems += [
            Problem(
                file="",
                key=f"point[{position}].{name}",
                found=f"an address for the pattern {wish.reference!r}",
                expected="one full reference, since an address belongs to one point",
            )
            for name in _ADDRESS_KEYS
            if getattr(wish, name) is not None and matches and wish.reference not in references
        ]
    return problems


_KEYS: Final = tuple(item.name for item in fields(PointOverride) if item.name != "reference")
_ADDRESS_KEYS: Final = ("ioa", "command_ioa")
_NO_WISH: Final = PointOverride(reference="")


def _point(reference: str, settings: SignalSettings) -> _Point | None:
    """Joins the overrides that match; None where the point is left out."""
    joined: dict[str, object] = {}
    key = "point"
    is_named = False
    for position, wish in enumerate(settings.points):
        if not fnmatchcase(reference, wish.reference):
            continue
        is_exact = wish.reference == reference
        is_named = is_named or is_exact
        key = f"point[{position}]"
        for name in _KEYS:
            value = getattr(wish, name)
            if value is not None and (is_exact or name not in _ADDRESS_KEYS):
                joined[name] = value
    if not is_named and not any(p == "*" or fnmatchcase(reference, p) for p in settings.include):
        return None
    if not joined:
        return _Point(reference, _NO_WISH, key)
    return _Point(reference, PointOverride(reference=reference, **joined), key)  # type: ignore[arg-type]  # own values


def _station(point: _Point, settings: SignalSettings) -> int:
    if point.wish.common_address is not None:
        return point.wish.common_address
    logical_device = point.reference.partition("/")[0]
    for pattern, address in settings.common_addresses.items():
        if fnmatchcase(logical_device, pattern):
            return address
    return settings.common_address


def _signal(
    member: Member, point: _Point, settings: SignalSettings, problems: list[Problem]
) -> Signal | None:
    wish = point.wish
    if wish.type == "none":
        return None
    natural = load_defaults().monitored(member.cdc, member.value_type, (member.minimum, member.maximum))
    if natural is None and wish.type is None:
        return None  # texts have no place in the protocol
    if natural is None:
        problems.append(
            _problem(point, "type", str(wish.type), f"none: {member.value_type} has no ASDU type")
        )
        return None
    type_id = natural if wish.type is None else TypeId[wish.type]
    scaling = _scaling(type_id, member.minimum, member.maximum, point, problems)
    is_counter = type_id is TypeId.M_IT_NA_1
    group = wish.group or 0
    if is_counter and group > 4:
        problems.append(_problem(point, "group", str(group), "1 to 4 for a counter, 0 for none"))
    return Signal(
        common_address=_station(point, settings),
        ioa=0,
        type_id=type_id,
        reference=member.reference,
        value_type=member.value_type,
        unit=member.unit,
        description=member.description if wish.description is None else wish.description,
        scaling=scaling,
        deadband=member.deadband if wish.deadband is None else wish.deadband,
        group=group,
        # Integrated totals come by counter interrogation unless somebody asks for more.
        spontaneous=not is_counter if wish.spontaneous is None else wish.spontaneous,
        cyclic_period_s=wish.cyclic_period_s or 0.0,
        event_time_tag=wish.event_time_tag is not False,
    )


def _command(
    control: ControlPoint, cdc: str, point: _Point, settings: SignalSettings, problems: list[Problem]
) -> CommandSignal | None:
    wish = point.wish
    if wish.command_type == "none" or control.model is ControlModel.STATUS_ONLY:
        return None
    natural = load_defaults().command(cdc, control.value_type, (control.minimum, control.maximum))
    if natural is None:
        if wish.command_type is not None:
            expected = f"none: {control.value_type} has no command type"
            problems.append(_problem(point, "command_type", wish.command_type, expected))
        return None
    type_id = natural if wish.command_type is None else TypeId[wish.command_type]
    device_select = control.model in _SELECT_MODELS
    return CommandSignal(
        common_address=_station(point, settings),
        ioa=0,
        type_id=type_id,
        reference=control.reference,
        value_type=control.value_type,
        unit=control.unit,
        description=control.description if wish.description is None else wish.description,
        scaling=_scaling(type_id, control.minimum, control.maximum, point, problems),
        select=device_select if wish.command_mode is None else wish.command_mode == "select",
        minimum=control.minimum,
        maximum=control.maximum,
        device_select=device_select,
    )


def _scaling(
    type_id: TypeId, minimum: float | None, maximum: float | None, point: _Point, problems: list[Problem]
) -> Scaling:
    wish = point.wish
    for name in ("full_scale", "factor", "offset"):
        value = getattr(wish, name)
        if value is not None and (not isfinite(value) or (value == 0 and name != "offset")):
            problems.append(_problem(point, name, repr(value), "a finite number other than 0"))
            return IDENTITY
    offset = wish.offset or 0.0
    if type_id in NORMALIZED:
        if wish.full_scale is not None:
            return Scaling(factor=wish.full_scale, offset=offset)
        limits = [abs(limit - offset) for limit in (minimum, maximum) if limit is not None]
        if limits and max(limits) > 0:
            return Scaling(factor=float(max(limits)), offset=offset)
        expected = "the value at +1, since the point declares no limits"
        problems.append(_problem(point, "full_scale", "nothing", expected))
        return IDENTITY
    if type_id in _WIDE_TYPES and (wish.factor is not None or offset):
        return Scaling(factor=1.0 if wish.factor is None else wish.factor, offset=offset)
    return IDENTITY


def _problem(point: _Point, name: str, found: str, expected: str) -> Problem:
    where = point.key if point.key != "point" else f"point[reference={point.reference}]"
    return Problem(file="", key=f"{where}.{name}", found=found, expected=f"{expected} ({point.reference})")
