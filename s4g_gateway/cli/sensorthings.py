"""``s4g sensorthings``: a site as OGC SensorThings entities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from s4g_gateway.cli.site_file import read_site, site_argument
from s4g_gateway.errors import ConfigError, Problem

if TYPE_CHECKING:
    from s4g_gateway.model import ControlPoint, Member
    from s4g_gateway.model.sensorthings_site import SiteDescription
    from s4g_gateway.runtime.site_config import SiteConfig


@click.command()
@site_argument
@click.option(
    "--root-url",
    default="http://localhost/v1.1",
    show_default=True,
    help="Address of the SensorThings server, for the entities' links.",
)
def sensorthings(site: Path, root_url: str) -> None:
    """Print a site as SensorThings entities (JSON): Things, Datastreams, Actuators and all that belongs to them.

    The site file must say where the site is: site.latitude and site.longitude.

    \b
    Examples:
      s4g sensorthings site.toml
      s4g sensorthings site.toml --root-url https://dwh.example/v1.1 > entities.json
    """
    from s4g_gateway.codecs.sensorthings import encode_view
    from s4g_gateway.model.sensorthings import sensorthings_view

    view = sensorthings_view(_description(read_site(site)))
    click.echo(encode_view(view, root_url.rstrip("/")))


def _description(config: SiteConfig) -> SiteDescription:
    """Returns a site as SensorThings wants it: one device per logical device.

    Raises:
        ConfigError: the site does not say where it is.
    """
    from s4g_gateway.model import data_set, parse_reference
    from s4g_gateway.model.sensorthings_site import DeviceDescription, SiteDescription

    table = config.site
    latitude, longitude = table.latitude, table.longitude
    if latitude is None or longitude is None:
        missing = [key for key in ("latitude", "longitude") if getattr(table, key) is None]
        raise ConfigError(
            [
                Problem(file=str(config.path), key=f"site.{key}", found="nothing", expected="degrees, WGS 84")
                for key in missing
            ]
        )
    members: dict[str, list[Member]] = {}
    controls: dict[str, list[ControlPoint]] = {}
    origin: dict[str, str] = {}
    for entry in config.southbound:
        for part in entry.connector.supplied:
            for member in part.data_set.members:
                device = parse_reference(member.reference).logical_device
                members.setdefault(device, []).append(member)
                origin.setdefault(device, f"{entry.name} ({entry.type})")
        for control in entry.connector.controls:
            device = parse_reference(control.reference).logical_device
            controls.setdefault(device, []).append(control)
            origin.setdefault(device, f"{entry.name} ({entry.type})")
    devices = tuple(
        DeviceDescription(
            name=device,
            logical_device=device,
            description=f"{device} behind {connector}",
            data_sets=(data_set(device, members[device]),) if device in members else (),
            controls=tuple(controls.get(device, ())),
        )
        for device, connector in origin.items()
    )
    return SiteDescription(
        name=table.name,
        description=table.description,
        latitude=latitude,
        longitude=longitude,
        devices=devices,
    )
