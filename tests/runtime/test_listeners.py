"""A running site listens where its configuration says, also after a reload, and nowhere else."""

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass

import pytest

from s4g_gateway.errors import AdapterError, ConfigError
from s4g_gateway.model import DataSet, Member, ObjectReference
from s4g_gateway.runtime import config as config_module
from s4g_gateway.runtime import supervisor
from s4g_gateway.runtime.config import load_site
from s4g_gateway.runtime.contract import ConnectorType, SuppliedDataSet
from s4g_gateway.runtime.listeners import Listeners
from s4g_gateway.runtime.supervisor import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    fails: bool = False


class Device:
    controls = ()

    def __init__(self, name, config, context):
        self.fails = config.fails
        data_set = DataSet(name, (Member(reference=ObjectReference("PCC1/MMXU1.TotW"), unit="W"),))
        self.supplied = (SuppliedDataSet(data_set=data_set, period_s=1.0),)

    async def run(self, services):
        if self.fails:
            raise AdapterError("no answer")
        await asyncio.Event().wait()

    async def execute(self, control):
        raise NotImplementedError


class FakeEntryPoint:
    def load(self):
        return ConnectorType(config=DeviceConfig, create=Device, summary="a device")


class Served:
    """A site with its listeners, and how others reach it."""

    def __init__(self, path):
        self.path = path
        self.write()

    def write(self, *keys, fails=False):
        lines = ["[site]", 'name = "house"', *keys, "[[southbound]]", 'name = "d"', 'type = "device"']
        self.path.write_text("\n".join([*lines, f"fails = {str(fails).lower()}"]))

    async def ask(self, request, path=None):
        reader, writer = await asyncio.open_unix_connection(path or self.path.parent / "state" / "s4g.sock")
        try:
            return await self.ask_over(reader, writer, request)
        finally:
            writer.close()

    async def ask_over(self, reader, writer, request):
        writer.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(30):
            return json.loads(await reader.readline())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def answers(port, host="127.0.0.1"):
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(30):
        line = await reader.readline()
    writer.close()
    return line.startswith(b"HTTP/1.1 ")


@pytest.fixture
async def served(tmp_path, monkeypatch):
    kinds = {"s4g_gateway.southbound": {"device": FakeEntryPoint()}, "s4g_gateway.northbound": {}}
    monkeypatch.setattr(config_module, "connector_types", kinds.__getitem__)
    monkeypatch.setattr(supervisor, "SETTLE_S", 0.1)
    made = Served(tmp_path / "site.toml")
    made.site = Site(load_site(made.path))
    async with Listeners(made.site) as listeners:
        await listeners.apply(made.site.config)
        made.site.listeners = listeners.apply
        task = asyncio.create_task(made.site.run())
        await made.site.ready.wait()
        yield made
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert not list(tmp_path.rglob("*.sock"))


async def test_a_reload_opens_moves_and_closes_the_metrics_page(served):
    first, second = free_port(), free_port()
    served.write(f'metrics_listen = "127.0.0.1:{first}"')
    await served.site.reload()
    assert await answers(first)
    served.write(f'metrics_listen = "127.0.0.1:{second}"')
    await served.site.reload()
    assert (await answers(first), await answers(second)) == (False, True)
    served.write(f'metrics_listen = "localhost:{second}"')
    await served.site.reload()
    assert await answers(second)
    served.write()
    await served.site.reload()
    assert not await answers(second)


async def test_a_metrics_address_that_is_taken_changes_nothing(served):
    port = free_port()
    served.write(f'metrics_listen = "127.0.0.1:{port}"')
    await served.site.reload()
    before = served.site.config
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        served.write('socket = "other.sock"', f'metrics_listen = "127.0.0.1:{taken}"')
        with pytest.raises(AdapterError, match=f"port {taken}"):
            await served.site.reload()
    assert served.site.config is before
    assert await answers(port)
    assert not (served.path.parent / "other.sock").exists()
    assert (await served.ask({"do": "status"}))["ok"]


async def test_one_port_on_an_address_that_cannot_be_had_goes_back(served):
    port = free_port()
    served.write(f'metrics_listen = "127.0.0.1:{port}"')
    await served.site.reload()
    # TEST-NET-1 (RFC 5737): no machine has such an address
    served.write(f'metrics_listen = "192.0.2.1:{port}"', "insecure = true")
    with pytest.raises(AdapterError, match=r"192\.0\.2\.1"):
        await served.site.reload()
    assert await answers(port)


async def test_the_socket_moves_and_the_reload_that_moves_it_is_answered(served):
    old = served.path.parent / "state" / "s4g.sock"
    reader, writer = await asyncio.open_unix_connection(old)
    served.write('socket = "moved.sock"')
    assert await served.ask_over(reader, writer, {"do": "reload"}) == {"ok": True}
    assert not old.exists()
    moved = served.path.parent / "moved.sock"
    assert (await served.ask({"do": "status"}, moved))["ok"]
    # who was connected stays so
    assert (await served.ask_over(reader, writer, {"do": "status"}))["ok"]
    writer.close()
    served.write()
    assert (await served.ask({"do": "reload"}, moved))["ok"]
    assert (await served.ask({"do": "status"}))["ok"]


async def test_a_configuration_that_fails_takes_its_addresses_with_it(served):
    port = free_port()
    served.write('socket = "moved.sock"', f'metrics_listen = "127.0.0.1:{port}"', fails=True)
    answer = await served.ask({"do": "reload"})
    assert (answer["ok"], answer["kind"]) == (False, "failed")
    assert "rolled back: d: no answer" in answer["error"]
    assert not await answers(port)
    assert (await served.ask({"do": "status"}))["ok"]
    assert not (served.path.parent / "moved.sock").exists()


async def test_an_address_beyond_loopback_is_a_problem_of_the_file(served):
    served.write('metrics_listen = "0.0.0.0:9464"', 'policy = "missing.toml"')
    with pytest.raises(ConfigError) as caught:
        await served.site.reload()
    first, second = caught.value.problems
    assert (first.file, first.key) == (str(served.path), "site.metrics_listen")
    assert "insecure = true" in first.expected
    assert second.file.endswith("missing.toml")
