"""Freezes and resets of integrated totals outlive the process."""

import json

from s4g_gateway.codecs.iec104 import Cause, TypeId
from s4g_gateway.model import DataSet
from s4g_gateway.northbound.iec104.counter_memory import CounterMemory, FrozenReading
from s4g_gateway.profiles.iec104.plan import PointOverride

READ, FREEZE, FREEZE_RESET, RESET = range(4)
SUPPLY, DEMAND = "ESS1/MMTR1.SupWh", "ESS1/MMTR1.DmdWh"


def meter(kit):
    return DataSet("d", tuple(kit.member(name, unit="Wh", cdc="BCR") for name in (SUPPLY, DEMAND)))


async def counters(master, request=5, freeze=READ):
    """Returns {address: (reading, sequence number)}."""
    master.asdus.clear()
    master.send(TypeId.C_CI_NA_1, Cause.ACTIVATION, 0, request | freeze << 6)
    await master.until(lambda: any(a[0] == 101 and a[2] & 63 == 10 for a in master.asdus))
    return {
        item.address: (item.value, item.qualifier)
        for asdu in master.decoded()
        if asdu.type_id in (TypeId.M_IT_NA_1, TypeId.M_IT_TB_1)
        for item in asdu.objects
    }


async def test_a_freeze_and_a_reset_are_known_after_a_restart(kit, tmp_path):
    async with kit.serving(tmp_path, [meter(kit)]) as bench:
        master = await kit.RawMaster.connect(bench.port)
        bench.publish([100.0, 7.0])
        await counters(master, freeze=FREEZE_RESET)
        bench.publish([130.0, 8.0])
        await counters(master, freeze=FREEZE_RESET)
        frozen = await counters(master)
        assert frozen == {30001: (30, 2), 30002: (1, 2)}
        await master.close()
    async with kit.serving(tmp_path, [meter(kit)]) as bench:
        master = await kit.RawMaster.connect(bench.port)
        assert await counters(master) == frozen
        bench.publish([135.0, 10.0])
        assert await counters(master) == frozen
        await counters(master, freeze=FREEZE)
        assert await counters(master) == {30001: (5, 3), 30002: (2, 3)}
        await master.close()


async def test_a_freeze_of_one_group_leaves_the_other_counters_alone(kit, tmp_path):
    points = (PointOverride(reference=DEMAND, group=2),)
    async with kit.serving(tmp_path, [meter(kit)], point=points) as bench:
        master = await kit.RawMaster.connect(bench.port)
        bench.publish([100.0, 7.0])
        await counters(master, request=2, freeze=FREEZE)
        bench.publish([101.0, 8.0])
        assert await counters(master, request=2) == {30002: (7, 1)}
        assert await counters(master) == {30001: (101, 0), 30002: (7, 1)}
        await counters(master, freeze=FREEZE)  # the later freeze of all holds for the group as well
        bench.publish([102.0, 9.0])
        assert await counters(master, request=2) == {30002: (8, 2)}
        await master.close()


async def test_what_one_kind_of_master_resets_stands_as_before_for_another(kit, tmp_path):
    groups = (
        kit.GroupTable(name="meters", masters=("127.0.0.1",), roles=("OPERATOR",)),
        kit.GroupTable(name="dso", masters=("127.0.0.1",), roles=("SCADA",)),
    )
    async with kit.serving(tmp_path, [meter(kit)], group=groups) as bench:
        first = await kit.RawMaster.connect(bench.port)
        second = await kit.RawMaster.connect(bench.port)
        bench.publish([100.0, 7.0])
        await counters(first, freeze=RESET)
        assert await counters(first) == {30001: (0, 0), 30002: (0, 0)}
        assert await counters(second) == {30001: (100, 0), 30002: (7, 0)}
        await first.close()
        await second.close()


def test_the_memory_is_in_the_file_before_save_returns(tmp_path):
    memory = CounterMemory(tmp_path / "counters.json")
    memory.baselines["a"] = 3.5
    memory.frozen["a"] = FrozenReading(None, 1, 1_767_225_600_000_000_000, memory.next_sequence(7))
    memory.save()
    again = CounterMemory(tmp_path / "counters.json")
    assert (again.baselines, again.frozen, again.sequences) == (
        memory.baselines,
        memory.frozen,
        {7: 1},
    )
    memory.close()


def test_a_damaged_memory_is_moved_aside(tmp_path):
    path = tmp_path / "counters.json"
    for text in ("", "[1]", json.dumps({"version": 9}), '{"version":1,"baselines":{"a":"x"}}', "\ud800"):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        memory = CounterMemory(path)
        assert not path.exists()
        assert (memory.baselines, memory.frozen, memory.sequences) == ({}, {}, {})
    assert len(list(tmp_path.glob("*.damaged-*"))) == 5


def test_a_disk_that_refuses_stops_nothing(tmp_path, capsys):
    memory = CounterMemory(tmp_path / "gone" / "counters.json")
    memory.baselines["a"] = 1.0
    memory.save()
    memory.save()
    assert capsys.readouterr().out.count("counter memory cannot be written") == 1
