"""Is the site well? One answer for machines (``/health``) and one page for people (``/``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite
from typing import Any, Final

from s4g_gateway import __version__
from s4g_gateway.runtime.exposition import Freshness
from s4g_gateway.runtime.logs import redact_text

STALE_PER_DATA_SET: Final = 20
_STALE_SHOWN: Final = 200
_STYLE = (
    "body{font:16px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;"
    "color-scheme:light dark}table{border-collapse:collapse;width:100%}caption{text-align:left;"
    "font-weight:600;padding:1rem 0 .3rem}th,td{text-align:left;padding:.3rem .6rem;"
    "border-bottom:1px solid #8884;vertical-align:top}.ok{color:#0a7d33}.bad{color:#c62828}"
)


def health(status: Any, freshness: Sequence[Freshness]) -> dict[str, Any]:
    """Returns the site's health as JSON types.

    ``status`` is ``ok`` where every connector runs and no point is stale, ``failed`` where no connector
    runs, ``degraded`` in between.

    Args:
        status: the site's ``SiteStatus``.
        freshness: every DataSet.
    """
    running = [connector.state == "running" for connector in status.connectors]
    total = sum(sum(entry.validity.values()) for entry in freshness)
    good = sum(entry.validity.get("good", 0) for entry in freshness)
    stale = sum(entry.stale_points for entry in freshness)
    verdict = "ok" if all(running) and not stale else "degraded"
    if running and not any(running):
        verdict = "failed"
    return {
        "status": verdict,
        "site": status.name,
        "version": __version__,
        "uptime_s": round(status.uptime_s, 3),
        "points": total,
        "points_stale": stale,
        "points_not_good": total - good,
        "connectors": [
            {
                "name": connector.name,
                "type": connector.type,
                "section": connector.section,
                "state": str(connector.state),
                "restarts": connector.restarts,
                "last_error": redact_text(connector.last_error),
            }
            for connector in status.connectors
        ],
    }


def page(found: dict[str, Any], freshness: Iterable[Freshness]) -> bytes:
    """Returns the page for people; every text in it is escaped, it holds no script and no value of a point.

    Args:
        found: from ``health``.
        freshness: every DataSet, with the references of some stale points.
    """
    mood = "ok" if found["status"] == "ok" else "bad"
    connectors = [
        _row(
            entry["name"],
            entry["type"],
            entry["section"],
            entry["state"],
            entry["restarts"],
            entry["last_error"],
        )
        for entry in found["connectors"]
    ]
    sets: list[str] = []
    stale: list[str] = []
    for entry in freshness:
        age = f"{entry.age_s:.1f} s" if isfinite(entry.age_s) else "never"
        total, good = sum(entry.validity.values()), entry.validity.get("good", 0)
        sets.append(_row(entry.owner, entry.data_set, age, f"{good} of {total}"))
        stale += entry.stale
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(found['site'])}: {escape(found['status'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(found['site'])} <span class={mood}>{escape(found['status'])}</span></h1>",
        f"<p>S4G Gateway {escape(found['version'])}, up {found['uptime_s']:.0f} s</p>",
        f"<p>{found['points']} points, {found['points_stale']} stale</p>",
        f"<p>{found['points_not_good']} points are not good</p>",
        "<p><a href=/health>health as JSON</a>, <a href=/metrics>metrics</a></p>",
        _table("Connectors", ("Name", "Type", "Side", "State", "Restarts", "Last error"), connectors),
        _table("Freshness", ("Connector", "DataSet", "Confirmed ago", "Good points"), sets),
    ]
    if stale:
        rows = [_row(reference) for reference in stale[:_STALE_SHOWN]]
        parts.append(_table("Stale points", ("Reference",), rows))
        missing = found["points_stale"] - len(rows)
        if missing > 0:
            parts.append(f"<p>and {missing} more</p>")
    return "".join(parts).encode("utf-8", "replace")


def _row(*cells: object) -> str:
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"


def _table(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th scope=col>{escape(text)}</th>" for text in heads)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
