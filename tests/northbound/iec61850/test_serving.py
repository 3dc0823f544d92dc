"""libiec61850's own client reads what the site publishes, through the front."""

import asyncio

from s4g_gateway.model import quality as q
from s4g_gateway.workers.libiec61850.client import FC
from s4g_gateway.workers.libiec61850.values import BitString

TIME_NS = 1_732_400_000_123_000_000


async def test_a_measured_value_is_read_with_quality_and_time(bench_tools, tmp_path):
    serving, client, until = bench_tools
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        bench.publish([4200.5, -1500.0], quality=(q.QUESTIONABLE | q.OLD_DATA, q.GOOD), time_ns=TIME_NS)
        await until(lambda: peer.read("PCC1/MMXU1.TotW.mag.f", FC.MX) == -1500.0)
        value, quality, time = await asyncio.to_thread(peer.read, "ESS1/DSTO1.EffWh", FC.MX)
    assert value == (4200.5,)
    assert quality == BitString(q.QUESTIONABLE | q.OLD_DATA, 13)
    assert abs(time.time_ns - TIME_NS) < 60


async def test_before_the_first_value_everything_is_invalid(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        quality = await asyncio.to_thread(peer.read, "ESS1/DSTO1.EffWh.q", FC.MX)
    assert quality == BitString(q.INVALID | q.OLD_DATA, 13)


async def test_unit_description_and_name_plates_are_there(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        unit = await asyncio.to_thread(peer.read, "ESS1/DSTO1.EffWh.units", FC.CF)
        text = await asyncio.to_thread(peer.read, "ESS1/DSTO1.EffWh.d", FC.DC)
        proxy = await asyncio.to_thread(peer.read, "ESS1/LPHD1.Proxy.stVal", FC.ST)
        behaviour = await asyncio.to_thread(peer.read, "ESS1/LLN0.Beh.stVal", FC.ST)
        devices = await asyncio.to_thread(peer.logical_devices)
    assert (unit, text, proxy, behaviour) == ((72, 0), "energy available", True, 1)
    assert set(devices) == {"ESS1", "PCC1", "DN1", "SN1", "DE1", "SE1"}
