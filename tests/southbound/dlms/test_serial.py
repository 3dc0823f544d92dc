"""Meters on a serial line, here a pseudo-terminal."""

import asyncio
import contextlib
import os
import tty

import pytest

from s4g_gateway.model import quality as q
from s4g_gateway.southbound.dlms import DlmsMeterConfig, SerialLine

SLOW_S = 30.0


@pytest.fixture
async def line():
    """Connects meters to one end of a pseudo-terminal; returns the path of the other."""
    ends = []

    def start(*meters):
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        ends.extend((ours, theirs))
        lines = [meter.server.line() for meter in meters]

        def readable():
            with contextlib.suppress(BlockingIOError):
                data = os.read(ours, 4096)
                for each in lines:
                    for answer in each.receive(data):
                        os.write(ours, answer)

        asyncio.get_running_loop().add_reader(ours, readable)
        return os.ttyname(theirs)

    yield start
    for end in ends:
        asyncio.get_running_loop().remove_reader(end)
        os.close(end)


@pytest.mark.parametrize("link", ["hdlc", "mode-e"])
async def test_a_meter_on_a_serial_line_is_read(run, wait_until, meters, connector, line, said, link):
    meter = await meters(link=link, server_address=1, physical_address=17)
    table = DlmsMeterConfig(
        meter="landis-gyr-zmg310",
        serial=SerialLine(path=line(meter)),
        link=link,
        referencing="short-names",
        physical_address=17,
        period_s=0.3,
    )
    it = run(connector(table))
    await wait_until(lambda: len(it.database.reports) >= 2, SLOW_S)
    assert said(it) == []
    assert it.database.value("PCC1/MMXU1.TotW") == meter.power_w
    assert set(it.database.reports[-1].quality) == {q.GOOD}


async def test_meters_that_share_a_line_take_turns_and_a_missing_one_does_not_stop_them(
    run, wait_until, meters, connector, line, said
):
    first = await meters(link="hdlc", physical_address=17)
    second = await meters(link="hdlc", physical_address=18)
    second.house.state.export_w = -5.0
    path = line(first, second)
    tables = [
        DlmsMeterConfig(
            meter="landis-gyr-zmg310",
            name=f"m{address}",
            serial=SerialLine(path=path),
            link="hdlc",
            physical_address=address,
            logical_device=f"M{address}",
            period_s=0.2,
        )
        for address in (17, 18, 19)
    ]
    it = run(connector(*tables, timeout_s=0.3, retry_min_s=2.0, retry_max_s=5.0))
    await wait_until(lambda: "meter lost" in said(it) and len(it.database.reports) >= 8, SLOW_S)
    assert said(it) == ["meter lost"]
    assert it.database.value("M17/MMXU1.TotW") == first.power_w
    assert it.database.value("M18/MMXU1.TotW") == -5.0
    assert it.database.quality("M19/MMXU1.TotW") == q.INVALID


async def test_a_line_that_is_not_there_is_said(run, wait_until, connector, said):
    table = DlmsMeterConfig(
        meter="landis-gyr-zmg310", serial=SerialLine(path="/dev/no-such-line"), link="hdlc", period_s=0.2
    )
    it = run(connector(table))
    await wait_until(lambda: it.counters.values.get("failed_readings_total", 0) >= 2, SLOW_S)
    assert said(it) == ["meter lost"]
