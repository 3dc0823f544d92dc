"""Columns: how each member of a DataSet is made of registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from s4g_gateway.model import Value
from s4g_gateway.model import quality as q

NOT_IMPLEMENTED = q.INVALID
NO_SUCH_POINT = q.INVALID | q.BAD_REFERENCE
NOT_READ = q.INVALID | q.FAILURE
BAD_SCALE = q.INVALID | q.INCONSISTENT
NOT_FINITE = q.INVALID | q.OVERFLOW

Raw = int | float | bytes
Pair = tuple[Value, int]
NEVER = -1.5  # a sentinel that no integer register equals


@dataclass(frozen=True, slots=True)
class Field:
    """Where a raw value stands.

    Attributes:
        byte: position in the joined answers of all reads.
        code: struct code, such as ``h`` or ``16s``.
        read: index of the read that brings it.
    """

    byte: int
    code: str
    read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalogColumn:
    """An integer or float field that becomes ``raw * factor * 10**scale + offset``.

    Attributes:
        name: ObjectReference, or any other key for a column that only feeds derived ones.
        field: the raw value.
        factor: fixed part of the scaling, sign included; exact.
        offset: added after scaling; exact.
        scale: field of the power of ten, None where there is none.
        sentinel: raw integer that means "not implemented"; NEVER for none.
    """

    name: str
    field: Field
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    scale: Field | None = None
    sentinel: float = NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscreteColumn:
    """A field that becomes a state, a flag, a text or a count by a function of its own.

    Attributes:
        name: as in AnalogColumn.
        field: the raw value.
        translate: raw to (value, quality); called only when the raw value changes.
    """

    name: str
    field: Field
    translate: Callable[[Raw], Pair]


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedColumn:
    """A value made of other columns.

    Attributes:
        name: as in AnalogColumn.
        inputs: names of the columns it needs.
        rule: values and qualities of the inputs to (value, quality).
    """

    name: str
    inputs: tuple[str, ...]
    rule: Callable[[Sequence[Value], Sequence[int]], Pair]


Column = AnalogColumn | DiscreteColumn | DerivedColumn
