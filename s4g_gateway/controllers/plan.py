"""Plans: what GESSCon orders of the storage of a site, slot by slot, and what the site answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import isfinite

from s4g_gateway.controllers.errors import ControllerError
from s4g_gateway.model import NS_PER_S, AddCause

SLOT_S = 60
"""D3.1's canonical slot. Source: Storage4Grid D3.1 §4.1.10."""
DAY_SLOTS = 1440
STRONGEST, WEAKEST = 1, 255


class PriorityOrder(StrEnum):
    """Which number of a priority on the wire is the strong one; D3.1 does not say."""

    LOWEST_FIRST = "lowest-first"
    HIGHEST_FIRST = "highest-first"

    def rank(self, priority: int) -> int:
        """Returns 1 for the strongest to 255 for the weakest, from what came on the wire."""
        return priority if self is PriorityOrder.LOWEST_FIRST else STRONGEST + WEAKEST - priority

    def wire(self, rank: int) -> int:
        """Returns what goes on the wire; the inverse of ``rank``."""
        return self.rank(rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Set-points for the storage of one site.

    All sites of a radial get the same ``start_ns``: it is the plan's activation time. From there on it replaces what
    was planned before; earlier slots of an older version stay in force.

    Attributes:
        plan_id: identity, also the command's.
        version: rises with each plan for one site; 1 or more.
        start_ns: start of the first slot, ns since 1970 UTC, whole slots from the start of its UTC day.
        slot_s: length of a slot; divides a day.
        power_w: DC power at the battery's terminals for each slot, + discharges (generator frame).
        rank: for each slot 1 (strongest) to 255; see ``PriorityOrder``.

    Raises:
        ControllerError: a member breaks its limits.
    """

    plan_id: str
    version: int
    start_ns: int
    power_w: tuple[float, ...]
    rank: tuple[int, ...]
    slot_s: int = SLOT_S

    def __post_init__(self) -> None:
        if self.version < 1:
            raise ControllerError(f"version: found {self.version}, expected 1 or more")
        if self.slot_s < 1 or DAY_SLOTS * SLOT_S % self.slot_s:
            raise ControllerError(f"slot_s: found {self.slot_s}, expected a divisor of a day")
        if self.start_ns % (self.slot_s * NS_PER_S):
            raise ControllerError(f"start_ns: found {self.start_ns}, expected the start of a slot")
        if not self.power_w or len(self.power_w) != len(self.rank):
            raise ControllerError(f"{len(self.power_w)} set-points and {len(self.rank)} priorities")
        for number, (power_w, rank) in enumerate(zip(self.power_w, self.rank, strict=True)):
            if not isfinite(power_w):
                raise ControllerError(f"power_w[{number}]: found {power_w}, expected a finite number")
            if not STRONGEST <= rank <= WEAKEST:
                raise ControllerError(f"rank[{number}]: found {rank}, expected 1 to 255")

    @property
    def end_ns(self) -> int:
        """When its last slot ends, ns since 1970 UTC."""
        return self.start_ns + len(self.power_w) * self.slot_s * NS_PER_S

    def position(self, time_ns: int) -> int | None:
        """Returns which slot holds a moment; None outside the plan."""
        at = (time_ns - self.start_ns) // (self.slot_s * NS_PER_S)
        return at if 0 <= at < len(self.power_w) else None


@dataclass(frozen=True, slots=True)
class SlotRefusal:
    """Consecutive slots that a site will not carry out.

    Attributes:
        start_ns: start of the first one.
        end_ns: end of the last one.
        add_cause: why, for machines.
        reason: why, for people.
    """

    start_ns: int
    end_ns: int
    add_cause: AddCause
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswer:
    """What a site says to a plan; slots that no refusal names are accepted.

    A later answer to the same plan may refuse further slots: what a site learns only when the time comes.

    Attributes:
        plan_id: of the plan.
        version: of the plan.
        refusals: rising, without overlap.

    Raises:
        ControllerError: the refusals overlap or do not rise.
    """

    plan_id: str
    version: int
    refusals: tuple[SlotRefusal, ...] = ()

    def __post_init__(self) -> None:
        for refusal in self.refusals:
            if refusal.end_ns <= refusal.start_ns:
                raise ControllerError(f"a refusal from {refusal.start_ns} to {refusal.end_ns} ns")
        if any(later.start_ns < earlier.end_ns for earlier, later in pairwise(self.refusals)):
            raise ControllerError("refusals overlap or do not rise")

    def refuses(self, time_ns: int) -> SlotRefusal | None:
        """Returns the refusal that holds a moment; None where the slot is accepted."""
        return next((item for item in self.refusals if item.start_ns <= time_ns < item.end_ns), None)
