"""IEC 60870-5-104: our outstation and c104's under the same raw master, each in a process of its own.

    python benchmarks/iec104.py [--json FILE] [--repeat N]

The master is a blocking socket that counts objects and acknowledges every 8 I-frames. Ours runs with k = 12 and a
RealTimeDatabase behind it. c104 loses points of an interrogation with k = 12, so it is timed with the largest
window, and what it loses with k = 12 is shown beside it. Its burst is sent in batches that its queue of 100 ASDUs
holds, each after the master has the one before; unpaced, it loses most, which is shown too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

C104_BATCH = 1500
COMMANDS = 3000
COMMAND_POINTS = 8
LARGEST_WINDOW = 32767


# -- the master ------------------------------------------------------------------------------------------


class Master:
    """A blocking master: counts objects, acknowledges every 8 I-frames."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = self.sent = self.pending = 0
        self.buffer = b""
        self.objects: dict[int, int] = {}
        self.answers: dict[tuple[int, int], int] = {}
        self.addresses: set[int] | None = None
        self.socket.sendall(bytes.fromhex("680407000000"))
        while b"\x68\x04\x0b" not in self.buffer:
            self.buffer += self.socket.recv(4096)
        self.buffer = self.buffer[self.buffer.index(b"\x68\x04\x0b") + 6 :]

    def send(self, asdu: bytes) -> None:
        head = struct.pack("<BBHH", 0x68, len(asdu) + 4, self.sent << 1 & 0xFFFE, self.received << 1 & 0xFFFE)
        self.sent += 1
        self.pending = 0
        self.socket.sendall(head + asdu)

    def read(self, timeout_s: float) -> bool:
        self.socket.settimeout(timeout_s)
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            return False
        if not data:
            raise ConnectionError("the outstation closed the connection")
        buffer = self.buffer + data
        at, end = 0, len(buffer)
        objects, answers = self.objects, self.answers
        while at + 2 <= end:
            stop = at + 2 + buffer[at + 1]
            if stop > end:
                break
            if not buffer[at + 2] & 1:
                self.received += 1
                self.pending += 1
                kind, cause = buffer[at + 6], buffer[at + 8] & 0x7F
                if kind < 45:
                    objects[cause] = objects.get(cause, 0) + (buffer[at + 7] & 0x7F)
                else:
                    answers[kind, cause] = answers.get((kind, cause), 0) + 1
                if self.pending >= 8:
                    self.acknowledge()
            elif buffer[at + 2] == 0x43:
                self.socket.sendall(bytes.fromhex("680483000000"))
            at = stop
        self.buffer = buffer[at:]
        return True

    def acknowledge(self) -> None:
        self.pending = 0
        self.socket.sendall(struct.pack("<BBHH", 0x68, 4, 1, self.received << 1 & 0xFFFE))

    def quiet(self, for_s: float) -> None:
        while self.read(for_s):
            pass
        self.acknowledge()

    def interrogate(self, size: int, timeout_s: float) -> tuple[float, int]:
        """Returns seconds until the termination (or the last object) and how many objects came."""
        self.objects.clear()
        self.answers.clear()
        started = last = time.perf_counter()
        self.send(struct.pack("<BBBBHHBB", 100, 1, 6, 0, 1, 0, 0, 20))
        while self.objects.get(20, 0) < size or not self.answers.get((100, 10)):
            if not self.read(timeout_s):
                break
            last = time.perf_counter()
        self.acknowledge()
        return last - started, self.objects.get(20, 0)

    def command(self, first_ioa: int, value: float, points: int = 1) -> None:
        """Commands so many points and waits for the positive confirmation of each."""
        kind = 50
        self.answers.clear()
        for ioa in range(first_ioa, first_ioa + points):
            self.send(struct.pack("<BBBBHHBfB", kind, 1, 6, 0, 1, ioa & 0xFFFF, ioa >> 16, value, 0))
        while self.answers.get((kind, 7), 0) < points:
            if not self.read(5):
                raise TimeoutError(f"{self.answers.get((kind, 7), 0)} of {points} confirmations")


# -- our outstation (child) --------------------------------------------------------------------------------


