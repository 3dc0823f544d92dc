import asyncio

import pytest
import sunspec2.modbus.client as sunspec_client
from sunspec2.modbus.modbus import ModbusClientException

from s4g_gateway.simulators.fleet import Fleet
from s4g_gateway.simulators.simulated_site import (
    GRID_METER_UNIT,
    INVERTER_UNIT,
    LOAD_METER_UNIT,
    SimulatedSite,
)


@pytest.fixture
async def site():
    site = SimulatedSite(seed=5, step_s=3600)
    site.house.state.time_s = 86_400 * 20_000 + 43_200.0
    await site.start()
    yield site
    await site.stop()


def second_reader(port, unit):
    device = sunspec_client.SunSpecModbusClientDeviceTCP(
        slave_id=unit, ipaddr="127.0.0.1", ipport=port, timeout=2
    )
    device.scan()
    return device


async def test_an_independent_reader_finds_every_model_and_the_same_values(site):
    inverter = await asyncio.to_thread(second_reader, site.inverter_port, INVERTER_UNIT)
    models = [1, 103, 120, 121, 122, 123, 160, 124, 705, 706, 711, 712]
    assert [key for key in inverter.models if isinstance(key, int)] == models
    state = site.house.state
    assert inverter.models[1][0].SN.cvalue == "SIM-0001"
    assert inverter.models[103][0].W.cvalue == round(state.inverter_w)
    assert inverter.models[124][0].ChaState.cvalue == pytest.approx(state.soc_pct, abs=0.01)
    assert inverter.models[160][0].module[0].DCW.cvalue == round(state.pv_w)
    assert inverter.models[160][0].module[1].DCW.cvalue == round(abs(state.battery_w))
    for port, unit, watts in (
        (site.grid_meter_port, GRID_METER_UNIT, -state.export_w),
        (site.load_meter_port, LOAD_METER_UNIT, state.load_w),
    ):
        meter = await asyncio.to_thread(second_reader, port, unit)
        assert meter.models[203][0].W.cvalue == round(watts)


async def test_storage_window_is_followed_and_a_contradictory_one_ignored(site):
    image = site.inverter.image
    device = await asyncio.to_thread(second_reader, site.inverter_port, INVERTER_UNIT)
    storage = device.models[124][0]

    def order(mode, out_pct, in_pct):
        storage.OutWRte.cvalue = out_pct
        storage.InWRte.cvalue = in_pct
        storage.StorCtl_Mod.cvalue = mode
        storage.OutWRte.write()
        storage.InWRte.write()
        storage.StorCtl_Mod.write()

    await asyncio.to_thread(order, 3, 20.0, -20.0)
    site.step()
    assert site.house.state.battery_w == pytest.approx(900.0)
    assert image.read(124)["ChaSt"] == 3
    await asyncio.to_thread(order, 3, 10.0, -50.0)
    assert site.house.orders.battery_w is None


async def test_active_limit_reverts_by_its_own_timer(site):
    device = await asyncio.to_thread(second_reader, site.inverter_port, INVERTER_UNIT)
    controls = device.models[123][0]

    def limit():
        controls.WMaxLimPct.cvalue = 10.0
        controls.WMaxLimPct_RvrtTms.cvalue = 600
        controls.WMaxLim_Ena.cvalue = 1
        for point in (controls.WMaxLimPct, controls.WMaxLimPct_RvrtTms, controls.WMaxLim_Ena):
            point.write()

    await asyncio.to_thread(limit)
    assert site.house.orders.limit_w == 500.0
    site.step()
    assert site.house.orders.limit_w is None


async def test_a_refused_write_changes_nothing(site):
    before = site.inverter.image.read(124)
    device = await asyncio.to_thread(second_reader, site.inverter_port, INVERTER_UNIT)
    storage = device.models[124][0]

    def order():
        storage.StorCtl_Mod.cvalue = 9
        storage.StorCtl_Mod.write()

    with pytest.raises(ModbusClientException, match="exception: 3"):
        await asyncio.to_thread(order)
    assert site.inverter.image.read(124) == before


async def test_a_fleet_answers_on_every_port():
    fleet = Fleet(3, 50)
    await fleet.start()
    for port in fleet.ports:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes.fromhex("000100000006 01 03 0000 0032"))
        answer = await reader.readexactly(9 + 100)
        assert answer[9:] == fleet.block.read(0, 50)
        writer.close()
    assert fleet.requests_total == 3
    await fleet.stop()
