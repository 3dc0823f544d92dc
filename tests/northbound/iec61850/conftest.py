import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from s4g_gateway.errors import PermanentError
from s4g_gateway.model import ACCEPTED, ControlModel, ControlPoint, DataSet, Member, ObjectReference, Report
from s4g_gateway.northbound.iec61850 import Iec61850Config, Iec61850Server
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.clock import SystemClock
from s4g_gateway.runtime.contract import Counters, Services, SiteContext, SuppliedDataSet
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.security import Principal, default_policy
from s4g_gateway.workers.libiec61850.client import Client
from s4g_gateway.workers.libiec61850.library import library_path

PATIENCE_S = 60.0


class Audit:
    def __init__(self):
        self.events = []

    def record(self, event):
        self.events.append(event)


class NoLedger:
    async def begin(self, command_id, time_ns):
        return None

    async def finish(self, command_id, answer):
        pass


@dataclass
class Device:
    """Answers Controls as told and remembers them."""

    answer: object = ACCEPTED
    gate: asyncio.Event | None = None
    seen: list = field(default_factory=list)

    async def execute(self, control):
        self.seen.append((control.reference, control.value, control.origin))
        if self.gate is not None:
            await self.gate.wait()
        return self.answer


@dataclass
class Bench:
    """A site with one IEC 61850 server."""

    database: RealTimeDatabase
    device: Device
    audit: Audit
    server: Iec61850Server
    counters: Counters
    data_sets: tuple
    clock: SystemClock

    @property
    def port(self):
        return self.server.address[1]

    def publish(self, values, *, quality=None, data_set=0, time_ns=None):
        target = self.data_sets[data_set]
        self.database.publish(
            Report(
                target,
                tuple(values),
                tuple(quality or (0,) * len(target)),
                self.clock.wall_ns() if time_ns is None else time_ns,
            )
        )


def member(reference, **more):
    return Member(reference=ObjectReference(reference), **more)


def point(reference, **more):
    return ControlPoint(reference=ObjectReference(reference), **more)


async def until(condition, what="the condition"):
    """Waits until a condition holds; it may be slow, so it is asked in a thread."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await asyncio.to_thread(condition)
            if found:
                return found
            await asyncio.sleep(0.02)


SITE = (
    member("ESS1/DSTO1.EffWh", unit="Wh", description="energy available"),
    member("PCC1/MMXU1.TotW", unit="W"),
)
POINTS = tuple(
    point(f"{device}/DWGC1.WSpt", unit="W", minimum=-5000, maximum=5000, model=model)
    for device, model in (
        ("DN1", ControlModel.DIRECT_NORMAL),
        ("SN1", ControlModel.SBO_NORMAL),
        ("DE1", ControlModel.DIRECT_ENHANCED),
        ("SE1", ControlModel.SBO_ENHANCED),
    )
)


@contextlib.asynccontextmanager
async def serving(folder: Path, members=SITE, controls=POINTS, device=None, policy=None, **config):
    clock = SystemClock()
    policy = policy or default_policy()
    audit = Audit()
    arbitration = Arbitration(
        clock=clock, policy=policy, audit=audit, ledger=NoLedger(), execute_timeout_s=30.0
    )
    database = RealTimeDatabase(clock=clock, policy=policy, arbitration=arbitration)
    data_sets = (DataSet("site", tuple(members)),)
    supplied = tuple(SuppliedDataSet(data_set=data_set, period_s=1000.0) for data_set in data_sets)
    database.add("device", supplied)
    device = device or Device()
    arbitration.add("device", controls, device.execute)
    context = SiteContext(
        site="bench", directory=folder, state_directory=folder, supplied=supplied, controls=tuple(controls)
    )
    server = Iec61850Server("scada", Iec61850Config(listen="127.0.0.1:0", **config), context)
    counters = Counters()
    services = Services(
        name="scada",
        database=database,
        clock=clock,
        log=structlog.get_logger("scada"),
        counters=counters,
        state_directory=folder,
        principal=Principal(name="scada", roles=frozenset({"SCADA"})),
    )
    task = asyncio.create_task(server.run(services))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (counters.values.get("worker_running") and server.address):
                if task.done():
                    task.result()
                await asyncio.sleep(0.02)
        yield Bench(database, device, audit, server, counters, data_sets, clock)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def client(port, **more):
    """An associated client of libiec61850; its calls block, so they go to threads."""
    made = Client(connect_timeout_s=PATIENCE_S, request_timeout_s=PATIENCE_S, **more)
    try:
        await asyncio.to_thread(made.connect, "127.0.0.1", port)
        yield made
    finally:
        await asyncio.to_thread(made.close)


@pytest.fixture
def bench_tools():
    try:
        library_path()
    except PermanentError as error:
        pytest.skip(str(error))
    return serving, client, until
