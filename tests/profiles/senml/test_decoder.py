"""Packs of others become Reports."""

import orjson
import pytest

from s4g_gateway.codecs.senml import (
    HISTORIC_S4G,
    Format,
    Limits,
    Record,
    SenmlDecodeError,
    convert,
    name_from_topic,
)
from s4g_gateway.model import DataSet, Member, ObjectReference, Reason, Report, ValueType
from s4g_gateway.model.quality import INVALID
from s4g_gateway.profiles.senml import (
    Column,
    ColumnDecoder,
    ColumnEncoder,
    Moment,
    Scale,
    WireMember,
    columns_of,
    compile_decoder,
    compile_encoder,
)

NOW_NS = 1_700_000_000_000_000_000


def member(reference, unit="", value_type=ValueType.FLOAT):
    return Member(reference=ObjectReference(reference), unit=unit, value_type=value_type)


POWER = member("PCC1/MMXU1.TotW", "W")
SOC = member("ESS1/DSTO1.SocEffWhPct", "%")
ENERGY = member("PCC1/MMTR1.SupWh", "Wh")
SWITCH = member("PCC1/XCBR1.Pos", value_type=ValueType.BOOLEAN)
HEALTH = member("PCC1/LPHD1.PhyHealth", value_type=ValueType.ENUMERATED)
FACTOR = member("PCC1/MMXU1.TotPF")
TEMPERATURE = member("ESS1/STMP1.Tmp", "Cel")
SITE = DataSet("site", (POWER, SOC, ENERGY, SWITCH, HEALTH, FACTOR, TEMPERATURE))


def decode(records, data_set=SITE, form=Format.JSON, **options):
    data = convert(orjson.dumps(records), Format.JSON, form)
    return compile_decoder(data_set, site="s", form=form, **options).decode(data, NOW_NS)


def values(report):
    return {
        member.reference.partition("/")[2]: value
        for member, value, had in zip(report.data_set.members, report.values, report.included, strict=True)
        if had
    }


@pytest.mark.parametrize("form", Format)
def test_a_partial_pack_is_a_data_change(form):
    report = decode([{"n": "s/ESS1/DSTO1.SocEffWhPct", "u": "%EL", "v": 53}], form=form)
    size = len(SITE)
    assert report == Report(
        SITE,
        (None, 53.0, *[None] * (size - 2)),
        (INVALID, 0, *[INVALID] * (size - 2)),
        NOW_NS,
        Reason.DATA_CHANGE,
        b"\0\1" + bytes(size - 2),
    )
    assert isinstance(report.values[1], float)


@pytest.mark.parametrize(
    ("name", "record", "expected"),
    [
        ("PCC1/MMXU1.TotW", {"u": "W", "v": 5}, 5.0),
        ("PCC1/MMXU1.TotW", {"v": 5}, 5.0),
        ("PCC1/MMXU1.TotW", {"bver": 26, "u": "kW", "v": 5}, 5000.0),
        ("PCC1/MMTR1.SupWh", {"u": "J", "v": 7200}, 2.0),
        ("PCC1/MMTR1.SupWh", {"bver": 26, "u": "Wh", "v": 2}, 2.0),
        ("PCC1/MMTR1.SupWh", {"bver": 26, "u": "kWh", "v": 2}, 2000.0),
        ("ESS1/DSTO1.SocEffWhPct", {"u": "%EL", "v": 50}, 50.0),
        ("ESS1/DSTO1.SocEffWhPct", {"u": "/", "v": 0.5}, 50.0),
        ("ESS1/DSTO1.SocEffWhPct", {"u": "%", "v": 0.5}, 50.0),
        ("ESS1/DSTO1.SocEffWhPct", {"bver": 26, "u": "/100", "v": 50}, 50.0),
        ("PCC1/MMXU1.TotPF", {"u": "/", "v": 0.9}, 0.9),
        ("PCC1/XCBR1.Pos", {"vb": True}, True),
        ("PCC1/XCBR1.Pos", {"u": "/", "v": 0}, False),
        ("PCC1/LPHD1.PhyHealth", {"v": 2}, 2),
    ],
)
def test_other_units_of_the_same_quantity_are_converted(name, record, expected):
    report = decode([{"n": "s/" + name, **record}])
    assert values(report) == {name.partition("/")[2]: expected}


