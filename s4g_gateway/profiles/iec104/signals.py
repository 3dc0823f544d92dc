"""Signal: one address of the outstation, monitored or commanded, and what its number means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from s4g_gateway.codecs.iec104.identifiers import TIMED_COMMAND_OFFSET, TypeId
from s4g_gateway.model import ObjectReference, ValueType

TIMED: Final[Mapping[TypeId, TypeId]] = {
    TypeId.M_SP_NA_1: TypeId.M_SP_TB_1,
    TypeId.M_DP_NA_1: TypeId.M_DP_TB_1,
    TypeId.M_ST_NA_1: TypeId.M_ST_TB_1,
    TypeId.M_BO_NA_1: TypeId.M_BO_TB_1,
    TypeId.M_ME_NA_1: TypeId.M_ME_TD_1,
    TypeId.M_ME_NB_1: TypeId.M_ME_TE_1,
    TypeId.M_ME_NC_1: TypeId.M_ME_TF_1,
    TypeId.M_IT_NA_1: TypeId.M_IT_TB_1,
}
"""The type with CP56Time2a for each type without."""

COMMANDS: Final = frozenset(TypeId(number) for number in range(45, 52))
"""The command types without time tag; each is also accepted with one."""

INTEGER_RANGES: Final[Mapping[TypeId, tuple[int, int]]] = {
    TypeId.M_ST_NA_1: (-64, 63),
    TypeId.M_BO_NA_1: (0, 0xFFFF_FFFF),
    TypeId.M_ME_NA_1: (-32768, 32767),
    TypeId.M_ME_NB_1: (-32768, 32767),
    TypeId.M_IT_NA_1: (-(2**31), 2**31 - 1),
    TypeId.C_BO_NA_1: (0, 0xFFFF_FFFF),
    TypeId.C_SE_NA_1: (-32768, 32767),
    TypeId.C_SE_NB_1: (-32768, 32767),
}
"""Smallest and greatest raw value per type; types not listed are floats or bits."""

NORMALIZED: Final = frozenset({TypeId.M_ME_NA_1, TypeId.C_SE_NA_1})
NORMALIZED_UNITY: Final = 32768
"""Raw value that would be +1 of a normalized value. Source: IEC 60870-5-101 §7.2.6.6 (clause unverified)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How the number on the wire becomes the value: ``value = number * factor + offset``.

    The number is the raw integer, the float, or, for a normalized value, raw / 32768 (-1 to +1).

    Attributes:
        factor: value per 1 of the number, in the point's unit; not 0; negative turns the sign.
        offset: value where the number is 0, in the point's unit.
    """

    factor: float = 1.0
    offset: float = 0.0

    @property
    def is_identity(self) -> bool:
        """True where number and value are the same."""
        return self.factor == 1.0 and self.offset == 0.0

    def __str__(self) -> str:
        if self.is_identity:
            return "x 1"
        return f"x {self.factor:.10g}" + (f" offset {self.offset:.10g}" if self.offset else "")


IDENTITY: Final = Scaling()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A monitored point at its address.

    Attributes:
        common_address: station address, 1 to 65534.
        ioa: information object address, 1 to 16777215.
        type_id: type without time tag.
        reference: the point.
        value_type: kind of the point's value.
        unit: canonical unit of the point's value.
        description: one line for people.
        scaling: from number to value.
        deadband: smallest change reported spontaneously, in ``unit``; 0 reports every change.
        group: group of the general interrogation (1 to 16) or, for a counter, of the counter interrogation
            (1 to 4); 0 for none.
        spontaneous: false for a point that is only read by interrogation or sent cyclically.
        cyclic_period_s: sent with cause periodic every so many seconds; 0 never.
        event_time_tag: true sends events in ``TIMED[type_id]``, false in ``type_id``.
    """

    common_address: int
    ioa: int
    type_id: TypeId
    reference: ObjectReference
    value_type: ValueType = ValueType.FLOAT
    unit: str = ""
    description: str = ""
    scaling: Scaling = IDENTITY
    deadband: float = 0.0
    group: int = 0
    spontaneous: bool = True
    cyclic_period_s: float = 0.0
    event_time_tag: bool = True

    @property
    def is_counter(self) -> bool:
        """True for an integrated total, which the general interrogation leaves out."""
        return self.type_id is TypeId.M_IT_NA_1

    @property
    def type_label(self) -> str:
        """Such as ``M_ME_NC_1 (13/36)``: the type of present values and that of events."""
        event = TIMED[self.type_id] if self.event_time_tag else self.type_id
        return f"{self.type_id.name} ({self.type_id.value}/{event.value})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSignal:
    """A controllable point at its address.

    Attributes:
        common_address: station address, 1 to 65534.
        ioa: information object address, 1 to 16777215.
        type_id: type without time tag; the one with time tag is accepted too.
        reference: the controllable DO.
        value_type: kind of ctlVal.
        unit: canonical unit of ctlVal.
        description: one line for people.
        scaling: from number to ctlVal.
        select: true where the master must select before it executes.
        minimum: smallest ctlVal, None for no limit.
        maximum: greatest ctlVal, None for no limit.
        device_select: true where the device's own control model asks for a select as well.
    """

    common_address: int
    ioa: int
    type_id: TypeId
    reference: ObjectReference
    value_type: ValueType = ValueType.FLOAT
    unit: str = ""
    description: str = ""
    scaling: Scaling = IDENTITY
    select: bool = False
    minimum: float | None = None
    maximum: float | None = None
    device_select: bool = False

    @property
    def type_label(self) -> str:
        """Such as ``C_SE_NC_1 (50/63)``."""
        return f"{self.type_id.name} ({self.type_id.value}/{self.type_id.value + TIMED_COMMAND_OFFSET})"

    @property
    def mode(self) -> str:
        """``direct`` or ``select before operate``."""
        return "select before operate" if self.select else "direct"


@dataclass(frozen=True, slots=True)
class SignalList:
    """Every address of one outstation, in the order of (common address, IOA).

    Attributes:
        signals: monitored points.
        commands: controllable points.
    """

    signals: tuple[Signal, ...]
    commands: tuple[CommandSignal, ...]

    @property
    def by_reference(self) -> Mapping[ObjectReference, Signal]:
        """The monitored signal of each reference; made anew at every call."""
        return {signal.reference: signal for signal in self.signals}

    @property
    def common_addresses(self) -> tuple[int, ...]:
        """The station addresses in use, ascending."""
        stations = {signal.common_address for signal in self.signals}
        return tuple(sorted(stations | {command.common_address for command in self.commands}))
