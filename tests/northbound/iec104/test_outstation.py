"""The outstation over real sockets, seen by a master on the plain link layer."""

import asyncio

import pytest

from s4g_gateway.codecs.iec104 import Cause, TimeTag, TypeId
from s4g_gateway.errors import TransientError
from s4g_gateway.model import ControlModel, DataSet
from s4g_gateway.model import quality as q
from s4g_gateway.northbound.iec104 import GroupTable
from s4g_gateway.profiles.iec104 import PointOverride
from s4g_gateway.security import AccessPolicy, Action, Rule


def events(master):
    return [o for asdu in master.decoded() if asdu.cause == 3 for o in asdu.objects]


def count(master, cause):
    """Objects received, without decoding them."""
    return sum(asdu[1] & 127 for asdu in master.asdus if asdu[2] & 63 == cause)


async def test_general_interrogation_shows_present_values_untimed(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(3)]) as bench:
        bench.publish([1.5, None, -3.0], quality=(0, q.INVALID, q.QUESTIONABLE | q.OLD_DATA))
        master = await kit.RawMaster.connect(bench.port)
        asdus = await master.interrogate()
        assert [(a.type_id.name, a.cause) for a in asdus] == [
            ("C_IC_NA_1", 7),
            ("M_ME_NC_1", 20),
            ("C_IC_NA_1", 10),
        ]
        assert master.points() == {
            10001: ("M_ME_NC_1", 1.5, 0),
            10002: ("M_ME_NC_1", 0.0, 0x80),
            10003: ("M_ME_NC_1", -3.0, 0x40),
        }
        await master.close()


async def test_changes_arrive_as_timed_spontaneous_events(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(3)]) as bench:
        bench.publish([1.0, 2.0, 3.0])
        master = await kit.RawMaster.connect(bench.port)
        await master.quiet()
        master.asdus.clear()
        time_ns = 1_700_000_000_123_000_000
        bench.publish([1.0, 2.5, 3.0], time_ns=time_ns)
        await master.until(lambda: master.asdus)
        (asdu,) = master.decoded()
        assert (asdu.type_id.name, asdu.cause, asdu.common_address) == ("M_ME_TF_1", 3, 1)
        assert [(o.address, o.value, o.time.time_ns) for o in asdu.objects] == [(10002, 2.5, time_ns)]
        await master.close()


async def test_events_before_the_first_master_wait_for_it(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)]) as bench:
        for value in range(50):
            bench.publish([float(value)])
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: len(events(master)) == 50)
        assert [o.value for o in events(master)] == [float(value) for value in range(50)]
        await master.close()


async def test_counters_only_by_counter_interrogation_with_freeze_and_reset(kit, tmp_path):
    members = (
        kit.member("ESS1/MMXU1.TotW"),
        kit.member("ESS1/MMTR1.SupWh", unit="Wh", cdc="BCR"),
        kit.member("ESS1/MMTR1.DmdWh", unit="Wh", cdc="BCR"),
    )
    points = [PointOverride(reference="ESS1/MMTR1.DmdWh", group=2)]
    async with kit.serving(tmp_path, [DataSet("d", members)], point=points) as bench:
        bench.publish([1.0, 100.0, 7.0])
        master = await kit.RawMaster.connect(bench.port)
        await master.interrogate()
        assert list(master.points()) == [10001]

        async def counters(request, freeze=0):
            master.asdus.clear()
            master.send(TypeId.C_CI_NA_1, Cause.ACTIVATION, 0, request | freeze << 6)
            await master.until(lambda: any(a[0] == 101 and a[2] & 63 == 10 for a in master.asdus))
            return [
                (a.cause, o.address, o.value, o.qualifier)
                for a in master.decoded()
                if a.type_id == TypeId.M_IT_NA_1
                for o in a.objects
            ]

        assert await counters(5) == [(37, 30001, 100, 0), (37, 30002, 7, 0)]
        assert await counters(2) == [(39, 30002, 7, 0)]
        assert await counters(5, freeze=1) == []
        bench.publish([1.0, 150.0, 8.0])
        assert await counters(5) == [(37, 30001, 100, 1), (37, 30002, 7, 1)]
        assert await counters(5, freeze=2) == []
        assert await counters(5) == [(37, 30001, 150, 2), (37, 30002, 8, 2)]
        bench.publish([1.0, 160.0, 8.0])
        assert await counters(5, freeze=1) == []
        assert await counters(5) == [(37, 30001, 10, 3), (37, 30002, 0, 3)]
        await master.close()


