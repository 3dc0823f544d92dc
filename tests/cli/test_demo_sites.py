"""D3.1's deployments as demos: every device is really spoken to, and energy adds up across them."""

import asyncio

import pytest

from s4g_gateway.cli.demo import SHOWN
from s4g_gateway.cli.demo_site import DemoSite
from s4g_gateway.errors import PermanentError
from s4g_gateway.runtime.local_client import LocalClient
from s4g_gateway.workers.libiec61850.library import library_path

PATIENCE_S = 90.0


def ask(site, do, **words):
    client = LocalClient(site.socket_path)
    try:
        return client.ask(do, **words)
    finally:
        client.close()


async def values(site, names):
    points = (await asyncio.to_thread(ask, site, "read", references=list(names)))["points"]
    return {point["reference"]: point["value"] for point in points if point["quality"] == 0}


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.2)


async def settled(site, expected):
    """Stops the house and waits until the gateway shows its last state."""
    site.devices._stepping.cancel()

    async def same():
        found = await values(site, expected(site.devices.house.state))
        wanted = expected(site.devices.house.state)
        return all(found.get(name) == pytest.approx(value, abs=1.0) for name, value in wanted.items())

    await until(same)


@pytest.fixture(params=["fur", "bucharest"])
async def site(request):
    if request.param == "bucharest":
        try:
            library_path()
        except PermanentError as error:
            pytest.skip(str(error))
    async with DemoSite(seed=1, time_scale=60, kind=request.param) as running:
        yield running


async def test_all_points_are_good_and_energy_adds_up(site):
    # A set-point has no value before there is one.
    shown = [name for name in SHOWN[site.kind] if not name.endswith("DWGC1.WSpt")]

    async def everything():
        return len(await values(site, shown)) == len(shown)

    await until(everything)
    if site.kind == "bucharest":
        before = await values(site, SHOWN["bucharest"])
        assert before["ER1/GGIO1.ISCSO1"] == 1
        answer = await asyncio.to_thread(ask, site, "operate", reference="ER1/GGIO1.ISCSO1", value=4)
        assert answer["accepted"], answer

        async def mode_4():
            return (await values(site, ["ER1/GGIO1.ISCSO1"])).get("ER1/GGIO1.ISCSO1") == 4

        await until(mode_4)
        # one more step of the house with the new mode
        site.devices.step()
        await settled(
            site,
            lambda state: {
                "PCC1/MMXU1.TotW": state.inverter_w - state.load_w,
                "ER1/MMXU1.TotW": state.pv_w + state.battery_w,
                "LOAD1/MMXU1.TotW": -state.load_w,
                "PV1/MMDC1.Watt": state.pv_w,
                "ESS1/DBAT1.Watt": 0.0,
            },
        )
    else:
        await settled(
            site,
            lambda state: {
                "PCC1/MMXU1.TotW": state.pv_w + state.battery_w - state.load_w,
                "INV1/MMXU1.TotW": state.pv_w + state.battery_w,
                "PV1/MMDC1.Watt": state.pv_w,
            },
        )
