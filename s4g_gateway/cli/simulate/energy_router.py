"""``s4g simulate energy-router``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from s4g_gateway.cli.simulate.running import (
    checked_host,
    duration_option,
    listen_options,
    run_until_stopped,
    seed_option,
    time_scale_option,
)

STEP_S = 0.5


@click.command("energy-router")
@listen_options(10102)
@seed_option
@time_scale_option
@duration_option
def energy_router(
    *, host: str, port: int, insecure: bool, seed: int, time_scale: float, duration_s: float | None
) -> None:
    """Run the energy router of D3.1: an IEC 61850 server over MMS (extra iec61850).

    It follows D3.1 Table 15: windows of active and reactive power at the grid (DWMN1.WMinSpt, DWMX1.WMaxSpt,
    DPMC1.VArMinSpt, DPMC1.VArMaxSpt) and the five operation modes (GGIO1.ISCSO1). In site.toml it is type iec61850,
    template energy-router.

    \b
    Examples:
      s4g simulate energy-router
      s4g simulate energy-router --port 0 --time-scale 60 --duration 120
    """
    import asyncio
    import time

    from s4g_gateway.simulators.energy_router import EnergyRouter
    from s4g_gateway.simulators.energy_router_server import EnergyRouterServer
    from s4g_gateway.simulators.house import House, HouseRatings

    checked_host(host, insecure=insecure)
    house = House(HouseRatings(charges_disconnected=True), seed=seed, time_s=time.time())
    router = EnergyRouter(house)
    tasks: list[asyncio.Task[None]] = []

    async def step() -> None:
        while True:
            router.obey(STEP_S * time_scale)
            house.step(STEP_S * time_scale)
            server.show()
            await asyncio.sleep(STEP_S)

    async def start() -> None:
        await server.start(host, port)
        tasks.append(asyncio.create_task(step(), name="energy router"))
        click.echo(f"energy router on {host}:{server.port}")

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await server.stop()

    with tempfile.TemporaryDirectory(prefix="s4g-energy-router-") as folder:
        server = EnergyRouterServer(router, Path(folder), insecure=insecure)
        run_until_stopped(start, stop, duration_s)
