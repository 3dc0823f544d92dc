"""``s4g points``: the signal list, or the IEC 61850 model, that goes to the control centre."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from s4g_gateway.cli.site_file import read_site, signal_lists, site_argument
from s4g_gateway.errors import ConfigError, Problem

if TYPE_CHECKING:
    from s4g_gateway.runtime.site_config import SiteConfig


@click.command()
@site_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "xlsx", "markdown", "scl"]),
    default="csv",
    show_default=True,
    help="File format; xlsx needs -o; scl is the CID file of an iec61850 connector.",
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write here, not to the terminal."
)
@click.option(
    "--outstation", help="Name of the iec104 (scl: iec61850) connector; without: all (scl: the only one)."
)
def points(site: Path, form: str, output: Path | None, outstation: str | None) -> None:
    """Export the IEC 60870-5-104 signal list of a site, or its IEC 61850 model.

    One row per address: common address, IOA, type, reference, description, unit, scaling, deadband, commands.
    Addresses given automatically are kept beside the site file and never move.

    \b
    Examples:
      s4g points site.toml
      s4g points site.toml --format xlsx -o signals.xlsx
      s4g points site.toml --format markdown --outstation scada
      s4g points site.toml --format scl -o site.cid
    """
    from s4g_gateway.profiles.iec104.export import csv_text, markdown_text, signal_list_rows, write_xlsx

    if form == "xlsx" and output is None:
        raise click.UsageError("--format xlsx is no text: name a file with -o")
    config = read_site(site)
    if form == "scl":
        _write_scl(config, outstation, output)
        return
    lists = signal_lists(config, outstation)
    # What is handed over must not move: new automatic addresses are kept before they are shown.
    for entry in config.northbound:
        if entry.name in lists:
            entry.connector.persist_addresses()
    rows = [row for signals in lists.values() for row in signal_list_rows(signals)]
    if form == "xlsx":
        buffer = io.BytesIO()
        write_xlsx(rows, buffer, site=config.site.name)
        data = buffer.getvalue()
    else:
        data = (csv_text(rows) if form == "csv" else markdown_text(rows)).encode()
    if output is None:
        click.echo(data, nl=False)
    else:
        output.write_bytes(data)
        click.echo(f"wrote {len(rows)} signals to {output}", err=True)


def _write_scl(config: SiteConfig, only: str | None, output: Path | None) -> None:
    """Writes the CID file of an IEC 61850 server of the site.

    Raises:
        ConfigError: no such server, or several and none named.
    """
    from s4g_gateway.northbound.iec104.config import split_listen
    from s4g_gateway.profiles.iec61850 import render_scl

    found = {entry.name: entry for entry in config.northbound if entry.type == "iec61850"}
    names = [only] if only is not None else list(found)
    if len(names) != 1 or names[0] not in found:
        what = repr(only) if only is not None else ", ".join(found) or "none"
        expected = "one northbound connector of type iec61850" + (", named by --outstation" if found else "")
        raise ConfigError([Problem(file=str(config.path), key="northbound", found=what, expected=expected)])
    entry = found[names[0]]
    host, port = split_listen(entry.config.listen) or ("127.0.0.1", 102)
    data = render_scl(entry.connector.plan, description=config.site.description, host=host, port=port)
    if output is None:
        click.echo(data, nl=False)
    else:
        output.write_bytes(data)
        click.echo(f"wrote {output}", err=True)