@pytest.mark.parametrize(
    ("name", "record", "message"),
    [
        ("PCC1/MMXU1.TotW", {"u": "V", "v": 5}, "unit 'V'; expected 'W'"),
        ("PCC1/MMXU1.TotW", {"u": "furlong", "v": 5}, "unit 'furlong'"),
        ("PCC1/MMXU1.TotW", {"u": "kW", "v": 5}, "bver 26"),
        ("PCC1/MMXU1.TotPF", {"u": "W", "v": 5}, "expected 'none'"),
        ("PCC1/MMXU1.TotW", {"vs": "5"}, "type float"),
        ("PCC1/MMXU1.TotW", {"vb": True}, "type float"),
        ("PCC1/XCBR1.Pos", {"v": 2}, "type boolean"),
        ("PCC1/LPHD1.PhyHealth", {"v": 2.5}, "type enumerated"),
        ("PCC1/MMXU1.TotW.q", {"v": 2.5}, "integer from 0"),
        ("PCC1/MMXU1.TotW.q", {"v": 8192}, "integer from 0"),
        ("PCC1/MMXU1.TotW.q", {"vs": "bad"}, "integer from 0"),
        ("PCC1/MMXU1.TotW", {"t": 1e10, "v": 1}, "1970 to 2262"),
        ("PCC1/MMXU1.TotW", {"t": -1e10, "v": 1}, "1970 to 2262"),
        ("PCC1/Other1.TotW", {"v": 1}, "none of its columns"),
        ("PCC1/MMXU1.TotW", {"s": 1}, "none of its columns"),
    ],
)
def test_what_no_member_can_take(name, record, message):
    with pytest.raises(SenmlDecodeError, match=message):
        decode([{"n": "s/" + name, **record}])


def test_kelvin_is_another_unit_than_celsius():
    with pytest.raises(SenmlDecodeError, match="unit 'K'"):
        decode([{"n": "s/ESS1/STMP1.Tmp", "u": "K", "v": 300}])


def test_relative_times_count_from_now():
    report = decode([{"n": "s/PCC1/MMXU1.TotW", "t": -1.5, "v": 1}, {"n": "s/PCC1/MMXU1.TotPF", "v": 1}])
    assert report.times_ns()[0] == NOW_NS - 1_500_000_000
    assert report.times_ns()[5] == NOW_NS


def test_a_plan_becomes_one_report_per_time():
    wire = {POWER.reference: WireMember(name="power_plan", unit="kW", factor=0.001)}
    data_set = DataSet("plan", (POWER, SOC))
    decoder = compile_decoder(data_set, site="s", form=Format.JSON, wire=wire)
    data = orjson.dumps(
        [
            {"bn": "s/", "bver": 26, "bu": "kW", "bt": 1.8e9, "n": "power_plan", "v": 1.5},
            {"n": "power_plan", "t": 3600, "v": -2},
            {"n": "power_plan.q", "t": 3600, "u": "", "v": 3},
            {"n": "cmd.id", "vs": "abc"},
        ]
    )
    decoded = decoder.decode_all(data, NOW_NS)
    first, second = decoded.reports
    assert (first.values, first.time_ns) == ((1500.0, None), 1_800_000_000_000_000_000)
    assert (second.values, second.quality, second.time_ns) == (
        (-2000.0, None),
        (3, 2),
        1_800_003_600_000_000_000,
    )
    assert decoded.others == (
        Record(base_version=26, name="s/cmd.id", unit="kW", time_s=1.8e9, string_value="abc"),
    )
    with pytest.raises(SenmlDecodeError, match="found 2 times"):
        decoder.decode(data, NOW_NS)


def test_a_name_twice_at_one_time_is_refused():
    record = {"n": "s/PCC1/MMXU1.TotW", "v": 1}
    with pytest.raises(SenmlDecodeError, match="twice at one time"):
        decode([record, record])


def test_moments_are_bounded():
    columns = [Column(base="s/", name=f"p{i}") for i in range(2000)]
    decoder = ColumnDecoder(columns, Format.JSON)
    data = orjson.dumps([{"n": "s/p1", "t": i, "v": 1} for i in range(600)])
    with pytest.raises(SenmlDecodeError, match="600 times of 2000 values"):
        decoder.decode_all(data, NOW_NS)


def test_a_pack_of_strangers_only_has_no_report():
    decoder = compile_decoder(SITE, site="s", form=Format.JSON)
    decoded = decoder.decode_all(orjson.dumps([{"n": "other", "v": 1}]), NOW_NS)
    assert decoded.reports == ()
    assert decoded.others == (Record(name="other", time_s=1.7e9, value=1.0),)


def test_historic_payloads_reach_members_by_their_topic():
    topic = "/Fronius/SMX/W_Grid"
    data_set = DataSet("grid", (POWER,))
    decoder = compile_decoder(
        data_set,
        site="",
        form=Format.JSON,
        wire={POWER.reference: WireMember(name=name_from_topic(topic), unit="W", factor=-1)},
        dialect=HISTORIC_S4G.named(name_from_topic(topic)),
    )
    report = decoder.decode(b'[{"v":400.0,"u":"W","t":1538700000123,"n":""}]', NOW_NS)
    assert (report.values, report.time_ns) == ((-400.0,), 1_538_700_000_123_000_000)


