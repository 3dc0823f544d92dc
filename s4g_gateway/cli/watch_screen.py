"""The live table of ``s4g watch``, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from s4g_gateway.cli.lines import age_text, value_text
from s4g_gateway.cli.watched import Update, Watched
from s4g_gateway.model import quality as q

_STYLES = {q.GOOD: "", q.QUESTIONABLE: "yellow", q.RESERVED: "red", q.INVALID: "red"}
_COUNTERS_SHOWN = 6


def show(watched: Watched, updates: Iterable[Update]) -> None:
    """Draws until the updates end or the user presses Ctrl-C."""
    console = Console()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        try:
            for update in updates:
                watched.take(update)
                live.update(screen(watched, console.height), refresh=True)
        except KeyboardInterrupt:
            return


def screen(watched: Watched, height: int) -> RenderableType:
    """Returns one picture.

    Args:
        watched: what to draw.
        height: lines there are; points that do not fit are counted, not drawn.
    """
    connectors = watched.status.get("connectors", ())
    # heading, column heads, blank, connectors' heads, a line to say what is missing
    room = max(height - len(connectors) - 6, 3)
    references = watched.references()
    shown = references if len(references) <= room else references[: room - 1]
    table = Table(box=None, pad_edge=False, expand=True)
    for name, justify in (("reference", "left"), ("value", "right"), ("unit", "left"), ("quality", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    for reference in shown:
        point = watched.point(reference)
        style = _STYLES[q.validity(point["quality"])]
        cells = (reference, value_text(point["value"]), point["unit"], q.describe(point["quality"]))
        table.add_row(*(Text(cell) for cell in cells), Text(age_text(point["age_s"])), style=style)
    parts: list[RenderableType] = [_heading(watched, len(references)), table]
    if len(shown) < len(references):
        parts.append(Text(f"... and {len(references) - len(shown)} more; narrow with --match", style="dim"))
    parts += [Text(""), _connectors(connectors)]
    return Group(*parts)


def _heading(watched: Watched, points: int) -> Text:
    status = watched.status
    database = status.get("database", {})
    facts = [
        f"up {age_text(status.get('uptime_s', 0.0))}",
        f"{points} points",
        f"{database.get('updates_total', 0):.0f} updates",
        f"{len(status.get('holds', {}))} set-points in force",
    ]
    return Text.assemble((str(status.get("name", "")), "bold"), "  ", "  ".join(facts))


def _connectors(connectors: Iterable[Any]) -> Table:
    table = Table(box=None, pad_edge=False, expand=True)
    for name in ("connector", "type", "state", "restarts", "counters, last error"):
        table.add_column(name, no_wrap=True)
    for entry in connectors:
        counters = [f"{name} {value:g}" for name, value in list(entry["counters"].items())[:_COUNTERS_SHOWN]]
        words = [*counters, entry["last_error"]] if entry["last_error"] else counters
        style = "" if entry["state"] == "running" else "red"
        cells = (entry["name"], entry["type"], entry["state"], str(entry["restarts"]), "  ".join(words))
        table.add_row(*(Text(value_text(cell)) for cell in cells), style=style)
    return table
