"""c104, a stack that nobody here wrote, as our master and as our outstation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from s4g_gateway.codecs.iec104 import (
    ClockSynchronised,
    CommandMode,
    CommandPoint,
    CommandRequested,
    DataReceived,
    GroupConfig,
    InformationObject,
    LinkClosed,
    LinkParameters,
    MasterConfig,
    Outcome,
    Outstation,
    OutstationConfig,
    OutstationEvent,
    TypeId,
    pack_asdus,
)
from s4g_gateway.simulators.iec104_master import Iec104Master

pytestmark = pytest.mark.skipif(find_spec("c104") is None, reason="c104 is not installed")


class C104:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, op: str, **more: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"op": op, **more}).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            return json.loads(await self.process.stdout.readline())


@contextlib.asynccontextmanager
async def c104(role: str, port: int) -> AsyncIterator[C104]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        Path(__file__).with_name("c104_peer.py"),
        role,
        str(port),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    peer = C104(process)
    try:
        assert await peer.answer() is True
        yield peer
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.stdout.read()
        except TimeoutError:
            process.kill()
        await process.wait()


class Socket(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.link = self.server.outstation.open_link("g", time.monotonic())
        self.server.sockets[self.link] = self

    def data_received(self, data: bytes) -> None:
        # c104's master misses an answer that arrives before it has begun to wait; a device takes longer than that;
        # requests are I-frames, acknowledgements go through at once
        if data[2] & 1:
            self._take(data)
        else:
            asyncio.get_running_loop().call_later(0.01, self._take, data)

    def _take(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self.server.outstation.receive_data(self.link, data, time.monotonic(), time.time_ns())
        self.server.settle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.outstation.receive_eof(self.link, time.monotonic(), time.time_ns())
        self.server.settle()


class Server:
    """The outstation on a socket; commands to address 99 are refused."""

    def __init__(self, image: Any) -> None:
        self.outstation = Outstation(OutstationConfig(groups=(GroupConfig(name="g"),)), image)
        self.sockets: dict[int, Socket] = {}
        self.events: list[OutstationEvent] = []
        self.port = 0

    def settle(self) -> None:
        for event in self.outstation.events():
            self.events.append(event)
            if isinstance(event, CommandRequested):
                now, utc_ns = time.monotonic(), time.time_ns()
                self.outstation.answer_command(event.token, event.address != 99, now, utc_ns)
                self.outstation.terminate_command(event.token, now, utc_ns)
            elif isinstance(event, LinkClosed):
                self.sockets.pop(event.link).transport.close()
        for link, wire in self.sockets.items():
            wire.transport.write(self.outstation.data_to_send(link, time.monotonic()))

    def publish(self, *asdus: bytes) -> None:
        self.outstation.publish(asdus, time.time_ns())
        self.settle()

    def commands(self) -> list[tuple[int, float, bool]]:
        return [(e.address, e.value, e.select) for e in self.events if isinstance(e, CommandRequested)]


@contextlib.asynccontextmanager
async def serving(image: Any) -> AsyncIterator[Server]:
    server = Server(image)
    listener = await asyncio.get_running_loop().create_server(lambda: Socket(server), "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for wire in server.sockets.values():
            wire.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
def stocked(image: Any) -> Any:
    image.points = {
        (1, 10): (TypeId.M_SP_NA_1, 1, 0),
        (1, 11): (TypeId.M_DP_NA_1, 2, 0),
        (1, 12): (TypeId.M_ST_NA_1, -3, 0),
        (1, 13): (TypeId.M_BO_NA_1, 0xDEADBEEF, 0),
        (1, 14): (TypeId.M_ME_NA_1, 16384, 0),
        (1, 15): (TypeId.M_ME_NB_1, -1234, 0),
        (1, 16): (TypeId.M_ME_NC_1, 0.5, 0),
    }
    image.groups = {(1, 16): 2}
    image.counters = {(1, 20): 77}
    image.commands = {
        (1, address): CommandPoint(type_id=type_id, mode=CommandMode.BOTH)
        for address, type_id in (
            (50, TypeId.C_SC_NA_1),
            (51, TypeId.C_DC_NA_1),
            (52, TypeId.C_RC_NA_1),
            (53, TypeId.C_SE_NA_1),
            (54, TypeId.C_SE_NB_1),
            (55, TypeId.C_SE_NC_1),
            (99, TypeId.C_SC_NA_1),
        )
    }
    image.commands[1, 56] = CommandPoint(type_id=TypeId.C_BO_NA_1)
    return image


async def test_c104_reads_our_outstation(stocked: Any) -> None:
    async with serving(stocked) as server, c104("master", server.port) as master:
        assert await master.ask("interrogate") is True
        seen = {row[0]: row[1:] for row in await master.ask("take", count=7)}
        assert seen == {
            10: ["M_SP_NA_1", "INTERROGATED_BY_STATION", True],
            11: ["M_DP_NA_1", "INTERROGATED_BY_STATION", "ON"],
            12: ["M_ST_NA_1", "INTERROGATED_BY_STATION", -3],
            13: ["M_BO_NA_1", "INTERROGATED_BY_STATION", 0xDEADBEEF],
            14: ["M_ME_NA_1", "INTERROGATED_BY_STATION", 0.5],
            15: ["M_ME_NB_1", "INTERROGATED_BY_STATION", -1234],
            16: ["M_ME_NC_1", "INTERROGATED_BY_STATION", 0.5],
        }
        assert await master.ask("interrogate", qoi="GROUP_2") is True
        assert await master.ask("take", count=1) == [[16, "M_ME_NC_1", "INTERROGATED_BY_GROUP_2", 0.5]]
        assert await master.ask("counters") is True
        assert await master.ask("take", count=1) == [[20, "M_IT_NA_1", "REQUESTED_BY_GENERAL_COUNTER", 77]]
        assert await master.ask("read", ioa=16) is True
        assert await master.ask("take", count=1) == [[16, "M_ME_NC_1", "REQUEST", 0.5]]
        assert await master.ask("clock") is True
        assert await master.ask("test") is True
        clock = [event for event in server.events if isinstance(event, ClockSynchronised)][-1]
        assert abs(clock.time.time_ns - clock.received_ns) < 5 * 10**9


async def test_c104_hears_our_timed_events_and_those_it_had_missed(stocked: Any) -> None:
    now = time.time_ns()
    timed = [
        (TypeId.M_SP_TB_1, 30, 1, True),
        (TypeId.M_DP_TB_1, 31, 1, "OFF"),
        (TypeId.M_ST_TB_1, 32, 63, 63),
        (TypeId.M_BO_TB_1, 33, 1, 1),
        (TypeId.M_ME_TD_1, 34, -32768, -1.0),
        (TypeId.M_ME_TE_1, 35, 7, 7),
        (TypeId.M_ME_TF_1, 36, -0.25, -0.25),
        (TypeId.M_IT_TB_1, 37, -5, -5),
    ]
    asdus = [
        pack_asdus(type_id, 1, 3, addresses=[address], values=[value], times_ns=now)[0]
        for type_id, address, value, _ in timed
    ]
    wanted = [[address, type_id.name, "SPONTANEOUS", shown] for type_id, address, _, shown in timed]
    async with serving(stocked) as server:
        server.publish(*asdus)
        async with c104("master", server.port) as master:
            assert await master.ask("take", count=8) == wanted, "what was waiting"
            server.publish(*asdus)
            assert await master.ask("take", count=8) == wanted, "what is new"


@pytest.mark.parametrize("select", [False, True])
async def test_c104_commands_our_outstation(stocked: Any, select: bool) -> None:
    rows = [
        ("C_SC_NA_1", 50, 1, 1),
        ("C_DC_NA_1", 51, 2, 2),
        ("C_RC_NA_1", 52, 2, 2),
        ("C_SE_NA_1", 53, -0.5, -16384),
        ("C_SE_NB_1", 54, -1234, -1234),
        ("C_SE_NC_1", 55, 1.5, 1.5),
    ]
    async with serving(stocked) as server, c104("master", server.port) as master:
        for kind, address, value, raw in rows:
            assert await master.ask("command", type=kind, ioa=address, value=value, select=select) is True
            steps = [(address, raw, True), (address, raw, False)] if select else [(address, raw, False)]
            assert server.commands() == steps
            server.events.clear()
        assert await master.ask("command", type="C_SC_NA_1", ioa=99, value=1, select=select) is False
        assert server.commands() == [(99, 1, select)], "refused by the device, at its first step"
        server.events.clear()
        assert await master.ask("command", type="C_SC_NA_1", ioa=98, value=1, select=select) is False
        assert server.commands() == []


async def test_c104_sends_bitstrings_and_timed_commands(stocked: Any) -> None:
    async with serving(stocked) as server, c104("master", server.port) as master:
        assert await master.ask("command", type="C_BO_NA_1", ioa=56, value=0xDEADBEEF) is True
        assert await master.ask("command", type="C_SC_TA_1", ioa=50, value=1) is True
        assert await master.ask("command", type="C_SE_TC_1", ioa=55, value=2.5) is True
        assert server.commands() == [(56, 0xDEADBEEF, False), (50, 1, False), (55, 2.5, False)]


async def test_10_000_points_reach_c104_whole(stocked: Any) -> None:
    stocked.points = {(1, address): (TypeId.M_ME_NC_1, address / 4, 0) for address in range(1, 10_001)}
    async with serving(stocked) as server, c104("master", server.port) as master:
        assert await master.ask("interrogate") is True
        seen = await master.ask("take", count=10_000)
        assert [(row[0], row[3]) for row in seen] == [(address, address / 4) for address in range(1, 10_001)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_our_master_talks_to_c104() -> None:
    events: list[Any] = []
    port = free_port()
    config = MasterConfig(originator=3, terminate_timeout_s=5.0, link=LinkParameters(t0_s=5.0))
    async with (
        c104("outstation", port) as station,
        await Iec104Master.connect("127.0.0.1", port, config=config, on_event=events.append) as master,
    ):
        await master.start()
        answer = await master.interrogate(1)
        assert answer.outcome is Outcome.TERMINATED
        values = {
            address: value
            for columns in answer.data
            for address, value in zip(columns.addresses, columns.values or (), strict=True)
        }
        assert values == {10: 1, **{address + 1000: address / 2 for address in range(1, 301)}}
        counters = await master.interrogate_counters(1)
        assert [(c.addresses[0], (c.values or ())[0]) for c in counters.data] == [(20, 7)]
        assert (await master.synchronise_clock(1)).is_positive
        assert (await master.test(1, 5)).is_positive
        assert (await master.read(1, 10)).data[0].values == [1]
        events.clear()
        assert await station.ask("change") is True
        async with asyncio.timeout(5):
            while not any(isinstance(event, DataReceived) for event in events):
                await asyncio.sleep(0.005)
        await station.ask("take", count=0)


async def test_our_master_commands_c104() -> None:
    port = free_port()
    config = MasterConfig(expect_termination=False)  # c104 ends no direct command with ACTTERM
    async with (
        c104("outstation", port) as station,
        await Iec104Master.connect("127.0.0.1", port, config=config) as master,
    ):
        await master.start()
        assert (await master.command(1, TypeId.C_SC_NA_1, InformationObject(50, 1))).is_positive
        select = InformationObject(51, 1.5, select=True)
        assert (await master.command(1, TypeId.C_SE_NC_1, select)).is_positive
        assert (await master.command(1, TypeId.C_SE_NC_1, InformationObject(51, 1.5))).is_positive
        refused = await master.command(1, TypeId.C_SC_NA_1, InformationObject(99, 1))
        assert refused.outcome is Outcome.REFUSED
        seen = await station.ask("take", count=3)
        assert [row for row in seen if row[2] == "ACTIVATION"] == [
            [50, "C_SC_NA_1", "ACTIVATION", True],
            [51, "C_SE_NC_1", "ACTIVATION", 1.5],
            [99, "C_SC_NA_1", "ACTIVATION", True],
        ]
