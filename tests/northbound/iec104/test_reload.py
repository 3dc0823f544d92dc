"""A reload of devices behind connected masters."""

import asyncio
import contextlib
from dataclasses import dataclass

import pytest

from s4g_gateway.codecs.iec104 import Cause, TypeId
from s4g_gateway.errors import AdapterError, TransientError
from s4g_gateway.model import ACCEPTED, ControlPoint, DataSet, Member, ObjectReference, Report
from s4g_gateway.northbound.iec104 import IEC104
from s4g_gateway.runtime import config as config_module
from s4g_gateway.runtime import supervisor
from s4g_gateway.runtime.config import load_site
from s4g_gateway.runtime.contract import ConnectorType, SuppliedDataSet
from s4g_gateway.runtime.supervisor import Site

TIMEOUT_S = 60
POWER = "{}/MMXU1.TotW"
ENERGY = "{}/MMTR1.SupWh"
SET_POINT = "{}/DWGC1.WSpt"
DEVICE = """
[[southbound]]
name = "{name}"
type = "counter"
device = "{device}"
start = {start}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterConfig:
    device: str
    start: int = 0
    fails: bool = False


class Counter:
    """A device whose power is a number that rises by one with every Report."""

    def __init__(self, name, config, context):
        self.config = config
        self.number = config.start
        members = [
            Member(reference=ObjectReference(POWER.format(config.device)), unit="W", cdc="MV"),
            Member(reference=ObjectReference(ENERGY.format(config.device)), unit="Wh", cdc="BCR"),
        ]
        members += [
            Member(reference=ObjectReference(f"{config.device}/GGIO1.AnIn{i + 1}"), unit="W", cdc="MV")
            for i in range(300)
        ]
        self.data_set = DataSet(name, tuple(members))
        self.supplied = (SuppliedDataSet(data_set=self.data_set, period_s=1000.0),)
        self.controls = (ControlPoint(reference=ObjectReference(SET_POINT.format(config.device)), unit="W"),)
        self.executed = []

    async def run(self, services):
        if self.config.fails:
            raise TransientError("no answer")
        while True:
            self.number += 1
            values = (float(self.number), 1000.0) + (float(self.config.start),) * 300
            services.database.publish(Report(self.data_set, values, (0,) * 302, services.clock.wall_ns()))
            await asyncio.sleep(0.005)

    async def execute(self, control):
        self.executed.append(control.value)
        return ACCEPTED


class FakeEntryPoint:
    def __init__(self, kind):
        self.kind = kind

    def load(self):
        return self.kind


class Running:
    """The site under test with one connected master."""

    def __init__(self, path):
        self.path = path

    def write(self, *devices, more="", fails=""):
        self.path.write_text(
            '[site]\nname = "house"\n'
            + "".join(DEVICE.format(name=name, device=device, start=start) for name, device, start in devices)
            + fails
            + '\n[[northbound]]\nname = "scada"\ntype = "iec104"\nlisten = "127.0.0.1:0"\n'
            + more
        )

    @property
    def outstation(self):
        return self.site._running["scada"].entry.connector

    def address(self, reference, *, command=False):
        """The address in the present signal list."""
        signal_list = self.outstation.signal_list
        entries = signal_list.commands if command else signal_list.signals
        return next(entry.ioa for entry in entries if entry.reference == reference)

    def events(self, ioa):
        """Returns (value, is invalid) of the events at an address, in order of arrival."""
        return [(value, bool(quality & 0x80)) for value, quality, _ in self.master.events.get(ioa, ())]

    async def hears(self, ioa, condition=lambda event: not event[1], count=1):
        """Waits for so many more events at an address."""
        before = len(self.events(ioa))
        await self.master.until(lambda: sum(map(condition, self.events(ioa)[before:])) >= count, TIMEOUT_S)

    async def reload(self):
        """Reloads while the master listens."""
        task = asyncio.create_task(self.site.reload())
        while not task.done():
            with contextlib.suppress(TimeoutError):
                await self.master.pump(0.02)
        await task


def unbroken(numbers):
    return numbers == [float(number) for number in range(int(numbers[0]), int(numbers[0]) + len(numbers))]


@pytest.fixture
async def running(tmp_path, monkeypatch, kit):
    kinds = {
        "s4g_gateway.southbound": {
            "counter": FakeEntryPoint(ConnectorType(config=CounterConfig, create=Counter, summary="counts"))
        },
        "s4g_gateway.northbound": {"iec104": FakeEntryPoint(IEC104)},
    }
    monkeypatch.setattr(config_module, "connector_types", kinds.__getitem__)
    monkeypatch.setattr(supervisor, "SETTLE_S", 0.3)
    made = Running(tmp_path / "site.toml")
    made.write(("kept", "PCC1", 0), ("old", "PV1", 1000))
    made.site = Site(load_site(made.path))
    task = asyncio.create_task(made.site.run())
    await made.site.ready.wait()
    async with asyncio.timeout(TIMEOUT_S):
        while made.outstation.address is None:
            await asyncio.sleep(0.01)
    made.kept = made.address(POWER.format("PCC1"))
    made.old = made.address(POWER.format("PV1"))
    made.master = await kit.RawMaster.connect(made.outstation.address[1])
    await made.hears(made.kept)
    await made.hears(made.old)
    yield made
    await made.master.close()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def assert_undisturbed(running):
    """The master is connected as before, and the stream of the device left alone has no seam."""
    assert running.master.closed is None
    numbers = [value for value, invalid in running.events(running.kept) if not invalid]
    assert unbroken(numbers)
    assert all(not invalid for _, invalid in running.events(running.kept))
    assert running.site._running["scada"].restarts == 0


async def test_a_new_device_answers_the_interrogation_and_sends_events_on_the_same_connection(running):
    running.write(("kept", "PCC1", 0), ("new", "ESS1", 5000), ("old", "PV1", 1000))
    await running.reload()
    new = running.address(POWER.format("ESS1"))
    assert running.address(POWER.format("PCC1")) == running.kept
    assert running.address(POWER.format("PV1")) == running.old
    await running.hears(new)
    await running.hears(running.kept)
    await running.hears(running.old)
    assert_undisturbed(running)
    assert unbroken([value for value, _ in running.events(running.old)])
    await running.master.interrogate()
    points = running.master.points(20)
    assert {running.kept, running.old, new} <= points.keys()
    assert len(points) == 3 * 301
    assert points[new][1] > 5000


async def test_points_of_a_removed_device_become_invalid_and_unknown_and_come_back_where_they_were(running):
    master = running.master
    command = running.address(SET_POINT.format("PV1"), command=True)
    running.write(("kept", "PCC1", 0))
    await running.reload()
    await master.until(lambda: running.events(running.old)[-1][1], TIMEOUT_S)
    assert_undisturbed(running)
    master.asdus.clear()
    master.send(TypeId.C_RD_NA_1, Cause.REQUEST, running.old)
    master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, command, 1.0)
    master.send(
        TypeId.C_SE_NC_1, Cause.ACTIVATION, running.address(SET_POINT.format("PCC1"), command=True), 2.0
    )
    await master.until(lambda: sum(asdu[0] in (102, 50) for asdu in master.asdus) >= 4, TIMEOUT_S)
    answers = [(a.type_id, a.cause, a.negative) for a in master.decoded() if a.type_id in (102, 50)]
    assert answers[:2] == [(102, 47, True), (50, 47, True)]
    assert answers[2:] == [(50, 7, False), (50, 10, False)]
    await master.interrogate()
    assert running.old not in master.points(20)
    assert len(master.points(20)) == 301
    running.write(("kept", "PCC1", 0), ("first", "AAA1", 0), ("again", "PV1", 2000))
    await running.reload()
    await running.hears(running.old, lambda event: event[0] > 2000 and not event[1])
    assert running.address(POWER.format("PV1")) == running.old
    assert master.closed is None


async def test_a_changed_device_is_invalid_until_it_is_read_anew(running):
    running.write(("kept", "PCC1", 0), ("old", "PV1", 7000))
    await running.reload()
    await running.hears(running.old, lambda event: event[0] > 7000)
    assert_undisturbed(running)
    events = running.events(running.old)
    turn = next(index for index, event in enumerate(events) if event[1])
    assert all(value < 7000 for value, _ in events[: turn + 1])
    assert all(value > 7000 and not invalid for value, invalid in events[turn + 1 :])


async def test_a_reload_that_fails_leaves_the_master_with_the_old_points(running):
    before = running.outstation.signal_list
    fails = '[[southbound]]\nname = "bad"\ntype = "counter"\ndevice = "BAD1"\nfails = true\n'
    running.write(("kept", "PCC1", 0), ("old", "PV1", 1000), fails=fails)
    with pytest.raises(AdapterError, match="bad"):
        await running.reload()
    await running.hears(running.old)
    await running.hears(running.kept)
    assert_undisturbed(running)
    assert running.outstation.signal_list == before
    await running.master.interrogate()
    assert len(running.master.points(20)) == 602


async def test_an_interrogation_under_way_goes_over_to_the_new_points(running, kit):
    master = running.master
    master.link.parameters = kit.LinkParameters(w=32767)  # acknowledges nothing: the window of 12 closes
    master.asdus.clear()
    master.send(TypeId.C_IC_NA_1, Cause.ACTIVATION, 0, 20)
    await master.quiet(0.2)
    device = running.address("PV1/GGIO1.AnIn1")
    running.write(("kept", "PCC1", 0), ("new", "ESS1", 5000))
    await running.site.reload()
    master.link.parameters = kit.LinkParameters(w=8)
    master.flush()
    await master.until(lambda: any(a[0] == 100 and a[2] & 63 == 10 for a in master.asdus), TIMEOUT_S)
    points = master.points(20)
    kept, new = running.address("PCC1/GGIO1.AnIn1"), running.address("ESS1/GGIO1.AnIn1")
    for first, count in ((kept, 300), (new, 300)):
        assert sum(first <= ioa < first + count for ioa in points) == count
    assert sum(device <= ioa < device + 300 for ioa in points) < 300
    assert_undisturbed(running)


async def test_freezes_and_resets_go_on_after_a_reload(running):
    master = running.master
    energy = running.address(ENERGY.format("PCC1"))

    async def reading():
        master.asdus.clear()
        master.send(TypeId.C_CI_NA_1, Cause.ACTIVATION, 0, 5)
        await master.until(lambda: any(a[0] == 101 and a[2] & 63 == 10 for a in master.asdus), TIMEOUT_S)
        return {
            item.address: item.value
            for asdu in master.decoded()
            if asdu.type_id == TypeId.M_IT_NA_1
            for item in asdu.objects
        }[energy]

    assert await reading() == 1000
    master.send(TypeId.C_CI_NA_1, Cause.ACTIVATION, 0, 5 | 3 << 6)
    running.write(("kept", "PCC1", 0))
    await running.reload()
    assert await reading() == 0
    assert master.closed is None
