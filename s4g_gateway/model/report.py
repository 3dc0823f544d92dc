"""Report: the values of one DataSet at one moment, in columns beside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import compress

from s4g_gateway.errors import ModelError
from s4g_gateway.model.data_set import DataSet, Value
from s4g_gateway.model.timestamp import TimeQuality


class Reason(Enum):
    """Why a Report was made."""

    INTEGRITY = "integrity"
    DATA_CHANGE = "data-change"
    GENERAL_INTERROGATION = "general-interrogation"


@dataclass(frozen=True, slots=True)
class Report:
    """The values of one DataSet.

    Attributes:
        data_set: names, units and types of the columns.
        values: one value per member; None where there is none.
        quality: one IEC 61850 quality per member (``s4g_gateway.model.quality``).
        time_ns: one timestamp for all members, or one per member; ns since 1970 UTC, of the last change of
            value or quality.
        reason: why it was made.
        included: one byte per member, 1 where the member belongs to this Report; None includes all. The
            columns are full either way.
        time_quality: how good the clock is.
    """

    data_set: DataSet
    values: tuple[Value, ...]
    quality: tuple[int, ...]
    time_ns: int | tuple[int, ...]
    reason: Reason = Reason.INTEGRITY
    included: bytes | None = None
    time_quality: TimeQuality = TimeQuality.SYNCHRONISED

    def times_ns(self) -> tuple[int, ...]:
        """Returns one timestamp per member."""
        times = self.time_ns
        return (times,) * len(self.values) if isinstance(times, int) else times

    def positions(self) -> range | tuple[int, ...]:
        """Returns the positions of the included members, in order."""
        everything = range(len(self.values))
        return everything if self.included is None else tuple(compress(everything, self.included))


def check_report(report: Report) -> None:
    """Checks the shape of a Report that comes from outside the product's own decoders.

    Raises:
        ModelError: a column is not as long as the DataSet, or a value is no number (NaN).
    """
    size = len(report.data_set)
    for name in ("values", "quality", "time_ns", "included"):
        column = getattr(report, name)
        if column is not None and not isinstance(column, int) and len(column) != size:
            raise ModelError(f"Report of {report.data_set.name!r}: {len(column)} {name}, expected {size}")
    for member, value in zip(report.data_set.members, report.values, strict=True):
        if value != value:  # noqa: PLR0124 - NaN is the one value unlike itself
            raise ModelError(f"{member.reference} is NaN; expected None with a quality that says why")
