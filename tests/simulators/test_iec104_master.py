"""The asyncio master against an outstation on a real loopback socket."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s4g_gateway.codecs.iec104 import (
    CommandMode,
    CommandPoint,
    CommandRequested,
    DataReceived,
    FreezeMode,
    GroupConfig,
    InformationObject,
    LinkClosed,
    LinkParameters,
    LinkState,
    MasterConfig,
    Outcome,
    Outstation,
    OutstationConfig,
    ResetRequested,
    TypeId,
    pack_asdus,
)
from s4g_gateway.errors import LocalProtocolError, TransientError
from s4g_gateway.runtime.clock import ManualClock
from s4g_gateway.simulators.iec104_master import Iec104Master

POINTS = 3000


class Image:
    common_addresses = frozenset((1,))
    frozen = False

    def interrogate(self, common_address: int, group: int) -> Iterator[bytes]:
        count = POINTS if group == 0 else 10
        yield from pack_asdus(
            TypeId.M_ME_NC_1, 1, 1, addresses=range(1, count + 1), values=[a / 2 for a in range(1, count + 1)]
        )

    def interrogate_counters(self, common_address: int, group: int) -> Iterator[bytes]:
        yield from pack_asdus(TypeId.M_IT_NA_1, 1, 1, addresses=[5000 + group], values=[7])

    def freeze_counters(self, common_address: int, group: int, mode: FreezeMode, utc_ns: int) -> bool:
        self.frozen = mode is FreezeMode.FREEZE
        return self.frozen

    def read(self, common_address: int, address: int) -> bytes | None:
        if address > POINTS:
            return None
        return pack_asdus(TypeId.M_ME_NC_1, 1, 1, addresses=[address], values=[address / 2])[0]

    def command_point(self, common_address: int, address: int) -> CommandPoint | None:
        modes = {9000: CommandMode.DIRECT, 9001: CommandMode.SELECT, 9002: CommandMode.DIRECT}
        if address not in modes:
            return None
        return CommandPoint(type_id=TypeId.C_SC_NA_1, mode=modes[address])


class Station(asyncio.Protocol):
    """One link of an outstation that accepts every command but those to 9002, which it never answers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.link = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.link = self.server.outstation.open_link("g", time.monotonic())
        self.server.stations[self.link] = self

    def data_received(self, data: bytes) -> None:
        self.server.outstation.receive_data(self.link, data, time.monotonic(), time.time_ns())
        self.server.settle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.outstation.receive_eof(self.link, time.monotonic(), time.time_ns())


class Server:
    def __init__(self) -> None:
        self.image = Image()
        self.outstation = Outstation(OutstationConfig(groups=(GroupConfig(name="g"),)), self.image)
        self.stations: dict[int, Station] = {}
        self.port = 0

    def settle(self) -> None:
        outstation = self.outstation
        for event in outstation.events():
            now, utc_ns = time.monotonic(), time.time_ns()
            if isinstance(event, ResetRequested):
                outstation.answer_command(event.token, False, now, utc_ns)
            elif isinstance(event, CommandRequested) and event.address != 9002:
                outstation.answer_command(event.token, True, now, utc_ns)
                outstation.terminate_command(event.token, now, utc_ns)
            elif isinstance(event, LinkClosed):
                self.stations.pop(event.link).transport.close()
        for link, station in self.stations.items():
            station.transport.write(outstation.data_to_send(link, time.monotonic()))


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.get_running_loop().create_server(
        lambda: Station(server), "127.0.0.1", 0, ssl=context
    )
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for station in list(server.stations.values()):
            station.transport.abort()
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_whole_session() -> None:
    async with serving() as server, await Iec104Master.connect("127.0.0.1", server.port) as master:
        with pytest.raises(LocalProtocolError):
            await master.interrogate(1)
        await master.start()
        answer = await master.interrogate(1)
        assert (answer.outcome, answer.is_positive, answer.confirmed) == (Outcome.TERMINATED, True, True)
        values = [value for columns in answer.data for value in columns.values or ()]
        assert values == [address / 2 for address in range(1, POINTS + 1)]
        every, fourth, group = await asyncio.gather(
            master.interrogate(1), master.interrogate_counters(1, group=4), master.interrogate(1, group=2)
        )
        assert [sum(len(c.addresses) for c in a.data) for a in (every, fourth, group)] == [POINTS, 1, 10]
        assert [fourth.data[0].addresses, fourth.data[0].values] == [[5004], (7,)]
        assert (await master.interrogate_counters(1, freeze=FreezeMode.FREEZE)).is_positive
        assert server.image.frozen
        assert (await master.interrogate_counters(1, freeze=FreezeMode.RESET)).outcome is Outcome.REFUSED
        assert (await master.synchronise_clock(1)).is_positive
        assert (await master.test(1, 7)).is_positive
        read = await master.read(1, 10)
        assert (read.outcome, read.data[0].values) == (Outcome.ANSWERED, (5.0,))
        assert (await master.read(1, 9999)).outcome is Outcome.UNKNOWN_OBJECT_ADDRESS
        assert (await master.reset_process(1)).outcome is Outcome.REFUSED
        await master.stop()
        assert master.state is LinkState.STOPPED
        await master.start()
    assert master.state is LinkState.CLOSED
    assert (await master.wait_closed()).reason == "closed by the master"


