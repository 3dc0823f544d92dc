import hashlib
import tomllib
from importlib.resources import files

import pytest

from s4g_gateway.errors import EncodeError, ProfileError
from s4g_gateway.profiles.sunspec import (
    compile_layout,
    encode_model,
    full_length,
    known_models,
    load_definition,
)
from s4g_gateway.profiles.sunspec.layout import count_points, decode_model
from s4g_gateway.profiles.sunspec.point_types import POINT_TYPES, pack, unpack

DATA = files("s4g_gateway.profiles.sunspec") / "data"
NEEDED = {1, 101, 102, 103, 111, 112, 113, *range(120, 135), 160, 201, 202, 203, 204, 211, 212, 213, 214}
NEEDED |= {*range(701, 716), 802, 803, 804}

# L of complete models as SunSpec's own tables have it (standards.md, libraries.md).
LENGTHS = {
    1: 66, 101: 50, 103: 50, 111: 60, 113: 60, 120: 26, 121: 30, 122: 44, 123: 24, 124: 24, 125: 8, 201: 105,
    203: 105, 204: 105, 211: 124, 213: 124, 701: 153, 702: 50, 703: 17, 713: 7, 802: 62,
}  # fmt: skip


def test_the_vendored_files_are_the_recorded_ones():
    source = tomllib.loads((DATA / "SOURCE.toml").read_text())
    found = {
        entry.name: hashlib.sha256(entry.read_bytes()).hexdigest() for entry in (DATA / "models").iterdir()
    }
    assert found == source["sha256"]
    assert source["licence"] == "Apache-2.0"
    assert "Apache License" in (DATA / source["licence_file"]).read_text()


def test_every_needed_model_is_there():
    assert known_models() >= NEEDED


@pytest.mark.parametrize(("model_id", "length"), LENGTHS.items())
def test_lengths_of_complete_models(model_id, length):
    assert full_length(load_definition(model_id)) == length


def test_repeating_groups_add_their_registers():
    assert full_length(load_definition(160), repeats=2) == 8 + 20 * 2
    assert full_length(load_definition(714), {"NPrt": 3}) == 18 + 25 * 3
    assert full_length(load_definition(803), {"NStr": 2}) == 26 + 32 * 2


@pytest.mark.parametrize("model_id", sorted(known_models()))
def test_every_model_is_laid_out_without_gap_or_overlap(model_id):
    definition = load_definition(model_id)
    counts = dict.fromkeys(count_points(definition), 2)
    layout = compile_layout(definition, full_length(definition, counts, 2), counts)
    at = 0
    for point in layout.points:
        assert point.offset == at
        at = point.end
        if isinstance(point.scale, str):
            assert layout.index[point.scale].definition.type.name == "sunssf"
    assert at == layout.registers


def test_model_1_without_pad_and_devices_that_stop_short():
    layout = compile_layout(load_definition(1), 65)
    assert layout.points[-1].path == "DA"
    short = compile_layout(load_definition(103), 20)
    assert short.points[-1].end <= 22
    assert "WH" not in short.index


def test_open_groups_come_as_often_as_the_length_says():
    layout = compile_layout(load_definition(160), 8 + 20 * 4)
    assert "module[4].DCW" in layout.index
    assert "module[5].DCW" not in layout.index
    assert layout.index["module[2].DCW"].scale == "DCW_SF"
    assert "module[1].DCW" not in compile_layout(load_definition(160), 8 + 19).index


def test_unreasonable_counts_are_refused():
    with pytest.raises(ProfileError, match="NPrt = 5000"):
        compile_layout(load_definition(714), 100, {"NPrt": 5000})
    with pytest.raises(ProfileError, match="count point NPrt is not known"):
        compile_layout(load_definition(714), 100)


def test_an_unknown_model_is_an_error():
    with pytest.raises(ProfileError, match="no SunSpec definition of model 9999"):
        load_definition(9999)


@pytest.mark.parametrize(
    ("name", "value", "registers", "data"),
    [
        ("int16", -2, 1, "fffe"),
        ("uint16", None, 1, "ffff"),
        ("int16", None, 1, "8000"),
        ("acc32", 70000, 2, "00011170"),
        ("acc32", None, 2, "00000000"),
        ("enum16", 4, 1, "0004"),
        ("bitfield32", 0x80000001, 2, "80000001"),
        ("uint64", 2**63, 4, "8000000000000000"),
        ("float32", 1.5, 2, "3fc00000"),
        ("float64", None, 4, "7ff8000000000000"),
        ("sunssf", -2, 1, "fffe"),
        ("string", "AB", 2, "41420000"),
        ("string", None, 2, "00000000"),
        ("ipaddr", "192.0.2.1", 2, "c0000201"),
        ("ipv6addr", "2001:db8::1", 8, "20010db8000000000000000000000001"),
        ("ipv6addr", None, 8, "00" * 16),
        ("eui48", "02:00:5E:10:00:01", 4, "000002005e100001"),
        ("eui48", None, 4, "0000ffffffffffff"),
        ("pad", None, 1, "0000"),
    ],
)
def test_types_golden(name, value, registers, data):
    assert pack(POINT_TYPES[name], value, registers).hex() == data
    assert unpack(POINT_TYPES[name], bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    ("name", "value", "registers"),
    [("uint16", 70000, 1), ("int16", "x", 1), ("string", "ABCDE", 2), ("ipaddr", "1.2.3", 2)],
)
def test_values_that_do_not_fit_are_refused(name, value, registers):
    with pytest.raises(EncodeError):
        pack(POINT_TYPES[name], value, registers)


def test_encoding_names_what_is_wrong():
    layout = compile_layout(load_definition(103), 50)
    with pytest.raises(EncodeError, match="has no points Watts"):
        encode_model(layout, {"Watts": 1})
    with pytest.raises(EncodeError, match="scale factor of W is not implemented"):
        encode_model(layout, {"W": 1})
    with pytest.raises(EncodeError, match="model 103 W: 400000"):
        encode_model(layout, {"W": 400000, "W_SF": 0})
    assert decode_model(layout, encode_model(layout, {"W": -1234.6, "W_SF": -1}))["W"] == -12346
