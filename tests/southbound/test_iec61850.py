"""ER#SMX: the connector against the simulated energy router, over MMS on real sockets."""

import asyncio
import contextlib
import os
import signal

import pytest
import structlog

from s4g_gateway.errors import ConfigError, PermanentError
from s4g_gateway.model import (
    AddCause,
    Control,
    ControlModel,
    ObjectReference,
    Origin,
    OriginCategory,
    Reason,
    refused,
)
from s4g_gateway.model import quality as q
from s4g_gateway.runtime.clock import SystemClock
from s4g_gateway.runtime.contract import Counters, Services, SiteContext
from s4g_gateway.security import Principal
from s4g_gateway.simulators.energy_router import EnergyRouter
from s4g_gateway.simulators.energy_router_server import EnergyRouterServer
from s4g_gateway.simulators.house import House, HouseRatings
from s4g_gateway.southbound.iec61850 import IEC61850, Iec61850Config
from s4g_gateway.workers.libiec61850.library import library_path

PATIENCE_S = 60.0
NOON_S = 43_200.0


@pytest.fixture(autouse=True, scope="module")
def library():
    try:
        library_path()
    except PermanentError as error:
        pytest.skip(str(error))


class Database:
    def __init__(self):
        self.reports = []

    def publish(self, report):
        self.reports.append(report)

    def latest(self, reference):
        for report in reversed(self.reports):
            position = report.data_set.index[ObjectReference(reference)]
            if report.included is None or report.included[position]:
                return report.values[position], report.quality[position]
        return None, None


class Site:
    """The connector of an energy router, running."""

    def __init__(self, tmp_path, **keys):
        self.folder = tmp_path / "gateway"
        self.folder.mkdir(exist_ok=True)
        context = SiteContext(site="site", directory=tmp_path, state_directory=self.folder)
        keys = {
            "host": "127.0.0.1",
            "template": "energy-router",
            "period_s": 0.2,
            "retry_min_s": 0.05,
            "retry_max_s": 0.2,
            "connect_timeout_s": 10.0,
            "request_timeout_s": 10.0,
            **keys,
        }
        self.connector = IEC61850.create("router", Iec61850Config(**keys), context)
        self.database = Database()
        self.counters = Counters()

    @contextlib.asynccontextmanager
    async def running(self):
        services = Services(
            name="router",
            database=self.database,
            clock=SystemClock(),
            log=structlog.get_logger("router"),
            counters=self.counters,
            state_directory=self.folder,
            principal=Principal(name="router", roles=frozenset({"SMX"})),
        )
        task = asyncio.create_task(self.connector.run(services))
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def operate(self, reference, value, **more):
        control = Control(
            reference=ObjectReference(reference),
            value=value,
            origin=Origin(category=OriginCategory.REMOTE_CONTROL, identity="dso-1"),
            time_ns=1,
            **more,
        )
        return await self.connector.execute(control)

    async def shows(self, reference, value):
        await until(lambda: self.database.latest(reference) == (value, q.GOOD))

    async def connected(self):
        await until(lambda: self.counters.values.get("connected"))


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(tmp_path, port=0, **more):
    house = House(HouseRatings(charges_disconnected=True), seed=5, time_s=NOON_S)
    folder = tmp_path / "router"
    folder.mkdir(exist_ok=True)
    server = EnergyRouterServer(EnergyRouter(house), folder, **more)
    server.router.obey(1.0)
    house.step(1.0)
    await server.start(port=port)
    try:
        yield server
    finally:
        await server.stop()


@pytest.mark.parametrize("reports", ["buffered", "unbuffered", "none"])
async def test_everything_the_router_measures_arrives(tmp_path, reports):
    async with serving(tmp_path) as router:
        site = Site(tmp_path, port=router.port, reports=reports)
        async with site.running():
            await site.connected()
            state = router.router.house.state
            expected = {
                "ER1/MMXU1.TotW": state.inverter_w,
                "PV1/MMDC1.Watt": state.pv_w,
                "ESS1/DBAT1.Watt": state.battery_w,
                "ESS1/DSTO1.SocEffWhPct": state.soc_pct,
                "ER1/MMXU1.PhV.phsA": state.voltage_v,
                "ER1/DWMX1.WMaxSpt": 5000.0,
                "ER1/GGIO1.ISCSO1": 1,
                "ER1/XCBR1.Pos": 2,
            }
            await until(lambda: all(site.database.latest(name)[1] == q.GOOD for name in expected))
            for reference, value in expected.items():
                assert site.database.latest(reference)[0] == pytest.approx(value, rel=1e-6), reference
            # A change reaches the gateway, by report or by reading.
            router.router.house.step(600.0)
            router.show()
            changed = pytest.approx(state.soc_pct, rel=1e-6)
            await until(lambda: site.database.latest("ESS1/DSTO1.SocEffWhPct")[0] == changed)
            assert bool(site.counters.values.get("reports_total")) == (reports != "none")


