import struct

import pytest

from s4g_gateway.errors import RemoteProtocolError
from s4g_gateway.profiles.modbus import Read
from s4g_gateway.profiles.sunspec import discover


@pytest.mark.parametrize("base", [40000, 50000, 0])
def test_the_map_is_found_at_every_base(fake_device, hybrid_models, base):
    chain = fake_device(hybrid_models, base=base).chain()
    assert chain.base == base
    assert [model.model_id for model in chain.models] == [1, 103, 120, 121, 122, 123, 160, 124]
    assert chain.has_end


def test_addresses_follow_the_lengths(fake_device, hybrid_models):
    device = fake_device(hybrid_models, lengths={1: 65})
    chain = device.chain()
    assert [model.address for model in chain.models][:3] == [40002, 40069, 40121]
    assert chain.find([124]).address == device.address[124]


def test_unknown_models_are_skipped_and_named(fake_device, hybrid_models):
    chain = fake_device(hybrid_models, unknown=[(65001, 12)]).chain()
    assert chain.unknown == (65001,)
    assert chain.find([65001]) is None
    assert chain.has_end


def test_a_chain_without_end_model_is_taken_as_it_is(fake_device, hybrid_models):
    chain = fake_device(hybrid_models, end=False).chain()
    assert not chain.has_end
    assert len(chain.models) == 8


def test_count_points_are_read_on_the_way(fake_device):
    device = fake_device({1: {}, 714: {"NPrt": 3}})
    assert "Prt[3].DCW" in device.chain().find([714]).layout.index
    assert Read(device.place(714, "NPrt"), 1) in device.reads


def test_a_count_that_cannot_be_leaves_the_groups_out(fake_device):
    device = fake_device({1: {}, 714: {"NPrt": 3}})
    device.write(device.place(714, "NPrt"), b"\xff\xfe")
    assert "Prt[1].DCW" not in device.chain().find([714]).layout.index


def test_occurrences_are_told_apart(fake_device, hybrid_models):
    chain = fake_device(hybrid_models).chain()
    assert chain.find([103, 123]).model_id == 103
    assert chain.find([103, 123], 2).model_id == 123
    assert chain.find([103, 123], 3) is None


def answered(words):
    """A device that answers every read with these words, over and over."""
    walk = discover()
    read = next(walk)
    data = struct.pack(">2H", *words)
    for _ in range(100_000):
        read = walk.send(b"SunS" if read.address == 40000 else data[: 2 * read.count])
    raise AssertionError("walks for ever")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((0, 0), "garbage"),
        ((103, 65000), "garbage"),
        ((65001, 0), "no end after 256 models"),
        ((65001, 24000), "past register 65535|garbage"),
    ],
)
def test_garbage_ends_in_an_error(words, message):
    with pytest.raises(RemoteProtocolError, match=message):
        answered(words)


def test_no_marker_anywhere_is_no_sunspec_device():
    walk = discover()
    assert next(walk) == Read(40000, 2)
    assert walk.send(None) == Read(50000, 2)
    assert walk.send(b"\0\0\0\0") == Read(0, 2)
    with pytest.raises(RemoteProtocolError, match="no 'SunS' at 40000, 50000, 0"):
        walk.send(None)


def test_a_marker_without_a_model_is_an_error():
    walk = discover()
    next(walk)
    walk.send(b"SunS")
    with pytest.raises(RemoteProtocolError, match="no first model"):
        walk.send(None)
