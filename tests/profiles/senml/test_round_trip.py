"""Report -> bytes -> Report, and every short way against the general one."""

import json
import math

import cbor2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4g_gateway.codecs.senml import (
    Format,
    Record,
    SenmlDecodeError,
    decode_pack,
    encode_pack,
    resolve,
)
from s4g_gateway.errors import EncodeError
from s4g_gateway.model import DataSet, Member, ObjectReference, Reason, Report, ValueType
from s4g_gateway.model.quality import ALL_BITS, INVALID
from s4g_gateway.model.units import SI_UNIT
from s4g_gateway.profiles.senml import (
    MAX_TIME_NS,
    MIN_TIME_NS,
    ColumnDecoder,
    ColumnEncoder,
    Moment,
    columns_of,
    compile_decoder,
    compile_encoder,
)

NOW_NS = 1_700_000_100_000_000_000
FLOAT, INTEGER, BOOLEAN, ENUMERATED, TEXT = ValueType

finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
plain = st.one_of(st.floats(-1e6, 1e6), st.integers(-1000, 1000).map(lambda n: n / 100), finite)
VALUES = {
    FLOAT: plain,
    INTEGER: st.integers(-(2**53), 2**53),
    ENUMERATED: st.integers(0, 20),
    BOOLEAN: st.booleans(),
    TEXT: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
}
TIMES = st.integers(MIN_TIME_NS, MAX_TIME_NS - 1)
references = st.builds(
    lambda device, node, data: ObjectReference(f"{device}/{node}.{data}"),
    st.sampled_from(["PCC1", "ESS1", "PV_2"]),
    st.sampled_from(["MMXU1", "DSTO1", "GGIO2"]),
    st.sampled_from(["TotW", "PhV.phsA", "PhV.phsB", "SocEffWhPct", "Ind1", "Beh"]),
)


@st.composite
def data_sets(draw, types=(FLOAT, FLOAT, FLOAT, INTEGER, BOOLEAN, ENUMERATED, TEXT)):
    names = draw(st.lists(references, min_size=1, max_size=8, unique=True))
    members = []
    for name in names:
        kind = draw(st.sampled_from(types))
        unit = draw(st.sampled_from(list(SI_UNIT))) if kind is FLOAT else ""
        members.append(Member(reference=name, value_type=kind, unit=unit))
    return DataSet("d", tuple(members))


@st.composite
def reports(draw, data_set, *, usual=False):
    values = tuple(draw(VALUES[member.value_type]) for member in data_set.members)
    size = len(values)
    good = (0,) * size
    if usual or draw(st.booleans()):
        return Report(data_set, values, good, draw(TIMES))
    values = tuple(None if draw(st.integers(0, 5)) == 0 else value for value in values)
    quality = tuple(draw(st.one_of(st.just(0), st.integers(0, ALL_BITS))) for _ in values)
    time_ns = draw(st.one_of(TIMES, st.tuples(*[TIMES] * size)))
    included = draw(st.one_of(st.none(), st.binary(min_size=size, max_size=size)))
    if included is not None:
        included = bytes(byte & 1 for byte in included[:-1]) + b"\1"
    return Report(data_set, values, quality, time_ns, included=included)


cases = data_sets().flatmap(lambda data_set: st.tuples(st.just(data_set), reports(data_set)))
usual_cases = data_sets(types=(FLOAT, FLOAT, INTEGER, BOOLEAN, ENUMERATED)).flatmap(
    lambda data_set: st.tuples(st.just(data_set), reports(data_set, usual=True))
)
forms = st.sampled_from(Format)


def rounded(time_ns):
    return (time_ns + 500) // 1000 * 1000


@settings(max_examples=300, deadline=None)
@given(cases, forms, st.booleans())
def test_report_round_trip(case, form, secondary_units):
    data_set, report = case
    options = {"site": "site-1", "form": form, "secondary_units": secondary_units}
    data = compile_encoder(data_set, **options).encode(report)
    back = compile_decoder(data_set, **options).decode(data, NOW_NS)
    assert back.data_set is data_set
    included = report.included or bytes([1] * len(data_set))
    times, back_times = report.times_ns(), back.times_ns()
    for position, member in enumerate(data_set.members):
        value, found = report.values[position], back.values[position]
        if not included[position]:
            assert (found, back.quality[position]) == (None, INVALID)
            continue
        assert back.quality[position] == report.quality[position]
        assert back_times[position] == rounded(times[position])
        if member.value_type is FLOAT and value is not None:
            assert math.isclose(found, value, rel_tol=1e-15, abs_tol=5e-324 * 3600)
        else:
            assert (found, type(found)) == (value, type(value))
    assert (back.included or bytes([1] * len(data_set))) == included
    assert back.reason is (Reason.INTEGRITY if back.included is None else Reason.DATA_CHANGE)


