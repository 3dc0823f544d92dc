"""Modbus requests as values, and how wanted registers become few block reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

MAX_READ_REGISTERS = 125
MAX_READ_BITS = 2000


class Function(IntEnum):
    """Function codes that read or write. Source: Modbus Application Protocol V1.1b3 (clause unverified)."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_SINGLE_COIL = 5
    WRITE_SINGLE_REGISTER = 6
    WRITE_MULTIPLE_REGISTERS = 16


@dataclass(frozen=True, slots=True)
class Read:
    """One block read.

    Attributes:
        address: PDU address of the first register or bit, 0 to 65535.
        count: registers 1 to 125, or bits 1 to 2000.
        function: one of the four read functions.
    """

    address: int
    count: int
    function: Function = Function.READ_HOLDING_REGISTERS

    @property
    def end(self) -> int:
        """Address after the last one read."""
        return self.address + self.count

    @property
    def byte_count(self) -> int:
        """Bytes of the answer's data."""
        return (self.count + 7) // 8 if self.function <= Function.READ_DISCRETE_INPUTS else 2 * self.count


@dataclass(frozen=True, slots=True)
class Write:
    """One write.

    Attributes:
        address: PDU address of the first register or coil.
        data: the registers, big-endian, two bytes each; for a coil one byte, 0 or 1.
        function: one of the write functions.
    """

    address: int
    data: bytes
    function: Function = Function.WRITE_MULTIPLE_REGISTERS


@dataclass(frozen=True, slots=True)
class Wait:
    """Time that a device needs before it is asked again.

    Attributes:
        duration_s: > 0.
    """

    duration_s: float


Step = Read | Write | Wait


@dataclass(frozen=True, slots=True)
class Span:
    """Registers that belong together: a value, or a model whose values and scale factors must agree.

    Attributes:
        address: first register or bit.
        count: how many.
    """

    address: int
    count: int


def plan_reads(
    spans: Iterable[Span],
    *,
    function: Function = Function.READ_HOLDING_REGISTERS,
    max_count: int = MAX_READ_REGISTERS,
    gap_limit: int = MAX_READ_REGISTERS,
) -> tuple[Read, ...]:
    """Covers spans with few block reads; no span is cut.

    Args:
        spans: what is wanted, in any order, overlap allowed; none longer than ``max_count``.
        function: how it is read.
        max_count: longest read; 125 registers, less for devices that cannot.
        gap_limit: greatest run of unwanted registers worth reading along instead of asking again.

    Returns:
        Reads in rising order of address. For spans that do not overlap there is no plan with fewer reads
        (a left-to-right greedy cover of intervals is optimal).

    Raises:
        ValueError: a span is longer than ``max_count``.
    """
    reads: list[Read] = []
    start = end = -1
    for span in sorted(set(spans), key=lambda item: (item.address, item.count)):
        if span.count > max_count:
            raise ValueError(f"span of {span.count} at {span.address} is longer than one read ({max_count})")
        stop = span.address + span.count
        if start < 0:
            start, end = span.address, stop
        elif span.address - end <= gap_limit and max(end, stop) - start <= max_count:
            end = max(end, stop)
        else:
            reads.append(Read(start, end - start, function))
            start, end = span.address, stop
    if start >= 0:
        reads.append(Read(start, end - start, function))
    return tuple(reads)
