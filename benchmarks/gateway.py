"""What the gateway costs per point, beside a bare script; how far it goes; how long a change takes.

    python -m benchmarks.gateway [cost] [load] [latency] [saturation] [--seconds 60]

Each part starts its own simulator, Mosquitto, sink and gateway as child processes; CPU and memory are those of the
gateway process alone, read from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s4g_gateway.runtime.broker import free_port
from s4g_gateway.runtime.local_client import LocalClient

HERE = Path(__file__).parent
WARM_UP_S = 8.0

SITE = """\
[site]
name = "bench"

{devices}
[[northbound]]
name = "scada"
type = "iec104"
listen = "127.0.0.1:{iec104_port}"
{scada}
[[northbound]]
name = "cloud"
type = "mqtt"
url = "mqtt://127.0.0.1:{mqtt_port}"
format = "{format}"
"""
INVERTER = """\
[[southbound]]
name = "d{number}"
type = "sunspec"
host = "127.0.0.1"
port = {port}
[[southbound.device]]
template = "fronius-symo-hybrid"
logical_devices = {{ inverter = "INV{number}", pv = "PV{number}", storage = "ESS{number}" }}
"""
REGISTERS = """\
[[southbound]]
name = "d{number}"
type = "modbus"
host = "127.0.0.1"
port = {port}
[[southbound.device]]
registers = "registers.toml"
period_s = {period_s}
logical_devices = {{ device = "D{number}" }}
"""


def register_table(registers: int) -> str:
    rows = "\n".join(
        f'[[register]]\naddress = {number}\ntype = "int16"\nscale = 0.1\nunit = "W"\n'
        f'reference = "{{device}}/MMXU{number + 1}.TotW"'
        for number in range(registers)
    )
    return f'title = "load"\nlogical_devices = {{ device = "D0" }}\n{rows}\n'


class Usage:
    """CPU and memory of a process, from /proc."""

    def __init__(self, process_id: int) -> None:
        self._directory = Path("/proc") / str(process_id)
        self.reset()

    def reset(self) -> None:
        self._start = (time.monotonic(), self._cpu_s())

    def _cpu_s(self) -> float:
        fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def seconds(self) -> float:
        return time.monotonic() - self._start[0]

    def cpu_s(self) -> float:
        return self._cpu_s() - self._start[1]

    def rss_mb(self) -> float:
        return int((self._directory / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def child(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def python(*arguments: str, **options: Any) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return child(sys.executable, *arguments, **options)


def line_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@contextlib.contextmanager
def mosquitto(directory: Path) -> Iterator[int]:
    port = free_port()
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\n"
    )
    with child("mosquitto", "-c", str(config), stderr=subprocess.DEVNULL):
        time.sleep(0.5)
        yield port


@contextlib.contextmanager
def simulator(
    kind: str, devices: int, registers: int = 100, period_s: float = 1.0
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    arguments = [str(HERE / "load_devices.py"), kind, str(devices)]
    with python(*arguments, "--registers", str(registers), "--period", str(period_s)) as process:
        yield process, line_of(process)


@contextlib.contextmanager
def sink(mqtt_port: int, iec104_port: int, *more: str) -> Iterator[subprocess.Popen[str]]:
    arguments = ("--mqtt", str(mqtt_port), "--iec104", str(iec104_port), *more)
    with python(str(HERE / "load_sink.py"), *arguments) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def counts(process: subprocess.Popen[str]) -> dict[str, float]:
    process.send_signal(signal.SIGUSR1)
    found: dict[str, float] = line_of(process)
    return found


def final(process: subprocess.Popen[str]) -> dict[str, Any]:
    process.send_signal(signal.SIGTERM)
    found: dict[str, Any] = line_of(process)
    process.wait(15)
    return found


@contextlib.contextmanager
def gateway(
    directory: Path, devices: str, mqtt_port: int, *, form: str, scada: str = ""
) -> Iterator[tuple[int, int]]:
    """Runs a gateway; yields its process id and IEC 104 port once it serves."""
    iec104_port = free_port()
    site = directory / "site.toml"
    site.write_text(
        SITE.format(devices=devices, iec104_port=iec104_port, mqtt_port=mqtt_port, format=form, scada=scada)
    )
    with (directory / "gateway.log").open("w") as log:
        arguments = ("-m", "s4g_gateway.cli", "run", str(site))
        with python(*arguments, stderr=log) as process:
            socket_path = directory / "state" / "s4g.sock"
            ends = time.monotonic() + 60
            while not socket_path.exists():
                if process.poll() is not None or time.monotonic() > ends:
                    raise SystemExit((directory / "gateway.log").read_text()[-3000:])
                time.sleep(0.1)
            yield process.pid, iec104_port


def status(directory: Path) -> dict[str, Any]:
    with LocalClient(directory / "state" / "s4g.sock") as client:
        found: dict[str, Any] = client.ask("status")["status"]
        return found


def total(found: dict[str, Any], name: str) -> float:
    return sum(connector["counters"].get(name, 0) for connector in found["connectors"])


def busy_s() -> float:
    """Returns how long all cores of the machine together have been busy."""
    user, nice, system, _idle, _waiting, interrupt, soft = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


def measure_gateway(
    kind: str, devices: int, registers: int, form: str, seconds: float, *, period_s: float = 1.0
) -> dict[str, Any]:
    """Runs the gateway under a load and returns what it cost and what arrived."""
    template = INVERTER if kind == "inverters" else REGISTERS
    with tempfile.TemporaryDirectory() as folder, simulator(kind, devices, registers, period_s) as (_, ports):
        directory = Path(folder)
        (directory / "registers.toml").write_text(register_table(registers))
        tables = "".join(
            template.format(number=number, port=port, period_s=period_s) for number, port in enumerate(ports)
        )
        with (
            mosquitto(directory) as mqtt_port,
            gateway(directory, tables, mqtt_port, form=form) as (process_id, iec104_port),
            sink(mqtt_port, iec104_port) as consumers,
        ):
            time.sleep(WARM_UP_S + devices / 100)
            usage, busy_before_s = Usage(process_id), busy_s()
            before, arrived_before = status(directory), counts(consumers)
            time.sleep(seconds)
            after, arrived = status(directory), counts(consumers)
            elapsed_s, cpu_s = usage.seconds(), usage.cpu_s()
            updates = after["database"]["updates_total"] - before["database"]["updates_total"]
            changes = after["database"]["changes_total"] - before["database"]["changes_total"]
            return {
                "seconds": elapsed_s,
                "points_per_s": updates / elapsed_s,
                "changes_per_s": changes / elapsed_s,
                "cpu_us_per_point": 1e6 * cpu_s / updates,
                "cpu_percent": 100 * cpu_s / elapsed_s,
                "machine_percent": 100 * (busy_s() - busy_before_s) / elapsed_s / (os.cpu_count() or 1),
                "rss_mb": usage.rss_mb(),
                "mqtt_messages_per_s": (arrived["messages"] - arrived_before["messages"]) / elapsed_s,
                "iec104_objects_per_s": (arrived["objects"] - arrived_before["objects"]) / elapsed_s,
                "missed_polls": total(after, "missed_polls_total") - total(before, "missed_polls_total"),
                "events_dropped": total(after, "events_dropped_total")
                - total(before, "events_dropped_total"),
                "journal_discarded": total(after, "discarded_total") - total(before, "discarded_total"),
            }


def measure_bare(devices: int, seconds: float) -> dict[str, Any]:
    """Runs the bare script over the same inverters."""
    with (
        tempfile.TemporaryDirectory() as folder,
        simulator("inverters", devices) as (_, ports),
        mosquitto(Path(folder)) as mqtt_port,
        python(str(HERE / "bare_script.py"), str(mqtt_port), json.dumps(ports)) as script,
    ):
        iec104_port = line_of(script)
        with sink(mqtt_port, iec104_port, "--topic", "bare/#") as consumers:
            time.sleep(WARM_UP_S)
            usage = Usage(script.pid)
            before = counts(consumers)
            time.sleep(seconds)
            after = counts(consumers)
            elapsed_s, cpu_s = usage.seconds(), usage.cpu_s()
            points = 50 * (after["messages"] - before["messages"])
            return {
                "seconds": elapsed_s,
                "points_per_s": points / elapsed_s,
                "cpu_us_per_point": 1e6 * cpu_s / points,
                "cpu_percent": 100 * cpu_s / elapsed_s,
                "rss_mb": usage.rss_mb(),
            }


def measure_latency(seconds: float) -> dict[str, Any]:
    """5,000 points/s from 50 devices: from the poll that fetched a change to the consumers."""
    with tempfile.TemporaryDirectory() as folder, simulator("registers", 50) as (devices, ports):
        directory = Path(folder)
        (directory / "registers.toml").write_text(register_table(100))
        tables = "".join(
            REGISTERS.format(number=number, port=port, period_s=1.0) for number, port in enumerate(ports)
        )
        scada = '[[northbound.point]]\nreference = "D0/MMXU1.TotW"\nioa = 900001\n'
        with (
            mosquitto(directory) as mqtt_port,
            gateway(directory, tables, mqtt_port, form="cbor", scada=scada) as (_, iec104_port),
            sink(
                mqtt_port, iec104_port, "--watched-ioa", "900001", "--watched-topic", "/d0-measurements"
            ) as consumers,
        ):
            time.sleep(WARM_UP_S + seconds)
            arrived = final(consumers)
        fetched = dict(final(devices)["fetched"])
        iec104 = [
            at - fetched[key]
            for at, value in arrived["iec104_arrived"]
            if (key := round(value * 10)) in fetched
        ]
        by_time = sorted(fetched.values())
        mqtt = []
        for at, _ in arrived["mqtt_arrived"]:
            earlier = [moment for moment in by_time if moment <= at]
            if earlier:
                mqtt.append(at - earlier[-1])
        return {"iec104": percentiles(iec104), "mqtt": percentiles(mqtt)}


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0}
    return {
        "count": len(ordered),
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
    }


def shown(title: str, found: dict[str, Any]) -> None:
    print(f"\n{title}")
    for name, value in found.items():
        print(f"  {name:22} {value:.2f}" if isinstance(value, float) else f"  {name:22} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=["cost", "load", "latency", "saturation"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    if "cost" in arguments.parts:
        results["bare script"] = measure_bare(100, arguments.seconds)
        results["gateway"] = measure_gateway("inverters", 100, 0, "json", arguments.seconds)
        ratio = results["gateway"]["cpu_us_per_point"] / results["bare script"]["cpu_us_per_point"]
        shown("bare script, 100 inverters x 50 points", results["bare script"])
        shown("gateway, 100 inverters, SunSpec, all to MQTT QoS 1 (JSON) and IEC 104", results["gateway"])
        print(f"  CPU per point, gateway / bare script: {ratio:.2f} (target <= 2)")
        results["cost_ratio"] = ratio
    if "load" in arguments.parts:
        results["load"] = measure_gateway("registers", 1000, 100, "cbor", arguments.seconds)
        shown(
            "gateway, 1,000 devices x 100 points at 1 s, all changing, MQTT (CBOR) and IEC 104",
            results["load"],
        )
    if "latency" in arguments.parts:
        results["latency"] = measure_latency(arguments.seconds)
        shown("fetched by poll to consumer, 5,000 points/s", results["latency"])
    if "saturation" in arguments.parts:
        from benchmarks.saturation import search

        print("\nsaturation: 1,000 devices x 100 points, all changing, MQTT (CBOR) and IEC 104", flush=True)
        results["saturation"] = search(min(arguments.seconds, 15.0))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