@settings(max_examples=200, deadline=None)
@given(cases, forms)
def test_packs_obey_the_standard_and_repeat_no_record(case, form):
    data_set, report = case
    data = compile_encoder(data_set, site="site-1", form=form).encode(report)
    resolved = resolve(decode_pack(data, form), 0.0)
    keys = [(record.name, record.time_s) for record in resolved]
    assert len(keys) == len(set(keys))
    assert all(name.startswith("site-1/") for name, _ in keys)


@settings(max_examples=200, deadline=None)
@given(cases, forms)
def test_all_representations_carry_the_same_records(case, form):
    data_set, report = case
    packs = {
        form: resolve(decode_pack(compile_encoder(data_set, site="s", form=form).encode(report), form), 0.0)
        for form in Format
    }
    assert packs[Format.JSON] == packs[Format.XML] == packs[Format.CBOR]


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except (SenmlDecodeError, EncodeError) as error:
        return type(error)


odd = st.one_of(
    st.sampled_from([None, True, False, math.nan, math.inf, 2**70, "x", -0.0, 5e-324, 2**63]),
    st.integers(),
    st.floats(),
)


@settings(max_examples=400, deadline=None)
@given(
    usual_cases, forms, st.lists(st.tuples(st.integers(0, 7), odd), max_size=2), st.integers(-10, 2**63 + 10)
)
def test_encoding_by_layout_equals_encoding_by_record(case, form, changes, time_ns):
    data_set, report = case
    values = list(report.values)
    for position, value in changes:
        values[position % len(values)] = value
    encoder = ColumnEncoder(columns_of(data_set, site="s"), form)
    for time in (report.time_ns, time_ns):
        arguments = (tuple(values), report.quality, time)
        assert outcome(encoder.encode, *arguments) == outcome(encoder.encode_by_record, *arguments)


@settings(max_examples=200, deadline=None)
@given(usual_cases, forms)
def test_the_usual_report_takes_the_short_way(case, form):
    data_set, report = case
    columns = columns_of(data_set, site="s")
    if all(column.scale.is_identity for column in columns):
        encoder, decoder = ColumnEncoder(columns, form), ColumnDecoder(columns, form)
        data = encoder.fast(report.values, report.time_ns)
        assert data is not None
        assert decoder.fast(data) is not None


@st.composite
def mutated(draw, data):
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, len(changed)))
        length = draw(st.integers(0, 4))
        changed[position : position + length] = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [b"1,2", b"true", b"null", b"1e999", b"-", b" ", b"'", b"\xf5", b"\xf9\x7e\x00"]
                ),
                st.just(bytes(changed[position : position + length]) * 2),
            )
        )
    return bytes(changed)


def same(first, second):
    # repr tells 1 from True and 1.0
    return repr(first) == repr(second)


@settings(max_examples=500, deadline=None)
@given(cases, forms, st.data())
def test_decoding_our_packs_equals_the_general_way_whatever_happened_to_them(case, form, data):
    data_set, report = case
    columns = columns_of(data_set, site="s")
    pack = data.draw(mutated(ColumnEncoder(columns, form).encode(*columns_arguments(report))))
    decoder = ColumnDecoder(columns, form)
    general = outcome(decoder.decode_generally, pack, NOW_NS)
    for _ in range(2):
        assert same(outcome(decoder.decode, pack, NOW_NS), general)
        foreign = outcome(decoder.decode_foreign, pack, NOW_NS)
        assert same(Moment(*foreign) if isinstance(foreign, tuple) else foreign, general)


def columns_arguments(report):
    return report.values, report.quality, report.time_ns, report.included


number = st.one_of(
    st.sampled_from([0, 1, -5, 2**53, 2**70, 1.5, -0.0, 1e308, 65504.0, 2.0**28, 1.7e9, 1.7e12]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-1000, 1000),
)
LABELS = {"bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6, "bver": -1, "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4,
          "s": 5, "t": 6, "ut": 7}  # fmt: skip