async def test_read_clock_synchronisation_and_reset(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(2)]) as bench:
        bench.publish([1.0, 2.0])
        master = await kit.RawMaster.connect(bench.port)
        await master.quiet(0.05)
        master.asdus.clear()
        master.send(TypeId.C_RD_NA_1, Cause.REQUEST, 10002)
        master.send(TypeId.C_RD_NA_1, Cause.REQUEST, 4711)
        await master.until(lambda: len(master.asdus) == 2)
        good, unknown = master.decoded()
        assert (good.type_id.name, good.cause, good.objects[0].value) == ("M_ME_NC_1", 5, 2.0)
        assert (unknown.cause, unknown.negative) == (47, True)
        master.asdus.clear()
        ahead_ns = bench.clock.wall_ns() + 3_000_000_000
        master.send(TypeId.C_CS_NA_1, Cause.ACTIVATION, 0, time=TimeTag(ahead_ns))
        await master.until(lambda: master.asdus)
        (confirmed,) = master.decoded()
        assert (confirmed.cause, confirmed.negative) == (7, False)
        assert bench.counters.values["master_clock_offset_s"] == pytest.approx(3.0, abs=0.5)
        master.asdus.clear()
        master.send(TypeId.C_RP_NA_1, Cause.ACTIVATION, 0, 3)
        master.send(TypeId.C_RP_NA_1, Cause.ACTIVATION, 0, 2)
        master.send(TypeId.C_RP_NA_1, Cause.ACTIVATION, 0, 1)
        while master.closed is None:
            await master.pump()
        assert [(a.cause, a.negative) for a in master.decoded()] == [(7, True), (7, False), (7, False)]
        await master.close()
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: master.asdus)
        (ended,) = master.decoded()
        assert (ended.type_id, ended.cause, ended.objects[0].value) == (TypeId.M_EI_NA_1, 4, 2)
        await master.interrogate()
        assert {value for _, value, _ in master.points().values()} == {1.0, 2.0}
        assert bench.counters.values["process_resets_total"] == 1
        await master.close()


async def test_a_reset_reaches_the_masters_of_every_group_and_only_who_may_command_can_ask_for_it(
    kit, tmp_path
):
    groups = (
        kit.GroupTable(name="viewers", masters=("127.0.0.1",), roles=("VIEWER",)),
        kit.GroupTable(name="dso", masters=("127.0.0.1",), roles=("SCADA",)),
    )
    async with kit.serving(tmp_path, [kit.floats(1)], group=groups) as bench:
        viewer = await kit.RawMaster.connect(bench.port)
        scada = await kit.RawMaster.connect(bench.port)
        viewer.send(TypeId.C_RP_NA_1, Cause.ACTIVATION, 0, 1)
        await viewer.until(lambda: any(a.type_id == TypeId.C_RP_NA_1 for a in viewer.decoded()))
        assert viewer.decoded()[-1].negative
        scada.send(TypeId.C_RP_NA_1, Cause.ACTIVATION, 0, 1)
        for master in (scada, viewer):
            while master.closed is None:
                await master.pump()
            await master.close()
        assert [a.negative for a in scada.decoded() if a.type_id == TypeId.C_RP_NA_1] == [False]


async def test_end_of_initialisation_for_every_station(kit, tmp_path):
    sets = [kit.floats(1), kit.floats(1, name="e", device="PV1")]
    async with kit.serving(tmp_path, sets, common_addresses={"PV1": 7}) as bench:
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: len(master.asdus) == 2)
        assert [(a.type_id.name, a.common_address, a.cause) for a in master.decoded()] == [
            ("M_EI_NA_1", 1, 4),
            ("M_EI_NA_1", 7, 4),
        ]
        await master.interrogate(common_address=7)
        assert list(master.points()) == [10001]
        await master.close()


async def test_cyclic_and_background(kit, tmp_path):
    data_set = kit.floats(3)
    points = [PointOverride(reference=data_set.references[0], cyclic_period_s=0.05)]
    async with kit.serving(tmp_path, [data_set], point=points, background_period_s=0.08) as bench:
        bench.publish([1.0, 2.0, 3.0])
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: {a[2] for a in master.asdus} >= {1, 2})
        assert master.points(Cause.PERIODIC) == {10001: ("M_ME_NC_1", 1.0, 0)}
        assert len(master.points(Cause.BACKGROUND)) == 3
        await master.close()


async def test_two_control_centres_each_get_every_event_in_order(kit, tmp_path):
    groups = [GroupTable(name="a"), GroupTable(name="b")]
    async with kit.serving(tmp_path, [kit.floats(1)], group=groups) as bench:
        first = await kit.RawMaster.connect(bench.port)
        bench.publish([1.0])
        second = await kit.RawMaster.connect(bench.port)
        for value in range(2, 30):
            bench.publish([float(value)])
        expected = [float(value) for value in range(1, 30)]
        for master in (first, second):
            await master.until(lambda: count(master, 3) == 29)  # noqa: B023 - awaited in the same turn
            assert [o.value for o in events(master)] == expected
            await master.close()


