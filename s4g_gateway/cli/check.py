"""``s4g check``: every problem of a site file at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from s4g_gateway.cli.failures import ExitCode, say_error
from s4g_gateway.cli.site_file import read_site, signal_lists, site_argument
from s4g_gateway.errors import ConfigError, Problem


@click.command()
@site_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)
@click.option(
    "--against",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Signal list (CSV of `s4g points`) that the control centre has: report what moved.",
)
@click.option(
    "--outstation", help="Which iec104 connector --against compares; needed where there are several."
)
def check(site: Path, form: str, against: Path | None, outstation: str | None) -> None:
    """Find every problem of a site file; connects to nothing.

    Reports unknown keys, wrong types, duplicate references, address collisions and poll plans that cannot fit,
    each with file, key, what was found and what was expected. With --against it also reports every address,
    type or scaling that is not as in the signal list the control centre has.

    Exits with 1 if there is a problem.

    \b
    Examples:
      s4g check site.toml
      s4g check site.toml --format json
      s4g check site.toml --against signals.csv
    """
    problems: tuple[Problem, ...] = ()
    summary = ""
    try:
        config = read_site(site)
        points = sum(len(part.data_set) for part in config.supplied)
        summary = (
            f"{site}: fine: {len(config.southbound)} southbound and {len(config.northbound)} northbound "
            f"connectors, {points} points, {len(config.controls)} controls"
        )
        if against is not None:
            from s4g_gateway.profiles.iec104.compare import compare

            lists = signal_lists(config, outstation)
            if len(lists) > 1:
                raise click.UsageError("several outstations; name one with --outstation: " + ", ".join(lists))
            (signals,) = lists.values()
            problems = tuple(compare(against.read_text(encoding="utf-8-sig"), signals, file=str(against)))
    except ConfigError as error:
        problems = error.problems
    if form == "json":
        click.echo(
            json.dumps({"ok": not problems, "problems": [asdict(problem) for problem in problems]}, indent=2)
        )
    else:
        for problem in problems:
            say_error(str(problem))
        if not problems:
            click.echo(summary)
    if problems:
        raise click.exceptions.Exit(ExitCode.PROBLEMS)