async def serve_ours(size: int) -> None:
    import structlog

    from s4g_gateway.model import ACCEPTED, ControlPoint, DataSet, Member, ObjectReference, Report
    from s4g_gateway.northbound.iec104 import Iec104Config, Iec104Outstation
    from s4g_gateway.runtime.arbitration import Arbitration
    from s4g_gateway.runtime.clock import SystemClock
    from s4g_gateway.runtime.contract import Counters, Services, SiteContext, SuppliedDataSet
    from s4g_gateway.runtime.database import RealTimeDatabase
    from s4g_gateway.security import Principal, default_policy

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())

    class Audit:
        def record(self, event):
            pass

    class Ledger:
        async def begin(self, command_id, time_ns):
            return None

        async def finish(self, command_id, answer):
            pass

    async def execute(control):
        return ACCEPTED

    clock, policy = SystemClock(), default_policy()
    arbitration = Arbitration(clock=clock, policy=policy, audit=Audit(), ledger=Ledger())
    database = RealTimeDatabase(clock=clock, policy=policy, arbitration=arbitration)
    sets = [
        DataSet(
            f"d{i}",
            tuple(
                Member(reference=ObjectReference(f"D{i}/GGIO1.AnIn{n + 1}"), unit="W") for n in range(1000)
            ),
        )
        for i in range(size // 1000)
    ]
    supplied = tuple(SuppliedDataSet(data_set=data_set, period_s=1000.0) for data_set in sets)
    controls = tuple(
        ControlPoint(reference=ObjectReference(f"D0/DWGC{n + 1}.WSpt"), unit="W")
        for n in range(COMMAND_POINTS)
    )
    database.add("devices", supplied)
    arbitration.add("devices", controls, execute)
    with tempfile.TemporaryDirectory() as folder:
        context = SiteContext(
            site="bench",
            directory=Path(folder),
            state_directory=Path(folder),
            supplied=supplied,
            controls=controls,
        )
        outstation = Iec104Outstation("scada", Iec104Config(listen="127.0.0.1:0"), context)
        services = Services(
            name="scada",
            database=database,
            clock=clock,
            log=structlog.get_logger(),
            counters=Counters(),
            state_directory=Path(folder),
            principal=Principal(name="scada", roles=frozenset({"SCADA"})),
        )
        task = asyncio.create_task(outstation.run(services))
        while outstation.address is None:
            await asyncio.sleep(0.001)
        print(outstation.address[1], flush=True)
        good = (0,) * 1000
        loop = asyncio.get_running_loop()
        turn = 0
        while True:
            line = await loop.run_in_executor(None, sys.stdin.readline)
            if not line:
                break
            if line.startswith("values"):
                turn += 1
                for data_set in sets:
                    values = tuple(float(turn * 7 + n) for n in range(1000))
                    database.publish(Report(data_set, values, good, clock.wall_ns()))
            elif line.startswith("usage"):
                print(json.dumps(usage()), flush=True)
        task.cancel()


def usage() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_s": used.ru_utime + used.ru_stime, "rss_mb": used.ru_maxrss / 1024}


# -- the driver --------------------------------------------------------------------------------------------


class Child:
    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TZ": "UTC"},
        )
        self.port = int(self.process.stdout.readline())

    def tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def usage(self) -> dict[str, float]:
        self.tell("usage")
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Row:
    """One line of the table; times in ms, median of the runs."""

    what: str
    ours_ms: float
    c104_ms: float | None
    target: float | None
    ours_lost: int
    c104_lost: int | None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours_ms / self.c104_ms if self.c104_ms else None


def ours(size: int) -> tuple[str, ...]:
    return __file__, "--serve-ours", str(size)


def c104(size: int, window: int, kind: str) -> tuple[str, ...]:
    return str(Path(__file__).with_name("iec104_c104_outstation.py")), str(size), str(window), kind


def interrogations(arguments: tuple[str, ...], size: int, repeat: int) -> tuple[float, int, dict[str, float]]:
    with Child(*arguments) as child:
        master = Master(child.port)
        if "--serve-ours" in arguments:
            child.tell("values")
        master.quiet(0.5)
        runs = [master.interrogate(size, 3) for _ in range(repeat)]
        return statistics.median(s for s, _ in runs) * 1e3, size - min(n for _, n in runs), child.usage()