@pytest.mark.parametrize("model", [m for m in ControlModel if m is not ControlModel.STATUS_ONLY])
async def test_table_15_goes_down_in_every_control_model(tmp_path, model):
    names = ("DWMN1.WMinSpt", "DWMX1.WMaxSpt", "DPMC1.VArMinSpt", "DPMC1.VArMaxSpt", "GGIO1.ISCSO1")
    async with serving(tmp_path, models=dict.fromkeys(names, model)) as router:
        site = Site(tmp_path, port=router.port)
        async with site.running():
            await site.connected()
            for name, value in zip(names, (500.0, 1500.0, -100.0, 250.0, 2), strict=True):
                answer = await site.operate(f"ER1/{name}", value)
                assert answer.accepted, answer
                await site.shows(f"ER1/{name}", value)
            settings = router.router.settings
            assert (settings.power_w, settings.reactive_var, settings.mode) == (
                (500.0, 1500.0),
                (-100.0, 250.0),
                2,
            )


async def test_a_refusal_keeps_its_add_cause(tmp_path):
    async with serving(tmp_path, models={"GGIO1.ISCSO1": ControlModel.SBO_ENHANCED}) as router:
        site = Site(tmp_path, port=router.port)
        async with site.running():
            await site.connected()
            router.refusal = refused(AddCause.BLOCKED_BY_HEALTH, "it is hot")
            for reference, value in (("ER1/DWMX1.WMaxSpt", 100.0), ("ER1/GGIO1.ISCSO1", 3)):
                answer = await site.operate(reference, value)
                assert (answer.accepted, answer.add_cause) == (False, AddCause.BLOCKED_BY_HEALTH)
            router.refusal = None
            assert (await site.operate("ER1/GGIO1.ISCSO1", 3)).accepted
        assert (await site.operate("ER1/GGIO1.ISCSO1", 3)).add_cause is AddCause.NOT_SUPPORTED


async def test_the_router_goes_away_and_comes_back(tmp_path):
    async with serving(tmp_path) as router:
        port = router.port
        site = Site(tmp_path, port=port)
        running = asyncio.create_task(stay(site, stop := asyncio.Event()))
        await site.connected()
        await until(lambda: site.database.latest("ER1/MMXU1.TotW")[1] == q.GOOD)
    await until(lambda: not site.counters.values.get("connected"))
    seen = len(site.database.reports)
    answer = await site.operate("ER1/GGIO1.ISCSO1", 3)
    assert answer.add_cause is AddCause.ABORTION_BY_COMMUNICATION_LOSS
    # Nothing is told of a server that is away: its points age.
    assert len(site.database.reports) == seen
    async with serving(tmp_path, port=port):
        await site.connected()
        await until(lambda: len(site.database.reports) > seen)
        assert (await site.operate("ER1/GGIO1.ISCSO1", 3)).accepted
        stop.set()
        await running


async def stay(site, stop):
    async with site.running():
        await stop.wait()


async def test_a_killed_worker_is_replaced(tmp_path):
    async with serving(tmp_path) as router:
        site = Site(tmp_path, port=router.port)
        async with site.running():
            await site.connected()
            worker = site.connector._worker
            site.counters.set("connected", 0)
            os.kill(worker.process_id, signal.SIGKILL)
            await site.connected()
            assert worker.restarts == 1
            assert (await site.operate("ER1/GGIO1.ISCSO1", 4)).accepted


async def test_set_points_in_force_are_repeated(tmp_path):
    async with serving(tmp_path) as router:
        site = Site(tmp_path, port=router.port, repeat_s=0.5)
        async with site.running():
            await site.connected()
            assert (await site.operate("ER1/DWMX1.WMaxSpt", 1200.0)).accepted
            router.router.settings.power_w = (-5000.0, 5000.0)  # somebody else changes it on the spot
            await until(lambda: router.router.settings.power_w == (-5000.0, 1200.0))


