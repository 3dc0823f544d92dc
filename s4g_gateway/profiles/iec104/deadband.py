"""Holds back changes that are smaller than a point's deadband, column by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from s4g_gateway.model import Report, Value

Pick = Callable[[Sequence[Any]], Sequence[Any]]


def picker(positions: Sequence[int], size: int) -> Pick:
    """Returns the function that takes some members' cells out of a column of ``size`` members."""
    if positions == range(size):
        return lambda column: column
    if len(positions) == 1:
        only = positions[0]
        return lambda column: (column[only],)
    return itemgetter(*positions)


def stepwise(numbers: Sequence[int]) -> Sequence[int]:
    """Returns a range where the numbers count up one by one, which takes no memory; else a tuple."""
    counting = range(numbers[0], numbers[0] + len(numbers))
    return counting if list(counting) == list(numbers) else tuple(numbers)


class Deadband:
    """Remembers what was last sent of the members with a deadband.

    Args:
        members: (position, deadband in the point's unit, > 0), ascending, not empty.
        size: members of the DataSet.
    """

    __slots__ = ("_bands", "_pick", "_positions", "_quality", "_size", "_values")

    def __init__(self, members: Sequence[tuple[int, float]], size: int) -> None:
        self._size = size
        self._positions = stepwise([position for position, _ in members])
        self._pick = picker(self._positions, size)
        self._bands = tuple(band for _, band in members)
        self._values: Sequence[Value] = (None,) * len(members)
        self._quality: Sequence[int | None] = (None,) * len(members)

    def beyond(self, report: Report) -> bytes | None:
        """Returns which members go out: those of the Report that moved far enough or changed quality.

        Members without deadband go as the Report says; None is all. What is returned counts as sent.
        """
        values: Sequence[Any] = self._pick(report.values)
        quality: Sequence[int] = self._pick(report.quality)
        last: Sequence[Any] = self._values
        try:
            moved = [
                not -band < value - sent < band
                for value, sent, band in zip(values, last, self._bands, strict=True)
            ]
        except TypeError:  # a value is missing, now or before: that is a change of its own
            moved = [
                not (_is_number(value) and _is_number(sent) and -band < value - sent < band)
                for value, sent, band in zip(values, last, self._bands, strict=True)
            ]
        if quality != self._quality:
            moved = [
                far or now != before for far, now, before in zip(moved, quality, self._quality, strict=True)
            ]
        if report.included is not None:
            moved = [far and bool(one) for far, one in zip(moved, self._pick(report.included), strict=True)]
        if False not in moved:
            self._values, self._quality = values, quality
            return report.included
        self._values = tuple(now if far else sent for far, now, sent in zip(moved, values, last, strict=True))
        self._quality = tuple(
            now if far else before for far, now, before in zip(moved, quality, self._quality, strict=True)
        )
        if len(moved) == self._size:
            return bytes(moved)
        included = bytearray(report.included or b"\1" * self._size)
        for position, far in zip(self._positions, moved, strict=True):
            included[position] = far
        return bytes(included)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float)
