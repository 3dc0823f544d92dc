"""Reading and checking one data file of the catalogue."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn

import msgspec

from s4g_gateway.errors import ModelError
from s4g_gateway.interfaces._variable import VariableEntry, read_variable
from s4g_gateway.interfaces.description import (
    ANSWER_SUFFIX,
    Carrier,
    Direction,
    FilledBy,
    Interface,
    Kind,
    Message,
    Period,
    PeriodKind,
    Variable,
    interface_slug,
)
from s4g_gateway.interfaces.errors import CatalogueError

_ID = re.compile(r"[A-Za-z][A-Za-z0-9-]*#[A-Za-z][A-Za-z0-9-]*\Z")
_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_LOGICAL_DEVICE = re.compile(r"[A-Z]+1\Z")

# Which of min_s, max_s and slot_s each kind of period has.
_PERIOD_FIELDS = {
    PeriodKind.PERIODIC: {"min_s", "max_s"},
    PeriodKind.AT_LEAST: {"max_s"},
    PeriodKind.PACKAGE: {"min_s", "max_s", "slot_s"},
    PeriodKind.EVENT: set(),
    PeriodKind.ON_REQUEST: set(),
    PeriodKind.VARIABLE: set(),
}


class _PeriodEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    kind: PeriodKind
    min_s: float | None = None
    max_s: float | None = None
    slot_s: float | None = None
    or_event: bool = False
    advised_min_s: float | None = None
    advised_max_s: float | None = None


class _MessageEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    slug: str
    kind: Kind
    title: str
    description: str
    direction: str
    directions: tuple[tuple[str, str], ...]
    periodicity: str
    period: _PeriodEntry
    per_device: str = ""
    open: bool = False
    variable: tuple[VariableEntry, ...] = ()


class _FilledByEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    standard: str
    standard_source: str = ""
    decision: str
    marked_as_ours: bool
    messages_of: str = ""
    replace: dict[str, str] = {}


class _FileEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    id: str
    number: int | None = None
    section: str
    table: str = ""
    summary: str
    information_models: tuple[str, ...] = ()
    filled_by: _FilledByEntry | None = None
    message: tuple[_MessageEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class FileRules:
    """Raises findings of one file."""

    file: str

    def fail(self, key: str, detail: str) -> NoReturn:
        """Raises a CatalogueError for this file."""
        raise CatalogueError(self.file, key, detail)

    def require(self, condition: bool, key: str, detail: str) -> None:
        """Raises a CatalogueError unless the condition holds."""
        if not condition:
            self.fail(key, detail)


@dataclass(frozen=True, slots=True)
class InterfaceFile:
    """One file as read: the interface, and the names to replace in messages it takes over."""

    file: str
    interface: Interface
    replace: Mapping[str, str] = field(default_factory=dict)


def read_file(file: str, text: str) -> InterfaceFile:
    """Reads one data file.

    Args:
        file: its name, ``<slug>.toml``.
        text: its content.

    Returns:
        The interface, without messages taken over from another one.

    Raises:
        CatalogueError: the first finding, with file and key.
    """
    rules = FileRules(file)
    try:
        entry = msgspec.convert(tomllib.loads(text), _FileEntry)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(file, "(file)", f"no TOML: {error}") from error
    except msgspec.ValidationError as error:
        detail, _, path = str(error).rpartition(" - at `$")
        key = path.rstrip("`").removeprefix(".") if detail else "(file)"
        raise CatalogueError(file, key, detail or str(error)) from error
    rules.require(_ID.match(entry.id) is not None, "id", f"found {entry.id!r}, expected Name#Name")
    slug = interface_slug(entry.id)
    rules.require(file == f"{slug}.toml", "id", f"{entry.id} belongs into {slug}.toml")
    rules.require(bool(entry.table or entry.filled_by), "filled_by", "missing where there is no D3.1 table")
    ends = tuple(entry.id.split("#"))
    messages: list[Message] = []
    for position, message in enumerate(entry.message):
        key = f"message[{position}]"
        messages.append(_message(rules, key, message, slug, ours=not entry.table))
        names = {message.directions[0][0], message.directions[0][1]}
        rules.require(names <= set(ends), f"{key}.directions", f"first hop {sorted(names)} leaves {entry.id}")
    slugs = [message.slug for message in messages]
    for position, name in enumerate(slugs):
        rules.require(name not in slugs[:position], f"message[{position}].slug", f"{name!r} stands twice")
    filled = entry.filled_by
    interface = Interface(
        id=entry.id,
        slug=slug,
        number=entry.number,
        section=entry.section,
        table=entry.table,
        summary=entry.summary,
        information_models=entry.information_models,
        filled_by=None if filled is None else _filled_by(filled),
        messages=tuple(messages),
    )
    return InterfaceFile(file, interface, filled.replace if filled else {})


def _filled_by(entry: _FilledByEntry) -> FilledBy:
    return FilledBy(
        standard=entry.standard,
        standard_source=entry.standard_source,
        decision=entry.decision,
        messages_of=entry.messages_of,
        marked_as_ours=entry.marked_as_ours,
    )


def _message(rules: FileRules, key: str, entry: _MessageEntry, slug: str, *, ours: bool) -> Message:
    good = _SLUG.match(entry.slug) is not None and not entry.slug.endswith(ANSWER_SUFFIX)
    rules.require(
        good, f"{key}.slug", f"found {entry.slug!r}, expected lower-case words, not ending in -answer"
    )
    rules.require(
        entry.open is not bool(entry.variable),
        f"{key}.variable",
        "expected for a message that is not open, only",
    )
    directions = _directions(rules, key, entry)
    variables: list[Variable] = []
    seen: dict[str, str] = {}
    for position, item in enumerate(entry.variable):
        at = f"{key}.variable[{position}]"
        try:
            variable = read_variable(item)
        except ModelError as error:
            raise CatalogueError(rules.file, at, str(error)) from error
        name = f"{variable.device}/{variable.name}"
        if variable.carrier is Carrier.TIME:
            name = "(time)"
        rules.require(name not in seen, f"{at}.name", f"{name!r} is the name of {seen.get(name)} too")
        seen[name] = at
        variables.append(variable)
    _check_points(rules, key, variables)
    commanded = any(variable.carrier is Carrier.COMMAND for variable in variables)
    rules.require(
        not commanded or entry.kind is Kind.COMMAND, f"{key}.kind", "expected command, as a variable is cmd.*"
    )
    if entry.per_device:
        devices = {variable.device for variable in variables if variable.carrier is Carrier.RECORD}
        rules.require(
            devices == {entry.per_device} and _LOGICAL_DEVICE.match(entry.per_device) is not None,
            f"{key}.per_device",
            f"found {entry.per_device!r}, expected its variables' one device: {sorted(devices)}",
        )
    return Message(
        interface=slug,
        slug=entry.slug,
        kind=entry.kind,
        title=entry.title,
        description=entry.description,
        direction_text=entry.direction,
        directions=directions,
        period=_period(rules, key, entry),
        variables=tuple(variables),
        per_device=entry.per_device,
        open=entry.open,
        ours=ours,
    )


def _directions(rules: FileRules, key: str, entry: _MessageEntry) -> tuple[Direction, ...]:
    hops = entry.directions
    rules.require(bool(hops), f"{key}.directions", "empty, expected [sender, receiver] at least once")
    for first, second in pairwise(hops):
        rules.require(
            first[1] == second[0], f"{key}.directions", f"{second[0]} sends on what {first[1]} received"
        )
    chain = [hops[0][0], *(hop[1] for hop in hops)]
    printed = [part.strip().casefold() for part in entry.direction.split("→")]
    # D3.1 shortens names (GUI for GUI-RU) and changes their case (GESSCON).
    same = len(printed) == len(chain) and all(
        name.casefold().startswith(part) and part for name, part in zip(chain, printed, strict=True)
    )
    rules.require(same, f"{key}.direction", f"{entry.direction!r} does not say {' → '.join(chain)}")
    return tuple(Direction(sender=sender, receiver=receiver) for sender, receiver in hops)


def _period(rules: FileRules, key: str, entry: _MessageEntry) -> Period:
    period = entry.period
    given = {name for name in ("min_s", "max_s", "slot_s") if getattr(period, name) is not None}
    expected = _PERIOD_FIELDS[period.kind]
    rules.require(
        given == expected, f"{key}.period", f"{period.kind} has {sorted(given)}, expected {sorted(expected)}"
    )
    for low, high in ((period.min_s, period.max_s), (period.advised_min_s, period.advised_max_s)):
        ordered = (low is None or low > 0) and (high is None or high > 0) and (low or 0) <= (high or low or 0)
        rules.require(ordered, f"{key}.period", f"{low} to {high} s, expected positive and in order")
    return Period(text=entry.periodicity, **msgspec.structs.asdict(period))


def _check_points(rules: FileRules, key: str, variables: list[Variable]) -> None:
    """Two variables share a point only as the two halves of a signed one."""
    owners: dict[str, list[Variable]] = {}
    for variable in variables:
        if variable.point is not None:
            owners.setdefault(variable.point, []).append(variable)
    for point, owned in owners.items():
        halves = [variable.sign for variable in owned if variable.half]
        good = sorted(halves) == [-1, 1] if len(owned) > 1 or halves else True
        rules.require(
            good and (len(owned) < 2 or len(halves) == len(owned)),
            f"{key}.variable",
            f"{point} stands {len(owned)} times, expected once, or twice as halves of sign 1 and -1",
        )
