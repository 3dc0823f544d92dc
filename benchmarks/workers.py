"""Worker processes: what Reports over the channel cost the gateway, beside a bare ``multiprocessing.Pipe``.

    python -m benchmarks.workers [--quick] [--json FILE]

The peer is the least one can write: a process that sends tuples of values, quality and time, pickled, and a blocking
``recv`` loop. It checks nothing, and its Reports are no Reports yet. Ours arrive in a running event loop as checked
Reports on the connector's DataSet.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import structlog

from benchmarks.harness import BenchRow, compare, main
from benchmarks.loop_delay import LoopDelay
from s4g_gateway.model import DataSet, Member, ObjectReference, Report
from s4g_gateway.runtime.contract import Counters, Services
from s4g_gateway.runtime.worker import Worker
from s4g_gateway.workers import frames

# What the issue allows while a worker reads ciphered meters.
ALLOWED_DELAY_MS = 5.0
TIME_NS = 1_700_000_000_000_000_000


def data_set(size: int) -> DataSet:
    return DataSet(
        "d", tuple(Member(reference=ObjectReference(f"D/MMXU{n}.TotW")) for n in range(1, size + 1))
    )


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    services = cast("Services", SimpleNamespace(log=structlog.get_logger(), counters=Counters()))
    task = asyncio.create_task(worker.run(services))
    try:
        while not worker.running:
            await asyncio.sleep(0.01)
        yield worker
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def worker_of(kind: str, **more: Any) -> Worker:
    return Worker("benchmarks.worker_burner", start=kind, **more)


# -- Reports ----------------------------------------------------------------------------------------------


async def our_reports(size: int, seconds: float) -> tuple[float, float]:
    """Returns Reports a second and CPU of this process in us a Report."""
    count = 0

    def on_report(report: Report) -> None:
        nonlocal count
        count += 1

    async with running(worker_of("reports", data_sets=[data_set(size)], on_report=on_report)):
        await asyncio.sleep(0.1)
        first, cpu, began = count, time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        found = count - first
        return found / (time.perf_counter() - began), 1e6 * (time.process_time() - cpu) / found


def pipe_child(connection: Connection, size: int) -> None:
    os.nice(5)
    number, quality = 0, (0,) * size
    with contextlib.suppress(OSError):
        while True:
            number += 1
            values = tuple(number + place / 7 for place in range(size))
            connection.send((0, values, quality, TIME_NS + number))


def pipe_reports(size: int, seconds: float) -> tuple[float, float]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=pipe_child, args=(theirs, size), daemon=True)
    child.start()
    theirs.close()
    for _ in range(100):
        ours.recv()
    found, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        ours.recv()
        found += 1
    elapsed, used = time.perf_counter() - began, time.process_time() - cpu
    ours.close()
    child.join()
    return found / elapsed, 1e6 * used / found


def report_rows(size: int, quick: bool) -> list[BenchRow]:
    turns, seconds = (2, 0.5) if quick else (5, 2.0)
    pairs = [(asyncio.run(our_reports(size, seconds)), pipe_reports(size, seconds)) for _ in range(turns)]
    rows = []
    for place, name, unit, target in (
        (0, "arriving", "Reports/s", None),
        (1, "CPU of the gateway", "us/Report", 2.0),
    ):
        rows.append(
            BenchRow(
                name=f"Reports of {size} values, {name}",
                unit=unit,
                ours=median(our[place] for our, _ in pairs),
                peer=median(peer[place] for _, peer in pairs),
                peer_name="multiprocessing.Pipe",
                ratio=median(our[place] / peer[place] for our, peer in pairs),
                target=target,
                at_most=True,
            )
        )
    rows.append(
        BenchRow(
            name=f"Reports of {size} values, arriving",
            unit="values/s",
            ours=rows[0].ours * size,
            peer=(rows[0].peer or 0.0) * size,
        )
    )
    return rows


def decode_row(size: int, quick: bool) -> BenchRow:
    sets = (data_set(size),)
    values, quality = tuple(place / 7 for place in range(size)), (0,) * size
    data = bytes(frames.encode(frames.report_frame(0, Report(sets[0], values, quality, TIME_NS))))
    pickled = pickle.dumps((0, values, quality, TIME_NS))

    def ours() -> list[Report]:
        reader = frames.FrameReader()
        reader.feed(data)
        return [frames.report(cast("frames.ReportFrame", frame), sets) for frame in reader.frames()]

    return compare(
        f"decode and check a Report of {size}",
        ours,
        lambda: pickle.loads(pickled),
        peer_name="pickle.loads",
        unit="values/s",
        work=size,
        quick=quick,
    )


# -- calls ------------------------------------------------------------------------------------------------


async def our_calls(count: int) -> float:
    async with running(worker_of("echo")) as worker:
        await worker.call("echo", 0, timeout_s=10)
        began = time.perf_counter()
        for number in range(count):
            await worker.call("echo", number, timeout_s=10)
        return count / (time.perf_counter() - began)


def echo_child(connection: Connection) -> None:
    os.nice(5)
    with contextlib.suppress(EOFError):
        while True:
            connection.send(connection.recv())


def pipe_calls(count: int) -> float:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=echo_child, args=(theirs,), daemon=True)
    child.start()
    theirs.close()
    ours.send(0)
    ours.recv()
    began = time.perf_counter()
    for number in range(count):
        ours.send(number)
        ours.recv()
    found = count / (time.perf_counter() - began)
    ours.close()
    child.join()
    return found


def call_row(quick: bool) -> BenchRow:
    turns, count = (2, 500) if quick else (5, 3000)
    pairs = [(asyncio.run(our_calls(count)), pipe_calls(count)) for _ in range(turns)]
    return BenchRow(
        name="calls, one after the other",
        unit="calls/s",
        ours=median(our for our, _ in pairs),
        peer=median(peer for _, peer in pairs),
        peer_name="multiprocessing.Pipe",
        ratio=median(our / peer for our, peer in pairs),
    )


# -- the event loop ---------------------------------------------------------------------------------------


async def delay_ms(kinds: list[str], seconds: float) -> float:
    async with contextlib.AsyncExitStack() as stack:
        for kind in kinds:
            await stack.enter_async_context(running(worker_of(kind, data_sets=[data_set(50)])))
        async with LoopDelay() as delay:
            await asyncio.sleep(seconds)
        return delay.percentile_ms(99)


def delay_rows(quick: bool) -> list[BenchRow]:
    seconds = 1.0 if quick else 5.0
    cores = os.cpu_count() or 1
    rows = []
    for name, kinds in (
        ("no worker", []),
        ("a busy worker on each core", ["burn"] * cores),
        ("a worker that floods Reports of 50", ["reports"]),
    ):
        found = asyncio.run(delay_ms(kinds, seconds))
        rows.append(
            BenchRow(
                name=f"event-loop delay p99, {name}",
                unit="ms",
                ours=found,
                peer=ALLOWED_DELAY_MS,
                peer_name="allowed",
                ratio=found / ALLOWED_DELAY_MS,
                target=1.0 if kinds else None,
                at_most=True,
            )
        )
    return rows


def rows(quick: bool) -> list[BenchRow]:
    return [
        *(decode_row(size, quick) for size in (20, 50, 500)),
        *report_rows(50, quick),
        *report_rows(500, quick),
        call_row(quick),
        *delay_rows(quick),
    ]


if __name__ == "__main__":
    main(__doc__ or "", rows)
