"""``s4g dlms``: what DLMS meters tell beside their points, through a running gateway."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from s4g_gateway.cli.lazy import LazyGroup
from s4g_gateway.cli.target import SITE_FILE, socket_for, socket_option

_TIMEOUT_S = 150.0
_NS_PER_S = 1_000_000_000
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]


@click.group(
    cls=LazyGroup, lazy={"profile": ("s4g_gateway.cli.dlms:profile", "Print the load profile of a meter.")}
)
def dlms() -> None:
    """Ask DLMS/COSEM meters of a running gateway for more than points.

    \b
    Examples:
      s4g dlms profile site.toml meter --from 2026-06-01 --to 2026-06-02
    """


@click.command()
@click.argument("site", type=SITE_FILE)
@click.argument("device")
@click.option("--from", "start", type=click.DateTime(_FORMATS), required=True, help="First time, UTC.")
@click.option("--to", "end", type=click.DateTime(_FORMATS), required=True, help="Last time, UTC, included.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="What to print.",
)
@socket_option
def profile(
    *, site: Path, device: str, start: datetime, end: datetime, form: str, socket_path: Path | None
) -> None:
    """Print the load profile of a DLMS meter, read now, by range of time.

    DEVICE is the meter's name in the site: the connector's, followed by -NAME where the meter has one. Times are UTC.
    Values are scaled, in the unit of the heading, in the meter's own sign.

    \b
    Examples:
      s4g dlms profile site.toml meter --from 2026-06-01 --to 2026-06-02
      s4g dlms profile site.toml grid-m1 --from 2026-06-01T10:00 --to 2026-06-01T12:00 --format json
    """
    from s4g_gateway.runtime.local_client import LocalClient

    if end < start:
        raise click.BadParameter("expected a time not before --from", param_hint="--to")
    times = {"from_ns": _ns(start), "to_ns": _ns(end)}
    with LocalClient(socket_for(site, socket_path), timeout_s=_TIMEOUT_S) as client:
        found = client.ask("ask", device=device, question="profile", body=times)["answer"]
    click.echo(json.dumps(found) if form == "json" else _csv(found), nl=form == "json")


def _ns(moment: datetime) -> int:
    return round(moment.replace(tzinfo=UTC).timestamp()) * _NS_PER_S


def _csv(found: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        f"{column['obis']} {column['unit']}".rstrip() if column["attribute"] == 2 else
        f"{column['obis']}/{column['attribute']}"
        for column in found["columns"]
    )  # fmt: skip
    writer.writerows(found["rows"])
    return text.getvalue()
