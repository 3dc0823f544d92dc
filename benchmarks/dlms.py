"""Fifty DLMS meters, ciphered, read by one worker: what a value costs, what is missed, how late the event loop is.

    python -m benchmarks.dlms [--quick] [--json FILE]

The meters run in a process of their own. The peer of the cost is the same connector with meters without ciphering.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

import structlog

from benchmarks.harness import BenchRow, main
from benchmarks.loop_delay import LoopDelay
from s4g_gateway.model import Report
from s4g_gateway.model import quality as q
from s4g_gateway.runtime.contract import Counters, Services, SiteContext
from s4g_gateway.simulators.dlms_meter import DlmsMeterServer, HouseholdMeter, Keys, Mechanism, MeterSecurity
from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.sunspec_meter import grid_reading
from s4g_gateway.southbound.dlms import DLMS, DlmsConfig, DlmsConnector, DlmsMeterConfig, DlmsSecurity

METERS, OBJECTS, PERIOD_S = 50, 20, 5.0
ALLOWED_DELAY_MS = 5.0
KEYS = Keys(encryption=bytes(range(16)), authentication=bytes(range(16, 32)))
# twenty objects that the simulated meter has
_CODES = [
    "16.7.0", "36.7.0", "56.7.0", "76.7.0", "131.7.0", "151.7.0", "171.7.0", "191.7.0", "32.7.0", "52.7.0",
    "72.7.0", "31.7.0", "51.7.0", "71.7.0", "14.7.0", "13.7.0", "1.8.0", "2.8.0", "3.8.0", "4.8.0",
]  # fmt: skip
_UNITS = ["W"] * 4 + ["var"] * 4 + ["V"] * 3 + ["A"] * 3 + ["Hz", ""] + ["Wh"] * 2 + ["varh"] * 2


def serve_meters(pipe: Connection, ciphered: bool) -> None:
    async def run() -> None:
        security = MeterSecurity(mechanism=Mechanism.HLS_GMAC, keys=KEYS, ciphered=True)
        servers = []
        for number in range(METERS):
            house = House(seed=number)
            house.step(1.0)
            meter = HouseholdMeter(
                house, grid_reading, f"SIM{number}", security=security if ciphered else None
            )
            server = DlmsMeterServer(meter.device)
            await server.start()
            servers.append(server)
        pipe.send([server.port for server in servers])
        await asyncio.to_thread(pipe.recv)

    asyncio.run(run())


def object_map() -> str:
    rows = zip(_CODES, _UNITS, range(1, OBJECTS + 1), strict=True)
    return 'title = "twenty"\n' + "".join(
        f'[[object]]\nobis = "1-0:{code}"\nunit = "{unit}"\nreference = "{{meter}}/GGIO{number}.AnIn1"\n'
        for code, unit, number in rows
    )


def connector(directory: Path, ports: list[int], ciphered: bool) -> DlmsConnector:
    (directory / "twenty.toml").write_text(object_map())
    keys = directory / "keys.toml"
    keys.write_text(
        f'encryption_key = "{KEYS.encryption.hex()}"\nauthentication_key = "{KEYS.authentication.hex()}"\n'
    )
    keys.chmod(0o600)
    security = DlmsSecurity()
    if ciphered:
        security = DlmsSecurity(
            authentication="hls-gmac", key_file="keys.toml", system_title="5334470000000001", ciphered=True
        )
    devices = tuple(
        DlmsMeterConfig(
            meter="twenty.toml",
            name=f"m{number}",
            host="127.0.0.1",
            port=port,
            logical_device=f"M{number}",
            security=security,
            period_s=PERIOD_S,
        )
        for number, port in enumerate(ports)
    )
    context = SiteContext(site="bench", directory=directory, state_directory=directory)
    return cast("DlmsConnector", DLMS.create("dlms", DlmsConfig(device=devices), context))


def cpu_s(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def read(directory: Path, ports: list[int], ciphered: bool, seconds: float) -> dict[str, float]:
    made = connector(directory, ports, ciphered)
    good, bad = [0], [0]

    def publish(report: Report) -> None:
        for quality in report.quality:
            (good if quality == q.GOOD else bad)[0] += 1

    counters = Counters()
    services = SimpleNamespace(
        log=structlog.get_logger(),
        counters=counters,
        database=SimpleNamespace(publish=publish),
        state_directory=directory,
    )
    task = asyncio.create_task(made.run(cast("Services", services)))
    try:
        while counters.values.get("readings_total", 0) < METERS:
            await asyncio.sleep(0.1)
        # readings keep a steady rhythm from here on; count whole periods
        process = cast("int", made.worker_process_id)
        began, first, cpu = monotonic(), good[0], cpu_s(process)
        bad[0] = 0
        async with LoopDelay() as delay:
            await asyncio.sleep(seconds)
        elapsed, found, used = monotonic() - began, good[0] - first, cpu_s(process) - cpu
        due = METERS * OBJECTS * elapsed / PERIOD_S
        return {
            "values": found / elapsed,
            "cpu_us": 1e6 * used / found,
            "core_pct": 100 * used / elapsed,
            "missed": counters.values.get("missed_readings_total", 0) + bad[0] / OBJECTS,
            "complete": found / due,
            "delay_ms": delay.percentile_ms(99),
        }
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def measure(ciphered: bool, seconds: float) -> dict[str, float]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=serve_meters, args=(theirs, ciphered), daemon=True
    )
    child.start()
    try:
        ports = ours.recv()
        with tempfile.TemporaryDirectory() as directory:
            return asyncio.run(read(Path(directory), ports, ciphered, seconds))
    finally:
        ours.send(None)
        child.join(5)


def rows(quick: bool) -> list[BenchRow]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    seconds = 2 * PERIOD_S if quick else 12 * PERIOD_S
    plain, secured = (measure(ciphered, seconds) for ciphered in (False, True))
    name = f"{METERS} meters x {OBJECTS} objects at {PERIOD_S:g} s"
    found: list[BenchRow] = []

    def add(what: str, unit: str, key: str, **more: Any) -> None:
        found.append(BenchRow(name=f"{name}, {what}", unit=unit, ours=secured[key], **more))

    add("ciphered", "values/s", "values", peer=plain["values"], peer_name="without ciphering")
    add("CPU of the worker", "us/value", "cpu_us", peer=plain["cpu_us"], peer_name="without ciphering")
    add("CPU of the worker", "% of a core", "core_pct", peer=plain["core_pct"], peer_name="without ciphering")
    missed = secured["missed"]
    add(
        "readings missed",
        "readings",
        "missed",
        peer=0.0,
        peer_name="allowed",
        ratio=missed,
        target=0.0,
        at_most=True,
    )
    add(
        "event-loop delay p99",
        "ms",
        "delay_ms",
        peer=ALLOWED_DELAY_MS,
        peer_name="allowed",
        ratio=secured["delay_ms"] / ALLOWED_DELAY_MS,
        target=1.0,
        at_most=True,
    )
    return found


if __name__ == "__main__":
    main(__doc__ or "", rows)
