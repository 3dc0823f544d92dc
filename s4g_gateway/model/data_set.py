"""DataSet: an ordered, frozen list of ObjectReferences with unit, type and limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from s4g_gateway.errors import ModelError
from s4g_gateway.model.reference import ObjectReference, parse_reference

Value = float | int | bool | str | None


class ValueType(StrEnum):
    """What kind of value a member carries."""

    FLOAT = "float"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    ENUMERATED = "enumerated"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One point: a member of a DataSet.

    Attributes:
        reference: ObjectReference, unique within a site.
        value_type: kind of value.
        unit: canonical unit symbol (``s4g_gateway.model.units``), empty for none.
        cdc: common data class, such as MV, CMV, BCR, SPS, ENS, APC.
        description: one line for people.
        minimum: smallest plausible value in ``unit``, None for no limit.
        maximum: greatest plausible value in ``unit``, None for no limit.
        deadband: smallest change worth reporting spontaneously, in ``unit``; 0 reports every change.
    """

    reference: ObjectReference
    value_type: ValueType = ValueType.FLOAT
    unit: str = ""
    cdc: str = "MV"
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    deadband: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """An ordered, frozen list of members; two DataSets are the same only if they are one object.

    Attributes:
        name: unique within its owner.
        members: the points, in order.
        index: position of each ObjectReference, from 0.

    Raises:
        ModelError: empty, or a reference is malformed or stands twice.
    """

    name: str
    members: tuple[Member, ...]
    index: Mapping[ObjectReference, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.members:
            raise ModelError(f"DataSet {self.name!r} has no members")
        index: dict[ObjectReference, int] = {}
        for position, member in enumerate(self.members):
            parse_reference(member.reference)
            if member.reference in index:
                raise ModelError(f"DataSet {self.name!r} holds {member.reference} twice")
            index[member.reference] = position
        object.__setattr__(self, "index", MappingProxyType(index))

    def __len__(self) -> int:
        return len(self.members)

    @property
    def references(self) -> tuple[ObjectReference, ...]:
        """The members' references, in order."""
        return tuple(member.reference for member in self.members)


def data_set(name: str, members: Iterable[Member]) -> DataSet:
    """Builds a DataSet from any iterable of members."""
    return DataSet(name, tuple(members))
