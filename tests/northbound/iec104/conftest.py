import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from s4g_gateway.codecs.iec104 import (
    Asdu,
    AsduReceived,
    Cause,
    Closed,
    InformationObject,
    Link,
    LinkParameters,
    Role,
    TransferStarted,
    TypeId,
    decode_asdu,
    encode_asdu,
)
from s4g_gateway.model import ACCEPTED, ControlPoint, DataSet, Member, ObjectReference, Report, ValueType
from s4g_gateway.northbound.iec104 import Iec104Config, Iec104Outstation
from s4g_gateway.northbound.iec104.config import GroupTable
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.clock import SystemClock
from s4g_gateway.runtime.contract import Counters, Services, SiteContext, SuppliedDataSet
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.security import Principal, default_policy


class NoAudit:
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
    delay_s: float = 0.0
    gate: asyncio.Event | None = None
    seen: list = field(default_factory=list)

    async def execute(self, control):
        self.seen.append((control.reference, control.value, control.origin.category.name))
        await asyncio.sleep(self.delay_s)
        if self.gate is not None:
            await self.gate.wait()
        return self.answer


@dataclass
class Bench:
    """A site with one outstation."""

    database: RealTimeDatabase
    device: Device
    audit: NoAudit
    outstation: Iec104Outstation
    counters: Counters
    data_sets: tuple
    clock: SystemClock

    @property
    def port(self):
        return self.outstation.address[1]

    def publish(self, values, *, quality=None, data_set=0, time_ns=None, included=None):
        target = self.data_sets[data_set]
        self.database.publish(
            Report(
                target,
                tuple(values),
                tuple(quality or (0,) * len(target)),
                self.clock.wall_ns() if time_ns is None else time_ns,
                included=included,
            )
        )


def member(reference, value_type=ValueType.FLOAT, unit="W", cdc="MV", **more):
    return Member(reference=ObjectReference(reference), value_type=value_type, unit=unit, cdc=cdc, **more)


def point(reference, **more):
    return ControlPoint(reference=ObjectReference(reference), **more)


@contextlib.asynccontextmanager
async def serving(tmp_path: Path, data_sets, controls=(), device=None, policy=None, **config):
    clock = SystemClock()
    policy = policy or default_policy()
    audit = NoAudit()
    arbitration = Arbitration(
        clock=clock, policy=policy, audit=audit, ledger=NoLedger(), execute_timeout_s=2.0
    )
    database = RealTimeDatabase(clock=clock, policy=policy, arbitration=arbitration)
    supplied = tuple(SuppliedDataSet(data_set=data_set, period_s=1000.0) for data_set in data_sets)
    database.add("device", supplied)
    device = device or Device()
    arbitration.add("device", controls, device.execute)
    context = SiteContext(
        site="bench",
        directory=tmp_path,
        state_directory=tmp_path,
        supplied=supplied,
        controls=tuple(controls),
    )
    outstation = Iec104Outstation("scada", Iec104Config(**{"listen": "127.0.0.1:0", **config}), context)
    counters = Counters()
    services = Services(
        name="scada",
        database=database,
        clock=clock,
        log=structlog.get_logger("scada"),
        counters=counters,
        state_directory=tmp_path,
        principal=Principal(name="scada", roles=frozenset({"SCADA"})),
    )
    task = asyncio.create_task(outstation.run(services))
    while outstation.address is None:
        await asyncio.sleep(0.001)
        if task.done():
            await task
    try:
        yield Bench(database, device, audit, outstation, counters, tuple(data_sets), clock)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class RawMaster:
    """A master on the plain link layer: sends any ASDU, keeps everything it gets."""

    def __init__(self, reader, writer, k=12, w=8):
        self.reader, self.writer = reader, writer
        self.loop = asyncio.get_running_loop()
        self.link = Link(Role.CONTROLLING, LinkParameters(k=k, w=w), self.loop.time())
        self.asdus = []
        # Objects of events by address, never cleared: (value, quality, time), decoded once.
        self.events = {}
        self.octets = b""
        self.closed = None
        self.started = False

    @classmethod
    async def connect(cls, port, *, start=True, ssl=None, receive_bytes=0, **more):
        plain = socket.socket()
        if receive_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
        name = "127.0.0.1" if ssl else None
        reader, writer = await asyncio.open_connection(sock=plain, ssl=ssl, server_hostname=name)
        master = cls(reader, writer, **more)
        if start:
            master.link.start(master.loop.time())
            master.flush()
            await master.until(lambda: master.started)
        return master

    def flush(self):
        data = self.link.data_to_send()
        if data:
            self.writer.write(data)

    async def pump(self, timeout_s=5.0):
        async with asyncio.timeout(timeout_s):
            data = await self.reader.read(1 << 16)
        self.octets += data
        if data:
            self.link.receive_data(data, self.loop.time())
        else:
            self.link.receive_eof()
        for event in self.link.events():
            if isinstance(event, AsduReceived):
                self.asdus.append(event.asdu)
                self.note(event.asdu)
            elif isinstance(event, TransferStarted):
                self.started = True
            elif isinstance(event, Closed):
                self.closed = event.reason
        self.flush()

    def note(self, octets):
        if octets[2] & 63 == Cause.SPONTANEOUS:
            for item in decode_asdu(octets).objects:
                time_ns = None if item.time is None else item.time.time_ns
                self.events.setdefault(item.address, []).append((item.value, item.quality, time_ns))

    async def until(self, condition, timeout_s=10.0):
        async with asyncio.timeout(timeout_s):
            while not condition() and self.closed is None:
                await self.pump(timeout_s)
        assert condition(), (self.closed, len(self.asdus))

    async def quiet(self, for_s=0.1):
        with contextlib.suppress(TimeoutError):
            while True:
                await self.pump(for_s)

    def send(self, type_id, cause, address, value=None, *, common_address=1, **more):
        obj = InformationObject(address, value, **more)
        asdu = Asdu(type_id=type_id, cause=cause, common_address=common_address, objects=(obj,))
        self.link.send(encode_asdu(asdu), self.loop.time())
        self.flush()

    async def interrogate(self, group=0, common_address=1, timeout_s=20.0):
        self.asdus.clear()
        self.send(TypeId.C_IC_NA_1, Cause.ACTIVATION, 0, 20 + group, common_address=common_address)
        await self.until(lambda: any(a[0] == 100 and a[2] & 63 == 10 for a in self.asdus), timeout_s)
        return self.decoded()

    def decoded(self):
        return [decode_asdu(asdu) for asdu in self.asdus]

    def points(self, cause=None):
        """Returns {ioa: (type, value, quality)} of the monitored objects received."""
        return {
            obj.address: (asdu.type_id.name, obj.value, obj.quality)
            for asdu in self.decoded()
            if asdu.type_id < 45 and (cause is None or asdu.cause == cause)
            for obj in asdu.objects
        }

    async def close(self):
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def time_of(number):
    """The time tag of a numbered event: whole milliseconds."""
    return 1_767_225_600_000_000_000 + number * 1_000_000


def floats(count, name="d", device="ESS1", **more):
    return DataSet(name, tuple(member(f"{device}/GGIO1.AnIn{i + 1}", **more) for i in range(count)))


@pytest.fixture
def kit():
    """What the tests of this folder share."""
    return SimpleNamespace(
        Device=Device,
        RawMaster=RawMaster,
        GroupTable=GroupTable,
        LinkParameters=LinkParameters,
        floats=floats,
        member=member,
        point=point,
        serving=serving,
        time_of=time_of,
    )
