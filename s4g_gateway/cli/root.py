"""``s4g`` itself: the table of subcommands and the one place where errors become exit codes."""

from __future__ import annotations

from typing import Any, Final

import click

from s4g_gateway import __version__
from s4g_gateway.cli.failures import explain
from s4g_gateway.cli.lazy import LazyGroup

_CLI: Final = "s4g_gateway.cli"
COMMANDS: Final = {
    "init": (f"{_CLI}.init:init", "Write a commented example site."),
    "check": (f"{_CLI}.check:check", "Find every problem of a site file."),
    "run": (f"{_CLI}.run:run", "Run a site."),
    "watch": (f"{_CLI}.watch:watch", "Show the points of a running gateway."),
    "read": (f"{_CLI}.read:read", "Read points of a running gateway."),
    "operate": (f"{_CLI}.operate:operate", "Send one Control through a running gateway."),
    "function": (f"{_CLI}.function:function", "Show or set a grid-support function of a device."),
    "dlms": (f"{_CLI}.dlms:dlms", "Ask DLMS meters for more than points."),
    "reload": (f"{_CLI}.reload:reload", "Make a running gateway read its site file again."),
    "points": (f"{_CLI}.points:points", "Export the signal list for the control centre."),
    "interfaces": (f"{_CLI}.interfaces:interfaces", "Print the interface catalogue of D3.1."),
    "sensorthings": (f"{_CLI}.sensorthings:sensorthings", "Print a site as SensorThings entities."),
    "senml": (f"{_CLI}.senml:senml", "Convert SenML between its representations."),
    "schema": (f"{_CLI}.schema:schema", "Print the JSON Schema of site.toml."),
    "simulate": (f"{_CLI}.simulate:simulate", "Run simulated devices and peers."),
    "demo": (f"{_CLI}.demo:demo", "Run a simulated site over real sockets and measure it."),
    "completion": (f"{_CLI}.completion:completion", "Print the script for shell completion."),
}


class Root(LazyGroup):
    """The top group; turns errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a subcommand."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            code = explain(error)
            if code is None:
                raise
            ctx.exit(code)


@click.group(
    cls=Root,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 problems found or refused, 2 wrong usage, 3 no running gateway reached, "
    "4 an optional part is not installed.",
)
@click.version_option(__version__, prog_name="s4g")
def s4g() -> None:
    """Gateway for grid storage: devices in, SCADA and cloud out.

    Every device protocol is translated once into one IEC 61850 model; control centres (IEC 60870-5-104) and
    clouds (SenML over MQTT) are served from it.

    \b
    First steps:
      s4g demo --duration 60         a simulated site on this machine
      s4g init mysite                an example site of your own
      s4g check mysite/site.toml     every problem at once
      s4g run mysite/site.toml       run it
      s4g watch mysite/site.toml     look at it, from another terminal
    """
