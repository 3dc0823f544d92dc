"""The unit registry is what its source says."""

import hashlib
import tomllib
from fractions import Fraction
from importlib import resources

import pytest

from s4g_gateway.codecs.senml import SECONDARY, UNITS, units
from s4g_gateway.errors import ProfileError

DATA = resources.files("s4g_gateway.codecs.senml").joinpath("data")
SOURCE = tomllib.loads(DATA.joinpath("SOURCE.toml").read_text("utf-8"))


@pytest.mark.parametrize("entry", SOURCE.values(), ids=SOURCE)
def test_files_are_those_of_the_record(entry):
    assert hashlib.sha256(DATA.joinpath(entry["file"]).read_bytes()).hexdigest() == entry["sha256"]


def test_size_of_the_registry():
    assert (len(UNITS), len(SECONDARY)) == (67 + 39, 39)


@pytest.mark.parametrize(
    ("symbol", "value", "primary", "expected"),
    [
        ("kWh", 1, "J", 3_600_000),
        ("dBm", 10, "dBW", -20),
        ("ms", 100, "s", Fraction(1, 10)),
        ("km/h", 36, "m/s", 10),
        ("/100", 50, "/", Fraction(1, 2)),
        ("W", 5, "W", 5),
    ],
)
def test_conversion_to_the_primary_unit(symbol, value, primary, expected):
    unit = UNITS[symbol]
    assert (unit.primary, value * unit.scale + unit.offset) == (primary, expected)


def test_kwh_is_no_primary_unit():
    assert UNITS["kWh"].is_secondary
    assert not UNITS["J"].is_secondary
    assert UNITS["%"].discouraged


GOOD = "symbol,description,discouraged,registered_by\nW,watt,no,x\n"
SECOND = "symbol,description,primary,scale,offset,registered_by\n"


@pytest.mark.parametrize(
    ("primary", "secondary", "message"),
    [
        ("symbol\nW\n", SECOND, "columns"),
        (GOOD + "V,volt,no\n", SECOND, "line 3: expected 4 columns"),
        (GOOD + "W,watt,no,x\n", SECOND, "stands twice"),
        (GOOD + "V,volt,perhaps,x\n", SECOND, "neither yes nor no"),
        (GOOD, SECOND + "kW,kilowatt,V,1000,0,x\n", "'V' is no primary unit"),
        (GOOD, SECOND + "kW,kilowatt,W,1/0,0,x\n", "'1/0' is no rational number"),
        (GOOD, SECOND + "kW,kilowatt,W,many,0,x\n", "'many' is no rational number"),
    ],
)
def test_a_broken_registry_is_refused(primary, secondary, message, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "units.csv").write_text(primary)
    (tmp_path / "data" / "secondary_units.csv").write_text(secondary)
    monkeypatch.setattr(units.resources, "files", lambda _package: tmp_path)
    with pytest.raises(ProfileError, match=message):
        units._load()
