"""The rules of RFC 8428 §4 and its companions, one row each."""

import math

import orjson
import pytest

from s4g_gateway.codecs.senml import (
    HISTORIC_S4G,
    STRICT,
    Dialect,
    Format,
    Limits,
    Record,
    SenmlDecodeError,
    check_pack,
    convert,
    decode_pack,
    encode_pack,
    format_of,
    name_from_topic,
    resolve,
    select,
    selected_positions,
)
from s4g_gateway.errors import DecodeError, EncodeError, LocalProtocolError

NOW_S = 1_700_000_000.0


def pack(*records):
    return orjson.dumps(records)


def resolved(*records, dialect=STRICT, now_s=NOW_S):
    return resolve(decode_pack(pack(*records), Format.JSON, dialect=dialect), now_s, dialect)


REFUSED = [
    ("empty pack", [], "at least one"),
    ("no name", [{"v": 1}], "name ''"),
    ("blank in name", [{"n": "a b", "v": 1}], "name 'a b'"),
    ("name starts with a dot", [{"n": ".a", "v": 1}], "name '.a'"),
    ("name starts with a dash", [{"bn": "-", "n": "a", "v": 1}], "name '-a'"),
    ("newline after name", [{"n": "a\n", "v": 1}], "name"),
    ("no value", [{"n": "a"}], "no value"),
    ("no value, unit only", [{"n": "a"}, {"u": "W"}], "no value"),
    ("two values", [{"n": "a", "v": 1, "vs": "x"}], "more than one"),
    ("value and data", [{"n": "a", "vb": True, "vd": "AA"}], "more than one"),
    ("number as text", [{"n": "a", "v": "1"}], "v: expected number"),
    ("boolean as number", [{"n": "a", "v": True}], "v: expected number"),
    ("number as boolean", [{"n": "a", "vb": 1}], "vb: expected boolean"),
    ("null", [{"n": "a", "v": None}], "v: expected number"),
    ("name as number", [{"n": 1, "v": 1}], "n: expected text"),
    ("padding in data", [{"n": "a", "vd": "aGk="}], "base64url"),
    ("other alphabet in data", [{"n": "a", "vd": "+/+/"}], "base64url"),
    ("impossible length of data", [{"n": "a", "vd": "A"}], "base64url"),
    ("data that is no text", [{"n": "a", "vd": 5}], "vd: expected data"),
    ("must be understood", [{"n": "a", "v": 1, "future_": 1}], "'future_' must be understood"),
    ("version too great", [{"bver": 11, "n": "a", "v": 1}], "bver 11"),
    ("unknown feature", [{"bver": 42, "n": "a", "v": 1}], "bver 42"),
    ("known and unknown feature", [{"bver": 58, "n": "a", "v": 1}], "bver 58"),
    ("version is no integer", [{"bver": 10.5, "n": "a", "v": 1}], "bver: expected"),
    ("version is not positive", [{"bver": 0, "n": "a", "v": 1}], "bver: expected"),
    ("two versions", [{"n": "a", "v": 1}, {"bver": 26, "n": "b", "v": 1}], "one version"),
    ("secondary unit", [{"n": "a", "u": "kW", "v": 1}], "'kW'; expected bver 26"),
    ("secondary base unit", [{"bu": "kWh", "n": "a", "v": 1}], "'kWh'; expected bver 26"),
    ("leading zero in ct", [{"n": "a", "vd": "AA", "ct": "060"}], "content format"),
    ("ct beyond 65535", [{"n": "a", "vd": "AA", "ct": "65536"}], "content format"),
    ("bct that is none", [{"bct": "text", "n": "a", "vd": "AA"}], "content format"),
    ("base value overflows", [{"bv": 1.7e308, "n": "a", "v": 1.7e308}], "double"),
    ("time overflows", [{"bt": 1.7e308, "t": 1.7e308, "n": "a", "v": 1}], "finite"),
    ("record is no object", [1], "JSON object"),
    ("an empty record", [{"n": "a", "v": 1}, {}], "no value"),
]


@pytest.mark.parametrize(("records", "message"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED])
def test_strict_decoder_refuses(records, message):
    with pytest.raises(SenmlDecodeError, match=message.replace("(", r"\(")) as caught:
        decode_pack(orjson.dumps(records), Format.JSON)
    assert isinstance(caught.value, DecodeError)


@pytest.mark.parametrize("data", [b"", b"{}", b"1", b"[", b"[{}", b"\xff", b'[{"n":"a","v":NaN}]', b'"' * 9])
def test_what_is_no_json_array_is_refused(data):
    with pytest.raises(SenmlDecodeError):
        decode_pack(data, Format.JSON)


def test_the_error_names_the_record():
    with pytest.raises(SenmlDecodeError, match="record 2: no value") as caught:
        decode_pack(pack({"n": "a", "v": 1}, {"n": "b"}), Format.JSON)
    assert caught.value.record == 2


