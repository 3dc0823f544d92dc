"""What is wrong with a site file is said by `s4g check`, all at once and never with a secret in it."""

import pytest

from s4g_gateway.errors import ConfigError
from s4g_gateway.southbound.dlms import DlmsMeterConfig, DlmsSecurity, SerialLine

ZMG = {"meter": "landis-gyr-zmg310", "host": "127.0.0.1"}


def problems(connector, *tables, **more):
    with pytest.raises(ConfigError) as caught:
        connector(*(DlmsMeterConfig(**{**ZMG, **table}) for table in tables), **more)
    return {problem.key: problem for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"host": ""}, "device[0].host"),
        ({"serial": SerialLine(path="/dev/ttyUSB0")}, "device[0].host"),
        ({"serial": SerialLine(path="/dev/ttyUSB0"), "host": ""}, "device[0].link"),
        ({"meter": "nobody"}, "device[0].meter"),
        ({"profile_obis": "1.2"}, "device[0].profile_obis"),
        ({"push_objects": ("1-0:16.7.0", "999.0.0.0.0.0")}, "device[0].push_objects"),
        ({"physical_address": 17}, "device[0].physical_address"),
        ({"link": "hdlc", "server_address": 300, "address_bytes": 1}, "device[0].address_bytes"),
        ({"security": DlmsSecurity(authentication="lls")}, "device[0].security.password_file"),
        ({"security": DlmsSecurity(authentication="hls-gmac")}, "device[0].security.key_file"),
        ({"security": DlmsSecurity(ciphered=True)}, "device[0].security.ciphered"),
        ({"security": DlmsSecurity(key_file="x")}, "device[0].security.key_file"),
    ],
)
def test_a_wrong_key_is_named(connector, table, key):
    assert key in problems(connector, table)


def test_meters_that_share_references_or_names_are_told_apart(connector):
    found = problems(connector, {"name": "a"}, {"name": "a"}, {"name": "b"})
    assert found.keys() == {"device[1].name", "device[2].logical_device"}


def test_a_listener_beyond_loopback_needs_leave(connector):
    assert "loopback" in problems(connector, {}, listen="0.0.0.0:4059")["listen"].expected
    connector(DlmsMeterConfig(**ZMG), listen="0.0.0.0:4059", insecure=True)


def test_keys_stand_in_a_file_that_only_its_owner_reads_and_are_never_shown(connector, keys, tmp_path):
    (tmp_path / "keys.toml").chmod(0o644)
    security = {"security": keys["gmac-ciphered"]}
    assert "644" in problems(connector, security)["device[0].security.key_file"].found
    (tmp_path / "keys.toml").chmod(0o600)
    (tmp_path / "keys.toml").write_text('encryption_key = "00112233445566778899aabbccddee"\n')
    problem = problems(connector, security)["device[0].security.key_file"]
    assert "0011" not in str(problem)
    (tmp_path / "keys.toml").unlink()
    assert "No such file" in problems(connector, security)["device[0].security.key_file"].found


def test_nothing_shows_a_secret(connector, keys):
    made = connector(DlmsMeterConfig(**ZMG, security=keys["gmac-ciphered"]))
    assert "000102" not in repr(made.__dict__)
    assert b"\x00\x01\x02".hex() not in repr(made._meters)


def test_ones_own_object_map_is_checked(connector, tmp_path):
    (tmp_path / "mine.toml").write_text(
        """title = "mine"
[[object]]
obis = "1-0:16.7.0"
reference = "{meter}/MMXU1.TotW"
unit = "W"
factor = -1
[[object]]
obis = "1.0.16.7.0.255"
reference = "no reference"
unit = "furlong"
[[object]]
obis = "1-0:99"
class_id = 1
reference = "{meter}/MMXU1.Hz"
unit = "Hz"
"""
    )
    found = problems(connector, {"meter": "mine.toml"})
    keys = {"object[1].obis", "object[1].reference", "object[1].unit", "object[2].obis", "object[2].scaler"}
    assert found.keys() == keys
    text = (tmp_path / "mine.toml").read_text().split("[[object]]")
    (tmp_path / "mine.toml").write_text("[[object]]".join(text[:2]))
    made = connector(DlmsMeterConfig(**{**ZMG, "meter": "mine.toml"}))
    assert [member.reference for member in made.supplied[0].data_set.members] == ["PCC1/MMXU1.TotW"]


def test_a_reference_twice_in_a_map_is_found(connector, tmp_path):
    row = '[[object]]\nobis = "{}"\nreference = "{{meter}}/MMXU1.TotW"\nunit = "W"\n'
    (tmp_path / "mine.toml").write_text('title = "x"\n' + row.format("1-0:16.7.0") + row.format("1-0:1.7.0"))
    assert "twice" in problems(connector, {"meter": "mine.toml"})["device[0].meter"].found


def test_short_names_need_base_names(connector):
    found = problems(connector, {"meter": "iskra-mt831", "referencing": "short-names"})
    assert "base_name" in found["device[0].meter"].found
