"""``s4g read``: points of a running gateway."""

from __future__ import annotations

import json
from pathlib import Path

import click

from s4g_gateway.cli.target import complete_reference, gateway_options, socket_for


@click.command()
@click.argument("references", nargs=-1, required=True, metavar="REF...", shell_complete=complete_reference)
@gateway_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object per point and line.")
def read(references: tuple[str, ...], site: Path, socket_path: Path | None, *, as_json: bool) -> None:
    """Read points of a running gateway: value, unit, quality, time, age.

    REF is an ObjectReference; one with * or ? reads every point that fits. Exits with 1 if a point does not
    exist or may not be read, with 3 if no gateway answers.

    \b
    Examples:
      s4g read ESS1/DSTO1.SocEffWhPct
      s4g read 'PCC1/*' --json
      s4g read --site mysite/site.toml PCC1/MMXU1.TotW
    """
    from s4g_gateway.cli.lines import point_line
    from s4g_gateway.runtime.local_client import LocalClient

    with LocalClient(socket_for(site, socket_path)) as client:
        wanted: list[str] = []
        for reference in references:
            if any(character in reference for character in "*?["):
                found = client.ask("list", match=[reference])["points"]
                wanted += [point["reference"] for point in found if point["readable"]]
            else:
                wanted.append(reference)
        for start in range(0, len(wanted), 500):
            for point in client.ask("read", references=wanted[start : start + 500])["points"]:
                click.echo(json.dumps(point) if as_json else point_line(point))