async def test_second_connection_of_a_group_takes_over_without_loss(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)]) as bench:
        first = await kit.RawMaster.connect(bench.port, w=1000)
        for value in range(5):
            bench.publish([float(value)])
        await first.until(lambda: len(events(first)) == 5)  # seen and not acknowledged
        second = await kit.RawMaster.connect(bench.port)
        bench.publish([5.0])
        await second.until(lambda: len(events(second)) == 6)
        assert [o.value for o in events(second)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        await first.close()
        await second.close()


async def test_overflow_of_the_event_buffer_is_told_and_counted(kit, tmp_path):
    groups = [GroupTable(name="a", event_capacity=127, overflow_ioa=5)]
    async with kit.serving(tmp_path, [kit.floats(1)], group=groups) as bench:
        for value in range(1000):
            bench.publish([float(value)])
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: [o for o in events(master) if o.address == 10001 and o.value == 999.0])
        await master.until(lambda: [o.value for o in events(master) if o.address == 5] == [1, 0])
        values = [o.value for o in events(master) if o.address == 10001]
        assert values == [float(v) for v in range(1000 - len(values), 1000)]
        assert bench.counters.values["events_dropped_total"] == 1000 - len(values)
        await master.close()


async def test_strangers_and_too_many_connections_are_turned_away(kit, tmp_path):
    groups = [GroupTable(name="a", masters=("10.*", "127.0.0.1"), max_connections=1)]
    async with kit.serving(tmp_path, [kit.floats(1)], group=groups) as bench:
        first = await kit.RawMaster.connect(bench.port)
        second = await kit.RawMaster.connect(bench.port, start=False)
        await second.until(lambda: second.closed is not None)
        assert bench.counters.values["connections_rejected_total"] == 1
        await first.interrogate()
        await first.close()
    groups = [GroupTable(name="a", masters=("10.*",))]
    async with kit.serving(tmp_path, [kit.floats(1)], group=groups) as bench:
        master = await kit.RawMaster.connect(bench.port, start=False)
        await master.until(lambda: master.closed is not None)


async def test_groups_see_only_what_their_roles_may_read(kit, tmp_path):
    policy = AccessPolicy(
        (
            Rule(roles=frozenset({"SCADA"}), actions=frozenset({Action.READ, Action.SUBSCRIBE})),
            Rule(
                roles=frozenset({"VIEWER"}),
                actions=frozenset({Action.READ, Action.SUBSCRIBE}),
                references=("*.AnIn2",),
            ),
        )
    )
    groups = [GroupTable(name="dso"), GroupTable(name="other", roles=("VIEWER",))]
    async with kit.serving(tmp_path, [kit.floats(3)], policy=policy, group=groups) as bench:
        dso = await kit.RawMaster.connect(bench.port)
        other = await kit.RawMaster.connect(bench.port)
        bench.publish([1.0, 2.0, 3.0])
        await dso.until(lambda: len(events(dso)) == 3)
        await other.until(lambda: len(events(other)) == 1)
        await dso.interrogate()
        assert list(dso.points(20)) == [10001, 10002, 10003]
        await other.interrogate()
        assert list(other.points(20)) == [10002]
        await dso.close()
        await other.close()


async def test_a_master_that_reads_nothing_delays_no_other_and_is_cut_off(kit, tmp_path):
    groups = [GroupTable(name="a"), GroupTable(name="b")]
    times = {"t1_s": 1.0, "t2_s": 0.5}
    async with kit.serving(tmp_path, [kit.floats(100)], group=groups, k=2000, **times) as bench:
        deaf = await kit.RawMaster.connect(bench.port)
        busy = await kit.RawMaster.connect(bench.port)
        total = 0
        for turn in range(50):
            bench.publish([float(turn * 1000 + i) for i in range(100)])
            total += 100
            await busy.until(lambda: count(busy, 3) == total)  # noqa: B023 - awaited in the same turn
        async with asyncio.timeout(20):
            while bench.counters.values.get("protocol_errors_total", 0) < 1:
                bench.publish([asyncio.get_running_loop().time() + i for i in range(100)])
                await busy.pump()
        await busy.interrogate()
        await deaf.close()
        await busy.close()


async def test_garbage_closes_the_link_and_nothing_else(kit, tmp_path):
    groups = [GroupTable(name="a"), GroupTable(name="b")]
    async with kit.serving(tmp_path, [kit.floats(1)], group=groups) as bench:
        good = await kit.RawMaster.connect(bench.port)
        bad = await kit.RawMaster.connect(bench.port)
        bad.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await bad.until(lambda: bad.closed is not None)
        assert bench.counters.values["protocol_errors_total"] == 1
        await good.interrogate()
        await good.close()