class Wire:
    """A TCP proxy before the router that can be cut."""

    def __init__(self, target):
        self.target, self.is_open, self.writers = target, True, []

    @contextlib.asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.cut()
            server.close()

    def cut(self):
        self.is_open = False
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def serve(self, reader, writer):
        if not self.is_open:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self.writers += [writer, back]
        await asyncio.gather(self.carry(reader, back), self.carry(there, writer))

    async def carry(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@pytest.mark.parametrize("kill", [False, True], ids=["the link is cut", "and the worker killed"])
async def test_buffered_reports_go_on_where_they_were_cut(tmp_path, kill):
    """No gap and no repeat: every value the router had while nobody listened arrives once, in order."""
    reference = "ESS1/DSTO1.SocEffWhPct"
    async with serving(tmp_path) as router, Wire(router.port).running() as wire:
        site = Site(tmp_path, port=wire.port)
        state = router.router.house.state
        seen = []

        def publish(report):
            site.database.reports.append(report)
            position = report.data_set.index[ObjectReference(reference)]
            if report.reason is Reason.DATA_CHANGE and report.included[position]:
                seen.append(round(report.values[position], 3))

        site.database.publish = publish

        async def change(numbers):
            for number in numbers:
                state.soc_pct = float(number)
                router.show()
                await asyncio.sleep(0.05)  # one report for each

        async with site.running():
            await site.connected()
            await change(range(10, 15))
            await until(lambda: 14.0 in seen)
            # what has been passed on is noted with the next telling of everything
            told = len(site.database.reports)
            await until(lambda: len(site.database.reports) > told + 1)
            wire.cut()
            if kill:
                os.kill(site.connector._worker.process_id, signal.SIGKILL)
            await until(lambda: kill or not site.counters.values.get("connected"))
            await change(range(15, 35))
            wire.is_open = True
            await until(lambda: 34.0 in seen)
            await change([35])
            await until(lambda: 35.0 in seen)
        numbers = seen[seen.index(10.0) :]
        assert list(dict.fromkeys(numbers)) == [float(number) for number in range(10, 36)]
        # The interrogation that follows the buffer tells the present value a second time.
        assert {number for number in numbers if numbers.count(number) > 1} <= {34.0}
        assert not site.counters.values.get("report_gaps_total")


TABLE = """
title = "a router that is given back"
[[point]]
reference = "SITE1/MMXU1.TotW"
object = "ER1/MMXU1.TotW"
unit = "W"
factor = -1
[[point]]
reference = "SITE1/DWMX1.WMaxSpt"
object = "ER1/DWMX1.WMaxSpt"
unit = "W"
operate = true
release = 5000.0
[[point]]
reference = "SITE1/MMXU1.Hz"
object = "ER1/MMXU1.Hz"
unit = "V"
[[point]]
reference = "SITE1/MMXU2.TotW"
object = "ER1/MMXU2.TotW"
unit = "W"
"""


async def test_a_table_of_ones_own(tmp_path):
    (tmp_path / "own.toml").write_text(TABLE)
    async with serving(tmp_path) as router:
        site = Site(tmp_path, port=router.port, template="own.toml")
        async with site.running():
            await site.connected()
            power_w = -router.router.house.state.inverter_w
            await until(
                lambda: site.database.latest("SITE1/MMXU1.TotW") == (pytest.approx(power_w, rel=1e-6), q.GOOD)
            )
            # Another unit than the table says is never taken for the right one; what is not there stays invalid.
            assert site.database.latest("SITE1/MMXU1.Hz")[0] is None
            assert site.database.latest("SITE1/MMXU2.TotW")[0] is None
            assert (await site.operate("SITE1/DWMX1.WMaxSpt", 700.0)).accepted
            assert router.router.settings.power_w[1] == 700.0
        # A clean stop gives the set-point back.
        assert router.router.settings.power_w[1] == 5000.0


def test_mistakes_are_named(tmp_path):
    (tmp_path / "own.toml").write_text(TABLE.replace('unit = "V"', 'unit = "Volt"').replace("= -1", "= 0"))
    with pytest.raises(ConfigError) as found:
        Site(tmp_path, template="own.toml")
    assert [problem.key for problem in found.value.problems] == ["point[0].factor", "point[2]"]
    with pytest.raises(ConfigError, match="energy-router"):
        Site(tmp_path, template="no-such-thing")
    with pytest.raises(ConfigError, match="roles of the table"):
        Site(tmp_path, logical_devices={"wind": "W1"})
