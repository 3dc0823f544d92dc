"""``s4g simulate site``."""

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
@listen_options(1502)
@seed_option
@time_scale_option
@duration_option
def site(
    *, host: str, port: int, insecure: bool, seed: int, time_scale: float, duration_s: float | None
) -> None:
    """Run the devices of a whole house: hybrid inverter, grid meter, load meter (SunSpec, Modbus TCP).

    They listen on three ports from --port on and belong together: export = PV + battery - load at every step.

    \b
    Examples:
      s4g simulate site
      s4g simulate site --port 0 --time-scale 60
    """
    from s4g_gateway.simulators.simulated_site import (
        GRID_METER_UNIT,
        INVERTER_UNIT,
        LOAD_METER_UNIT,
        SimulatedSite,
    )

    checked_host(host, insecure=insecure)
    if port > 65533:
        raise click.BadParameter("expected room for three ports: at most 65533", param_hint="--port")
    simulated = SimulatedSite(seed=seed, time_scale=time_scale)

    async def start() -> None:
        await simulated.start(host, (port, port + 1, port + 2) if port else (0, 0, 0))
        units = (INVERTER_UNIT, GRID_METER_UNIT, LOAD_METER_UNIT)
        for (name, server), unit in zip(simulated.servers.items(), units, strict=True):
            click.echo(f"{name.replace('_', ' ')}, unit {unit}, on {server.host}:{server.port}")

    run_until_stopped(start, simulated.stop, duration_s)
