"""``s4g simulate fleet``."""

from __future__ import annotations

import click

from s4g_gateway.cli.simulate.running import (
    checked_host,
    duration_option,
    listen_options,
    run_until_stopped,
)


@click.command()
@click.option("--devices", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many.")
@click.option(
    "--registers",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="Registers of each device.",
)
@click.option(
    "--period",
    "period_s",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often every register takes a new value.",
)
@listen_options(15_000)
@duration_option
def fleet(
    *,
    devices: int,
    registers: int,
    period_s: float,
    host: str,
    port: int,
    insecure: bool,
    duration_s: float | None,
) -> None:
    """Run many plain Modbus TCP devices, each on its own port from --port on, for load tests.

    Each is unit 1 with int16 holding registers from address 0, all of which change every period. Prints the ports,
    and at the end how many requests it answered.

    \b
    Examples:
      s4g simulate fleet --devices 100 --registers 50
      s4g simulate fleet --devices 1000 --port 15000 --duration 60
    """
    from s4g_gateway.simulators.fleet import Fleet

    checked_host(host, insecure=insecure)
    if port and port + devices - 1 > 65535:
        raise click.BadParameter(f"no room for {devices} ports up to 65535", param_hint="--port")
    simulated = Fleet(devices, registers, period_s=period_s)

    async def start() -> None:
        await simulated.start(host, port)
        ports = simulated.ports
        where = f"{ports[0]} to {ports[-1]}" if port else " ".join(str(number) for number in ports)
        click.echo(f"{devices} devices with {registers} registers on {host}, ports {where}")

    run_until_stopped(start, simulated.stop, duration_s)
    click.echo(f"answered {simulated.requests_total} requests, {simulated.changes} changes")
