"""Which gateway a command talks to: ``--socket``, ``--site``, their environment variables, or ./site.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from s4g_gateway.errors import ConfigError, Problem

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
SITE_FILE = click.Path(dir_okay=False, path_type=Path)
_COMPLETION_TIMEOUT_S = 0.5

socket_option = click.option(
    "--socket",
    "socket_path",
    type=SITE_FILE,
    envvar="S4G_SOCKET",
    help="The gateway's Unix socket; wins over the site file.  [env var: S4G_SOCKET]",
)


def gateway_options(command: Decorated) -> Decorated:
    """Adds ``--site`` and ``--socket`` to a command."""
    site = click.option(
        "--site",
        type=SITE_FILE,
        envvar="S4G_SITE",
        default=Path("site.toml"),
        show_default=True,
        help="Site file of the gateway.  [env var: S4G_SITE]",
    )
    return site(socket_option(command))


def socket_of(site: Path) -> Path:
    """Returns the local socket that a site file names; looks at nothing else in it.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        document = tomllib.loads(site.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        expected = "a site file; name it with --site, or the socket with --socket"
        raise ConfigError([Problem(file=str(site), key="", found="nothing", expected=expected)]) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        expected = "a TOML file that can be read"
        raise ConfigError([Problem(file=str(site), key="", found=str(error), expected=expected)]) from error
    table = document.get("site", {})
    table = table if isinstance(table, dict) else {}
    if table.get("socket"):
        return site.parent / str(table["socket"])
    return site.parent / str(table.get("state_directory", "state")) / "s4g.sock"


def socket_for(site: Path, socket_path: Path | None) -> Path:
    """Returns the socket that the options name."""
    return socket_path if socket_path is not None else socket_of(site)


def complete_reference(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:  # click's signature
    """Offers references of the running gateway to the shell; nothing where none answers."""
    from click.shell_completion import CompletionItem

    from s4g_gateway.errors import GatewayError
    from s4g_gateway.runtime.local_client import LocalClient

    wants_control = param.name == "control_reference"
    site, chosen = ctx.params.get("site") or Path("site.toml"), ctx.params.get("socket_path")
    try:
        with LocalClient(socket_for(site, chosen), timeout_s=_COMPLETION_TIMEOUT_S) as client:
            points = client.ask("list", match=[incomplete.replace("[", "[[]") + "*"])["points"]
    except GatewayError:
        return []
    return [
        CompletionItem(point["reference"], help=point["description"])
        for point in points
        if ("control" in point if wants_control else point["readable"])
    ]
