import asyncio
import os
import signal

import aiomqtt
import pytest

from s4g_gateway.errors import PermanentError
from s4g_gateway.runtime import broker as broker_module
from s4g_gateway.runtime.broker import BrokerKind, EmbeddedBroker, find_broker


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
