"""Reads a site file for a command: every check that can be made without a connection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from s4g_gateway.cli.busy import busy
from s4g_gateway.errors import ConfigError, Problem

if TYPE_CHECKING:
    from s4g_gateway.profiles.iec104.signals import SignalList
    from s4g_gateway.runtime.site_config import SiteConfig

site_argument = click.argument(
    "site", metavar="SITE.TOML", type=click.Path(dir_okay=False, exists=True, path_type=Path)
)


def read_site(path: Path) -> SiteConfig:
    """Reads and checks a site file.

    Raises:
        ConfigError: everything that is wrong.
    """
    # imported here: a site needs the libraries of its connectors, `--help` does not
    from s4g_gateway.runtime.config import load_site

    with busy(f"reading {path}"):
        return load_site(path)


def signal_lists(config: SiteConfig, only: str | None = None) -> dict[str, SignalList]:
    """Returns the IEC 60870-5-104 signal lists of a site by connector name.

    Args:
        config: the site.
        only: name of the one outstation that is wanted.

    Raises:
        ConfigError: there is no such outstation.
    """
    found = {entry.name: entry.connector.signal_list for entry in config.northbound if entry.type == "iec104"}
    if only is not None and only not in found:
        expected = "one of " + ", ".join(found) if found else "a northbound connector of type iec104"
        raise ConfigError(
            [Problem(file=str(config.path), key="northbound", found=repr(only), expected=expected)]
        )
    if not found:
        expected = "a northbound connector of type iec104"
        raise ConfigError([Problem(file=str(config.path), key="northbound", found="none", expected=expected)])
    return {only: found[only]} if only is not None else found