def burst_ours(size: int, repeat: int) -> tuple[float, int]:
    times, lost = [], 0
    with Child(*ours(size)) as child:
        master = Master(child.port)
        for _ in range(repeat):
            master.objects.clear()
            started = last = time.perf_counter()
            child.tell("values")
            while master.objects.get(3, 0) < size and master.read(3):
                last = time.perf_counter()
            master.acknowledge()
            times.append(last - started)
            lost = max(lost, size - master.objects.get(3, 0))
    return statistics.median(times) * 1e3, lost


def burst_c104(size: int, repeat: int, batch: int) -> tuple[float, int]:
    times, lost = [], 0
    with Child(*c104(size, LARGEST_WINDOW, "events")) as child:
        master = Master(child.port)
        for _ in range(repeat):
            master.objects.clear()
            started = last = time.perf_counter()
            for start in range(0, size, batch):
                child.tell(f"values {start} {min(batch, size - start)}")
                while master.objects.get(3, 0) < min(start + batch, size) and master.read(2):
                    last = time.perf_counter()
                master.acknowledge()
            times.append(last - started)
            lost = max(lost, size - master.objects.get(3, 0))
    return statistics.median(times) * 1e3, lost


def commands(arguments: tuple[str, ...], ioa: int, points: int, repeat: int) -> float:
    """Returns the ms that all commands take, so many points under way at a time; median of the runs."""
    times = []
    with Child(*arguments) as child:
        master = Master(child.port)
        for i in range(100):
            master.command(ioa, float(i), points)
        for _ in range(repeat):
            started = time.perf_counter()
            for i in range(COMMANDS // points):
                master.command(ioa, float(i), points)
            times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def run(repeat: int) -> list[Row]:
    with_c104 = find_spec("c104") is not None
    rows = []
    for size, target in ((10_000, 1 / 2), (50_000, 1 / 6)):
        spent, lost, used = interrogations(ours(size), size, repeat)
        row = Row(f"general interrogation, {size} points", spent, None, target, lost, None)
        row.note = f"ours k=12, {used['rss_mb']:.0f} MB"
        if with_c104:
            row.c104_ms, row.c104_lost, _ = interrogations(
                c104(size, LARGEST_WINDOW, "present"), size, repeat
            )
            _, small_lost, _ = interrogations(c104(size, 12, "present"), size, 1)
            row.note += f"; c104 k=32767, with k=12 it loses {small_lost}"
        rows.append(row)
    size = 50_000
    spent, lost = burst_ours(size, repeat)
    row = Row(f"burst of {size} events", spent, None, 1 / 6, lost, None)
    if with_c104:
        row.c104_ms, row.c104_lost = burst_c104(size, 1, C104_BATCH)
        _, unpaced_lost = burst_c104(size, 1, size)
        row.note = f"c104 in batches of {C104_BATCH}; unpaced it loses {unpaced_lost}"
    rows.append(row)
    for points, how in ((1, "one after the other"), (COMMAND_POINTS, f"{COMMAND_POINTS} under way")):
        spent = commands(ours(1000), 50_001, points, repeat)
        row = Row(f"{COMMANDS} set-point commands, {how}", spent, None, None, 0, None)
        row.note = f"{COMMANDS / row.ours_ms * 1e3:.0f}/s, through access check and arbitration"
        if with_c104:
            row.c104_ms = commands(c104(1000, 12, "present"), 200_001, points, repeat)
            row.c104_lost = 0
            row.note += f"; c104 {COMMANDS / row.c104_ms * 1e3:.0f}/s"
        rows.append(row)
    return rows


def show(rows: list[Row]) -> None:
    print(f"{'':52} {'ours ms':>9} {'c104 ms':>9} {'ratio':>6} {'target':>6} {'lost':>5} {'c104 lost':>9}")
    for row in rows:
        cells = [
            f"{row.ours_ms:9.1f}",
            f"{row.c104_ms:9.1f}" if row.c104_ms else " " * 9,
            f"{row.ratio:6.2f}" if row.ratio else " " * 6,
            f"{row.target:6.2f}" if row.target else " " * 6,
            f"{row.ours_lost:5d}",
            f"{row.c104_lost:9d}" if row.c104_lost is not None else " " * 9,
        ]
        print(f"{row.what:52}", *cells, row.note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows there as well")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--serve-ours", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_ours is not None:
        asyncio.run(serve_ours(options.serve_ours))
        return
    rows = run(options.repeat)
    show(rows)
    if options.json:
        options.json.write_text(json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=2))


if __name__ == "__main__":
    main()
