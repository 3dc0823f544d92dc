"""A reload of devices behind a live MQTT session, against both brokers, seen by an independent client."""

import asyncio
import contextlib
import json
from dataclasses import dataclass

import pytest

from s4g_gateway.errors import AdapterError, TransientError
from s4g_gateway.model import ACCEPTED, ControlPoint, DataSet, Member, ObjectReference, Report
from s4g_gateway.northbound.mqtt import MQTT
from s4g_gateway.runtime import config as config_module
from s4g_gateway.runtime import supervisor
from s4g_gateway.runtime.config import load_site
from s4g_gateway.runtime.contract import ConnectorType, SuppliedDataSet
from s4g_gateway.runtime.supervisor import Site

NODE = "s4g/v1/house/smx"
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
        self.data_set = DataSet(
            name,
            (
                Member(reference=ObjectReference(f"{config.device}/MMXU1.TotW"), unit="W"),
                Member(reference=ObjectReference(f"{config.device}/LPHD1.PhyHealth"), cdc="ENS"),
            ),
        )
        self.supplied = (SuppliedDataSet(data_set=self.data_set, period_s=1000.0),)
        self.controls = (ControlPoint(reference=ObjectReference(f"{config.device}/DWGC1.WSpt"), unit="W"),)
        self.executed = []

    async def run(self, services):
        if self.config.fails:
            raise TransientError("no answer")
        while True:
            self.number += 1
            report = Report(self.data_set, (float(self.number), 1.0), (0, 0), services.clock.wall_ns())
            services.database.publish(report)
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
    """The site under test and what an independent consumer has seen of it."""

    def __init__(self, path, wire, consumer):
        self.path, self.wire, self.consumer = path, wire, consumer
        self.start = 0

    def write(self, *devices, site="", fails=""):
        self.path.write_text(
            f'[site]\nname = "house"\n{site}\n'
            + "".join(DEVICE.format(name=name, device=device, start=start) for name, device, start in devices)
            + fails
            + f'\n[[northbound]]\nname = "broker"\ntype = "mqtt"\nurl = "{self.wire.url}"\n'
            "integrity_period_s = 10000\nmeasurement_period_s = 1\n"
            '[northbound.clients]\ngrid = ["GESSCON"]\nscreen = ["VIEWER"]\n'
        )

    def numbers(self, name, reference):
        """Returns every number of a device received on a DataSet's topic since the site came up, in order."""
        found = []
        for message in self.consumer.received[self.start :]:
            if message.topic == f"{NODE}/smx-eb/{name}" and not message.retain:
                found += [value for key, value in values(message).items() if key == f"house/{reference}"]
        return found

    async def grows(self, name, reference, by=20):
        before = len(self.numbers(name, reference))
        await until(lambda: len(self.numbers(name, reference)) >= before + by)

    def counters(self):
        return self.site._running["broker"].counters.values


def values(message):
    base, found = "", {}
    for record in json.loads(message.payload) if message.payload else ():
        base = record.get("bn", base)
        name = base + record.get("n", "")
        if not name.endswith(".q"):
            found[name] = record.get("v", record.get("vs", record.get("vb")))
    return found


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def unbroken(numbers):
    return numbers == [float(number) for number in range(int(numbers[0]), int(numbers[0]) + len(numbers))]


@pytest.fixture
async def running(tmp_path, monkeypatch, wire, consume):
    kinds = {
        "s4g_gateway.southbound": {
            "counter": FakeEntryPoint(ConnectorType(config=CounterConfig, create=Counter, summary="counts"))
        },
        "s4g_gateway.northbound": {"mqtt": FakeEntryPoint(MQTT)},
    }
    monkeypatch.setattr(config_module, "connector_types", kinds.__getitem__)
    monkeypatch.setattr(supervisor, "SETTLE_S", 0.3)
    made = Running(tmp_path / "site.toml", wire, await consume("s4g/#", name="observer"))
    made.write(("kept", "PCC1", 0), ("old", "PV1", 1000))
    made.site = Site(load_site(made.path))
    task = asyncio.create_task(made.site.run())
    await made.site.ready.wait()
    await made.grows("kept", "PCC1/MMXU1.TotW")
    await made.grows("old", "PV1/MMXU1.TotW")
    # What comes first may be a state and the change to it, twice the same number.
    made.start = len(made.consumer.received)
    made.connections = wire.connections
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def assert_undisturbed(running):
    """The broker has seen no other connection, and the stream of the device left alone has no seam."""
    assert running.wire.connections == running.connections
    assert running.counters()["connections_total"] == 1
    online = [m for m in running.consumer.received if m.topic == f"{NODE}/smx-eb/online"]
    assert [values(message) for message in online] == [{"house/smx/online": True}]
    assert unbroken(running.numbers("kept", "PCC1/MMXU1.TotW"))
    assert running.counters().get("discarded_total", 0) == 0


