"""Every example is run: sites are checked, scripts talk to a running demo site."""

import asyncio
import sys
from pathlib import Path

import pytest

from s4g_gateway.cli.demo_site import DemoSite
from s4g_gateway.runtime.config import load_site

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/site.toml")), ids=lambda path: path.parent.name)
def test_a_site_passes_every_check(path):
    assert load_site(path).supplied


async def run(script, *arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / script),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_the_scripts_talk_to_a_running_site():
    async with DemoSite(seed=1, time_scale=60) as site:
        port = site.broker.port
        subscribed, polled = await asyncio.gather(
            run("subscribe.py", "--port", port, "--site", "demo", "--count", 12),
            run("poll_scada.py", "--port", site.iec104_port, "--seconds", 3),
        )
        answer = await run(
            "set_battery_power.py", "--port", port, "--site", "demo", "--client", "operator", "--watts", 1200
        )
        site.devices.step()
        assert "demo/PCC1/MMXU1.TotW" in subscribed
        assert "general interrogation: terminated" in polled
        assert "M_ME_TF_1" in polled
        assert answer == "accepted\n"
        # the register resolves 0.01 % of 4,500 W
        assert site.devices.house.orders.battery_w == pytest.approx((1200.0, 1200.0), abs=0.45)
        refused = await run(
            "set_battery_power.py", "--port", port, "--site", "demo", "--client", "operator", "--watts", 99000
        )
        assert refused.startswith("refused: ")
    # a clean stop gives the battery back to the inverter's own rule
    assert site.devices.house.orders.battery_w is None
