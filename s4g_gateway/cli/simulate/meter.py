"""``s4g simulate meter``."""

from __future__ import annotations

import click

from s4g_gateway.cli.simulate.running import (
    checked_host,
    duration_option,
    listen_options,
    run_until_stopped,
    seed_option,
    time_scale_option,
)


@click.command()
@click.option(
    "--at",
    type=click.Choice(["grid", "load"]),
    default="grid",
    show_default=True,
    help="What it measures: the grid connection or the loads.",
)
@listen_options(1503)
@click.option(
    "--unit-id", type=click.IntRange(1, 247), default=240, show_default=True, help="Modbus unit id."
)
@seed_option
@time_scale_option
@duration_option
def meter(
    *,
    at: str,
    host: str,
    port: int,
    insecure: bool,
    unit_id: int,
    seed: int,
    time_scale: float,
    duration_s: float | None,
) -> None:
    """Run a meter of a house: SunSpec model 203 over Modbus TCP.

    It counts power taken from the grid as positive, as meters do. In site.toml it is template generic-meter.

    \b
    Examples:
      s4g simulate meter
      s4g simulate meter --at load --port 1504 --unit-id 241
    """
    from s4g_gateway.cli.simulate.stepping import SteppingDevice, new_house
    from s4g_gateway.simulators.sunspec_meter import SunspecMeter, grid_reading, load_reading

    checked_host(host, insecure=insecure)
    house = new_house(seed)
    reading, serial = (grid_reading, "SIM-PCC") if at == "grid" else (load_reading, "SIM-LOAD")
    simulated = SunspecMeter(house, reading, serial)
    device = SteppingDevice(house, unit_id, simulated.image.unit, simulated.show, time_scale)

    async def start() -> None:
        await device.start(host, port)
        click.echo(f"{at} meter, unit {unit_id}, on {device.server.host}:{device.server.port}")

    run_until_stopped(start, device.stop, duration_s)