def test_base_fields_hold_until_overridden():
    assert resolved(
        {"bn": "a/", "bt": 1e9, "bu": "V", "n": "x", "v": 1},
        {"n": "y", "u": "A", "t": -1, "v": 2},
        {"bn": "b/", "n": "x", "v": 3},
    ) == (
        Record(name="a/y", unit="A", time_s=1e9 - 1, value=2.0),
        Record(name="a/x", unit="V", time_s=1e9, value=1.0),
        Record(name="b/x", unit="V", time_s=1e9, value=3.0),
    )


def test_times_below_two_to_the_28_are_relative():
    first = 2.0**28
    times = [
        record.time_s for record in resolved(*({"n": "a", "t": t, "v": 1} for t in (0, -5, first, first - 1)))
    ]
    assert sorted(times) == [first, NOW_S - 5, NOW_S, NOW_S + first - 1]


def test_sums_and_values_add_to_their_bases():
    assert resolved(
        {"bn": "a", "bv": 10, "bs": 100, "v": 1, "s": 5}, {"n": "b", "v": 2}, {"n": "c", "s": 7}
    ) == (
        Record(name="a", time_s=NOW_S, value=11.0, value_sum=105.0),
        Record(name="ab", time_s=NOW_S, value=12.0, value_sum=100.0),
        Record(name="ac", time_s=NOW_S, value_sum=107.0),
    )


def test_a_base_value_is_the_value_of_a_record_without_one():
    assert resolved({"bn": "a", "bv": 20.5}, {"t": 1}) == (Record(name="a", time_s=NOW_S + 1, value=20.5),)


def test_bases_leave_other_values_alone():
    assert resolved({"bv": 1, "bs": 1, "n": "a", "vs": "x"}) == (
        Record(name="a", time_s=NOW_S, string_value="x"),
    )


def test_a_sum_needs_no_value():
    assert resolved({"n": "a", "s": 3, "ut": 60}) == (
        Record(name="a", time_s=NOW_S, value_sum=3.0, update_time_s=60.0),
    )


def test_secondary_units_with_their_version():
    assert resolved({"bver": 26, "n": "a", "u": "kW", "v": 1}) == (
        Record(base_version=26, name="a", unit="kW", time_s=NOW_S, value=1.0),
    )


def test_version_10_is_not_repeated_in_resolved_records():
    assert resolved({"bver": 10.0, "n": "a", "v": 1})[0].base_version is None


def test_unknown_units_pass_because_the_registry_grows():
    assert resolved({"n": "a", "u": "furlong", "v": 1})[0].unit == "furlong"


def test_content_format_is_inherited_by_data_only():
    records = resolved(
        {"bct": "60", "n": "a", "vd": "gmNmb28YKg"},
        {"n": "b", "vd": "AA", "ct": 'text/csv;header="a \\" b"@gzip'},
        {"n": "c", "v": 1},
    )
    assert [record.content_format for record in records] == ["60", 'text/csv;header="a \\" b"@gzip', None]
    assert records[0].data_value == bytes.fromhex("8263666f6f182a")


def test_plain_extensions_are_preserved_and_others_ignored():
    data = pack({"n": "a", "v": 1, "x": "y", "x2": 2.5, "x3": True, "bx": 1, "deep": [1], "no": None})
    (record,) = decode_pack(data, Format.JSON)
    assert record.extensions == (("x", "y"), ("x2", 2.5), ("x3", True), ("bx", 1))
    assert decode_pack(encode_pack([record], Format.CBOR), Format.CBOR) == (record,)
    assert resolve([record], NOW_S)[0].extensions == (("x", "y"), ("x2", 2.5), ("x3", True))


HISTORIC = [
    ([{"v": 400.0, "u": "W", "t": 0, "n": ""}], [("Fronius/SMX/W_Grid", NOW_S, 400.0)]),
    (
        [{"n": "ESS_Control", "t": 1538700000, "v": 0.5, "u": "kW"}],
        [("ESS_Control", 1538700000.0, 0.5)],
    ),
    ([{"n": "GESSCon Profile", "t": 1.5387e9, "v": 0.0, "u": "kW"}], [("GESSCon Profile", 1.5387e9, 0.0)]),
    (
        [{"bn": "chargers/1", "bver": 5, "n": "/ev7/SoC", "v": 0.5, "t": 1538700000123}],
        [("chargers/1/ev7/SoC", 1538700000.123, 0.5)],
    ),
]


@pytest.mark.parametrize(("records", "expected"), HISTORIC)
def test_historic_payloads_of_the_pilots(records, expected):
    dialect = HISTORIC_S4G.named(name_from_topic("/Fronius/SMX/W_Grid"))
    assert [(r.name, r.time_s, r.value) for r in resolved(*records, dialect=dialect)] == expected


def test_historic_dialect_without_a_topic_still_wants_names():
    with pytest.raises(SenmlDecodeError, match="name ''"):
        decode_pack(pack({"v": 1, "n": ""}), Format.JSON, dialect=HISTORIC_S4G)


