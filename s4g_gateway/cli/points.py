"""``s4g points``: the signal list that goes to the control centre."""

from __future__ import annotations

import io
from pathlib import Path

import click

from s4g_gateway.cli.site_file import read_site, signal_lists, site_argument


@click.command()
@site_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "xlsx", "markdown"]),
    default="csv",
    show_default=True,
    help="File format; xlsx needs -o.",
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write here, not to the terminal."
)
@click.option("--outstation", help="Name of the iec104 connector; all of them without.")
def points(site: Path, form: str, output: Path | None, outstation: str | None) -> None:
    """Export the IEC 60870-5-104 signal list of a site.

    One row per address: common address, IOA, type, reference, description, unit, scaling, deadband, commands.
    Addresses given automatically are kept beside the site file and never move.

    \b
    Examples:
      s4g points site.toml
      s4g points site.toml --format xlsx -o signals.xlsx
      s4g points site.toml --format markdown --outstation scada
    """
    from s4g_gateway.profiles.iec104.export import csv_text, markdown_text, signal_list_rows, write_xlsx

    if form == "xlsx" and output is None:
        raise click.UsageError("--format xlsx is no text: name a file with -o")
    config = read_site(site)
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
