"""No input makes a decoder raise anything but its own error, in any portions, within its limits."""

import json
import math
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4g_gateway.codecs.senml import (
    HISTORIC_S4G,
    STRICT,
    Format,
    Limits,
    Record,
    SenmlDecodeError,
    convert,
    decode_pack,
    encode_pack,
    resolve,
    stream_decoder,
)
from s4g_gateway.errors import EncodeError, LocalProtocolError

EXAMPLES = json.loads((Path(__file__).parent / "rfc8428_examples.json").read_text("utf-8"))["examples"]
EXTRA = json.dumps(
    [
        {
            "bn": "a/",
            "bver": 26,
            "bv": 1,
            "bs": 2,
            "bct": "60",
            "n": "x",
            "u": "kW",
            "v": 1.5,
            "s": 3,
            "ut": 9,
        },
        {"n": "t", "vs": 'x\\y"\u00e9\n', "q": True, "z": [1, {"a": 2}]},
        {"n": "d", "vd": "AAEC", "ct": "text/plain"},
    ]
).encode()


def seeds(form):
    packs = [
        bytes.fromhex(e["cbor_hex"]) if form is Format.CBOR else e[form.value].encode() for e in EXAMPLES
    ]
    return [*packs, convert(EXTRA, Format.JSON, form)]


SEEDS = {form: seeds(form) for form in Format}
TOKENS = {
    Format.JSON: [
        b"1e999",
        b"null",
        b'"x_":1,',
        b"\\ud800",
        b"[",
        b"{",
        b"-0",
        b"1E5",
        b'"bver":26,',
        b"\x00",
    ],
    Format.CBOR: [
        b"\xff",
        b"\x9f",
        b"\xbf",
        b"\x7f",
        b"\xc4\x82",
        b"\xc2",
        b"\xd8\x1c",
        b"\xf9\x7e\x00",
        b"\xf5",
    ],
    Format.XML: [
        b"&amp;",
        b"&x;",
        b"<!--",
        b"<!DOCTYPE a>",
        b"<senml/>",
        b"]]>",
        b"\x00",
        b"\\u12",
        b'"',
        b"<?p?>",
    ],
}


@st.composite
def mutated(draw, form):
    data = bytearray(draw(st.sampled_from(SEEDS[form])))
    for _ in range(draw(st.integers(0, 6))):
        position = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12))
        piece = draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from(TOKENS[form]),
                st.just(bytes(data[position : position + length])),
            )
        )
        if draw(st.booleans()):
            data[position : position + length] = piece
        else:
            data[position:position] = piece
    return bytes(data)


packs = st.sampled_from(Format).flatmap(lambda form: st.tuples(st.just(form), mutated(form)))


@settings(max_examples=600, deadline=None)
@given(packs, st.sampled_from([STRICT, HISTORIC_S4G.named("topic")]))
def test_packs(case, dialect):
    form, data = case
    try:
        records = decode_pack(data, form, dialect=dialect)
    except SenmlDecodeError:
        return
    for record in resolve(records, 1.7e9, dialect):
        assert record.base_name is None
        assert record.name
        assert math.isfinite(record.time_s)
    for to in Format:
        try:
            written = encode_pack(records, to)
        except EncodeError:
            assert to is Format.XML  # control characters, or labels that are no attribute names
        else:
            again = decode_pack(written, to, dialect=dialect)
            if to is form:
                assert again == records


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(Format), st.binary(max_size=200))
def test_any_bytes(form, data):
    with suppress(SenmlDecodeError):
        decode_pack(data, form)
    read_stream(form, [data])


def read_stream(form, portions):
    reader = stream_decoder(form)
    records = []
    try:
        for portion in portions:
            records += reader.feed(portion)
        reader.close()
    except SenmlDecodeError:
        return None
    return records


@settings(max_examples=400, deadline=None)
@given(packs, st.lists(st.integers(0, 400), max_size=8))
def test_streams_do_not_depend_on_the_portions(case, cuts):
    form, data = case
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    portions = [data[start:end] for start, end in pairwise(edges)]
    assert read_stream(form, portions) == read_stream(form, [data])


@settings(max_examples=60, deadline=None)
@given(packs)
def test_streams_byte_by_byte(case):
    form, data = case
    assert read_stream(form, [data[i : i + 1] for i in range(len(data))]) == read_stream(form, [data])


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
name = st.from_regex(r"[A-Za-z0-9][-A-Za-z0-9:./_]{0,8}", fullmatch=True)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
value = st.one_of(
    st.builds(lambda v: {"value": v}, finite),
    st.builds(lambda v: {"string_value": v}, text),
    st.builds(lambda v: {"boolean_value": v}, st.booleans()),
    st.builds(lambda v: {"data_value": v}, st.binary(max_size=12)),
    st.builds(lambda v: {"value_sum": v}, finite),
)
optional = st.fixed_dictionaries(
    {},
    optional={
        "base_name": name,
        "base_time_s": st.floats(0, 4e9),
        "base_unit": st.sampled_from(["W", "V", "%EL"]),
        "time_s": st.floats(-1e6, 1e6),
        "unit": st.sampled_from(["A", "/", "J", "furlong"]),
        "update_time_s": st.floats(0, 1e6),
        "extensions": st.lists(
            st.tuples(st.from_regex(r"x[a-z0-9]{1,5}", fullmatch=True), name),
            max_size=2,
            unique_by=lambda p: p[0],
        ).map(tuple),
    },
)
records = st.lists(
    st.builds(lambda n, v, o: Record(name=n, **v, **o), name, value, optional), min_size=1, max_size=8
).map(tuple)