def test_historic_dialect_keeps_must_understand_and_version():
    for field in ({"x_": 1}, {"bver": 42}):
        with pytest.raises(SenmlDecodeError):
            decode_pack(pack({"n": "a", "v": 1, **field}), Format.JSON, dialect=HISTORIC_S4G)


@pytest.mark.parametrize("dialect", [STRICT, Dialect(name="x")])
def test_strict_means_no_milliseconds(dialect):
    assert resolved({"n": "a", "t": 1538700000123, "v": 1}, dialect=dialect)[0].time_s == 1538700000123.0


def test_limits():
    data = pack({"n": "a", "v": 1}, {"n": "b", "v": 1})
    for form in Format:
        converted = convert(data, Format.JSON, form)
        with pytest.raises(SenmlDecodeError, match="at most 1"):
            decode_pack(converted, form, limits=Limits(max_records=1))
        with pytest.raises(SenmlDecodeError, match="at most 10"):
            decode_pack(converted, form, limits=Limits(max_bytes=10))
    deep = b'[{"n":"a","v":1,"x":' + b"[" * 20 + b"]" * 20 + b"}]"
    with pytest.raises(SenmlDecodeError, match="deep"):
        decode_pack(deep, Format.JSON)
    with pytest.raises(SenmlDecodeError):
        decode_pack(b"[" * 1_000_000, Format.JSON)


@pytest.mark.parametrize(
    ("fragment", "positions"),
    [
        ("rec=3", (2,)),
        ("#rec=3-5", (2, 3, 4)),
        ("rec=3,5", (2, 4)),
        ("rec=3-5,10,19-*", (2, 3, 4, 9, 18, 19)),
        ("rec=19-99", (18, 19)),
        ("rec=999999999", ()),
        ("rec=2,1-2", (0, 1)),
    ],
)
def test_fragments_select(fragment, positions):
    assert selected_positions(fragment, 20) == positions


@pytest.mark.parametrize(
    "fragment", ["", "rec", "rec=", "rec=0", "rec=5-3", "rec=*", "rec=1,", "row=1", "rec=-2"]
)
def test_other_fragments_are_refused(fragment):
    with pytest.raises(SenmlDecodeError, match="fragment"):
        selected_positions(fragment, 20)


def test_selected_records_are_resolved_in_their_pack():
    records = decode_pack(pack({"bn": "a/"}, {"n": "x", "v": 1}, {"n": "y", "v": 2}), Format.JSON)
    assert [r.name for r in select(records, "rec=1,3", NOW_S)] == ["a/y"]


@pytest.mark.parametrize("form", Format)
def test_what_cannot_be_written_is_refused(form):
    for record in (
        Record(name="a", value=math.nan),
        Record(name="a", value=math.inf),
        Record(name="\ud800", value=1.0),
        Record(name="a", value=1.0, extensions=(("v", 1),)),
        Record(name="a", value=1.0, extensions=(("x", math.nan),)),
        Record(name="a", value=1.0, extensions=(("x", "\ud800"),)),
    ):
        with pytest.raises(EncodeError):
            encode_pack([record], form)
    with pytest.raises(EncodeError, match="at least one"):
        encode_pack([], form)


def test_json_refuses_integers_beyond_64_bits():
    record = Record(name="a", value=1.0, extensions=(("x", 2**70),))
    with pytest.raises(EncodeError, match="64-bit"):
        encode_pack([record], Format.JSON)
    assert decode_pack(encode_pack([record], Format.CBOR), Format.CBOR)[0].extensions == (("x", 2.0**70),)


def test_an_extension_nobody_can_hold_is_ignored():
    data = b'[{"n":"a","v":1,"x":1e400}]'
    with pytest.raises(SenmlDecodeError):  # no JSON number that a double holds
        decode_pack(data, Format.JSON)
    nan = bytes.fromhex("81a300616102016178f97e00")
    assert decode_pack(nan, Format.CBOR) == (Record(name="a", value=1.0),)


def test_quality_of_content_format_grammar_ends_at_its_numbers():
    assert resolved({"n": "a", "vd": "AA", "ct": "65535"})[0].content_format == "65535"


def test_xml_refuses_what_only_json_and_cbor_carry():
    for record in (
        Record(name="a\0", value=1.0),
        Record(name="a", value=1.0, extensions=(("1x", 1),)),
        Record(name="a", value=1.0, extensions=(("x", "\x01"),)),
    ):
        with pytest.raises(EncodeError):
            encode_pack([record], Format.XML)


def test_media_types():
    assert format_of("application/senml+cbor") is Format.CBOR
    assert format_of("Application/SensML+json; charset=utf-8") is Format.JSON
    assert [(f.media_type, f.content_format) for f in Format] == [
        ("application/senml+json", 110),
        ("application/senml+cbor", 112),
        ("application/senml+xml", 310),
    ]
    with pytest.raises(LocalProtocolError, match="text/plain"):
        format_of("text/plain")


def test_check_pack_counts_records():
    with pytest.raises(SenmlDecodeError, match="record 1"):
        check_pack([Record(name="a")])