async def test_commands_direct_selected_and_cancelled() -> None:
    async with serving() as server, await Iec104Master.connect("127.0.0.1", server.port) as master:
        await master.start()
        direct = await master.command(1, TypeId.C_SC_NA_1, InformationObject(9000, 1))
        assert (direct.outcome, direct.confirmed) == (Outcome.TERMINATED, True)
        execute, select = InformationObject(9001, 1), InformationObject(9001, 1, select=True)
        assert (await master.command(1, TypeId.C_SC_NA_1, execute)).outcome is Outcome.REFUSED
        assert (await master.command(1, TypeId.C_SC_NA_1, select)).outcome is Outcome.CONFIRMED
        assert (await master.command(1, TypeId.C_SC_NA_1, execute)).outcome is Outcome.TERMINATED
        assert (await master.command(1, TypeId.C_SC_NA_1, select)).is_positive
        assert (await master.command(1, TypeId.C_SC_NA_1, select, cancel=True)).outcome is Outcome.CONFIRMED
        assert (await master.command(1, TypeId.C_SC_NA_1, execute)).outcome is Outcome.REFUSED


async def test_spontaneous_data_come_through_the_callback() -> None:
    events: list[Any] = []
    async with (
        serving() as server,
        await Iec104Master.connect("127.0.0.1", server.port, on_event=events.append) as master,
    ):
        await master.start()
        server.outstation.publish(
            pack_asdus(TypeId.M_SP_TB_1, 1, 3, addresses=[7], values=[1], times_ns=time.time_ns()),
            time.time_ns(),
        )
        server.settle()
        await until(lambda: any(isinstance(event, DataReceived) for event in events))
        assert events[-1].columns.addresses == [7]


async def test_a_lost_connection_ends_what_is_under_way() -> None:
    async with serving() as server, await Iec104Master.connect("127.0.0.1", server.port) as master:
        await master.start()
        pending = asyncio.ensure_future(master.command(1, TypeId.C_SC_NA_1, InformationObject(9002, 1)))
        await until(lambda: server.outstation.next_deadline() is not None and bool(server.stations))
        await asyncio.sleep(0.02)
        next(iter(server.stations.values())).transport.abort()
        assert (await pending).outcome is Outcome.LINK_LOST
        assert not (await pending).is_positive
        assert "clos" in (await master.wait_closed()).reason or "lost" in (await master.wait_closed()).reason


async def test_nobody_listens() -> None:
    async with serving() as server:
        port = server.port
    with pytest.raises(TransientError, match="no connection"):
        await Iec104Master.connect("127.0.0.1", port)


async def test_an_outstation_that_never_confirms_is_given_up_after_t1() -> None:
    clock = ManualClock()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    config = MasterConfig(link=LinkParameters(t1_s=0.2, t2_s=0.1))
    async with listener:
        master = await Iec104Master.connect("127.0.0.1", port, config=config, clock=clock)
        starting = asyncio.ensure_future(master.start())
        await asyncio.sleep(0)
        clock.advance(0.2)
        with pytest.raises(TransientError, match="STARTDT_CON did not come"):
            await starting


def openssl(*arguments: str, cwd: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True, timeout=30)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    for name in ("station", "centre"):
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}"),
            cwd=tmp_path,
        )
    outside = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "centre.pem"))
    outside.verify_mode = ssl.CERT_REQUIRED
    outside.load_cert_chain(tmp_path / "station.pem", tmp_path / "station.key")
    inside = ssl.create_default_context(cafile=str(tmp_path / "station.pem"))
    async with serving(outside) as server:
        inside.load_cert_chain(tmp_path / "centre.pem", tmp_path / "centre.key")
        async with await Iec104Master.connect(
            "127.0.0.1", server.port, ssl=inside, server_hostname="station"
        ) as master:
            await master.start()
            assert (await master.interrogate(1, group=1)).is_positive
        with pytest.raises(TransientError, match="no connection"):
            await Iec104Master.connect("127.0.0.1", server.port, ssl=inside, server_hostname="other")
