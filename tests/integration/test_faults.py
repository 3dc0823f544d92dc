"""Faults of a whole gateway process: killed under load, broker away, device cut."""

import asyncio
import signal
import time

import aiomqtt
import pytest

from s4g_gateway.cli.demo_site import SITE_NAME, DemoSite
from s4g_gateway.codecs.senml import Format, decode_pack, resolve
from s4g_gateway.errors import GatewayError
from s4g_gateway.runtime.local_client import LocalClient

POWER = "PCC1/MMXU1.TotW"


async def ask(site, do, **fields):
    def blocking():
        with LocalClient(site.socket_path) as client:
            return client.ask(do, **fields)

    return await asyncio.to_thread(blocking)


async def point(site, reference):
    return (await ask(site, "read", references=[reference]))["points"][0]


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while True:
            try:
                if await condition():
                    return
            except GatewayError:
                pass
            await asyncio.sleep(0.1)


async def collect(port, identifier, found, *, clean=False):
    """A durable subscriber: notes every (name, time) of the grid meter's power, in order of arrival."""
    while True:
        try:
            async with aiomqtt.Client(
                "127.0.0.1", port, identifier=identifier, clean_session=clean
            ) as client:
                await client.subscribe(f"s4g/v1/{SITE_NAME}/smx/smx-eb/grid-meter-measurements", qos=1)
                async for message in client.messages:
                    if message.retain:
                        continue
                    for record in resolve(decode_pack(message.payload, Format.JSON), time.time()):
                        if record.name == f"{SITE_NAME}/{POWER}" and record.value is not None:
                            found.append((record.time_s, record.value))
        except aiomqtt.MqttError:
            await asyncio.sleep(0.1)


@pytest.fixture
async def site():
    async with DemoSite(seed=1, time_scale=60) as site:

        async def fresh():
            return (await point(site, POWER))["quality"] == 0

        await until(fresh)
        yield site


async def test_a_gateway_killed_under_load_comes_back_and_polls_on(site):
    gateway = site._gateway
    gateway.send_signal(signal.SIGKILL)
    await gateway.wait()
    await site._start_gateway()

    async def fresh():
        return (await point(site, POWER))["quality"] == 0

    await until(fresh)
    status = (await ask(site, "status"))["status"]
    assert all(connector["state"] == "running" for connector in status["connectors"])


async def test_what_was_journalled_before_a_kill_arrives_once_the_broker_is_back_and_in_order(site):
    found = []
    collecting = asyncio.create_task(collect(site.broker.port, "durable", found))

    async def arriving():
        return len(found) >= 2

    await until(arriving)
    await site.broker.stop()
    away_s = time.time()

    async def backlog():
        status = (await ask(site, "status"))["status"]
        cloud = next(entry for entry in status["connectors"] if entry["name"] == "cloud")
        return cloud["counters"]["backlog"] >= 12

    await until(backlog)
    site._gateway.send_signal(signal.SIGKILL)
    await site._gateway.wait()
    killed_s = time.time()
    await site.broker.start()
    await site._start_gateway()
    while_away = [time_s for time_s, _ in found if away_s < time_s < killed_s]
    assert while_away == []

    async def drained():
        return any(time_s > killed_s for time_s, _ in found)

    await until(drained)
    collecting.cancel()
    times = [time_s for time_s, _ in found]
    # at least once: a repeat has the time of its first copy, so the new ones are in order
    new = [time_s for position, time_s in enumerate(times) if time_s not in times[:position]]
    assert new == sorted(new)
    assert len([time_s for time_s in new if away_s < time_s < killed_s]) >= 2


async def test_a_device_that_is_cut_ages_and_resumes_and_delays_nobody(site):
    meter = site.devices.servers["grid_meter"]
    port = meter.port
    await meter.stop()

    async def old():
        return (await point(site, POWER))["quality"] & 0x80

    await until(old)
    assert (await point(site, "INV1/MMXU1.TotW"))["quality"] == 0
    await meter.start(port=port)

    async def fresh():
        return (await point(site, POWER))["quality"] == 0

    await until(fresh)