async def test_an_added_device_is_published_while_the_session_and_other_streams_go_on(running):
    running.write(("kept", "PCC1", 0), ("new", "ESS1", 5000), ("old", "PV1", 1000))
    await running.site.reload()
    await running.grows("new", "ESS1/MMXU1.TotW")
    await running.grows("kept", "PCC1/MMXU1.TotW")
    assert_undisturbed(running)
    assert unbroken(running.numbers("old", "PV1/MMXU1.TotW"))
    assert unbroken(running.numbers("new", "ESS1/MMXU1.TotW"))
    assert running.numbers("new", "ESS1/MMXU1.TotW")[0] == 5001


async def test_a_changed_device_goes_on_under_its_topic_with_its_new_points(running, consume):
    running.write(("kept", "PCC1", 0), ("old", "ESS1", 7000))
    await running.site.reload()
    await running.grows("old", "ESS1/MMXU1.TotW")
    assert_undisturbed(running)
    numbers = running.numbers("old", "PV1/MMXU1.TotW")
    await running.grows("old", "ESS1/MMXU1.TotW")
    assert running.numbers("old", "PV1/MMXU1.TotW") == numbers
    late = await consume(f"{NODE}/smx-eb/old", name="late")
    state = await late.message(f"{NODE}/smx-eb/old")
    assert (state.retain, set(values(state))) == (
        True,
        {"house/ESS1/MMXU1.TotW", "house/ESS1/LPHD1.PhyHealth"},
    )
    # D3.1's events follow: the battery is in the status now, the photovoltaic plant is not.
    status = [values(m) for m in running.consumer.received if m.topic == f"{NODE}/lessag-eb/status"]
    assert status[-1] == {"house/PCC1/LPHD1.PhyHealth": 1.0, "house/ESS1/LPHD1.PhyHealth": 1.0}


async def test_a_removed_device_ends_with_an_empty_message_and_leaves_no_state(running, consume):
    running.write(("kept", "PCC1", 0))
    await running.site.reload()
    topic = f"{NODE}/smx-eb/old"
    await until(lambda: any(m.topic == topic and not m.payload for m in running.consumer.received))
    await running.grows("kept", "PCC1/MMXU1.TotW")
    assert_undisturbed(running)
    told = [message.payload for message in running.consumer.received if message.topic == topic]
    assert told[-1] == b""
    assert b"" not in told[:-1]
    late = await consume(f"{NODE}/smx-eb/#", name="late")
    await late.message(f"{NODE}/smx-eb/kept")
    await late.message(f"{NODE}/smx-eb/online")
    assert all(message.topic != topic for message in late.received)


async def test_a_device_that_was_removed_while_the_broker_was_away_leaves_no_state(running, consume):
    running.wire.cut()
    await until(lambda: not running.counters()["connected"])
    running.write(("kept", "PCC1", 0))
    await running.site.reload()
    running.wire.mend()
    topics = running.site.config.state_directory / "broker" / "topics"
    await until(lambda: f"{NODE}/smx-eb/old\n" not in topics.read_text())
    late = await consume(f"{NODE}/smx-eb/#", name="late")
    await late.message(f"{NODE}/smx-eb/kept")
    assert all(message.topic != f"{NODE}/smx-eb/old" for message in late.received if message.retain)
    await running.grows("kept", "PCC1/MMXU1.TotW")
    # At least once, whatever was underway when the connection broke.
    numbers = list(dict.fromkeys(running.numbers("kept", "PCC1/MMXU1.TotW")))
    assert unbroken(sorted(numbers))


