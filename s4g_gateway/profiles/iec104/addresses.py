"""Automatic information object addresses that never move.

They live in a text file beside ``site.toml``. A row, once written, keeps its address for its point for ever:
when the point goes, the address stays reserved for it; when the point comes back, it has its old address.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from s4g_gateway.codecs.iec104.identifiers import MAX_OBJECT_ADDRESS
from s4g_gateway.errors import ConfigError, Problem
from s4g_gateway.profiles.iec104.defaults import load_defaults

MONITOR: Final = "monitor"
COMMAND: Final = "command"
_COLUMNS: Final = ["common_address", "ioa", "direction", "reference"]
_HEADING: Final = (
    "# Object addresses of this site, written by s4g. Never renumber: the control centre knows them.\n"
    "# The row of a point that is gone reserves its address. Delete a row only if the centre agrees.\n"
)
MAX_COMMON_ADDRESS: Final = 65534
_IOA_BITS: Final = 24


@dataclass(frozen=True, slots=True, order=True)
class AddressEntry:
    """One row: the address belongs to the point for ever.

    Attributes:
        common_address: 1 to 65534.
        ioa: 1 to 16777215.
        direction: ``monitor`` or ``command``.
        reference: the point.
    """

    common_address: int
    ioa: int
    direction: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAddress:
    """A point that needs an address.

    Attributes:
        common_address: its station.
        direction: ``monitor`` or ``command``.
        reference: the point.
        kind: which automatic range it belongs to (``defaults.KINDS``).
        ioa: the address that the configuration demands; None for automatic.
        key: where the configuration demands it, for the Problem.
    """

    common_address: int
    direction: str
    reference: str
    kind: str
    ioa: int | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What ``assign_addresses`` decided.

    Attributes:
        ioas: one address per wanted point, in order; 0 where a problem stands.
        entries: every row to keep: the old ones and the new ones, sorted.
        problems: collisions and addresses that do not exist; ``file`` is empty.
    """

    ioas: tuple[int, ...]
    entries: tuple[AddressEntry, ...]
    problems: tuple[Problem, ...]


def assign_addresses(wanted: Iterable[WantedAddress], existing: Iterable[AddressEntry]) -> Assignment:
    """Gives every point its address: the demanded one, else the one it had, else the next free one.

    Pure and stable: the same input gives the same result, and no address in ``existing`` ever goes to another
    point.
    """
    points = list(wanted)
    # Keyed by one number, valued with what is there anyway: sites have a hundred thousand points.
    owners: dict[int, AddressEntry | WantedAddress] = {}
    known: dict[tuple[int, str, str], int] = {}
    for entry in sorted(existing):
        owners[_place(entry.common_address, entry.ioa)] = entry
        known.setdefault((entry.common_address, entry.direction, entry.reference), entry.ioa)
    problems: list[Problem] = []
    ioas = [0] * len(points)
    # Demanded addresses first: an automatic one gives way, never the other way round.
    for position, point in enumerate(points):
        if point.ioa is None:
            continue
        other = owners.setdefault(_place(point.common_address, point.ioa), point)
        if (other.direction, other.reference) == (point.direction, point.reference):
            ioas[position] = point.ioa
        else:
            found = f"{point.ioa}, which belongs to {other.reference} ({other.direction})"
            expected = "an address that no other point has or had"
            problems.append(Problem(file="", key=point.key, found=found, expected=expected))
    next_free: dict[tuple[int, str], int] = {}
    for position, point in enumerate(points):
        if point.ioa is not None:
            continue
        ioa = known.get((point.common_address, point.direction, point.reference)) if known else None
        if ioa is None:
            ioa = _free(point, owners, next_free)
            if ioa > MAX_OBJECT_ADDRESS:
                found = f"no free address for {point.reference}"
                expected = f"at most {MAX_OBJECT_ADDRESS} at a common address"
                problems.append(Problem(file="", key=point.key, found=found, expected=expected))
                continue
            owners[_place(point.common_address, ioa)] = point
        ioas[position] = ioa
    entries = tuple(
        owner
        if isinstance(owner, AddressEntry)
        else AddressEntry(place >> _IOA_BITS, place & MAX_OBJECT_ADDRESS, owner.direction, owner.reference)
        for place, owner in sorted(owners.items(), key=itemgetter(0))
    )
    return Assignment(tuple(ioas), entries, tuple(problems))


def _place(common_address: int, ioa: int) -> int:
    return common_address << _IOA_BITS | ioa


def _free(
    point: WantedAddress,
    owners: Mapping[int, AddressEntry | WantedAddress],
    next_free: dict[tuple[int, str], int],
) -> int:
    defaults = load_defaults()
    span = defaults.ranges[point.kind]
    cursor = (point.common_address, point.kind)
    ioa = next_free.get(cursor, span.start)
    while _place(point.common_address, ioa) in owners or span.stop <= ioa < defaults.overflow:
        ioa = defaults.overflow if span.stop <= ioa < defaults.overflow else ioa + 1
    next_free[cursor] = ioa + 1
    return ioa


def parse_ioa_file(text: str, file: str) -> tuple[AddressEntry, ...]:
    """Reads the address file.

    Args:
        text: its content; empty for a site without one yet.
        file: its path, for the problems.

    Raises:
        ConfigError: every malformed row, with its line.
    """
    problems: list[Problem] = []
    entries: dict[tuple[int, int], AddressEntry] = {}

    def wrong(line: int, found: str, expected: str) -> None:
        problems.append(Problem(file=file, key=f"line {line}", found=found, expected=expected))

    columns_seen = False
    for line, content in enumerate(text.splitlines(), start=1):
        if not content.strip() or content.startswith("#"):
            continue
        row = [cell.strip() for cell in next(csv.reader([content]))]
        if not columns_seen:
            columns_seen = True
            if row != _COLUMNS:
                wrong(line, content, ",".join(_COLUMNS))
            continue
        if len(row) != len(_COLUMNS):
            wrong(line, f"{len(row)} cells", f"{len(_COLUMNS)}: {', '.join(_COLUMNS)}")
            continue
        common_address = _number(row[0], MAX_COMMON_ADDRESS)
        ioa = _number(row[1], MAX_OBJECT_ADDRESS)
        if common_address is None:
            wrong(line, f"common_address {row[0]!r}", f"1 to {MAX_COMMON_ADDRESS}")
        elif ioa is None:
            wrong(line, f"ioa {row[1]!r}", f"1 to {MAX_OBJECT_ADDRESS}")
        elif row[2] not in (MONITOR, COMMAND):
            wrong(line, f"direction {row[2]!r}", f"{MONITOR} or {COMMAND}")
        elif not row[3]:
            wrong(line, "no reference", "an ObjectReference")
        elif (common_address, ioa) in entries:
            other = entries[common_address, ioa].reference
            wrong(line, f"address {common_address}/{ioa} again, it belongs to {other}", "each address once")
        else:
            entries[common_address, ioa] = AddressEntry(common_address, ioa, row[2], row[3])
    if problems:
        raise ConfigError(problems)
    return tuple(sorted(entries.values()))


def _number(text: str, maximum: int) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > 8:
        return None
    number = int(text)
    return number if 1 <= number <= maximum else None


def render_ioa_file(entries: Iterable[AddressEntry]) -> str:
    """Returns the address file's content, sorted by address, so that a version control shows each change."""
    out = io.StringIO()
    out.write(_HEADING)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in sorted(entries):
        writer.writerow((entry.common_address, entry.ioa, entry.direction, entry.reference))
    return out.getvalue()
