"""The outstation over real sockets, seen by a master on the plain link layer."""

from s4g_gateway.model import quality as q


def events(master):
    return [o for asdu in master.decoded() if asdu.cause == 3 for o in asdu.objects]


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