async def test_a_configuration_that_fails_is_taken_back_without_a_seam(running):
    fails = DEVICE.format(name="dead", device="ESS1", start=0) + "fails = true\n"
    running.write(("kept", "PCC1", 0), ("new", "LOAD1", 9000), fails=fails)
    with pytest.raises(AdapterError, match="rolled back: dead: no answer"):
        await running.site.reload()
    await running.grows("kept", "PCC1/MMXU1.TotW")
    await running.grows("old", "PV1/MMXU1.TotW")
    assert_undisturbed(running)
    # the device that was to go is back; it had been started anew and counts on
    assert unbroken(running.numbers("old", "PV1/MMXU1.TotW"))
    numbers = running.numbers("new", "LOAD1/MMXU1.TotW")
    await running.grows("kept", "PCC1/MMXU1.TotW")
    assert running.numbers("new", "LOAD1/MMXU1.TotW") == numbers


async def test_commands_and_subscriptions_go_on_over_a_reload(running, consume):
    screen = await consume("s4g/v1/house/screen/#", "s4g/v1/house/grid/#", name="screen")
    head = f"{NODE}/smx-eb"

    def reported(name):
        return [
            values(message)[f"house/{name}"]
            for message in screen.received
            if message.topic == "s4g/v1/house/screen/smx-eb/report/smx" and f"house/{name}" in values(message)
        ]

    screen.ask(
        f"{head}/subscribe/screen",
        [{"n": "house/PCC1/MMXU1.TotW"}, {"n": "house/PV1/MMXU1.TotW"}],
    )
    await until(lambda: len(reported("PCC1/MMXU1.TotW")) > 10 and len(reported("PV1/MMXU1.TotW")) > 10)
    running.write(("kept", "PCC1", 0), ("new", "ESS1", 5000))
    await running.site.reload()
    count = len(reported("PCC1/MMXU1.TotW"))
    await until(lambda: len(reported("PCC1/MMXU1.TotW")) > count + 10)
    # The point that is left has no gap; its value was sent once more when the other one left.
    numbers = list(dict.fromkeys(reported("PCC1/MMXU1.TotW")))
    assert unbroken(numbers)
    gone = len(reported("PV1/MMXU1.TotW"))
    moment = running.site.clock.wall_ns() / 1e9
    screen.ask(
        f"{head}/command/grid",
        [
            {"bn": "house/", "n": "cmd.id", "vs": "grid-1"},
            {"n": "cmd.ctlNum", "v": 1},
            {"n": "cmd.priority", "v": 5},
            {"n": "cmd.notAfter", "v": moment + 600},
            {"n": "ESS1/DWGC1.WSpt", "v": 1500},
        ],
    )
    answer = await running.consumer.message(f"{head}/command-answer")
    assert values(answer)["house/cmd.accepted"] is True
    assert running.site.config.southbound[1].connector.executed == [1500]
    running.write(("kept", "PCC1", 0), ("old", "PV1", 1000), ("new", "ESS1", 5000))
    await running.site.reload()
    await until(lambda: len(reported("PV1/MMXU1.TotW")) > gone + 10)
    assert_undisturbed(running)


async def test_roles_that_change_reach_the_events(running):
    def measured():
        found = [values(m) for m in running.consumer.received if m.topic.endswith("/lessag-eb/measurement")]
        return set(found[-1])

    running.write(("kept", "PCC1", 0), ("old", "ROOF", 1000))
    await running.site.reload()
    await until(lambda: measured() == {"house/PCC1/MMXU1.TotW"})
    role = '[site.roles]\n"PV1/MMXU1.TotW" = "ROOF/MMXU1.TotW"'
    running.write(("kept", "PCC1", 0), ("old", "ROOF", 1000), site=role)
    await running.site.reload()
    await until(lambda: measured() == {"house/PCC1/MMXU1.TotW", "house/PV1/MMXU1.TotW"})
    assert unbroken(running.numbers("old", "ROOF/MMXU1.TotW"))
    assert_undisturbed(running)
