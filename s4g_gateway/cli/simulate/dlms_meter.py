"""``s4g simulate dlms-meter``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Literal

import click

from s4g_gateway.cli.simulate.running import (
    checked_host,
    duration_option,
    listen_options,
    run_until_stopped,
    seed_option,
    time_scale_option,
)

_STEP_S = 0.5
_QUARTER_S = 900.0
_KEYS_HELP = "TOML file with encryption_key and authentication_key, 32 hexadecimal digits each."


@click.command(name="dlms-meter")
@click.option(
    "--at",
    type=click.Choice(["grid", "load"]),
    default="grid",
    show_default=True,
    help="What it measures: the grid connection or the loads.",
)
@listen_options(4059)
@click.option(
    "--link",
    type=click.Choice(["wrapper", "hdlc", "mode-e"]),
    default="wrapper",
    show_default=True,
    help="How APDUs are carried over TCP.",
)
@click.option(
    "--server-address",
    type=click.IntRange(1, 0x3FFF),
    default=1,
    show_default=True,
    help="Wrapper port or upper HDLC address.",
)
@click.option("--password", help="Demand this password (LLS).")
@click.option("--key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help=_KEYS_HELP)
@click.option("--ciphered", is_flag=True, help="With --key-file: demand encryption, not only HLS-GMAC.")
@click.option("--serial", default="LGZ0000000000001", show_default=True, help="Its logical device name.")
@click.option(
    "--history-h",
    type=click.IntRange(0, 24 * 60),
    default=24,
    show_default=True,
    help="Hours of load profile before the start.",
)
@seed_option
@time_scale_option
@duration_option
def dlms_meter(
    *,
    at: str,
    host: str,
    port: int,
    insecure: bool,
    link: Literal["wrapper", "hdlc", "mode-e"],
    server_address: int,
    password: str | None,
    key_file: Path | None,
    ciphered: bool,
    serial: str,
    history_h: int,
    seed: int,
    time_scale: float,
    duration_s: float | None,
) -> None:
    """Run a DLMS/COSEM meter of a house, with the objects and short names of a Landis+Gyr ZMG310.

    It takes logical and short names, counts power taken from the grid as positive, and keeps a load profile of a
    quarter of an hour. In site.toml it is meter landis-gyr-zmg310.

    \b
    Examples:
      s4g simulate dlms-meter
      s4g simulate dlms-meter --link hdlc --password 12345678 --port 4060
      s4g simulate dlms-meter --key-file keys.toml --ciphered
    """
    from s4g_gateway.simulators.dlms_meter import DlmsMeterServer, HouseholdMeter, meter_security
    from s4g_gateway.simulators.house import House
    from s4g_gateway.simulators.sunspec_meter import grid_reading, load_reading

    checked_host(host, insecure=insecure)
    if password and key_file:
        raise click.UsageError("--password and --key-file: expected one of them")
    if ciphered and not key_file:
        raise click.UsageError("--ciphered: expected --key-file with it")
    security = meter_security(password=password or "", key_file=key_file, ciphered=ciphered)
    now_s = time.time()
    house = House(seed=seed, time_s=now_s - now_s % _QUARTER_S - history_h * 3_600)
    reading = grid_reading if at == "grid" else load_reading
    meter = HouseholdMeter(house, reading, serial, security=security)
    for _ in range(history_h * 4):
        house.step(_QUARTER_S)
        meter.show()
    house.step(max(_STEP_S, now_s % _QUARTER_S))
    server = DlmsMeterServer(meter.device, link=link, server_address=server_address)
    stepping: list[asyncio.Task[None]] = []

    async def step() -> None:
        while True:
            house.step(_STEP_S * time_scale)
            meter.show()
            await asyncio.sleep(_STEP_S)

    async def start() -> None:
        await server.start(host, port)
        stepping.append(asyncio.create_task(step()))
        click.echo(f"{at} meter {serial}, {link}, on {server.host}:{server.port}")

    async def stop() -> None:
        for task in stepping:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await server.stop()

    run_until_stopped(start, stop, duration_s)
