"""libiec61850's own client reads what the site publishes, through the front."""

import asyncio
import re

import pytest

from s4g_gateway.errors import ConfigError
from s4g_gateway.model import quality as q
from s4g_gateway.northbound.iec61850 import Iec61850Config, Iec61850Server
from s4g_gateway.profiles.iec61850 import Attribute, render_scl
from s4g_gateway.runtime.contract import SiteContext
from s4g_gateway.workers.libiec61850.client import FC
from s4g_gateway.workers.libiec61850.control import ControlObject
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


async def test_what_is_served_is_what_the_cid_file_says(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        plan = bench.server.plan
        for device in plan.devices:
            served = await asyncio.to_thread(peer.variables, device.name)
            told = {
                f"{node.name}${part.fc}${entry.name}${part.name}"
                for node in device.nodes
                for entry in node.objects
                for part in plan.types[entry.type_id].parts
                if isinstance(part, Attribute)
            }
            blocks = {"BR", "RP"}
            found = {name for name in served if name.count("$") == 3 and name.split("$")[1] not in blocks}
            assert found == told
            sets = await asyncio.to_thread(peer.data_sets, device.name)
            assert set(sets) == {f"LLN0${entry.name}" for entry in device.nodes[0].data_sets}


async def test_a_users_icd_is_the_model_instead(bench_tools, tmp_path):
    serving, client, until = bench_tools
    async with serving(tmp_path) as bench:
        text = render_scl(bench.server.plan).decode()
    # without ldName the devices are called after the IED
    text = re.sub(r' ldName="[^"]*"', "", text)
    (tmp_path / "user.icd").write_text(text)
    async with serving(tmp_path, icd="user.icd") as bench, client(bench.port) as peer:
        bench.publish([4200.0, -1500.0])
        await until(lambda: peer.read("benchPCC1/MMXU1.TotW.mag.f", FC.MX) == -1500.0)
        answer = await asyncio.to_thread(lambda: ControlObject(peer, "benchSE1/DWGC1.WSpt").carry_out(5.0))
    assert answer.accepted
    assert [(reference, value) for reference, value, _ in bench.device.seen] == [("SE1/DWGC1.WSpt", 5.0)]


def test_an_icd_that_is_missing_or_broken_is_named(tmp_path):
    (tmp_path / "bad.icd").write_text("<SCL/>")
    context = SiteContext(site="bench", directory=tmp_path, state_directory=tmp_path)
    for name, key in (("none.icd", "icd"), ("bad.icd", "line 1 SCL")):
        with pytest.raises(ConfigError) as caught:
            Iec61850Server("scada", Iec61850Config(icd=name), context)
        assert [problem.key for problem in caught.value.problems] == [key]
