"""Arrays: load profiles and plans of up to 24 h, one Report per slot.

The first Report of a plan holds every variable, the others the arrays only. On the wire that is one SenML
record per array and slot with the slot's start as its time, so a plan of set-points is what
RFC 8428 calls actuation in the future, and a consumer without any notion of a plan still reads it rightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from s4g_gateway.interfaces.errors import MessageError
from s4g_gateway.interfaces.messages import MessageBinding
from s4g_gateway.model import ObjectReference, Report, Value
from s4g_gateway.model.quality import GOOD, INVALID

MAX_SLOTS = 1440
"""Slots of one plan: each minute of 24 h. Source: Storage4Grid D3.1 §4.1.10."""


def plan_reports(
    binding: MessageBinding,
    times_ns: Sequence[int],
    columns: Mapping[ObjectReference, Sequence[Value]],
    single: Mapping[ObjectReference, Value] | None = None,
) -> tuple[Report, ...]:
    """Returns one Report per slot.

    Args:
        binding: a message with arrays.
        times_ns: start of each slot, ns since 1970 UTC, strictly rising; 1 to 1440 of them.
        columns: canonical values per slot, by reference of an array member.
        single: canonical values of the other members, by reference.

    Raises:
        MessageError: a reference is no member of that kind, a column is not as long as ``times_ns``, or the
            times do not rise.
    """
    arrays = {entry.position for entry in binding.fields if entry.variable.array}
    if not 1 <= len(times_ns) <= MAX_SLOTS:
        raise MessageError(f"{binding.message.name}: {len(times_ns)} slots, expected 1 to {MAX_SLOTS}")
    if any(later <= earlier for earlier, later in pairwise(times_ns)):
        raise MessageError(f"{binding.message.name}: the slots' times do not rise")
    size = len(binding.data_set)
    first: list[Value] = [None] * size
    slots: list[list[Value]] = [[None] * size for _ in times_ns]
    present = bytearray(size)
    for reference, column in columns.items():
        at = _position(binding, reference, arrays, array=True)
        if len(column) != len(times_ns):
            raise MessageError(f"{reference}: {len(column)} values for {len(times_ns)} slots")
        present[at] = 1
        for slot, value in zip(slots, column, strict=True):
            slot[at] = value
    later = bytes(present)
    for reference, value in (single or {}).items():
        at = _position(binding, reference, arrays, array=False)
        present[at] = 1
        first[at] = value
    slots[0] = [alone if array is None else array for alone, array in zip(first, slots[0], strict=True)]
    reports = []
    for number, (time_ns, slot) in enumerate(zip(times_ns, slots, strict=True)):
        included = later if number else bytes(present)
        quality = tuple(GOOD if member else INVALID for member in included)
        reports.append(Report(binding.data_set, tuple(slot), quality, time_ns, included=included))
    return tuple(reports)


def plan_columns(
    binding: MessageBinding, reports: Sequence[Report]
) -> tuple[tuple[int, ...], dict[ObjectReference, tuple[Value, ...]]]:
    """Returns the slots' times and the canonical column of each array member that occurs.

    Args:
        binding: a message with arrays.
        reports: one per slot, in any order, each with one time for all members.

    Raises:
        MessageError: two slots have one time, or a Report has a time per member.
    """
    by_time: dict[int, Report] = {}
    for report in reports:
        if not isinstance(report.time_ns, int):
            raise MessageError(f"{binding.message.name}: a slot has one time, found one per member")
        if by_time.setdefault(report.time_ns, report) is not report:
            raise MessageError(f"{binding.message.name}: two slots at {report.time_ns} ns")
    ordered = [by_time[time_ns] for time_ns in sorted(by_time)]
    columns: dict[ObjectReference, tuple[Value, ...]] = {}
    for entry in binding.fields:
        at = entry.position
        if entry.variable.array and any(at in report.positions() for report in ordered):
            columns[binding.data_set.members[at].reference] = tuple(report.values[at] for report in ordered)
    return tuple(sorted(by_time)), columns


def _position(binding: MessageBinding, reference: ObjectReference, arrays: set[int], *, array: bool) -> int:
    at = binding.data_set.index.get(reference)
    if at is None or (at in arrays) is not array:
        kind = "array" if array else "single variable"
        raise MessageError(f"{reference} is no {kind} of {binding.message.name}")
    return at
