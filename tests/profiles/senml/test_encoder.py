"""What our packs look like, to the byte."""

import cbor2
import orjson
import pytest
from lxml import etree

from s4g_gateway.codecs.senml import UNITS, Format, decode_pack, resolve
from s4g_gateway.errors import EncodeError, ProfileError
from s4g_gateway.model import DataSet, Member, ObjectReference, Report, ValueType
from s4g_gateway.model.units import SI_UNIT
from s4g_gateway.profiles.senml import (
    Column,
    ColumnEncoder,
    Scale,
    WireMember,
    columns,
    columns_of,
    compile_encoder,
    scale_of,
)

T_NS = 1_700_000_000_123_456_789
T_S = 1_700_000_000.123457


def member(reference, unit="", value_type=ValueType.FLOAT):
    return Member(reference=ObjectReference(reference), unit=unit, value_type=value_type)


POWER = member("PCC1/MMXU1.TotW", "W")
VOLTAGE = member("PCC1/MMXU1.PhV.phsA", "V")
SOC = member("ESS1/DSTO1.SocEffWhPct", "%")
ENERGY = member("PCC1/MMTR1.SupWh", "Wh")
LIMIT = member("ESS1/DWMX1.WMaxSptPct", "%")
SWITCH = member("PCC1/XCBR1.Pos", value_type=ValueType.BOOLEAN)
NAME = member("PCC1/LPHD1.PhyNam", value_type=ValueType.TEXT)
HEALTH = member("PCC1/LPHD1.PhyHealth", value_type=ValueType.ENUMERATED)


def encode(members, values, form=Format.JSON, quality=None, time_ns=T_NS, included=None, **options):
    data_set = DataSet("d", tuple(members))
    report = Report(data_set, tuple(values), quality or (0,) * len(members), time_ns, included=included)
    return compile_encoder(data_set, site="site-1", form=form, **options).encode(report)


def test_one_report_in_every_representation():
    members, values = [POWER, VOLTAGE, SOC], [-1500.5, 230.0, 53.7]
    assert encode(members, values) == (
        b'[{"bn":"site-1/PCC1/","bt": 1700000000.123457 ,"n":"MMXU1.TotW","u":"W","v": -1500.5 },'
        b'{"n":"MMXU1.PhV.phsA","u":"V","v": 230.0 },'
        b'{"bn":"site-1/ESS1/","n":"DSTO1.SocEffWhPct","u":"%EL","v": 53.7 }]'
    )
    assert encode(members, values, Format.XML) == (
        b'<sensml xmlns="urn:ietf:params:xml:ns:senml">'
        b'<senml bn="site-1/PCC1/" bt=\'1700000000.123457\' n="MMXU1.TotW" u="W" v=\'-1500.5\'/>'
        b'<senml n="MMXU1.PhV.phsA" u="V" v=\'230.0\'/>'
        b'<senml bn="site-1/ESS1/" n="DSTO1.SocEffWhPct" u="%EL" v=\'53.7\'/></sensml>'
    )
    cbor = encode(members, values, Format.CBOR)
    assert cbor == cbor2.dumps(
        [
            {-2: "site-1/PCC1/", -3: T_S, 0: "MMXU1.TotW", 1: "W", 2: -1500.5},
            {0: "MMXU1.PhV.phsA", 1: "V", 2: 230.0},
            {-2: "site-1/ESS1/", 0: "DSTO1.SocEffWhPct", 1: "%EL", 2: 53.7},
        ]
    )


def test_quality_other_than_good_is_a_sibling_record():
    assert orjson.loads(encode([POWER, VOLTAGE], [1.0, None], quality=(3, 64))) == [
        {"bn": "site-1/PCC1/", "bt": T_S, "n": "MMXU1.TotW", "u": "W", "v": 1.0},
        {"n": "MMXU1.TotW.q", "v": 3},
        {"n": "MMXU1.PhV.phsA.q", "v": 64},
    ]


def test_without_value_only_the_quality_is_sent_even_if_good():
    assert orjson.loads(encode([POWER], [None])) == [
        {"bn": "site-1/PCC1/", "bt": T_S, "n": "MMXU1.TotW.q", "v": 0}
    ]


