"""DLMS meters through the connector and its worker process, in every mode."""

import pytest

from s4g_gateway.model import quality as q

POWER, ENERGY, VOLTAGE = "PCC1/MMXU1.TotW", "PCC1/MMTR1.DmdWh", "PCC1/MMXU1.PhV.phsA"
SLOW_S = 30.0


@pytest.mark.parametrize("names", ["logical-names", "short-names"])
@pytest.mark.parametrize("link", ["wrapper", "hdlc", "mode-e"])
@pytest.mark.parametrize("mode", ["none", "lls", "gmac", "gmac-ciphered"])
async def test_a_meter_is_read_in_every_mode(
    run, wait_until, meters, keys, connector, device, said, mode, link, names
):
    meter = await meters(mode, link=link)
    it = run(connector(device(meter, link=link, referencing=names, security=keys[mode])))
    await wait_until(lambda: it.database.reports, SLOW_S)
    assert said(it) == []
    assert it.database.value(POWER) == meter.power_w
    assert it.database.value(ENERGY) == float(round(meter.house.state.imported_wh))
    assert it.database.value(VOLTAGE) == pytest.approx(meter.house.state.voltage_v - 0.4, abs=0.051)
    assert set(it.database.reports[-1].quality) == {q.GOOD}
    await wait_until(lambda: len(it.database.reports) >= 3, SLOW_S)
    assert meter.server.connections_total == 1


@pytest.mark.parametrize("names", ["logical-names", "short-names"])
async def test_a_meter_without_lists_and_with_small_apdus_is_read_in_blocks(
    run, wait_until, meters, connector, device, said, names
):
    meter = await meters(multiple_references=False, max_pdu_bytes=64)
    it = run(connector(device(meter, referencing=names)))
    await wait_until(lambda: it.database.reports, SLOW_S)
    assert said(it) == []
    assert set(it.database.reports[0].quality) == {q.GOOD}
    assert it.database.value(POWER) == meter.power_w


async def test_a_long_hdlc_address_is_understood(run, wait_until, meters, connector, device, said):
    meter = await meters(link="hdlc", server_address=1, physical_address=1234)
    table = device(meter, link="hdlc", server_address=1, physical_address=1234)
    it = run(connector(table))
    await wait_until(lambda: it.database.reports, SLOW_S)
    assert said(it) == []
    assert it.database.value(POWER) == meter.power_w


async def test_a_meter_that_feeds_in_is_positive_and_one_mounted_the_other_way_round_is_turned(
    run, wait_until, meters, connector, device
):
    meter = await meters()
    meter.house.state.export_w = 1234.0
    it = run(connector(device(meter, name="a"), device(meter, name="b", meter_sign=1, logical_device="PV1")))
    await wait_until(
        lambda: {report.data_set.name for report in it.database.reports} == {"test-a", "test-b"}, SLOW_S
    )
    assert it.database.value(POWER) == 1234.0
    assert it.database.value("PV1/MMXU1.TotW") == -1234.0
    assert it.database.value("PV1/MMTR1.SupWh") == it.database.value("PCC1/MMTR1.DmdWh")


async def test_the_load_profile_is_read_on_request(run, wait_until, meters, connector, device):
    meter = await meters()
    for _ in range(200):
        meter.house.step(900.0)
        meter.household.show()
    it = run(connector(device(meter)))
    await wait_until(lambda: it.database.reports, SLOW_S)
    end_ns = int(meter.house.state.time_s) * 10**9
    body = {"from_ns": end_ns - 4 * 3600 * 10**9, "to_ns": end_ns}
    found = await it.connector.ask("test", "profile", body)
    assert [(column["obis"], column["unit"]) for column in found["columns"]] == [
        ("0.0.1.0.0.255", ""),
        ("1.0.1.8.0.255", "Wh"),
        ("1.0.2.8.0.255", "Wh"),
        ("1.0.16.7.0.255", "W"),
    ]
    assert len(found["rows"]) == 17
    expected = [[value.value for value in row[1:]] for row in meter.household.profile.rows[-17:]]
    assert [row[1:] for row in found["rows"]] == expected
