"""Events that no master has acknowledged outlive the process, however it ends."""

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

from s4g_gateway.model import DataSet
from s4g_gateway.northbound.iec104.config import GroupTable
from s4g_gateway.profiles.iec104.plan import PointOverride

PROCESS = Path(__file__).with_name("gateway_process.py")
COUNTER = 10001
TIMEOUT_S = 60


class Gateway:
    """A gateway process that counts."""

    def __init__(self, process):
        self.process = process
        self.port = 0
        self.safe = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, folder, first, capacity=100_000):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROCESS),
            str(folder),
            str(first),
            str(capacity),
            stdout=asyncio.subprocess.PIPE,
        )
        gateway = cls(process)
        await gateway.until(lambda: gateway.port)
        return gateway

    async def _read(self):
        async for line in self.process.stdout:
            if line.startswith(b"port "):
                self.port = int(line[5:])
            else:
                self.safe = int(line)

    async def until(self, condition):
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                assert self.process.returncode is None
                await asyncio.sleep(0.01)

    async def kill(self):
        """Kills it; returns up to which number its events were said to be stored or acknowledged."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reading
        return self.safe


def numbers(master, address=COUNTER):
    return [(round(value), time_ns) for value, _, time_ns in master.events.get(address, ())]


def first_copies(found):
    """Without the repeats of an at-least-once delivery."""
    return list(dict.fromkeys(found))


@pytest.fixture
async def start(tmp_path):
    started = []

    async def begin(first, **more):
        started.append(await Gateway.start(tmp_path, first, **more))
        return started[-1]

    yield begin
    for gateway in started:
        await gateway.kill()


async def test_events_stored_while_no_master_was_there_arrive_after_a_kill_with_their_time_tags(kit, start):
    gateway = await start(0)
    await gateway.until(lambda: gateway.safe >= 300)
    safe = await gateway.kill()
    gateway = await start(1_000_000)
    master = await kit.RawMaster.connect(gateway.port)
    await master.until(lambda: any(number > 1_000_000 for number, _ in numbers(master)), TIMEOUT_S)
    found = numbers(master)
    before = [number for number, _ in found if number <= 1_000_000]
    assert before == list(range(1, len(before) + 1))  # each once, in order, before anything new
    assert len(before) >= safe
    assert all(time_ns == kit.time_of(number) for number, time_ns in found)
    await master.close()


async def hear(kit, gateway, enough):
    """Connects a master until it has heard enough; returns all it heard, deaf from then on, and its connection."""
    master = await kit.RawMaster.connect(gateway.port)
    await master.until(lambda: enough([number for number, _ in numbers(master)]), TIMEOUT_S)
    return numbers(master), master


async def kill_once_more_is_safe(gateway):
    safe = gateway.safe
    await gateway.until(lambda: gateway.safe > safe)
    return await gateway.kill()


async def test_a_kill_between_delivery_and_acknowledgement_loses_nothing_and_keeps_the_order(kit, start):
    found, ends = [], {}
    for run in range(3):
        gateway = await start(run * 1_000_000)
        # First what is left of the run before, then what is new.
        heard, master = await hear(
            kit, gateway, lambda seen, run=run: len(seen) > 200 and seen[-1] > run * 1_000_000
        )
        # Now the master is deaf: what is on its way will never be acknowledged.
        ends[run] = await kill_once_more_is_safe(gateway)
        await master.close()
        found += heard
    gateway = await start(9_000_000)
    heard, master = await hear(kit, gateway, lambda seen: seen and seen[-1] > 9_000_000)
    await master.close()
    found += heard
    once = first_copies(found)
    assert all(time_ns == kit.time_of(number) for number, time_ns in once)
    for run, end in ends.items():
        first = run * 1_000_000 + 1
        delivered = [number for number, _ in once if first <= number < first + 1_000_000]
        assert delivered == list(range(first, first + len(delivered)))
        assert delivered[-1] >= end


async def test_an_overflow_before_a_kill_is_signalled_after_it_and_the_newest_events_are_kept(kit, start):
    gateway = await start(0, capacity=127)
    await gateway.until(lambda: gateway.safe >= 500)
    safe = await gateway.kill()
    gateway = await start(1_000_000, capacity=100_000)
    master = await kit.RawMaster.connect(gateway.port)
    await master.until(lambda: any(number > 1_000_000 for number, _ in numbers(master)), TIMEOUT_S)
    before = [number for number, _ in numbers(master) if number <= 1_000_000]
    assert before == list(range(before[0], before[0] + len(before)))
    assert before[0] > 1
    assert before[-1] >= safe
    signals = [item.value for asdu in master.decoded() if asdu.type_id == 30 for item in asdu.objects]
    assert signals[0] == 1
    await master.close()


async def test_what_a_master_has_acknowledged_does_not_come_again_after_a_clean_end(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)]) as bench:
        bench.publish([1.0])
        master = await kit.RawMaster.connect(bench.port, w=1)
        await master.until(lambda: numbers(master))
        await master.quiet()
        await master.close()
        bench.publish([2.0])
    async with kit.serving(tmp_path, [kit.floats(1)]) as bench:
        bench.publish([3.0])
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: len(numbers(master)) == 2)
        assert [number for number, _ in numbers(master)] == [2, 3]
        await master.close()


async def test_events_of_an_address_that_means_another_point_now_are_given_up(kit, tmp_path):
    members = [kit.member(f"ESS1/GGIO1.AnIn{i}") for i in (1, 2, 3)]
    at = {"ESS1/GGIO1.AnIn1": 11, "ESS1/GGIO1.AnIn2": 12, "ESS1/GGIO1.AnIn3": 13}

    def points(addresses):
        return tuple(PointOverride(reference=name, ioa=ioa) for name, ioa in addresses.items())

    async with kit.serving(tmp_path, [DataSet("d", tuple(members))], point=points(at)) as bench:
        bench.publish([1.0, 2.0, 3.0])
    (tmp_path / "bench.ioa.csv").unlink()  # somebody gives all addresses anew
    at |= {"ESS1/GGIO1.AnIn2": 13, "ESS1/GGIO1.AnIn3": 14}
    for _ in range(2):  # the second start finds what the first one has stored anew
        async with kit.serving(tmp_path, [DataSet("d", tuple(members))], point=points(at)) as bench:
            pass
    async with kit.serving(tmp_path, [DataSet("d", tuple(members))], point=points(at)) as bench:
        master = await kit.RawMaster.connect(bench.port)
        bench.publish([5.0, 6.0, 7.0])
        await master.until(lambda: numbers(master, 14))
        assert [number for number, _ in numbers(master, 11)] == [1, 5]
        assert [number for number, _ in numbers(master, 12)] == []
        assert [number for number, _ in numbers(master, 13)] == [6]
        await master.close()


async def test_each_control_centre_has_events_of_its_own(kit, tmp_path):
    groups = (GroupTable(name="a/b", masters=("127.0.0.1",)), GroupTable(name=".." * 30, masters=("none",)))
    for value in (1.0, 2.0):
        async with kit.serving(tmp_path, [kit.floats(1)], group=groups) as bench:
            bench.publish([value])
    async with kit.serving(tmp_path, [kit.floats(1)], group=groups) as bench:
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: len(numbers(master)) == 2)
        assert [number for number, _ in numbers(master)] == [1, 2]
        await master.close()
        statuses = [
            station.outstation.group_status(".." * 30).buffered
            for station in bench.outstation._server._stations
        ]
        assert statuses == [2]


async def test_a_folder_that_cannot_be_used_leaves_the_events_in_memory_and_says_so(kit, tmp_path):
    (tmp_path / "events").write_text("in the way")
    async with kit.serving(tmp_path, [kit.floats(1)]) as bench:
        bench.publish([4.0])
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: numbers(master))
        async with asyncio.timeout(TIMEOUT_S):
            while not bench.counters.values.get("event_journal_failing"):
                await asyncio.sleep(0.01)
        await master.close()
