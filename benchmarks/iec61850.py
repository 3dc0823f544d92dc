"""IEC 61850: the whole way (front, worker, model) against the bare ctypes layer on the same library.

    python -m benchmarks.iec61850 [--quick] [--json FILE]

Both serve the same 1000 measured values, each from processes of its own; libiec61850's own client asks both in turns.
Bare: a model served by the ctypes layer with no front before it and no rights to ask for. Updates are compared within
one process: the worker's update of a Report against a loop that does nothing but the three calls per point.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import BenchRow, compare, main
from s4g_gateway.model import DataSet, Member, ObjectReference, Report
from s4g_gateway.profiles.iec61850 import ModelPlan, PlanSettings, describe, plan_model
from s4g_gateway.workers.libiec61850.client import FC, Client
from s4g_gateway.workers.libiec61850.library import load
from s4g_gateway.workers.libiec61850.model import Model
from s4g_gateway.workers.libiec61850.reports import Option, ReportControl, Trigger
from s4g_gateway.workers.libiec61850.server import Hooks, Server, ServerSettings
from s4g_gateway.workers.libiec61850.values import utc_time_octets

NODES = 100
DEVICE = 100  # points of a device, which come as one Report
NAMES = ("TotW", "TotVAr", "TotVA", "TotPF", "Hz", "AvPhVPhs", "AvAPhs", "MaxWPhs", "MinWPhs", "AvVAPhs")
HOST = "127.0.0.1"
READ = "PCC1/MMXU1.TotW"
DATA_SET = "PCC1/LLN0.MX01"
BLOCK = "PCC1/LLN0.RP.urcbMX0101"


def members() -> tuple[Member, ...]:
    return tuple(
        Member(reference=ObjectReference(f"PCC1/MMXU{node}.{name}"), unit="W", cdc="MV")
        for node in range(1, NODES + 1)
        for name in NAMES
    )


def plan() -> ModelPlan:
    return plan_model(members(), (), PlanSettings(ied_name="BENCH", objects_per_device=2000)).plan


class Nobody:
    answer = None

    def wait(self, timeout_s: float) -> None:
        return None


# -- the two servers, each told a line to publish ----------------------------------------------------------


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def serve_bare() -> None:
    model = Model(describe(plan()))
    server = Server(model, Hooks(begin=lambda _request: Nobody()), ServerSettings())
    port = free_port()
    server.start(HOST, port)
    value, time_ = (model.attributes[f"{READ}.{part}"][0] for part in ("mag.f", "t"))
    print(port, flush=True)
    lib = load()
    for line in sys.stdin:
        with server.batch():
            lib.IedServer_updateTimestampAttributeValue(server.handle, time_, utc_time_octets(time.time_ns()))
            lib.IedServer_updateFloatAttributeValue(server.handle, value, float(line))
    server.stop()


async def serve_gateway() -> None:
    import structlog

    from s4g_gateway.northbound.iec61850 import Iec61850Config, Iec61850Server
    from s4g_gateway.runtime.arbitration import Arbitration
    from s4g_gateway.runtime.clock import SystemClock
    from s4g_gateway.runtime.contract import Counters, Services, SiteContext, SuppliedDataSet
    from s4g_gateway.runtime.database import RealTimeDatabase
    from s4g_gateway.security import Principal, default_policy

    class Quiet:
        def record(self, event: object) -> None:
            pass

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    clock, policy = SystemClock(), default_policy()
    arbitration = Arbitration(clock=clock, policy=policy, audit=Quiet(), ledger=Quiet())  # type: ignore[arg-type]
    database = RealTimeDatabase(clock=clock, policy=policy, arbitration=arbitration)
    points = members()
    data_sets = [DataSet(f"device{at}", points[at : at + DEVICE]) for at in range(0, len(points), DEVICE)]
    data_set = data_sets[0]
    supplied = tuple(SuppliedDataSet(data_set=entry, period_s=3600.0) for entry in data_sets)
    database.add("device", supplied)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = SiteContext(site="bench", directory=folder, state_directory=folder, supplied=supplied)
        server = Iec61850Server("mms", Iec61850Config(listen=f"{HOST}:0"), context)
        counters = Counters()
        services = Services(
            name="mms",
            database=database,
            clock=clock,
            log=structlog.get_logger(),
            counters=counters,
            state_directory=folder,
            principal=Principal(name="mms", roles=frozenset({"SCADA"})),
        )
        task = asyncio.create_task(server.run(services))
        while not counters.values.get("worker_running"):
            await asyncio.sleep(0.01)
        assert server.address is not None
        print(server.address[1], flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        position = data_set.index[ObjectReference(READ)]
        values = [0.0] * len(data_set)
        while line := await reader.readline():
            values[position] = float(line)
            database.publish(Report(data_set, tuple(values), (0,) * len(values), time.time_ns()))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.contextmanager
def served(kind: str) -> Iterator[tuple[int, Any]]:
    """Runs one of the servers; yields its port and the pipe by which it is told to publish."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.iec61850", "--serve", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.stdin
    finally:
        process.stdin.close()
        process.wait(30)


# -- what is measured -----------------------------------------------------------------------------------


