import asyncio
import contextlib
from dataclasses import dataclass

import pytest

from s4g_gateway.errors import AdapterError, ConfigError, ModelError, Problem, TransientError
from s4g_gateway.model import (
    ACCEPTED,
    Control,
    ControlPoint,
    DataSet,
    Member,
    ObjectReference,
    Origin,
    OriginCategory,
    Report,
)
from s4g_gateway.runtime import config as config_module
from s4g_gateway.runtime import supervisor
from s4g_gateway.runtime.config import load_site
from s4g_gateway.runtime.contract import ConnectorType, SuppliedDataSet
from s4g_gateway.runtime.supervisor import ConnectorState, Site
from s4g_gateway.security import Principal

ENGINEER = Principal(name="engineer", roles=frozenset({"ENGINEER"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    logical_device: str
    fails: int = 0
    value: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScadaConfig:
    fails: bool = False
    port: int = 1


class Device:
    def __init__(self, name, config, context):
        self.config = config
        self.left = config.fails
        self.runs = 0
        self.stopped = False
        power = ObjectReference(f"{config.logical_device}/MMXU1.TotW")
        self.data_set = DataSet(name, (Member(reference=power, unit="W"),))
        self.supplied = (SuppliedDataSet(data_set=self.data_set, period_s=1.0),)
        self.controls = (
            ControlPoint(reference=ObjectReference(f"{config.logical_device}/DWGC1.WSpt"), unit="W"),
        )
        self.commands = []

    async def run(self, services):
        self.runs += 1
        services.counters.add("polls_total")
        if self.left:
            self.left -= 1
            raise TransientError("no answer")
        services.database.publish(Report(self.data_set, (self.config.value,), (0,), services.clock.wall_ns()))
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True

    async def execute(self, control):
        self.commands.append(control.value)
        return ACCEPTED


class Scada:
    def __init__(self, name, config, context):
        self.config = config

    async def run(self, services):
        if self.config.fails:
            raise ZeroDivisionError
        await asyncio.Event().wait()


class Screen:
    """Outlives the reload of devices; ``refuses`` and ``crashes`` are the names of DataSets it cannot serve."""

    refuses = crashes = "none"

    def __init__(self, name, config, context):
        self.names = [entry.data_set.name for entry in context.supplied]
        self.roles = dict(context.roles)
        self.data_sets = [entry.data_set for entry in context.supplied]
        self.runs = 0
        self.seen = []
        self.subscription = None
        self.changed = asyncio.Event()

    async def run(self, services):
        self.runs += 1
        self.services = services
        self.subscribe()
        while self.crashes not in self.names:
            await self.changed.wait()
            self.changed.clear()
        raise ZeroDivisionError

    def subscribe(self):
        if self.subscription is not None:
            self.subscription.close()
        self.subscription = self.services.database.subscribe(
            self.services.principal, self.data_sets, lambda report: self.seen.append(report.data_set.name)
        )

    def adopt(self, successor):
        if self.refuses in successor.names:
            raise AdapterError("no room")
        self.names, self.data_sets, self.roles = successor.names, successor.data_sets, successor.roles
        self.subscribe()
        self.changed.set()


class FakeEntryPoint:
    def __init__(self, kind):
        self.kind = kind

    def load(self):
        return self.kind


SITE = """
[site]
name = "house-1"
[[southbound]]
name = "a"
type = "device"
logical_device = "ESS1"
[[southbound]]
name = "b"
type = "device"
logical_device = "PCC1"
fails = 2
[[northbound]]
name = "scada"
type = "scada"
"""


@pytest.fixture
async def site(tmp_path, monkeypatch):
    found = {
        "s4g_gateway.southbound": {
            "device": FakeEntryPoint(ConnectorType(config=DeviceConfig, create=Device, summary="a device"))
        },
        "s4g_gateway.northbound": {
            "scada": FakeEntryPoint(ConnectorType(config=ScadaConfig, create=Scada, summary="a SCADA")),
            "screen": FakeEntryPoint(ConnectorType(config=ScadaConfig, create=Screen, summary="a screen")),
        },
    }
    monkeypatch.setattr(config_module, "connector_types", found.__getitem__)
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_S", 0.02)
    monkeypatch.setattr(supervisor, "TICK_S", 0.02)
    monkeypatch.setattr(supervisor, "SETTLE_S", 0.1)
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    site = Site(load_site(path))
    task = asyncio.create_task(site.run())
    await site.ready.wait()
    yield site
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def state(site, name):
    return next(entry for entry in site.status().connectors if entry.name == name)


async def test_a_failing_connector_is_contained_and_comes_back(site):
    await until(lambda: state(site, "b").restarts == 2 and state(site, "b").state is ConnectorState.RUNNING)
    assert state(site, "b").last_error == "no answer"
    assert state(site, "a").restarts == 0
    assert state(site, "b").counters == {"polls_total": 3}
    assert site.database.read(ENGINEER, "PCC1/MMXU1.TotW").value == 1.0


async def test_a_control_reaches_the_connector_and_shows_as_hold(site):
    origin = Origin(category=OriginCategory.REMOTE_CONTROL, identity="test")
    control = Control(
        reference=ObjectReference("ESS1/DWGC1.WSpt"), value=5.0, origin=origin, time_ns=site.clock.wall_ns()
    )
    assert (await site.database.control(ENGINEER, control)).accepted
    assert site.config.southbound[0].connector.commands == [5.0]
    assert site.status().holds["ESS1/DWGC1.WSpt"][:2] == (5.0, "engineer")
    assert '"principal":"engineer"' in (site.config.state_directory / "audit.jsonl").read_text().replace(
        " ", ""
    )


async def test_reload_leaves_untouched_connectors_alone(site):
    await until(lambda: state(site, "b").state is ConnectorState.RUNNING and state(site, "b").restarts == 2)
    first, second = (entry.connector for entry in site.config.southbound)
    path = site.config.path
    path.write_text(SITE.replace('logical_device = "ESS1"', 'logical_device = "ESS1"\nvalue = 7.0'))
    await site.reload()
    await until(lambda: site.database.read(ENGINEER, "ESS1/MMXU1.TotW").value == 7.0)
    assert first.stopped
    assert not second.stopped
    assert second is site.config.southbound[1].connector


async def test_a_wrong_file_leaves_everything_running(site):
    before = site.config
    site.config.path.write_text(SITE + "nonsense = 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        await site.reload()
    assert site.config is before
    assert not before.southbound[0].connector.stopped


async def test_a_new_configuration_that_fails_is_rolled_back(site):
    before = site.config
    site.config.path.write_text(SITE + "fails = true\n")
    with pytest.raises(AdapterError, match="rolled back: scada: ZeroDivisionError"):
        await site.reload()
    assert site.config is before
    assert state(site, "scada").state is ConnectorState.RUNNING
    assert not before.southbound[0].connector.stopped


DEVICE_C = """
[[southbound]]
name = "c"
type = "device"
logical_device = "LOAD1"
"""


def running(site, name):
    (entry,) = (entry for entry in site.config.northbound if entry.name == name)
    return entry.connector


@pytest.fixture
async def screen(site):
    site.config.path.write_text(SITE + '[[northbound]]\nname = "screen"\ntype = "screen"\n')
    await site.reload()
    await until(lambda: state(site, "b").restarts == 2 and state(site, "b").state is ConnectorState.RUNNING)
    return running(site, "screen")


def rewrite(site, *changes, more=""):
    text = site.config.path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    site.config.path.write_text(text + more)


async def test_a_connector_that_can_adopts_added_changed_and_removed_devices(site, screen):
    scada = running(site, "scada")
    screen.seen.clear()
    rewrite(site, ('"ESS1"', '"ESS1"\nvalue = 7.0'), more=DEVICE_C)
    await site.reload()
    assert running(site, "screen") is screen
    assert screen.names == ["a", "b", "c"]
    assert sorted(screen.seen) == ["a", "c"]
    assert screen.data_sets == [entry.data_set for entry in site.config.supplied]
    rewrite(site, (DEVICE_C, ""))
    await site.reload()
    assert screen.names == ["a", "b"]
    assert screen.runs == 1
    assert state(site, "screen").restarts == 0
    # one that cannot adopt is started anew, as it is compiled over other points
    assert running(site, "scada") is not scada


async def test_roles_and_policy_reach_connectors_without_touching_devices(site, screen):
    devices = [entry.connector for entry in site.config.southbound]
    policy = site.config.path.with_name("policy.toml")
    policy.write_text('[[rule]]\nroles = ["VIEWER"]\nactions = ["read", "subscribe"]\n')
    rewrite(
        site,
        (
            'name = "house-1"',
            'name = "house-1"\npolicy = "policy.toml"\n[site.roles]\n"PV1/MMXU1.TotW" = "ESS1/MMXU1.TotW"',
        ),
    )
    await site.reload()
    assert [entry.connector for entry in site.config.southbound] == devices
    assert not any(device.stopped for device in devices)
    assert screen.roles == {"PV1/MMXU1.TotW": "ESS1/MMXU1.TotW"}
    before = site.config
    policy.write_text('[[rule]]\nroles = ["VIEWER"]\nactions = ["read"]\n')
    with pytest.raises(AdapterError, match="rolled back: screen: screen may not subscribe"):
        await site.reload()
    assert site.config is before
    assert site.database.policy is before.policy


async def test_its_own_table_restarts_a_connector_that_can_adopt(site, screen):
    rewrite(site, ('type = "screen"', 'type = "screen"\nport = 2'), more=DEVICE_C)
    await site.reload()
    other = running(site, "screen")
    assert other is not screen
    assert (screen.runs, other.runs, other.names) == (1, 1, ["a", "b", "c"])


async def test_a_refused_adoption_rolls_everything_back(site, screen, monkeypatch):
    before = site.config
    monkeypatch.setattr(Screen, "refuses", "c")
    rewrite(site, ('"ESS1"', '"ESS1"\nvalue = 7.0'), more=DEVICE_C)
    with pytest.raises(AdapterError, match="rolled back: screen: no room"):
        await site.reload()
    assert site.config is before
    assert running(site, "screen") is screen
    assert (screen.names, screen.runs) == (["a", "b"], 1)
    await until(lambda: site.database.read(ENGINEER, "ESS1/MMXU1.TotW").value == 1.0)
    with pytest.raises(ModelError):
        site.database.read(ENGINEER, "LOAD1/MMXU1.TotW")
    # its subscription leads to the points that have been put back
    assert screen.seen[-1] == "a"


async def test_an_adopted_configuration_that_fails_is_rolled_back_by_adoption(site, screen):
    before = site.config
    rewrite(site, more=DEVICE_C + "fails = 1000\n")
    with pytest.raises(AdapterError, match="rolled back: c: no answer"):
        await site.reload()
    assert site.config is before
    assert running(site, "screen") is screen
    assert (screen.names, screen.runs) == (["a", "b"], 1)
    assert screen.data_sets == [entry.data_set for entry in before.supplied]


async def test_a_connector_that_fails_after_adoption_gets_a_fresh_start_of_the_old(site, screen, monkeypatch):
    monkeypatch.setattr(Screen, "crashes", "c")
    rewrite(site, more=DEVICE_C)
    with pytest.raises(AdapterError, match="rolled back: screen: ZeroDivisionError"):
        await site.reload()
    await until(lambda: state(site, "screen").state is ConnectorState.RUNNING)
    assert running(site, "screen").names == ["a", "b"]


async def test_a_connector_that_refuses_the_way_back_too_is_started_anew(site, screen, monkeypatch):
    monkeypatch.setattr(Screen, "refuses", "b")
    rewrite(site, more=DEVICE_C)
    with pytest.raises(AdapterError, match="rolled back: screen: no room"):
        await site.reload()
    other = running(site, "screen")
    assert other is not screen
    assert (other.names, other.runs) == (["a", "b"], 1)


async def test_a_connector_that_cannot_be_made_again_is_not_left_on_the_wrong_points(site, screen):
    def create_again():
        raise ConfigError([Problem(file="", key="tls.key", found="no file", expected="a key")])

    (entry,) = (entry for entry in site.config.northbound if entry.name == "screen")
    object.__setattr__(entry, "create_again", create_again)
    rewrite(site, more=DEVICE_C + "fails = 1000\n")
    with pytest.raises(AdapterError, match="rolled back"):
        await site.reload()
    assert [entry.name for entry in site.status().connectors] == ["a", "b", "scada"]
    rewrite(site, (DEVICE_C + "fails = 1000\n", ""))
    await site.reload()
    assert running(site, "screen").runs == 1


async def test_stopping_leaves_no_points_behind(tmp_path, site):
    for section in ("northbound", "southbound"):
        await site._stop(section, site._running.values())
    assert site.database.data_sets() == ()
    assert site.arbitration.points() == ()
