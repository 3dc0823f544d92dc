"""Object maps and units."""

import pytest

from s4g_gateway.errors import ProfileError
from s4g_gateway.model.units import SI_UNIT
from s4g_gateway.profiles.dlms import (
    METERS,
    canonical_obis,
    codes_of,
    compile_meter,
    load_object_map,
    symbol_of,
)


@pytest.mark.parametrize("meter", METERS)
def test_every_bundled_map_compiles(meter, tmp_path):
    compiled = compile_meter(load_object_map(meter, tmp_path), "m", "PCC1", short_names=False)
    pairs = zip(compiled.data_set.members, compiled.points, strict=True)
    factors = {member.reference: point.factor for member, point in pairs}
    for reference, factor in factors.items():
        signed = reference.rpartition("/")[2].split(".")[1] in ("TotW", "TotVAr", "W", "VAr", "TotPF", "PF")
        assert factor == (-1 if signed else 1), reference
    assert {"PCC1/MMXU1.TotW", "PCC1/MMXU1.TotVAr", "PCC1/MMTR1.SupWh", "PCC1/MMTR1.DmdWh"} <= factors.keys()


def test_the_short_names_of_the_zmg_are_those_of_the_test_sites(tmp_path):
    compiled = compile_meter(load_object_map(METERS[0], tmp_path), "m", "PCC1", short_names=True)
    names = {point.obis: point.base_name for point in compiled.points}
    assert names["1.0.16.7.0.255"] == 29488
    assert names["1.0.1.8.0.255"] == 15160
    assert "1.0.13.7.0.255" not in names  # its short name is not known
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1-0:16.7.0", "1.0.16.7.0.255"),
        ("16.7.0", "1.0.16.7.0.255"),
        ("1-1:1.8.1*255", "1.1.1.8.1.255"),
        ("0-0:96.1.0.1", "0.0.96.1.0.1"),
        ("1.0.99.1.0.255", "1.0.99.1.0.255"),
    ],
)
def test_obis_codes_are_read_as_people_write_them(text, expected):
    assert canonical_obis(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1.2", "1-0:16.7", "1.0.16.7.0.256", "a.b.c", "1.0.16.7.0.255.1", "1-0:1.8.0 "]
)
def test_what_is_no_obis_code_is_refused(text):
    with pytest.raises(ProfileError):
        canonical_obis(text)


def test_units_have_codes_and_symbols():
    assert codes_of("W") == [27]
    assert codes_of("") == [255]
    assert codes_of("furlong") == []
    assert symbol_of(30) == "Wh"
    assert symbol_of(None) == symbol_of(200) == ""
    assert all(unit in SI_UNIT for unit in ("W", "var", "Wh", "varh", "V", "A", "Hz"))
