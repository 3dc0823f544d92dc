"""What is particular to CBOR and XML."""

import subprocess
import sys

import cbor2
import pytest
from lxml import etree

from s4g_gateway.codecs.senml import (
    HISTORIC_S4G,
    Format,
    Limits,
    Record,
    SenmlDecodeError,
    decode_pack,
    encode_pack,
)

ONE = Record(name="a", value=1.0)

CBOR_REFUSED = [
    ("empty", "", "no CBOR"),
    ("no array", "a0", "expected a CBOR array"),
    ("no records", "80", "at least one"),
    ("indefinite array", "9fa20061610201ff", "indefinite"),
    ("truncated", "81a2006161", "no CBOR"),
    ("trailing byte", "81a2006161020100", "after the end"),
    ("no map", "8101", "expected a CBOR map"),
    ("label as text", "81a2616e61610201", "label 'n' as text; expected 0"),
    ("true as label", "81a3f561570061610201", "label True"),
    ("float as label", "81a3f93c0061570061610201", "label 1.0"),
    ("label twice", "81a30061610061620201", "no CBOR"),
    ("not a number", "81a200616102f97e00", "finite"),
    ("infinite", "81a200616102f97c00", "finite"),
    ("bver as float", "81a320f949000061610201", "bver"),
    ("negative bver", "81a320290061610201", "bver"),
    ("date tag", "81a200616102c100", "tag"),
    ("unknown tag", "81a200616102d9ffff00", "tag"),
    ("self-description inside", "81a200616102d9d9f7d9d9f7c100", "tag"),
    ("shared references", "d81c81d81d00", "tag"),
    ("pattern", "81d8236128", "tag"),
    ("huge decimal fraction", "81a200616102c4821b7fffffffffffffff01", "no CBOR"),
    ("decimal fraction beyond a double", "81a200616102c48219ffff01", "finite"),
    ("integer beyond a double", "81a200616102c25882" + "ff" * 130, "finite"),
    ("bad UTF-8", "81a20061ff0201", "no CBOR"),
    ("claims 2**63 elements", "9b7fffffffffffffff", "no CBOR"),
    ("claims 2**62 bytes", "5b3fffffffffffffff", "no CBOR"),
    ("undefined", "81a200616102f7", "v: expected number"),
    ("must be understood", "81a3006161020162785f01", "understood"),
]


@pytest.mark.parametrize(
    ("data", "message"), [row[1:] for row in CBOR_REFUSED], ids=[r[0] for r in CBOR_REFUSED]
)
def test_cbor_refused(data, message):
    with pytest.raises(SenmlDecodeError, match=message):
        decode_pack(bytes.fromhex(data), Format.CBOR)


@pytest.mark.parametrize(
    "value", ["01", "f93c00", "fa3f800000", "fb3ff0000000000000", "c4820001", "c482200a", "c24101"]
)
def test_cbor_numbers_of_every_form(value):
    assert decode_pack(bytes.fromhex("81a200616102" + value), Format.CBOR) == (ONE,)


def test_cbor_indefinite_maps_and_historic_arrays():
    assert decode_pack(bytes.fromhex("81bf0061610201ff"), Format.CBOR) == (ONE,)
    assert decode_pack(bytes.fromhex("9fa20061610201ff"), Format.CBOR, dialect=HISTORIC_S4G) == (ONE,)


def test_cbor_ignores_integer_labels_nobody_registered():
    assert decode_pack(cbor2.dumps([{0: "a", 2: 1, 99: "x", -99: 1}]), Format.CBOR) == (ONE,)


def test_cbor_depth_limit():
    deep = b"\x81\xa3\x00aa\x02\x01ax" + b"\x81" * 50 + b"\x01"
    with pytest.raises(SenmlDecodeError, match="depth"):
        decode_pack(deep, Format.CBOR)
    shallow = b"\x81\xa3\x00aa\x02\x01ax\x81\x01"
    assert decode_pack(shallow, Format.CBOR, limits=Limits(max_depth=3)) == (ONE,)


@pytest.mark.parametrize(
    "number", [0.1, 1.5, -0.0, 65504.0, 65505.5, 1e300, 5e-324, 2.0**53, 2.0**60, -1.0, 3.4e38]
)
def test_our_cbor_is_the_shortest_and_exact(number):
    data = encode_pack([Record(name="a", value=number)], Format.CBOR)
    read = cbor2.loads(data)[0][2]
    assert (read, str(float(read))) == (number, str(number))
    assert len(data) <= len(cbor2.dumps([{0: "a", 2: number}], canonical=True))


