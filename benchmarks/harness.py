"""What the benchmarks share: rows, fair timing of two things side by side, a table, a JSON file.

Ours and the peer take turns within one run, so that whatever else the machine does hits both; the ratio is the
median of the ratios of the turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One line of a benchmark.

    Attributes:
        name: what was done.
        unit: of ``ours`` and ``peer``, such as ``records/s``.
        ours: our figure.
        peer: the peer's figure; None where there is none.
        peer_name: who or what the peer is; empty for none.
        ratio: ours / peer, median of the turns; None without a peer.
        target: bound on the ratio; None where the row is for information.
        at_most: True where the ratio must not exceed the target, False where it must reach it.
    """

    name: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None or self.ratio is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


def calls_per_second(function: Callable[[], object], seconds: float) -> float:
    """Times a function for about so many seconds."""
    count, elapsed = 1, 0.0
    while True:
        start = perf_counter()
        for _ in range(count):
            function()
        elapsed = perf_counter() - start
        if elapsed >= seconds:
            return count / elapsed
        count = max(count * 2, int(count * 1.1 * seconds / max(elapsed, 1e-9)))


def _timed(function: Callable[[], object], count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        function()
    return perf_counter() - start


def compare(
    name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    peer_name: str,
    unit: str,
    work: float,
    target: float | None = None,
    quick: bool = False,
) -> BenchRow:
    """Times two functions in turns.

    Args:
        name: what they do.
        ours: our way.
        peer: the peer's way.
        peer_name: who the peer is.
        unit: of the figures.
        work: how many units one call does.
        target: what ours / peer must reach.
        quick: about a tenth of the time, for a first look.
    """
    turns, seconds = (7, 0.02) if quick else (15, 0.1)
    our_count = max(1, round(calls_per_second(ours, seconds / 2) * seconds))
    peer_count = max(1, round(calls_per_second(peer, seconds / 2) * seconds))
    our_rates: list[float] = []
    peer_rates: list[float] = []
    for turn in range(turns):
        # who goes first changes every turn
        order = ((ours, our_count, our_rates), (peer, peer_count, peer_rates))
        for function, count, rates in order if turn % 2 else reversed(order):
            rates.append(count * work / _timed(function, count))
    return BenchRow(
        name=name,
        unit=unit,
        ours=median(our_rates),
        peer=median(peer_rates),
        peer_name=peer_name,
        ratio=median(a / b for a, b in zip(our_rates, peer_rates, strict=True)),
        target=target,
    )


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: Sequence[BenchRow]) -> str:
    """Returns the rows as a table for people."""
    head = ("what", "unit", "ours", "peer", "", "ratio", "target", "")
    lines = [head]
    for row in rows:
        target = "" if row.target is None else f"{'<=' if row.at_most else '>='} {row.target:g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        met = {True: "met", False: "MISSED", None: ""}[row.met]
        peer = _figure(row.peer)
        lines.append((row.name, row.unit, _figure(row.ours), peer, row.peer_name, ratio, target, met))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    right = {2, 3, 5}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def write_json(rows: Sequence[BenchRow], path: Path) -> None:
    """Writes the rows, whether each target is met, and on what they were measured."""
    document: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def main(description: str, rows: Callable[[bool], Sequence[BenchRow]]) -> None:
    """Command line of a benchmark: ``--quick``, ``--json FILE``; exit 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a first look in a tenth of the time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE, too")
    options = parser.parse_args()
    found = rows(options.quick)
    print(table(found))
    if options.json:
        write_json(found, options.json)
    sys.exit(any(row.met is False for row in found))
