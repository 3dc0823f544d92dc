"""Commands and their answers as lists of names and values, whatever format carries them.

A command is ``cmd.id``, ``cmd.ctlNum``, ``cmd.priority``, ``cmd.notAfter`` and at least one set-point; its
answer repeats ``cmd.id`` with ``cmd.accepted`` and ``cmd.addCause``. A name is ``<site>/cmd.<member>`` or
``<site>/<logical device>/<name>``; ``cmd.notAfter`` is in seconds since 1970 UTC, rounded to 1 us.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from s4g_gateway.interfaces.errors import CommandError
from s4g_gateway.model import NS_PER_S, AddCause, ControlAnswer, Value

Pair = tuple[str, Value]

MAX_SET_POINTS = 4320
"""Set-points of one command: three arrays of 1440 slots."""

_PREFIX = "cmd."
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
_COMMAND = ("id", "ctlNum", "priority", "notAfter")
_ANSWER = ("id", "accepted", "addCause")
_CAUSES = {cause.name.lower().replace("_", "-"): cause for cause in AddCause}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command as it travels.

    Attributes:
        command_id: identity by which a repeat and the answer are known; 1 to 64 of ``A-Za-z0-9._:-``.
        ctl_num: 0 to 255.
        priority: 1 (strongest) to 255.
        not_after_ns: when the set-points lapse, ns since 1970 UTC.
        set_points: path (``ESS1/DWGC1.WSpt``) and wire value; at least one.
        times_ns: start of each set-point, ns since 1970 UTC; None where all hold at once.

    Raises:
        CommandError: a member breaks its limits.
    """

    command_id: str
    ctl_num: int
    priority: int
    not_after_ns: int
    set_points: tuple[Pair, ...]
    times_ns: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _check_id(self.command_id)
        _check_limits("ctlNum", self.ctl_num, 0, 255)
        _check_limits("priority", self.priority, 1, 255)
        if not 0 < self.not_after_ns < 2**63:
            raise CommandError(
                f"cmd.notAfter: found {self.not_after_ns} ns, expected more than 0, below 2**63"
            )
        if not 1 <= len(self.set_points) <= MAX_SET_POINTS:
            raise CommandError(f"{len(self.set_points)} set-points, expected 1 to {MAX_SET_POINTS}")
        if self.times_ns is not None and len(self.times_ns) != len(self.set_points):
            raise CommandError(f"{len(self.times_ns)} times for {len(self.set_points)} set-points")
        seen: set[tuple[str, int]] = set()
        for number, (path, value) in enumerate(self.set_points):
            if value is None:
                raise CommandError(f"{path}: no value")
            key = (path, 0 if self.times_ns is None else self.times_ns[number])
            if key in seen:
                raise CommandError(f"{path} stands twice at one time")
            seen.add(key)

    def to_pairs(self, *, site: str = "") -> tuple[Pair, ...]:
        """Returns the command as names and values, set-points last and in order.

        Args:
            site: put before every name; empty for none.
        """
        head = _head(site)
        seconds = round(self.not_after_ns / 1000) / 1_000_000
        return (
            (f"{head}cmd.id", self.command_id),
            (f"{head}cmd.ctlNum", self.ctl_num),
            (f"{head}cmd.priority", self.priority),
            (f"{head}cmd.notAfter", seconds),
            *((f"{head}{path}", value) for path, value in self.set_points),
        )

    @classmethod
    def from_pairs(
        cls, pairs: Iterable[Pair], *, site: str = "", times_ns: Sequence[int] | None = None
    ) -> Command:
        """Reads a command.

        Args:
            pairs: names and values.
            site: what every name starts with; empty for nothing.
            times_ns: one time per pair, of which those of set-points count; None where none was given.

        Raises:
            CommandError: a member is missing, repeated, unknown or wrong, or a name is of another site.
        """
        members, rest = _split(pairs, site, _COMMAND, times_ns)
        not_after_s = members["notAfter"]
        if isinstance(not_after_s, bool) or not isinstance(not_after_s, (int, float)):
            raise CommandError(f"cmd.notAfter: found {not_after_s!r}, expected seconds since 1970")
        if not math.isfinite(not_after_s) or not 0 < not_after_s < 2**63 / NS_PER_S:
            raise CommandError(f"cmd.notAfter: found {not_after_s!r}, expected seconds since 1970")
        return cls(
            command_id=_text(members, "id"),
            ctl_num=_integer(members, "ctlNum"),
            priority=_integer(members, "priority"),
            not_after_ns=round(not_after_s * 1_000_000) * 1000,
            set_points=tuple(pair for pair, _ in rest),
            times_ns=None if times_ns is None else tuple(time_ns for _, time_ns in rest),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswer:
    """What became of a command.

    Attributes:
        command_id: the command's.
        accepted: true when it was carried out.
        add_cause: why not; NONE when accepted.

    Raises:
        CommandError: the id breaks its limits, or an accepted command has a cause.
    """

    command_id: str
    accepted: bool
    add_cause: AddCause = AddCause.NONE

    def __post_init__(self) -> None:
        _check_id(self.command_id)
        if self.accepted and self.add_cause is not AddCause.NONE:
            raise CommandError(f"cmd.addCause: found {self.add_cause.name}, expected NONE when accepted")

    @classmethod
    def of(cls, command_id: str, answer: ControlAnswer) -> CommandAnswer:
        """Returns the answer to a command from that to its Control."""
        return cls(command_id=command_id, accepted=answer.accepted, add_cause=answer.add_cause)

    def to_pairs(self, *, site: str = "") -> tuple[Pair, ...]:
        """Returns the answer as names and values; the cause in lower case with hyphens.

        Args:
            site: put before every name; empty for none.
        """
        head = _head(site)
        return (
            (f"{head}cmd.id", self.command_id),
            (f"{head}cmd.accepted", self.accepted),
            (f"{head}cmd.addCause", self.add_cause.name.lower().replace("_", "-")),
        )

    @classmethod
    def from_pairs(cls, pairs: Iterable[Pair], *, site: str = "") -> CommandAnswer:
        """Reads an answer.

        Args:
            pairs: names and values.
            site: what every name starts with; empty for nothing.

        Raises:
            CommandError: a member is missing, repeated, unknown or wrong, or there are other names.
        """
        members, rest = _split(pairs, site, _ANSWER, None)
        if rest:
            raise CommandError(f"{rest[0][0][0]}: an answer has no set-points")
        accepted = members["accepted"]
        if not isinstance(accepted, bool):
            raise CommandError(f"cmd.accepted: found {accepted!r}, expected a boolean")
        cause = _text(members, "addCause")
        if cause not in _CAUSES:
            raise CommandError(f"cmd.addCause: found {cause!r}, expected one of {', '.join(_CAUSES)}")
        return cls(command_id=_text(members, "id"), accepted=accepted, add_cause=_CAUSES[cause])


def _head(site: str) -> str:
    return f"{site}/" if site else ""


def _split(
    pairs: Iterable[Pair], site: str, expected: Sequence[str], times_ns: Sequence[int] | None
) -> tuple[dict[str, Value], list[tuple[Pair, int]]]:
    """Returns the cmd. members, each once, and the other pairs with their times."""
    head = _head(site)
    members: dict[str, Value] = {}
    rest: list[tuple[Pair, int]] = []
    listed = tuple(pairs)
    if times_ns is not None and len(times_ns) != len(listed):
        raise CommandError(f"{len(times_ns)} times for {len(listed)} names")
    for number, (name, value) in enumerate(listed):
        if not name.startswith(head):
            raise CommandError(f"{name}: expected a name that starts with {head}")
        path = name.removeprefix(head)
        if not path.startswith(_PREFIX):
            rest.append(((path, value), 0 if times_ns is None else times_ns[number]))
            continue
        member = path.removeprefix(_PREFIX)
        if member not in expected:
            raise CommandError(f"{path} is unknown; expected cmd.{', cmd.'.join(expected)}")
        if member in members:
            raise CommandError(f"{path} stands twice")
        members[member] = value
    for member in expected:
        if member not in members:
            raise CommandError(f"cmd.{member} is missing")
    return members, rest


def _text(members: dict[str, Value], member: str) -> str:
    value = members[member]
    if not isinstance(value, str):
        raise CommandError(f"cmd.{member}: found {value!r}, expected a text")
    return value


def _integer(members: dict[str, Value], member: str) -> int:
    value = members[member]
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise CommandError(f"cmd.{member}: found {value!r}, expected an integer")


def _check_id(command_id: str) -> None:
    if _ID.match(command_id) is None:
        raise CommandError(f"cmd.id: found {command_id!r}, expected 1 to 64 of A-Z a-z 0-9 . _ : -")


def _check_limits(member: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise CommandError(f"cmd.{member}: found {value}, expected {low} to {high}")