def xml(attributes, body="", head=""):
    return f'{head}<sensml xmlns="urn:ietf:params:xml:ns:senml"><senml {attributes}/>{body}</sensml>'.encode()


XML_REFUSED = [
    ("empty", b"", "no XML"),
    ("not well-formed", b"<sensml", "no XML"),
    ("other root", b"<a/>", "root element"),
    ("no namespace", b'<sensml><senml n="a" v="1"/></sensml>', "root element"),
    ("no records", b'<sensml xmlns="urn:ietf:params:xml:ns:senml"/>', "at least one"),
    ("foreign element", xml('n="a" v="1"', "<b/>"), "foreign"),
    ("nested", xml('n="a" v="1"', '<senml n="b" v="1"><senml/></senml>'), "foreign"),
    ("text", xml('n="a" v="1"', "x"), "text between"),
    ("number", xml('n="a" v="x"'), "v: expected number"),
    ("underscore in number", xml('n="a" v="1_0"'), "v: expected number"),
    ("other digits", xml('n="a" v="\u0661"'), "v: expected number"),
    ("NaN", xml('n="a" v="NaN"'), "v: expected number"),
    ("INF", xml('n="a" v="INF"'), "v: expected number"),
    ("beyond a double", xml('n="a" v="1e999"'), "finite"),
    ("boolean", xml('n="a" vb="True"'), "vb: expected boolean"),
    ("version", xml('n="a" v="1" bver="1.5"'), "bver: expected"),
    ("attribute twice", xml('n="a" v="1" v="1"'), "no XML"),
    ("escape", xml(r'n="a" vs="\d"'), "backslash"),
    ("half a surrogate pair", xml(r'n="a" vs="\ud800"'), "surrogate"),
    ("must be understood", xml('n="a" v="1" x_="1"'), "understood"),
    ("trailing", xml('n="a" v="1"') + b"x", "no XML"),
    ("UTF-16", xml('n="a" v="1"').decode().encode("utf-16"), "no XML"),
    ("undefined entity", xml('n="&a;" v="1"'), "no XML"),
    (
        "entities",
        xml('n="&a;" v="1"', head='<!DOCTYPE sensml [<!ENTITY a "b">]>'),
        "document type",
    ),
    (
        "billion laughs",
        xml('n="&b;" v="1"', head='<!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'),
        "document type",
    ),
    ("external", xml('n="a" v="1"', head='<!DOCTYPE s SYSTEM "file:///etc/passwd">'), "document type"),
]


@pytest.mark.parametrize(
    ("data", "message"), [row[1:] for row in XML_REFUSED], ids=[r[0] for r in XML_REFUSED]
)
def test_xml_refused(data, message):
    with pytest.raises(SenmlDecodeError, match=message):
        decode_pack(data, Format.XML)


@pytest.mark.parametrize("number", ["1", " 1 ", "+1.0", "1.", "10e-1", "0.1E1", ".1e1", "&#49;"])
def test_xml_numbers_of_every_form(number):
    assert decode_pack(xml(f'n="a" v="{number}"'), Format.XML) == (ONE,)


def test_xml_comments_instructions_and_foreign_attributes_are_ignored():
    data = xml('n="a" v="1" xmlns:x="urn:x" x:y="z"', "<!-- c --><?p i?>", "<?xml version='1.0'?>")
    assert decode_pack(data, Format.XML) == (ONE,)


@pytest.mark.parametrize(
    "text", ["", "a\\b", 'q"<&>', "\x00\x1f\t\r\n", "é€𝄞", "\\u0041", "\ufffe\uffff", "\x7f\x85"]
)
def test_every_text_survives_xml(text):
    record = Record(name="a", string_value=text)
    data = encode_pack([record], Format.XML)
    etree.fromstring(data)
    assert decode_pack(data, Format.XML) == (record,)


def test_xml_text_takes_the_escapes_of_json():
    # RFC 8428 §7: characters of the String Value are escaped as in RFC 8259
    (record,) = decode_pack(xml(r'n="a" vs="\u00e9\ud834\udd1e\n\/\&quot;"'), Format.XML)
    assert record.string_value == 'é𝄞\n/"'


def test_lxml_is_loaded_only_to_read_xml():
    script = (
        "import sys\n"
        "from s4g_gateway.codecs.senml import Format, Record, encode_pack, decode_pack\n"
        "import s4g_gateway.profiles.senml\n"
        "pack = encode_pack([Record(name='a', value=1.0)], Format.XML)\n"
        "assert 'lxml' not in sys.modules\n"
        "decode_pack(pack, Format.XML)\n"
        "assert 'lxml' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
