"""``s4g reload``: a running gateway reads its site file again."""

from __future__ import annotations

from pathlib import Path

import click

from s4g_gateway.cli.busy import busy
from s4g_gateway.cli.failures import ExitCode, say_error
from s4g_gateway.cli.target import gateway_options, socket_for


@click.command()
@gateway_options
def reload(site: Path, socket_path: Path | None) -> None:
    """Make a running gateway read its site file again, as SIGHUP does, and tell how it went.

    Connectors that did not change keep their connections. If the file is wrong, or a new connector fails at
    once, the running configuration stays; then it exits with 1. Where the file names another socket now, give
    the old one with --socket.

    \b
    Example:
      s4g check site.toml && s4g reload
    """
    from s4g_gateway.runtime.local_client import LocalClient, RequestRefusedError

    with LocalClient(socket_for(site, socket_path)) as client, busy("reloading"):
        try:
            client.ask("reload")
        except RequestRefusedError as error:
            for problem in error.answer.get("problems", ()):
                say_error("{file}: {key}: found {found}, expected {expected}".format(**problem))
            if error.kind != "configuration":
                raise
            raise click.exceptions.Exit(ExitCode.PROBLEMS) from error
    click.echo("reloaded")
