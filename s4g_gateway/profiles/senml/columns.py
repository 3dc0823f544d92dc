"""Columns: what each member of a DataSet is called on the wire, in which unit, by which factor."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from types import MappingProxyType
from typing import Final

from s4g_gateway.codecs.senml import SECONDARY, UNITS
from s4g_gateway.codecs.senml.resolution import NAME
from s4g_gateway.errors import ProfileError
from s4g_gateway.model import DataSet, Member, ObjectReference, ValueType, parse_reference
from s4g_gateway.model.units import SI_UNIT

SITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}\Z")
QUALITY_SUFFIX: Final = ".q"


@dataclass(frozen=True, slots=True)
class Scale:
    """Wire value = canonical value x ``multiplier`` / ``divisor``; one of the two is 1.

    Dividing by 100 keeps 53.7 % as 0.537, which multiplying by 0.01 does not.
    """

    multiplier: float = 1.0
    divisor: float = 1.0

    @property
    def is_identity(self) -> bool:
        """True where nothing changes."""
        return self.multiplier == 1.0 and self.divisor == 1.0

    def to_wire(self, value: float) -> float:
        """Returns the wire value."""
        return value * self.multiplier / self.divisor

    def from_wire(self, value: float) -> float:
        """Returns the canonical value."""
        return value * self.divisor / self.multiplier


IDENTITY: Final = Scale()


def scale_of(factor: float | Fraction) -> Scale:
    """Returns the scale for wire value = canonical value x ``factor``.

    Raises:
        ProfileError: the factor is 0 or not finite.
    """
    try:
        exact = Fraction(factor)
        inverse = Fraction(round(1 / exact))
        divisor = float(inverse)
        if inverse and (exact == 1 / inverse or (abs(exact) < 1 and float(factor) == 1 / divisor)):
            return IDENTITY if exact == 1 else Scale(divisor=divisor)
        return Scale(multiplier=float(factor))
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise ProfileError(f"factor {factor!r}; expected a finite number other than 0") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class WireMember:
    """How one member travels, where it differs from the rule.

    Attributes:
        name: SenML name after ``<site>/``, such as ``ess_power`` or ``PCC1/MMXU1.TotW``; None for the rule's.
        unit: SenML unit, primary or secondary, empty for none; None for the rule's.
        factor: wire value = canonical value x ``factor``, sign included; None for the rule's, or 1 where
            ``unit`` is given.
    """

    name: str | None = None
    unit: str | None = None
    factor: float | Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One member as it travels.

    Attributes:
        base: base name, such as ``site-1/PCC1/``; may be empty.
        name: name after the base, such as ``MMXU1.TotW``.
        unit: SenML unit, empty for none.
        value_type: kind of value.
        scale: from canonical to wire value.
    """

    base: str
    name: str
    unit: str = ""
    value_type: ValueType = ValueType.FLOAT
    scale: Scale = IDENTITY

    @property
    def full_name(self) -> str:
        """The resolved SenML name."""
        return self.base + self.name

    @property
    def label(self) -> str:
        """Label of its value field."""
        return {ValueType.BOOLEAN: "vb", ValueType.TEXT: "vs"}.get(self.value_type, "v")


Factors = tuple[tuple[int, float], ...]


def factors_of(columns: Sequence[Column], scale: int = 1, offset: int = 0) -> tuple[Factors, Factors]:
    """Returns places with multipliers and places with divisors, factors of 1 left out.

    Args:
        columns: what travels.
        scale: a column's place is its position x ``scale`` + ``offset``.
        offset: see ``scale``.
    """
    scales = [(position * scale + offset, column.scale) for position, column in enumerate(columns)]
    return (
        tuple((place, each.multiplier) for place, each in scales if each.multiplier != 1.0),
        tuple((place, each.divisor) for place, each in scales if each.divisor != 1.0),
    )


@dataclass(frozen=True, slots=True)
class _UnitRow:
    primary: str
    scale: Scale
    secondary: str


def _data(file: str) -> str:
    return resources.files("s4g_gateway.profiles.senml").joinpath("data", file).read_text("utf-8")