async def test_stop_closes_links_and_a_new_start_serves_again(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)]) as bench:
        master = await kit.RawMaster.connect(bench.port)
    await master.until(lambda: master.closed is not None)
    assert bench.outstation.address is None
    async with kit.serving(tmp_path, [kit.floats(1)]) as bench:
        master = await kit.RawMaster.connect(bench.port)
        await master.close()


async def test_addresses_are_kept_beside_the_site_file(kit, tmp_path):
    one, two = kit.floats(2, name="a", device="A1"), kit.floats(2, name="b", device="B1")
    async with kit.serving(tmp_path, [one, two]):
        pass
    text = (tmp_path / "bench.ioa.csv").read_text()
    assert "1,10003,monitor,B1/GGIO1.AnIn1" in text
    async with kit.serving(tmp_path, [two]) as bench:
        assert [s.ioa for s in bench.outstation.signal_list.signals] == [10003, 10004]
    assert (tmp_path / "bench.ioa.csv").read_text() == text


@pytest.mark.parametrize(("size", "limit_s"), [(10_000, 30), (50_000, 60)])
async def test_interrogation_of_many_points_with_twelve_unacknowledged(kit, tmp_path, size, limit_s):
    sets = [kit.floats(1000, name=f"d{i}", device=f"D{i}") for i in range(size // 1000)]
    async with kit.serving(tmp_path, sets) as bench:
        for index in range(len(sets)):
            bench.publish([float(index * 1000 + i) for i in range(1000)], data_set=index)
        master = await kit.RawMaster.connect(bench.port)
        await master.until(lambda: count(master, 3) == size, limit_s)
        await master.interrogate(timeout_s=limit_s)
        points = master.points(20)
        assert len(points) == size
        assert sorted(value for _, value, _ in points.values()) == [float(i) for i in range(size)]
        await master.close()


async def test_burst_of_fifty_thousand_events_loses_none(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1000)]) as bench:
        master = await kit.RawMaster.connect(bench.port)
        for turn in range(50):
            bench.publish([float(turn * 1000 + i) for i in range(1000)])
        await master.until(lambda: count(master, 3) >= 50_000, 60)
        seen = [o.value for o in events(master)]
        assert seen == [float(i) for i in range(50_000)]
        await master.close()


async def test_a_socket_that_takes_nothing_holds_events_back_until_it_does(kit, tmp_path):
    groups = [GroupTable(name="a", event_capacity=1_000_000)]
    window = {"k": 32767, "w": 32767}
    async with kit.serving(tmp_path, [kit.floats(1000)], group=groups, **window) as bench:
        master = await kit.RawMaster.connect(bench.port, receive_bytes=4096, **window)
        master.writer.transport.pause_reading()
        turns = 450
        for turn in range(turns):
            bench.publish([float(turn * 1000 + i) for i in range(1000)])
            await asyncio.sleep(0)
        asdus = turns * 63  # 16 objects in each
        assert bench.counters.values["asdus_sent_total"] < asdus < 32767
        master.writer.transport.resume_reading()
        received = 0
        while received < turns * 1000:
            await master.pump()
            received += count(master, 3)
            master.asdus.clear()
        assert received == turns * 1000
        await master.close()


async def test_a_port_in_use_is_worth_another_try(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(1)]) as bench:
        with pytest.raises(TransientError, match="cannot listen"):
            async with kit.serving(tmp_path, [kit.floats(1)], listen=f"127.0.0.1:{bench.port}"):
                pass


async def test_points_nobody_may_read_are_not_there(kit, tmp_path):
    nobody = AccessPolicy((Rule(roles=frozenset({"VIEWER"}), actions=frozenset({Action.READ})),))
    async with kit.serving(tmp_path, [kit.floats(1)], policy=nobody) as bench:
        bench.publish([1.0])
        master = await kit.RawMaster.connect(bench.port)
        asdus = await master.interrogate()
        assert {a.type_id for a in asdus} == {TypeId.C_IC_NA_1}
        await master.close()


async def test_stop_with_a_command_and_a_selection_under_way(kit, tmp_path):
    device = kit.Device(delay_s=60)
    controls = [kit.point("ESS1/DWGC1.WSpt"), kit.point("ESS1/DWGC2.WSpt", model=ControlModel.SBO_ENHANCED)]
    async with kit.serving(tmp_path, [kit.floats(1)], controls, device) as bench:
        master = await kit.RawMaster.connect(bench.port)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, 50001, 1.0)
        master.send(TypeId.C_SE_NC_1, Cause.ACTIVATION, 50002, 1.0, select=True)
        await master.until(lambda: any(a[0] == 50 and a[2] == 7 for a in master.asdus))
        audit = bench.audit
    assert [event["service"] for event in audit.events] == ["select", "cancel"]
    await master.until(lambda: master.closed is not None)