NAMES = [
    "MMXU1.TotW",
    "MMXU1.TotW.q",
    "MMXU1.Hz",
    "XCBR1.Pos",
    "LPHD1.PhyNam",
    "MMTR1.SupWh",
    "LPHD1.PhyHealth",
]
SITE = DataSet(
    "s",
    tuple(
        Member(reference=ObjectReference("PCC1/" + name), unit=unit, value_type=kind)
        for name, unit, kind in [
            ("MMXU1.TotW", "W", FLOAT),
            ("MMXU1.Hz", "Hz", FLOAT),
            ("MMTR1.SupWh", "Wh", FLOAT),
            ("XCBR1.Pos", "", BOOLEAN),
            ("LPHD1.PhyNam", "", TEXT),
            ("LPHD1.PhyHealth", "", ENUMERATED),
        ]
    ),
)
FLOATS = DataSet("f", SITE.members[:3])
extra = {
    "bn": st.sampled_from(["s/PCC1/", "s/", "", "s/PCC1/MMXU1."]),
    "bt": number,
    "bu": st.sampled_from(["W", "kW", "", "Hz"]),
    "bver": st.sampled_from([10, 26, 5, 11, 10.0, True]),
    "u": st.sampled_from(["W", "kW", "J", "Wh", "", "Hz", "/", None, 0]),
    "t": number,
    "vb": st.booleans(),
    "vs": st.text(max_size=3),
    "s": number,
    "bv": number,
    "bs": number,
    "ut": number,
    "x": st.one_of(st.text(max_size=2), st.lists(number, max_size=1)),
    "x_": number,
}
foreign_records = st.lists(
    st.builds(
        lambda n, v, more, order: dict(order({"n": n, **v, **more})),
        st.sampled_from(NAMES + ["s/PCC1/" + name for name in NAMES] + ["", "nobody", 5]),
        st.one_of(
            st.builds(lambda v: {"v": v}, st.one_of(number, st.sampled_from([True, None, "1"]))),
            st.just({}),
        ),
        st.fixed_dictionaries({}, optional=extra),
        st.sampled_from([lambda d: d.items(), lambda d: reversed(d.items()), lambda d: sorted(d.items())]),
    ),
    min_size=1,
    max_size=5,
)
UNITS = {"MMXU1.TotW": "W", "MMXU1.Hz": "Hz", "MMTR1.SupWh": "J"}


@st.composite
def neat_records(draw):
    names = draw(st.permutations(list(UNITS)))[: draw(st.integers(1, 3))]
    has_units = draw(st.booleans())
    backwards = draw(st.booleans())
    records = []
    for name in names:
        fields = {"n": name, "v": draw(number), **({"u": UNITS[name]} if has_units else {})}
        if not records:
            fields |= draw(st.fixed_dictionaries({"bn": st.just("s/PCC1/")}, optional={"bt": number}))
        records.append(dict(reversed(fields.items())) if backwards else fields)
    return records


def written(records, form):
    if form is Format.JSON:
        return json.dumps(records).encode()
    if form is Format.CBOR:
        return cbor2.dumps(
            [{LABELS.get(k, k): v for k, v in r.items()} for r in records], canonical=len(records) % 2 == 0
        )
    body = "".join(
        "<senml " + " ".join(f"{k}={orjson.dumps(text(v)).decode()}" for k, v in r.items()) + "/>"
        for r in records
    )
    return f'<sensml xmlns="urn:ietf:params:xml:ns:senml">{body}</sensml>'.encode()


def text(value):
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


@settings(max_examples=1500, deadline=None)
@given(st.one_of(foreign_records, neat_records()), forms, st.sampled_from([SITE, FLOATS]), st.booleans())
def test_decoding_foreign_packs_equals_the_general_way(records, form, data_set, secondary_units):
    columns = columns_of(data_set, site="s", secondary_units=secondary_units)
    decoder = ColumnDecoder(columns, form)
    pack = written(records, form)
    general = outcome(decoder.decode_generally, pack, NOW_NS)
    for _ in range(2):
        foreign = outcome(decoder.decode_foreign, pack, NOW_NS)
        assert same(Moment(*foreign) if isinstance(foreign, tuple) else foreign, general)


@pytest.mark.parametrize("form", Format)
def test_neat_foreign_packs_take_the_short_way(form):
    columns = columns_of(FLOATS, site="s")
    decoder = ColumnDecoder(columns, form)
    for names in (("MMXU1.TotW", "MMXU1.Hz", "MMTR1.SupWh"), ("MMTR1.SupWh", "MMXU1.Hz", "MMXU1.TotW")):
        records = [Record(name="s/PCC1/" + name, unit=UNITS[name], value=3.0) for name in names]
        pack = decoder._load(encode_pack([Record(base_time_s=1.7e9), *records], form))
        assert decoder._foreign._read_columns(pack, NOW_NS) == (
            (3.0, 3.0, 3.0 / 3600),
            (0, 0, 0),
            1_700_000_000_000_000_000,
            None,
        )


@settings(max_examples=100, deadline=None)
@given(forms, st.binary(max_size=60))
def test_any_bytes(form, data):
    decoder = compile_decoder(SITE, site="s", form=form)
    with pytest.raises(SenmlDecodeError):
        decoder.decode(data, NOW_NS)