def test_partial_report_with_one_time_per_member():
    times = (T_NS, T_NS + 1, T_NS + 5_000_000_000)
    pack = encode(
        [POWER, VOLTAGE, SOC], [1.0, 2.0, 3.0], time_ns=times, included=b"\1\0\1", quality=(0, 0, 2)
    )
    assert orjson.loads(pack) == [
        {"bn": "site-1/PCC1/", "t": T_S, "n": "MMXU1.TotW", "u": "W", "v": 1.0},
        {"bn": "site-1/ESS1/", "t": T_S + 5, "n": "DSTO1.SocEffWhPct", "u": "%EL", "v": 3.0},
        {"t": T_S + 5, "n": "DSTO1.SocEffWhPct.q", "v": 2},
    ]


def test_every_kind_of_value():
    pack = encode([SWITCH, NAME, HEALTH], [True, 'a "b"\n', 2], Format.CBOR)
    assert cbor2.loads(pack) == [
        {-2: "site-1/PCC1/", -3: T_S, 0: "XCBR1.Pos", 4: True},
        {0: "LPHD1.PhyNam", 3: 'a "b"\n'},
        {0: "LPHD1.PhyHealth", 2: 2.0},
    ]
    assert [r.boolean_value for r in decode_pack(encode([SWITCH], [False]), Format.JSON)] == [False]
    xml = encode([SWITCH, NAME], [True, "it's <&>\\\x01"], Format.XML)
    assert etree.fromstring(xml)[1].get("vs") == "it's <&>\\\\\\u0001"


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("Wh", 2.0, ("J", 7200.0)),
        ("varh", 2.0, ("vars", 7200.0)),
        ("VAh", 2.0, ("VAs", 7200.0)),
        ("Ah", 2.0, ("C", 7200.0)),
        ("%", 53.7, ("/", 0.537)),
        ("deg", 180.0, ("rad", 3.141592653589793)),
        ("Cel", 21.5, ("Cel", 21.5)),
        ("W/s", 5.0, (None, 5.0)),
        ("", 5.0, (None, 5.0)),
    ],
)
def test_units(unit, value, expected):
    (record,) = decode_pack(encode([member("A1/GGIO1.X", unit)], [value]), Format.JSON)
    assert (record.unit, record.value) == expected


def test_every_canonical_unit_has_a_registered_one():
    for unit in SI_UNIT:
        (column,) = columns_of(DataSet("d", (member("A1/GGIO1.X", unit),)), site="s")
        assert not column.unit or not UNITS[column.unit].discouraged


def test_only_state_of_charge_is_a_battery_percentage():
    units = [column.unit for column in columns_of(DataSet("d", (SOC, LIMIT)), site="s")]
    assert units == ["%EL", "/"]


@pytest.mark.parametrize("form", Format)
def test_secondary_units_declare_their_version(form):
    records = decode_pack(encode([ENERGY, LIMIT], [1.5, 40.0], form, secondary_units=True), form)
    assert [(r.base_version, r.unit, r.value) for r in records] == [(26, "Wh", 1.5), (None, "/100", 40.0)]


def test_exceptions_for_messages_of_the_catalogue():
    wire = {
        POWER.reference: WireMember(name="ess_power", unit="kW", factor=-0.001),
        ENERGY.reference: WireMember(unit="kWh", factor=0.001),
        SOC.reference: WireMember(unit="/100"),
        LIMIT.reference: WireMember(name="PV1/DWMX1.WMaxSptPct"),
    }
    pack = orjson.loads(encode([POWER, ENERGY, SOC, LIMIT], [1234.5, 2500.0, 53.7, 70.0], wire=wire))
    assert pack == [
        {"bn": "site-1/", "bver": 26, "bt": T_S, "n": "ess_power", "u": "kW", "v": -1.2345},
        {"bn": "site-1/PCC1/", "n": "MMTR1.SupWh", "u": "kWh", "v": 2.5},
        {"bn": "site-1/ESS1/", "n": "DSTO1.SocEffWhPct", "u": "/100", "v": 53.7},
        {"bn": "site-1/PV1/", "n": "DWMX1.WMaxSptPct", "u": "/", "v": 0.7},
    ]


