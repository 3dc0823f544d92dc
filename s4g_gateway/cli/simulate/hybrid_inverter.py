"""``s4g simulate hybrid-inverter``."""

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


@click.command("hybrid-inverter")
@listen_options(1502)
@click.option("--unit-id", type=click.IntRange(1, 247), default=1, show_default=True, help="Modbus unit id.")
@seed_option
@time_scale_option
@duration_option
def hybrid_inverter(
    *,
    host: str,
    port: int,
    insecure: bool,
    unit_id: int,
    seed: int,
    time_scale: float,
    duration_s: float | None,
) -> None:
    """Run a hybrid inverter with PV and battery: SunSpec over Modbus TCP.

    It has the models 1, 103, 120 to 124, 160, 705, 706, 711 and 712 at address 40000, obeys set-points of models 123
    and 124, and acts on volt-var, volt-watt, frequency droop and watt-var. In site.toml it is template
    hybrid-inverter, or fronius-symo-hybrid without these functions.

    \b
    Examples:
      s4g simulate hybrid-inverter
      s4g simulate hybrid-inverter --port 0 --time-scale 60 --duration 120
    """
    from s4g_gateway.cli.simulate.stepping import SteppingDevice, new_house
    from s4g_gateway.simulators.hybrid_inverter import HybridInverter

    checked_host(host, insecure=insecure)
    house = new_house(seed)
    inverter = HybridInverter(house)
    device = SteppingDevice(house, unit_id, inverter.image.unit, inverter.show, time_scale)

    async def start() -> None:
        await device.start(host, port)
        click.echo(f"hybrid inverter, unit {unit_id}, on {device.server.host}:{device.server.port}")

    run_until_stopped(start, device.stop, duration_s)
