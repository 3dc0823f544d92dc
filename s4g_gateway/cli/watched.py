"""What a watch knows: the last values, told in snapshots and updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Update = Mapping[str, Any]


class Watched:
    """The points of a watch, in the gateway's order.

    Attributes:
        status: the site's last status, empty before the first.
    """

    def __init__(self) -> None:
        self.status: Mapping[str, Any] = {}
        self._points: dict[str, dict[str, Any]] = {}
        self._sets: list[Mapping[str, str]] = []
        self._ages_s: list[float | None] = []

    def take(self, update: Update) -> list[str]:
        """Takes a snapshot or an update.

        Returns:
            References of the points that it names.
        """
        if update["event"] == "snapshot":
            self._points.clear()
            self._sets = update["sets"]
        self._ages_s = update.get("ages_s", self._ages_s)
        self.status = update.get("status", self.status)
        for point in update["points"]:
            self._points.setdefault(point["reference"], {}).update(point)
        return [point["reference"] for point in update["points"]]

    def references(self) -> tuple[str, ...]:
        """Returns every reference, in order."""
        return tuple(self._points)

    def point(self, reference: str) -> dict[str, Any]:
        """Returns a point with its age and its connector."""
        point = self._points[reference]
        number = point["set"]
        found = {key: value for key, value in point.items() if key != "set"}
        return found | {"age_s": self._ages_s[number], "owner": self._sets[number]["owner"]}