@pytest.mark.parametrize("form", Format)
def test_limits_hold_for_our_own_layout_too(form):
    data_set = DataSet("d", (POWER,))
    data = compile_encoder(data_set, site="s", form=form).encode(Report(data_set, (1.0,), (0,), NOW_NS))
    decoder = compile_decoder(data_set, site="s", form=form, limits=Limits(max_bytes=len(data) - 1))
    with pytest.raises(SenmlDecodeError, match="at most"):
        decoder.decode(data, NOW_NS)


def test_columns_give_moments():
    columns = [Column(base="s/", name="a", unit="kW"), Column(base="s/", name="b")]
    data = ColumnEncoder(columns, Format.CBOR).encode((1.5, None), (0, 2), NOW_NS)
    decoder = ColumnDecoder(columns, Format.CBOR)
    assert decoder.decode(data, NOW_NS) == Moment((1.5, None), (0, 2), NOW_NS, None)
    assert decoder.decode_all(data, NOW_NS) == ((Moment((1.5, None), (0, 2), NOW_NS, None),), ())


FLOATS = DataSet("floats", (POWER, SOC, ENERGY, FACTOR, TEMPERATURE))
FOREIGN = {
    "PCC1/MMXU1.TotW": ("W", 1.5),
    "ESS1/DSTO1.SocEffWhPct": ("%EL", 2.5),
    "PCC1/MMTR1.SupWh": ("J", 3600.0),
    "PCC1/MMXU1.TotPF": (None, 0.5),
    "ESS1/STMP1.Tmp": ("Cel", 5),
}


def foreign(names, form, *, last=None):
    records = [{"bt": 1.7e9}]
    for name in names:
        unit, value = FOREIGN[name]
        records.append({"n": "s/" + name, "v": value, **({"u": unit} if unit else {})})
    if last is not None:
        records[-1]["v"] = last
    return convert(orjson.dumps(records), Format.JSON, form)


@pytest.mark.parametrize("form", Format)
def test_shapes_that_change_from_pack_to_pack(form):
    decoder = ColumnDecoder(columns_of(FLOATS, site="s"), form)
    everything = list(FOREIGN)
    expected = (1.5, 2.5, 1.0, 0.5, 5.0)
    with_units = [name for name in everything if FOREIGN[name][0]]
    for names in (
        everything,
        everything[::-1],
        with_units,
        everything,
        with_units,
        with_units[:2],
        everything,
    ):
        data = foreign(names, form)
        moment = decoder.decode(data, NOW_NS)
        assert moment == decoder.decode_generally(data, NOW_NS)
        assert moment.values == tuple(
            v if n in names else None for n, v in zip(everything, expected, strict=True)
        )
        parsed = decoder._load(data)
        assert decoder._foreign._read_columns(parsed, NOW_NS) is not None


@pytest.mark.parametrize("form", Format)
def test_a_number_no_double_holds_is_refused_whatever_the_way(form):
    decoder = ColumnDecoder(columns_of(FLOATS, site="s"), form)
    names = list(FOREIGN)
    names.append(names.pop(1))  # the state of charge, last
    assert decoder.decode(foreign(names, form, last=7), NOW_NS).values[1] == 7.0
    with pytest.raises(SenmlDecodeError):
        decoder.decode(foreign(names, form, last=1e308).replace(b"1e308", b"1e999").replace(b"1e+308", b"1e999")
                       if form is not Format.CBOR
                       else foreign(names, form, last=1.5)[:-2] + b"\x7e\x00", NOW_NS)  # fmt: skip


@pytest.mark.parametrize("form", Format)
def test_our_layout_with_other_kinds_of_value(form):
    switch = Column(base="s/", name="switch", value_type=ValueType.BOOLEAN)
    count = Column(base="s/", name="count", value_type=ValueType.INTEGER)
    scaled = Column(base="s/", name="steps", value_type=ValueType.INTEGER, scale=Scale(divisor=4.0))
    columns = [switch, count, scaled]
    encoder, decoder = ColumnEncoder(columns, form), ColumnDecoder(columns, form)
    data = encoder.encode((True, 5, 3), (0, 0, 0), NOW_NS)
    assert decoder.fast(data) == ((True, 5, 3), NOW_NS)
    assert repr(decoder.decode(data, NOW_NS).values) == "(True, 5, 3)"
    # an integer that became a fraction, as another sender might write it
    fraction = ColumnEncoder(
        [switch, Column(base="s/", name="count"), Column(base="s/", name="steps")], form
    ).encode((True, 5.5, 3.0), (0, 0, 0), NOW_NS)
    assert decoder.fast(fraction) is None
    with pytest.raises(SenmlDecodeError, match="type integer"):
        decoder.decode(fraction, NOW_NS)