def _load_units() -> Mapping[str, _UnitRow]:
    rows: dict[str, _UnitRow] = {}
    for number, row in enumerate(csv.DictReader(_data("units.csv").splitlines(), strict=True), start=2):
        canonical, primary, secondary = row["canonical"], row["primary"], row["secondary"]
        if canonical not in SI_UNIT or canonical in rows:
            raise ProfileError(
                f"units.csv line {number}: {canonical!r} is no canonical unit, or stands twice"
            )
        if primary and (primary not in UNITS or primary in SECONDARY):
            raise ProfileError(f"units.csv line {number}: {primary!r} is no primary SenML unit")
        if secondary and (secondary not in SECONDARY or UNITS[secondary].primary != primary):
            raise ProfileError(f"units.csv line {number}: {secondary!r} is no secondary unit of {primary!r}")
        rows[canonical] = _UnitRow(primary, Scale(float(row["multiplier"]), float(row["divisor"])), secondary)
    missing = SI_UNIT.keys() - rows.keys()
    if missing:
        raise ProfileError(f"units.csv: no row for {sorted(missing)}")
    return MappingProxyType(rows)


_UNIT_ROWS: Final = _load_units()
_STATE_OF_CHARGE: Final = frozenset(tomllib.loads(_data("state_of_charge.toml"))["data_objects"])


def _unit_and_scale(member: Member, *, secondary_units: bool) -> tuple[str, Scale]:
    row = _UNIT_ROWS.get(member.unit)
    if row is None:
        raise ProfileError(f"{member.reference}: {member.unit!r} is no canonical unit")
    if member.unit == "%" and parse_reference(member.reference).data_object in _STATE_OF_CHARGE:
        return "%EL", IDENTITY
    if secondary_units and row.secondary:
        return row.secondary, IDENTITY
    return row.primary, row.scale


def _column(member: Member, prefix: str, wire: WireMember, *, secondary_units: bool) -> Column:
    name = wire.name if wire.name is not None else member.reference
    device, slash, rest = name.rpartition("/")
    if wire.unit is None:
        unit, scale = _unit_and_scale(member, secondary_units=secondary_units)
    else:
        unit, scale = wire.unit, IDENTITY
        if unit and unit not in UNITS:
            raise ProfileError(f"{member.reference}: {unit!r} is no registered SenML unit")
    if wire.factor is not None:
        scale = scale_of(wire.factor)
    numeric = member.value_type in (ValueType.FLOAT, ValueType.INTEGER, ValueType.ENUMERATED)
    if not numeric:
        unit, scale = "", IDENTITY
    return Column(
        base=prefix + device + slash, name=rest, unit=unit, value_type=member.value_type, scale=scale
    )


def check_columns(columns: Sequence[Column]) -> None:
    """Checks that every record a pack of these columns may hold has a name of its own, of the right form.

    Raises:
        ProfileError: naming the column.
    """
    if not columns:
        raise ProfileError("no columns; expected at least one")
    seen: set[str] = set()
    for column in columns:
        if not NAME.match(column.full_name) or not column.name:
            raise ProfileError(f"{column.full_name!r} is no SenML name")
        if column.unit and column.unit not in UNITS:
            raise ProfileError(f"{column.full_name}: {column.unit!r} is no registered SenML unit")
        if column.scale.multiplier == 0 or column.scale.divisor == 0:
            raise ProfileError(f"{column.full_name}: a factor of 0")
        for name in (column.full_name, column.full_name + QUALITY_SUFFIX):
            if name in seen:
                raise ProfileError(f"the SenML name {name!r} belongs to two records")
            seen.add(name)


def prefix_of(site: str) -> str:
    """Returns what stands before every name of a site: ``<site>/``, or nothing for an empty site.

    Raises:
        ProfileError: the site's name has another form.
    """
    if site and not SITE.match(site):
        raise ProfileError(f"site {site!r}; expected letters, digits and dashes, at most 63")
    return f"{site}/" if site else ""


def columns_of(
    data_set: DataSet,
    *,
    site: str,
    wire: Mapping[ObjectReference, WireMember] | None = None,
    secondary_units: bool = False,
) -> tuple[Column, ...]:
    """Returns how the members of a DataSet travel.

    Args:
        data_set: the members.
        site: name of the site, first part of every name; empty where names stand alone (historic payloads).
        wire: exceptions by reference.
        secondary_units: Wh, varh, VAh, Ah and percent as they are; the pack then declares ``bver`` 26.

    Raises:
        ProfileError: a unit or name that SenML cannot carry, two members of one name, or an exception for a
            reference that is no member.
    """
    exceptions = wire or {}
    unknown = exceptions.keys() - data_set.index.keys()
    if unknown:
        raise ProfileError(f"DataSet {data_set.name!r} has no member {min(unknown)}")
    rule = WireMember()
    columns = tuple(
        _column(
            member,
            prefix_of(site),
            exceptions.get(member.reference, rule),
            secondary_units=secondary_units,
        )
        for member in data_set.members
    )
    check_columns(columns)
    return columns
