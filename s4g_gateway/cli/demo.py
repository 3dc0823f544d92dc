"""``s4g demo``: a whole site on loopback, measured as its users see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable
from typing import Any

import click

from s4g_gateway.errors import GatewayError
from s4g_gateway.runtime.local_client import LocalClient

# What fits a screen and tells the most; the rest is behind `s4g watch`.
_GRID = (
    "PCC1/MMXU1.TotW",
    "PCC1/MMXU1.TotVAr",
    "PCC1/MMXU1.Hz",
    "PCC1/MMXU1.PhV.phsA",
    "PCC1/MMTR1.DmdWh",
    "PCC1/MMTR1.SupWh",
)
_INVERTER = (
    "INV1/MMXU1.TotW",
    "INV1/DGEN1.DEROpSt",
    "INV1/DWMX1.WMaxSptPct",
    "PV1/MMDC1.Watt",
    "ESS1/DBAT1.Watt",
    "ESS1/DSTO1.SocEffWhPct",
    "ESS1/DSTO1.SocWh",
    "ESS1/DWGC1.WSpt",
)
_ROUTER = (
    "ER1/MMXU1.TotW",
    "ER1/XCBR1.Pos",
    "ER1/GGIO1.ISCSO1",
    "PV1/MMDC1.Watt",
    "ESS1/DBAT1.Watt",
    "ESS1/DSTO1.SocEffWhPct",
    "ER1/DWMN1.WMinSpt",
    "ER1/DWMX1.WMaxSpt",
)
SHOWN = {
    "house": (*_GRID, "LOAD1/MMXU1.TotW", *_INVERTER),
    "fur": (*_GRID, *_INVERTER),
    "bucharest": (*_GRID, "LOAD1/MMXU1.TotW", *_ROUTER),
}
_SET_POINT = {
    "house": "ESS1/DWGC1.WSpt 1500 --for 60",
    "fur": "ESS1/DWGC1.WSpt 1500 --for 60",
    "bucharest": "ER1/GGIO1.ISCSO1 5",
}
REFRESH_S = 1.0
# Start-up is not part of what is measured.
WARM_UP_S = 2.0

Say = Callable[[str], None]


@click.command()
@click.option(
    "--duration", type=click.FloatRange(min=5), default=None, help="Seconds to run; until Ctrl-C without."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the simulated house.")
@click.option(
    "--time-scale",
    type=click.FloatRange(min=0.01, max=10_000),
    default=60.0,
    show_default=True,
    help="Simulated seconds per second.",
)
@click.option(
    "--site",
    "kind",
    type=click.Choice(tuple(SHOWN)),
    default="house",
    show_default=True,
    help="What is simulated: a SunSpec house, or D3.1's deployments in Fur or Bucharest.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON and nothing else.")
def demo(duration: float | None, seed: int, time_scale: float, kind: str, as_json: bool) -> None:
    """Run a simulated site over real sockets and measure it.

    Starts a hybrid inverter with battery, a grid meter and a load meter (Modbus TCP), an MQTT broker and a gateway
    with an IEC 60870-5-104 outstation, all on loopback; shows the points, and at the end a summary. Fur has the
    hybrid inverter and a DLMS meter (extra dlms); Bucharest the energy router (IEC 61850, extra iec61850) and two
    DLMS meters.

    \b
    Examples:
      s4g demo --duration 60
      s4g demo --site bucharest --duration 60
      s4g demo --duration 30 --json > summary.json
    """
    say: Say = (lambda _: None) if as_json else click.echo
    summary = asyncio.run(_run(duration, seed, time_scale, kind, say, live=not as_json))
    click.echo(json.dumps(summary.as_dict(), indent=2) if as_json else "\n" + summary.as_text())


async def _run(
    duration: float | None, seed: int, time_scale: float, kind: str, say: Say, *, live: bool
) -> Any:
    # imported here: `s4g --help` must not load brokers and simulators
    from s4g_gateway.cli.demo_probes import Iec104Probe, MqttProbe
    from s4g_gateway.cli.demo_site import COMMON_ADDRESS, POWER_IOA, SITE_NAME, DemoSite
    from s4g_gateway.cli.demo_summary import Meter, summarise

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    say("starting simulated devices, broker and gateway ...")
    async with DemoSite(seed=seed, time_scale=time_scale, kind=kind) as site:
        mqtt = MqttProbe(site.broker.port, SITE_NAME, site.changes)
        iec104 = Iec104Probe(site.iec104_port, COMMON_ADDRESS, POWER_IOA.__eq__, site.changes)
        for line in _invitation(site):
            say(line)
        tasks = [asyncio.create_task(mqtt.run()), asyncio.create_task(iec104.run())]
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WARM_UP_S)
            client = await asyncio.to_thread(LocalClient, site.socket_path)
            mqtt.latency.seconds.clear()
            iec104.latency.seconds.clear()
            first = (await asyncio.to_thread(client.ask, "status"))["status"]
            meter = Meter(site.gateway_id or 0)
            await _show(client, SHOWN[kind], stop, duration, live=live)
            last = (await asyncio.to_thread(client.ask, "status"))["status"]
            summary = summarise(first, last, mqtt, iec104, meter)
            client.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        say("stopping ...")
    return summary


def _invitation(site: Any) -> list[str]:
    return [
        "",
        f"SCADA master   IEC 60870-5-104 at 127.0.0.1:{site.iec104_port}, common address 1",
        f"               signal list: s4g points {site.site_file} --format csv",
        f"Subscriber     mosquitto_sub -p {site.broker.port} -t 's4g/v1/#' -v",
        f"Other screen   s4g watch --socket {site.socket_path}",
        f"Set-point      s4g operate {_SET_POINT[site.kind]} --socket {site.socket_path}",
        f"Metrics        http://127.0.0.1:{site.metrics_port}/metrics",
        "",
    ]


async def _show(
    client: LocalClient, shown: tuple[str, ...], stop: asyncio.Event, duration: float | None, *, live: bool
) -> None:
    loop = asyncio.get_running_loop()
    ends_s = None if duration is None else loop.time() + duration
    with _screen() if live else contextlib.nullcontext() as show:
        while not stop.is_set() and (ends_s is None or loop.time() < ends_s):
            if show is not None:
                with contextlib.suppress(GatewayError):
                    points = (await asyncio.to_thread(client.ask, "read", references=list(shown)))["points"]
                    show(points)
            wait_s = REFRESH_S if ends_s is None else min(REFRESH_S, max(0.0, ends_s - loop.time()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)


@contextlib.contextmanager
def _screen() -> Any:
    """Yields a function that shows points: a live table on a terminal, one line a call elsewhere."""
    from s4g_gateway.cli.demo_summary import point_rows

    try:
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        is_terminal = False
    else:
        is_terminal = Console().is_terminal
    if not is_terminal:
        yield lambda points: click.echo(_line(point_rows(points)))
        return

    def table(points: list[dict[str, Any]]) -> Any:
        made = Table("Reference", "Value", "Unit", "Quality", "Unchanged for", title="demo site")
        for column in (1, 4):
            made.columns[column].justify = "right"
        for row in point_rows(points):
            made.add_row(*row, style=None if row[3] == "good" else "yellow")
        return made

    with Live(table([]), auto_refresh=False) as live:
        yield lambda points: live.update(table(points), refresh=True)


def _line(rows: list[tuple[str, str, str, str, str]]) -> str:
    """Returns the grid power, PV and battery in one line."""
    brief = [f"{rows[0][0].partition('/')[0]} {rows[0][1]} {rows[0][2]}"]
    brief += [f"{row[0]} {row[1]} {row[2]}" for row in rows if row[0].startswith(("PV1/", "ESS1/"))][:3]
    return "  ".join(brief)