@settings(max_examples=150, deadline=None)
@given(records, st.permutations(list(Format)))
def test_records_survive_every_round(pack, forms):
    data = encode_pack(pack, forms[0])
    for from_, to in zip(forms, [*forms[1:], forms[0]], strict=True):
        assert decode_pack(data, from_) == pack
        data = convert(data, from_, to)
    assert decode_pack(data, forms[0]) == pack


@pytest.mark.parametrize("form", Format)
def test_large_packs(form):
    pack = tuple(Record(name=f"point-{i}", value=i * 1.1, unit="W") for i in range(5000))
    data = encode_pack(pack, form)
    assert decode_pack(data, form) == pack
    portions = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    assert tuple(read_stream(form, portions)) == pack


def feed_all(reader, portions):
    for portion in portions:
        reader.feed(portion)


ENDLESS = [
    (Format.JSON, b'[{"n":"', b"a" * 100),
    (Format.JSON, b'[{"n":', b" " * 100),
    (Format.CBOR, b"\x9f\xa1\x00\x7f", b"\x61a" * 50),
    (Format.CBOR, b"\x9f\xa1\x00", b"\x7a\x00\xff\xff\xff" + b"a" * 100),
    (Format.CBOR, b"\x9f", b"\xbb" + b"\x7f" * 8),
    (Format.CBOR, b"\x9f", b"\x81" * 100),
    (Format.XML, b'<sensml xmlns="urn:ietf:params:xml:ns:senml"><!--', b"a" * 100),
    (Format.XML, b'<sensml xmlns="urn:ietf:params:xml:ns:senml"><senml n="', b"a" * 100),
    (Format.XML, b'<sensml xmlns="urn:ietf:params:xml:ns:senml">', b" " * 100),
]


@pytest.mark.parametrize(("form", "start", "more"), ENDLESS)
def test_an_endless_record_ends_at_the_limit(form, start, more):
    reader = stream_decoder(form, limits=Limits(max_record_bytes=2000))
    reader.feed(start)
    with pytest.raises(SenmlDecodeError):
        feed_all(reader, [more] * 30)
    with pytest.raises(LocalProtocolError, match="given up"):
        reader.feed(b"")


@pytest.mark.parametrize("more", [b"<", b"<!--", b"<?x", b"&"])
@pytest.mark.parametrize("at_once", [True, False])
def test_markup_left_open_after_the_end_of_an_xml_stream(more, at_once):
    data = SEEDS[Format.XML][0]
    assert read_stream(Format.XML, [data + more] if at_once else [data, more]) is None


@pytest.mark.parametrize("at_once", [True, False])
def test_comments_after_the_end_of_an_xml_stream(at_once):
    data, more = SEEDS[Format.XML][0], b"<!-- done -->\n"
    assert len(read_stream(Format.XML, [data + more] if at_once else [data, more])) == 1


@pytest.mark.parametrize("form", Format)
def test_a_stream_that_stops_within_a_record(form):
    data = SEEDS[form][0]
    reader = stream_decoder(form)
    reader.feed(data[: len(data) * 2 // 3])
    with pytest.raises(SenmlDecodeError, match="stopped"):
        reader.close()


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (Format.JSON, b"[{},"),
        (Format.JSON, b'[{"n":"a","v":1}{'),
        (Format.JSON, b'[{"n":"a","v":1},]'),
        (Format.JSON, b'[{"n":"a","v":1}]x'),
        (Format.JSON, b'[{"n":"a","v":1]}'),
        (Format.JSON, b"{"),
        (Format.CBOR, b"\x81\xa2\x00aa\x02\x01\x00"),
        (Format.CBOR, b"\xa0"),
        (Format.CBOR, b"\x82\xff"),
        (Format.CBOR, b"\x9f\x1f"),
        (Format.CBOR, b"\x9f\xdf"),
        (Format.CBOR, b"\x9f\x1c"),
        (Format.CBOR, b"\x9f\x81\xff"),
        (Format.XML, b'<sensml xmlns="urn:ietf:params:xml:ns:senml"><senml n="a" v="1"/></sensml>x'),
        (Format.XML, b'<sensml xmlns="urn:ietf:params:xml:ns:senml">x</sensml>'),
        (Format.XML, b"<sensml>"),
        (Format.XML, b'<sensml xmlns="urn:ietf:params:xml:ns:senml"><senml n="a" v="1"><senml/>'),
        (Format.XML, b"<!DOCTYPE "),
    ],
)
def test_streams_refuse(form, data):
    with pytest.raises(SenmlDecodeError):
        feed_all(stream_decoder(form), [data[i : i + 1] for i in range(len(data))])
