"""``s4g watch``: the points of a running gateway, live."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from s4g_gateway.cli.target import SITE_FILE, socket_for, socket_option

if TYPE_CHECKING:
    from s4g_gateway.cli.watched import Watched


@click.command()
@click.argument("site", metavar="[SITE.TOML]", type=SITE_FILE, envvar="S4G_SITE", default=Path("site.toml"))
@socket_option
@click.option("--match", multiple=True, metavar="PATTERN", help="Only references that fit, such as 'ESS1/*'.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Shortest time between two updates.",
)
@click.option("--once", is_flag=True, help="Show the present values and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per point and line, as they change.")
def watch(
    site: Path,
    socket_path: Path | None,
    match: tuple[str, ...],
    interval_s: float,
    *,
    once: bool,
    as_json: bool,
) -> None:
    """Show the points of a running gateway: reference, value, unit, quality, age.

    On a terminal it is a table that keeps itself up to date, with the connectors' state and counters below; Ctrl-C
    ends it. Otherwise, or without the extra s4g-gateway[screen], it is one line per change.

    \b
    Examples:
      s4g watch
      s4g watch mysite/site.toml --match 'ESS1/*' --match 'PCC1/*'
      s4g watch --once --json > values.jsonl
    """
    from s4g_gateway.cli.watched import Watched
    from s4g_gateway.runtime.local_client import LocalClient

    with LocalClient(socket_for(site, socket_path)) as client:
        updates = client.watch(*match, interval_s=interval_s, status=True)
        watched = Watched()
        if not as_json and not once and sys.stdout.isatty():
            try:
                from s4g_gateway.cli.watch_screen import show
            except ModuleNotFoundError as error:
                if error.name is None or not error.name.startswith("rich"):
                    raise
                click.echo("plain lines; for a table: pip install 's4g-gateway[screen]'", err=True)
            else:
                show(watched, updates)
                return
        for update in updates:
            _print(watched, watched.take(update), as_json=as_json)
            if once:
                return


def _print(watched: Watched, changed: list[str], *, as_json: bool) -> None:
    from s4g_gateway.cli.lines import point_line

    for reference in changed:
        point = watched.point(reference)
        click.echo(json.dumps(point) if as_json else point_line(point))
    sys.stdout.flush()
