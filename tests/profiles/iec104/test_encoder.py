"""Encoders per DataSet: Reports in, ASDUs out, read back by the codec."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from s4g_gateway.codecs.iec104 import Cause, TypeId, decode_asdu
from s4g_gateway.model import DataSet, Member, ObjectReference, Reason, Report, TimeQuality, ValueType
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.iec104 import DataSetEncoder, PointOverride, SignalSettings, plan_signals

T = 1_700_000_000_123_000_000


def make(members, **settings_):
    data_set = DataSet("d", tuple(members))
    made = plan_signals(members, (), SignalSettings(**settings_))
    assert made.problems == ()
    return data_set, DataSetEncoder(data_set, made.signal_list.signals), made.signal_list


def member(name, value_type=ValueType.FLOAT, **more):
    return Member(reference=ObjectReference(f"ESS1/{name}"), value_type=value_type, **more)


def floats(count, **more):
    return [member(f"GGIO1.AnIn{i + 1}", **more) for i in range(count)]


def report(data_set, values, quality=None, time_ns=T, **more):
    return Report(data_set, tuple(values), tuple(quality or (0,) * len(data_set)), time_ns, **more)


def objects(asdus):
    return [
        (asdu.type_id.name, obj.address, obj.value, obj.quality)
        for asdu in map(decode_asdu, asdus)
        for obj in asdu.objects
    ]


# -- events --------------------------------------------------------------------------------------------


def test_a_whole_report_fills_asdus_of_at_most_249_octets():
    data_set, encoder, _ = make(floats(100))
    asdus = encoder.spontaneous(report(data_set, [float(i) for i in range(100)]))
    decoded = [decode_asdu(asdu) for asdu in asdus]
    assert [len(asdu.objects) for asdu in decoded] == [16] * 6 + [4]
    assert max(map(len, asdus)) <= 249
    assert {(a.type_id, a.cause, a.common_address, a.sequence) for a in decoded} == {
        (TypeId.M_ME_TF_1, Cause.SPONTANEOUS, 1, False)
    }
    assert [o.value for a in decoded for o in a.objects] == [float(i) for i in range(100)]
    assert {o.time.time_ns for a in decoded for o in a.objects} == {T}


def test_only_included_members_go_out_each_with_its_own_time():
    data_set, encoder, _ = make(floats(4))
    times = (T, T + 10**9, T + 2 * 10**9, T + 3 * 10**9)
    made = report(data_set, [1.0, 2.0, 3.0, 4.0], time_ns=times, included=b"\1\0\1\1")
    (asdu,) = map(decode_asdu, encoder.spontaneous(made))
    assert [(o.address, o.value, o.time.time_ns) for o in asdu.objects] == [
        (10001, 1.0, times[0]),
        (10003, 3.0, times[2]),
        (10004, 4.0, times[3]),
    ]


def test_a_doubtful_clock_or_a_device_in_1970_makes_the_time_invalid():
    data_set, encoder, _ = make(floats(1))
    doubtful = report(data_set, [1.0], time_quality=TimeQuality.CLOCK_NOT_SYNCHRONISED)
    (asdu,) = map(decode_asdu, encoder.spontaneous(doubtful))
    assert (asdu.objects[0].time.invalid, asdu.objects[0].time.time_ns) == (True, T)
    (asdu,) = map(decode_asdu, encoder.spontaneous(report(data_set, [1.0], time_ns=5)))
    assert asdu.objects[0].time.invalid


def test_deadband_holds_small_steps_back_until_they_add_up_but_never_a_change_of_quality():
    data_set, encoder, _ = make(floats(1, deadband=10.0))

    def sent(value, quality=0):
        return [row[2] for row in objects(encoder.spontaneous(report(data_set, [value], [quality])))]

    assert sent(100.0) == [100.0]
    assert sent(105.0) == []
    assert sent(109.0) == []
    assert sent(110.0) == [110.0]
    assert sent(101.0) == []
    assert sent(101.0, q.QUESTIONABLE) == [101.0]
    assert sent(None, q.INVALID) == [0.0]
    assert sent(None, q.INVALID) == [0.0]
    assert sent(101.0) == [101.0]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_held_back_stays_within_the_deadband_and_the_rest_goes_out(data):
    bands = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.5]), min_size=1, max_size=6))
    members = [member(f"GGIO1.AnIn{i + 1}", deadband=band) for i, band in enumerate(bands)]
    data_set, encoder, signals = make(members)
    size = len(bands)
    ioas = [signals.by_reference[m.reference].ioa for m in members]
    sent = {}
    value = st.one_of(st.none(), st.floats(-5, 5, allow_nan=False))
    for _ in range(data.draw(st.integers(1, 6))):
        values = data.draw(st.lists(value, min_size=size, max_size=size))
        quality = data.draw(st.lists(st.sampled_from([0, q.QUESTIONABLE]), min_size=size, max_size=size))
        mask = data.draw(
            st.one_of(st.none(), st.lists(st.integers(0, 1), min_size=size, max_size=size).map(bytes))
        )
        rows = objects(encoder.spontaneous(report(data_set, values, quality, included=mask)))
        gone = [row[1] for row in rows]
        expected = []
        for ioa, now, bits, band, is_in in zip(
            ioas, values, quality, bands, mask or b"\1" * size, strict=True
        ):
            before = sent.get(ioa)
            near = (
                before is not None
                and None not in (now, before[0])
                and bits == before[1]
                and abs(now - before[0]) < band
            )
            if is_in and not near:
                expected.append(ioa)
                sent[ioa] = (now, bits)
        assert gone == expected


def test_members_without_an_address_or_not_spontaneous_are_passed_over():
    members = [*floats(2), member("MMTR1.SupWh", cdc="BCR"), member("LPHD1.PhyNam", ValueType.TEXT)]
    data_set, encoder, _ = make(members)
    made = report(data_set, [1.0, 2.0, 5.0, "x"])
    assert [row[1] for row in objects(encoder.spontaneous(made))] == [10001, 10002]


# -- every type -----------------------------------------------------------------------------------------


def one(value, value_type=ValueType.FLOAT, quality=0, cdc="MV", **wish):
    point = member("GGIO1.X", value_type, cdc=cdc)
    wish = {"spontaneous": True, **wish}
    data_set, encoder, _ = make([point], points=[PointOverride(reference=point.reference, **wish)])
    made = report(data_set, [value], [quality])
    timed = objects(encoder.spontaneous(made))
    untimed = (
        objects(encoder.counters(made, common_address=1))
        if wish.get("type") == "M_IT_NA_1"
        else objects(encoder.present(made, cause=20))
    )
    assert [row[1:] for row in timed] == [row[1:] for row in untimed]
    return untimed[0][0], *untimed[0][2:]


BOOL, ENUM, INT = ValueType.BOOLEAN, ValueType.ENUMERATED, ValueType.INTEGER
IV, NT, OV = 0x80, 0x40, 0x01


def test_bits_and_positions():
    assert one(True, BOOL) == ("M_SP_NA_1", 1, 0)
    assert one(False, BOOL, q.INVALID) == ("M_SP_NA_1", 0, IV)
    assert one(None, BOOL) == ("M_SP_NA_1", 0, IV)
    assert one(True, BOOL, cdc="DPS") == ("M_DP_NA_1", 2, 0)
    assert one(False, BOOL, cdc="DPS") == ("M_DP_NA_1", 1, 0)
    assert [one(v, ENUM, cdc="DPC")[1:] for v in (0, 1, 2, 3, 4)] == [(0, 0), (1, 0), (2, 0), (3, 0), (0, IV)]
    assert one(-3, INT, cdc="BSC") == ("M_ST_NA_1", -3, 0)
    assert one(64, INT, cdc="BSC") == ("M_ST_NA_1", 63, OV)
    assert one(0xF000_0001, INT, type="M_BO_NA_1") == ("M_BO_NA_1", 0xF000_0001, 0)
    assert one(-1, INT, type="M_BO_NA_1") == ("M_BO_NA_1", 0, IV)


def test_numbers_with_scaling_and_their_limits():
    assert one(1234.0, type="M_ME_NB_1", factor=10.0) == ("M_ME_NB_1", 123, 0)
    assert one(1234.0, type="M_ME_NB_1", factor=-10.0, offset=234.0) == ("M_ME_NB_1", -100, 0)
    assert one(40000, INT) == ("M_ME_NB_1", 32767, OV)
    assert one(-40000, INT, q.QUESTIONABLE) == ("M_ME_NB_1", -32768, OV | IV)
    assert one(5.0, type="M_ME_NA_1", full_scale=10.0) == ("M_ME_NA_1", 16384, 0)
    assert one(10.0, type="M_ME_NA_1", full_scale=10.0) == ("M_ME_NA_1", 32767, OV)
    assert one(-10.0, type="M_ME_NA_1", full_scale=10.0) == ("M_ME_NA_1", -32768, 0)
    assert one(1500.0, factor=1000.0) == ("M_ME_NC_1", 1.5, 0)
    assert one(3e9, type="M_IT_NA_1") == ("M_IT_NA_1", 2**31 - 1, IV)
    assert one(3e9, type="M_IT_NA_1", factor=1000.0) == ("M_IT_NA_1", 3_000_000, 0)


def test_what_is_no_number_is_invalid_and_what_no_float_holds_is_an_overflow():
    for value in (None, "text", math.nan):
        for wish in ({}, {"factor": 2.0}, {"type": "M_ME_NB_1"}):
            name, number, quality = one(value, **wish)
            assert (number, quality & IV) == (0, IV), (name, value)
    assert one(math.inf)[2] == OV
    assert one(-1e300)[1:] == (-3.4028234663852886e38, OV)
    assert one(10**400) == ("M_ME_NC_1", 3.4028234663852886e38, OV)
    assert one(-(10**400), INT) == ("M_ME_NB_1", -32768, OV)
    assert one(1, quality=q.QUESTIONABLE | q.OLD_DATA)[2] == NT


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-(10**12), 10**12), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(
        ["M_ME_NC_1", "M_ME_NB_1", "M_ME_NA_1", "M_SP_NA_1", "M_DP_NA_1", "M_ST_NA_1", "M_BO_NA_1"]
    ),
    st.data(),
)
def test_bad_never_looks_good_and_every_member_arrives_once(values, type_name, data):
    quality = data.draw(st.lists(st.integers(0, q.ALL_BITS), min_size=len(values), max_size=len(values)))
    members = floats(len(values))
    wish = PointOverride(reference="*", type=type_name, full_scale=7.0 if type_name == "M_ME_NA_1" else None)
    data_set, encoder, signals = make(members, points=[wish])
    made = report(data_set, values, quality)
    expected = [signal.ioa for signal in signals.signals]
    for rows in (objects(encoder.spontaneous(made)), objects(encoder.present(made, cause=20))):
        assert [row[1] for row in rows] == expected
        for (_, _, _, bits), value, known in zip(rows, values, quality, strict=True):
            if q.validity(known) in (q.INVALID, q.RESERVED) or value is None:
                assert bits & IV
            elif q.validity(known) == q.QUESTIONABLE:
                assert bits


# -- present values -------------------------------------------------------------------------------------


def test_consecutive_addresses_go_as_sequences_and_lone_ones_as_objects():
    members = floats(60)
    points = [PointOverride(reference=members[30].reference, ioa=7)]
    data_set, encoder, signals = make(members, points=points)
    values = [float(i) for i in range(60)]
    asdus = [decode_asdu(a) for a in encoder.present(report(data_set, values), cause=20)]
    assert [(a.sequence, len(a.objects)) for a in asdus] == [(False, 1), (True, 48), (True, 11)]
    by_ioa = {o.address: o.value for a in asdus for o in a.objects}
    assert by_ioa == {s.ioa: values[data_set.index[s.reference]] for s in signals.signals}
    assert by_ioa[7] == 30.0


def test_groups_stations_and_cyclic_members():
    members = [*floats(3), member("MMTR1.SupWh", cdc="BCR")]
    refs = [m.reference for m in members]
    data_set, encoder, _ = make(
        members,
        points=[
            PointOverride(reference=refs[0], group=2, cyclic_period_s=5.0),
            PointOverride(reference=refs[1], common_address=9),
            PointOverride(reference=refs[3], group=4),
        ],
    )
    made = report(data_set, [1.0, 2.0, 3.0, 4.0])

    def seen(asdus):
        return [(a.cause, a.common_address, o.value) for a in map(decode_asdu, asdus) for o in a.objects]

    assert seen(encoder.present(made, cause=22, group=2)) == [(22, 1, 1.0)]
    assert seen(encoder.present(made, cause=20, common_address=9)) == [(20, 9, 2.0)]
    assert seen(encoder.present(made, cause=2)) == [(2, 1, 1.0), (2, 1, 3.0), (2, 9, 2.0)]
    assert seen(encoder.cyclic(made, 5.0)) == [(1, 1, 1.0)]
    assert seen(encoder.counters(made, common_address=1, group=4)) == [(41, 1, 4)]
    assert seen(encoder.counters(made, common_address=1, group=3)) == []
    assert seen(encoder.counters(made, common_address=9)) == []
    (one_point,) = seen([encoder.one(made, 2)])
    assert one_point == (5, 1, 3.0)


def test_counters_carry_sequence_number_and_time_when_asked():
    data_set, encoder, _ = make([member("MMTR1.SupWh", cdc="BCR")])
    made = report(data_set, [7.0], [q.QUESTIONABLE])
    (asdu,) = map(
        decode_asdu,
        encoder.counters(made, common_address=1, qualifiers=bytes([5] * len(made.values)), timed=True),
    )
    (reading,) = asdu.objects
    assert (asdu.type_id.name, asdu.cause) == ("M_IT_TB_1", 37)
    assert (reading.value, reading.qualifier, reading.quality, reading.time.time_ns) == (7, 5, IV, T)


def test_a_member_without_address_cannot_be_read():
    data_set, encoder, _ = make([*floats(1), member("LPHD1.PhyNam", ValueType.TEXT)])
    assert encoder.one(report(data_set, [1.0, "x"]), 1) is None


# -- EDYNA ---------------------------------------------------------------------------------------------

EDYNA = [
    PointOverride(
        reference="PCC1/*", common_address=241, type="M_ME_NA_1", full_scale=1.0, event_time_tag=False
    ),
    PointOverride(reference="PCC1/MMXU1.TotW", ioa=234),
    PointOverride(reference="PCC1/MMXU1.PPV", ioa=246),
]


def test_edyna_profile():
    """Storage4Grid D5.5 §SCADA: TI 9, CA 241, IOA 234 raw 16508 is 0.503784, IOA 246 raw 6422 is 0.195984."""
    members = [
        Member(reference=ObjectReference("PCC1/MMXU1.TotW"), unit="W"),
        Member(reference=ObjectReference("PCC1/MMXU1.PPV"), unit="V"),
    ]
    data_set, encoder, signals = make(members, points=EDYNA)
    assert [(s.common_address, s.ioa, s.type_id.value) for s in signals.signals] == [
        (241, 234, 9),
        (241, 246, 9),
    ]
    made = report(data_set, [0.503784, 0.195984], reason=Reason.DATA_CHANGE)
    (asdu,) = encoder.spontaneous(made)
    assert asdu == bytes.fromhex(
        "09 02"  # M_ME_NA_1, two objects
        "03 00"  # spontaneous, originator 0
        "f100"  # common address 241
        "ea0000 7c40 00"  # IOA 234, 16508
        "f60000 1619 00"  # IOA 246, 6422
    )


def test_edyna_scaling_per_address():
    """The constants to kW and kV were not published, so each address takes its own full scale."""
    points = [
        PointOverride(reference="PCC1/MMXU1.TotW", type="M_ME_NA_1", full_scale=250_000.0),
        PointOverride(reference="PCC1/MMXU1.PPV", type="M_ME_NA_1", full_scale=24_000.0),
    ]
    members = [
        Member(reference=ObjectReference("PCC1/MMXU1.TotW"), unit="W"),
        Member(reference=ObjectReference("PCC1/MMXU1.PPV"), unit="V"),
    ]
    data_set, encoder, _ = make(members, points=points)
    rows = objects(encoder.present(report(data_set, [16508 / 32768 * 250e3, 6422 / 32768 * 24e3]), cause=20))
    assert [row[2] for row in rows] == [16508, 6422]