def test_names_may_stand_without_site():
    data_set = DataSet("d", (POWER, SOC))
    wire = {POWER.reference: WireMember(name="W_Grid")}
    pack = compile_encoder(data_set, site="", form=Format.JSON, wire=wire).encode(
        Report(data_set, (1.0, 2.0), (0, 0), T_NS)
    )
    assert [r.get("bn", "") + r["n"] for r in orjson.loads(pack)] == ["W_Grid", "ESS1/DSTO1.SocEffWhPct"]


@pytest.mark.parametrize(
    ("factor", "scale"),
    [
        (1, Scale()),
        (0.001, Scale(divisor=1000.0)),
        (-0.001, Scale(divisor=-1000.0)),
        (0.01, Scale(divisor=100.0)),
        (1 / 3600, Scale(divisor=3600.0)),
        (3600, Scale(multiplier=3600.0)),
        (-1, Scale(divisor=-1.0)),
        (0.7, Scale(multiplier=0.7)),
    ],
)
def test_factors_that_are_fractions_divide(factor, scale):
    assert scale_of(factor) == scale


@pytest.mark.parametrize("factor", [0, float("nan"), float("inf")])
def test_impossible_factors(factor):
    with pytest.raises(ProfileError, match="factor"):
        scale_of(factor)


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ([POWER], {"site": "a/b"}, "site"),
        ([POWER], {"site": "-a"}, "site"),
        ([POWER, member("PCC1/MMXU1.TotW.q")], {}, "two records"),
        ([POWER, VOLTAGE], {"wire": {VOLTAGE.reference: WireMember(name="PCC1/MMXU1.TotW")}}, "two records"),
        ([POWER], {"wire": {VOLTAGE.reference: WireMember()}}, "no member"),
        ([POWER], {"wire": {POWER.reference: WireMember(unit="MW")}}, "no registered"),
        ([POWER], {"wire": {POWER.reference: WireMember(name="a b")}}, "no SenML name"),
        ([POWER], {"wire": {POWER.reference: WireMember(name="PCC1/")}}, "no SenML name"),
        ([member("A1/GGIO1.X", "furlong")], {}, "canonical unit"),
    ],
)
def test_what_cannot_be_compiled(members, options, message):
    with pytest.raises(ProfileError, match=message):
        compile_encoder(DataSet("d", tuple(members)), **{"site": "s", "form": Format.JSON, **options})


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize(
    ("members", "report", "message"),
    [
        ([POWER], {"values": (float("nan"),)}, "MMXU1.TotW: nan"),
        ([POWER], {"values": (float("inf"),)}, "MMXU1.TotW: inf"),
        ([ENERGY], {"values": (1e308,)}, "SupWh"),
        ([POWER], {"values": (2**2000,)}, "a number"),
        ([POWER], {"values": ("1",)}, "'1'; expected a number"),
        ([SWITCH], {"values": (1,)}, "1; expected a boolean"),
        ([NAME], {"values": (1,)}, "expected a Unicode text"),
        ([NAME], {"values": ("\ud800",)}, "expected a Unicode text"),
        ([POWER], {"time_ns": 5}, "1978"),
        ([POWER], {"time_ns": 2**63}, "2106"),
        ([POWER], {"time_ns": (5,)}, "1978"),
        ([POWER], {"quality": (8192,)}, "quality 8192"),
        ([POWER], {"quality": (-1,)}, "quality -1"),
        ([POWER], {"included": b"\0"}, "at least one"),
        ([POWER], {"values": (1.0, 2.0)}, "2 values for 1"),
        ([POWER], {"values": ()}, "0 values for 1"),
        ([POWER], {"quality": (0, 0)}, "2 quality for 1"),
        ([POWER], {"time_ns": (T_NS, T_NS)}, "2 times for 1"),
        ([POWER], {"included": b"\1\1"}, "2 mask for 1"),
    ],
)
def test_what_cannot_be_encoded(members, report, message, form):
    data_set = DataSet("d", tuple(members))
    columns = {"values": (1.0,), "quality": (0,), "time_ns": T_NS, "included": None, **report}
    with pytest.raises(EncodeError, match=message):
        compile_encoder(data_set, site="s", form=form).encode(Report(data_set, **columns))


