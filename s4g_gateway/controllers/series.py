"""Series: mean values over equal slots, such as a forecast, a price or a load profile."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from s4g_gateway.controllers.errors import ControllerError
from s4g_gateway.model import NS_PER_S

DAY_S = 86_400
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Series:
    """Mean values over slots of equal length.

    Attributes:
        start_ns: start of the first slot, ns since 1970 UTC.
        slot_s: length of a slot in whole seconds, >= 1.
        values: one finite number for each slot, at least one; unit and sign are the holder's.

    Raises:
        ControllerError: no slot, no length, or a value that is no finite number.
    """

    start_ns: int
    slot_s: int
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.slot_s < 1:
            raise ControllerError(f"slot_s: found {self.slot_s}, expected 1 or more")
        if not self.values:
            raise ControllerError("a series without a value")
        for number, value in enumerate(self.values):
            if not isfinite(value):
                raise ControllerError(f"values[{number}]: found {value}, expected a finite number")

    @property
    def end_ns(self) -> int:
        """End of the last slot, ns since 1970 UTC."""
        return self.start_ns + len(self.values) * self.slot_s * NS_PER_S

    def at(self, time_ns: int) -> float | None:
        """Returns the value of the slot that holds a moment; None outside the series."""
        at = (time_ns - self.start_ns) // (self.slot_s * NS_PER_S)
        return self.values[at] if 0 <= at < len(self.values) else None

    def resampled(self, slot_s: int) -> Series:
        """Returns the same course in other slots: longer ones by their mean, shorter ones by holding.

        Args:
            slot_s: a divisor or a multiple of ``slot_s``.

        Raises:
            ControllerError: neither divides the other, or the slots do not fill whole longer ones.
        """
        if slot_s == self.slot_s:
            return self
        if slot_s >= 1 and self.slot_s % slot_s == 0:
            times = self.slot_s // slot_s
            return Series(self.start_ns, slot_s, tuple(v for v in self.values for _ in range(times)))
        if slot_s < 1 or slot_s % self.slot_s or len(self.values) % (slot_s // self.slot_s):
            raise ControllerError(
                f"{len(self.values)} slots of {self.slot_s} s do not fill slots of {slot_s} s"
            )
        count = slot_s // self.slot_s
        groups = zip(*[iter(self.values)] * count, strict=True)
        return Series(self.start_ns, slot_s, tuple(sum(group) / count for group in groups))

    def window(self, start_ns: int, slots: int) -> Series:
        """Returns consecutive slots.

        Args:
            start_ns: start of the first; a slot of this series begins there.
            slots: how many, >= 1.

        Raises:
            ControllerError: the series does not hold all of them, or no slot begins there.
        """
        first, rest = divmod(start_ns - self.start_ns, self.slot_s * NS_PER_S)
        if rest or first < 0 or slots < 1 or first + slots > len(self.values):
            raise ControllerError(f"{slots} slots from {start_ns} ns: not within the series")
        return Series(start_ns, self.slot_s, self.values[first : first + slots])


def day_start_ns(time_ns: int) -> int:
    """Returns the start of the UTC day that holds a moment; a day is 1,440 minutes from there."""
    return time_ns - time_ns % (DAY_S * NS_PER_S)