def reads(quick: bool) -> Iterator[BenchRow]:
    with served("gateway") as (our_port, _), served("bare") as (bare_port, _):
        with Client() as ours, Client() as bare:
            ours.connect(HOST, our_port)
            bare.connect(HOST, bare_port)
            for what, one, work in (
                ("read one value, quality, time; one after the other", single, 1.0),
                ("read a data set of 100, one after the other", whole, 100.0),
            ):
                yield compare(
                    what,
                    lambda one=one: one(ours),
                    lambda one=one: one(bare),
                    peer_name="bare ctypes",
                    unit="objects/s",
                    work=work,
                    target=0.7,
                    quick=quick,
                )
        with contextlib.ExitStack() as stack:
            teams = []
            for port in (our_port, bare_port):
                team = [stack.enter_context(Client()) for _ in range(4)]
                for client in team:
                    client.connect(HOST, port)
                teams.append(team)
            yield compare(
                "read one value, four clients at once",
                lambda: at_once(teams[0]),
                lambda: at_once(teams[1]),
                peer_name="bare ctypes",
                unit="objects/s",
                work=4 * 50.0,
                target=0.7,
                quick=quick,
            )


def single(client: Client) -> None:
    client.read(READ, FC.MX)


def whole(client: Client) -> None:
    client.read_data_set(DATA_SET)


def at_once(team: Sequence[Client]) -> None:
    def work(client: Client) -> None:
        for _ in range(50):
            client.read(READ, FC.MX)

    threads = [threading.Thread(target=work, args=(client,)) for client in team]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def latency(quick: bool) -> BenchRow:
    """From the line that says publish to the report in the client's callback."""
    rounds = 40 if quick else 200
    found: dict[str, list[float]] = {"gateway": [], "bare": []}
    with contextlib.ExitStack() as stack:
        peers = {}
        for kind in found:
            port, pipe = stack.enter_context(served(kind))
            client = stack.enter_context(Client())
            client.connect(HOST, port)
            arrived = threading.Event()
            block = ReportControl(client, BLOCK)
            block.subscribe(lambda _report, arrived=arrived: arrived.set(), rpt_id=block.read().rpt_id)
            block.enable(triggers=Trigger.DATA_CHANGE, options=Option.SEQUENCE_NUMBER | Option.REASON)
            peers[kind] = (pipe, arrived)
        for turn in range(rounds):
            for kind, (pipe, arrived) in peers.items():
                arrived.clear()
                start = time.perf_counter()
                pipe.write(f"{turn + 1}\n")
                pipe.flush()
                if not arrived.wait(30):
                    sys.exit(f"no report from {kind}")
                found[kind].append(time.perf_counter() - start)
                time.sleep(0.003 + turn % 7 / 1000)  # not in step with the library's loop
    ours, bare = (median(found[kind]) * 1000 for kind in ("gateway", "bare"))
    # The share is bare / ours, so that more is better, as with rates.
    return BenchRow(
        name="report latency, median; ratio is bare / ours",
        unit="ms",
        ours=ours,
        peer=bare,
        peer_name="bare ctypes",
        ratio=bare / ours,
        target=0.7,
    )


class NoChannel:
    """Stands for the channel of a worker whose update is called directly."""

    def __init__(self, start: Any, data_sets: tuple[DataSet, ...]) -> None:
        self.start = start
        self.data_sets = data_sets

    def log(self, level: str, event: str, **fields: Any) -> None:
        print(level, event, fields)


def updates(quick: bool) -> BenchRow:
    from s4g_gateway.workers import iec61850_server

    made = plan()
    data_set = DataSet("bench", members())
    by_reference = {binding.reference: binding for binding in made.bindings}
    start = {
        "model": describe(made),
        "bindings": [
            [[b.value, b.quality, b.time, b.factor] for b in (by_reference[r] for r in data_set.references)]
        ],
        "controls": [],
        "guarded": False,
        "settings": {},
    }
    worker = iec61850_server._Worker(NoChannel(start, (data_set,)))  # type: ignore[arg-type]
    worker._listen()
    model = Model(describe(made))
    server = Server(model, Hooks(begin=lambda _request: Nobody()), ServerSettings())
    server.start(HOST, free_port())
    handles = [
        tuple(model.attributes[f"{reference}.{part}"][0] for part in ("mag.f", "q", "t"))
        for reference in data_set.references
    ]
    state = {"turn": 0}
    lib = load()
    good = (0,) * len(data_set)

    def ours() -> None:
        state["turn"] += 1
        value = float(state["turn"])
        worker._update(0, Report(data_set, (value,) * len(data_set), good, time.time_ns()))

    def bare() -> None:
        state["turn"] += 1
        value, octets, handle = float(state["turn"]), utc_time_octets(time.time_ns()), server.handle
        set_time, set_quality = lib.IedServer_updateTimestampAttributeValue, lib.IedServer_updateQuality
        set_value = lib.IedServer_updateFloatAttributeValue
        with server.batch():
            for mag, q, t in handles:
                set_time(handle, t, octets)
                set_quality(handle, q, 0)
                set_value(handle, mag, value)

    row = compare(
        "update value, quality, time of 1000 points",
        ours,
        bare,
        peer_name="bare ctypes loop",
        unit="points/s",
        work=float(len(data_set)),
        target=0.5,
        quick=quick,
    )
    worker.close()
    server.stop()
    model.close()
    return row


def rows(quick: bool) -> list[BenchRow]:
    return [*reads(quick), latency(quick), updates(quick)]


if __name__ == "__main__":
    if "--serve" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--serve", choices=["bare", "gateway"])
        if parser.parse_args().serve == "bare":
            serve_bare()
        else:
            import uvloop

            uvloop.run(serve_gateway())  # as s4g run does where it is installed
        os._exit(0)
    main(__doc__.splitlines()[0], rows)