def test_a_report_of_another_data_set():
    data_set, other = DataSet("d", (POWER,)), DataSet("e", (POWER,))
    encoder = compile_encoder(data_set, site="s", form=Format.JSON)
    with pytest.raises(EncodeError, match="'e'; expected one of 'd'"):
        encoder.encode(Report(other, (1.0,), (0,), T_NS))


def test_columns_serve_messages_that_are_no_data_set():
    columns = [
        Column(base="s/ESS1/", name="half_a", unit="kW"),
        Column(base="s/ESS1/", name="half_b", unit="kW"),
    ]
    encoder = ColumnEncoder(columns, Format.JSON)
    assert (encoder.version, encoder.media_type) == (26, "application/senml+json")
    assert orjson.loads(encoder.encode((1.5, 0.0), (0, 0), T_NS)) == [
        {"bn": "s/ESS1/", "bver": 26, "bt": T_S, "n": "half_a", "u": "kW", "v": 1.5},
        {"n": "half_b", "u": "kW", "v": 0.0},
    ]


def test_times_are_rounded_to_a_microsecond():
    for time_ns, expected in [(T_NS, T_S), (10**18 + 499, 1e9), (10**18 + 500, 1000000000.000001)]:
        (record,) = orjson.loads(encode([POWER], [1.0], time_ns=time_ns))
        assert record["bt"] == expected


HEAD = "canonical,primary,multiplier,divisor,secondary\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("furlong,,1,1,\n", "'furlong' is no canonical unit"),
        ("W,kW,1,1,\n", "'kW' is no primary"),
        ("W,W,1,1,kWh\n", "'kWh' is no secondary unit of 'W'"),
        ("W,W,1,1,\n", "no row for"),
    ],
)
def test_a_broken_unit_map_is_refused(rows, message, monkeypatch):
    monkeypatch.setattr(columns, "_data", lambda _file: HEAD + rows)
    with pytest.raises(ProfileError, match=message):
        columns._load_units()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "at least one"),
        ([Column(base="s/", name="")], "no SenML name"),
        ([Column(base="s/", name="a", unit="MW")], "no registered"),
        ([Column(base="s/", name="a", scale=Scale(divisor=0.0))], "factor of 0"),
    ],
)
def test_columns_are_checked(wrong, message):
    with pytest.raises(ProfileError, match=message):
        ColumnEncoder(wrong, Format.JSON)


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("bad", [0, 64])
def test_devices_of_one_kind_share_a_pattern_and_keep_their_names(form, bad):
    names = ["PCC1/MMXU1.TotW", "ESS1/MMDC1.Watt", "PCC1/MMXU1.Hz"]
    packs, encoders = {}, []
    for device in ("", "A", "B", "Long1"):
        references = [f"{device}{name}" for name in names]
        columns = [
            Column(base="s/" + reference.partition("/")[0] + "/", name=reference.partition("/")[2])
            for reference in references
        ]
        encoders.append(ColumnEncoder(columns, form))
        assert encoders[-1].columns == tuple(columns)
        packs[device] = references
    assert len({id(encoder._layout.pattern) for encoder in encoders}) == 1
    for number, (encoder, references) in enumerate(zip(encoders, packs.values(), strict=True)):
        pack = encoder.encode((number + 0.5, 1.5, 2.5), (0, bad, 0), T_NS)
        records = resolve(decode_pack(pack, form), 0.0)
        values = {record.name: record.value for record in records if not record.name.endswith(".q")}
        written = (number + 0.5, 1.5, 2.5)
        assert values == {f"s/{name}": value for name, value in zip(references, written, strict=True)}


@pytest.mark.parametrize("bases", [("", "x/"), ("x/", ""), ("", "")])
def test_an_empty_base_name_is_stated_only_after_another(bases):
    columns = [Column(base=base, name=name) for base, name in zip(bases, ("aa", "bb"), strict=True)]
    for quality in (0, 64):
        records = orjson.loads(ColumnEncoder(columns, Format.JSON).encode((1.0, 2.0), (0, quality), T_NS))
        stated = [record.get("bn") for record in records]
        assert stated[:2] == [bases[0] or None, None if bases[0] == bases[1] else bases[1]]
