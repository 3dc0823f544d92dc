"""The examples of docs/sunspec.md and docs/modbus.md are read by the code they explain."""

import re
from pathlib import Path

import pytest

from s4g_gateway.profiles.modbus import build_table_device, parse_table
from s4g_gateway.profiles.sunspec import load_template, template_names
from s4g_gateway.runtime.config import load_site

DOCS = Path(__file__).parents[2] / "docs"
SUNSPEC, MODBUS = ((DOCS / name).read_text() for name in ("sunspec.md", "modbus.md"))


def blocks(text, kind):
    return re.findall(rf"```toml {kind}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("text", blocks(SUNSPEC + MODBUS, "site"))
def test_sites_of_the_docs_are_sound(tmp_path, text):
    (tmp_path / "site.toml").write_text(text)
    (tmp_path / "meter.toml").write_text(blocks(MODBUS, "table")[0])
    site = load_site(tmp_path / "site.toml")
    assert site.supplied


def test_the_table_of_the_docs_is_sound():
    device = build_table_device(parse_table(blocks(MODBUS, "table")[0].encode(), "docs"), "d")
    assert [point.reference for point in device.controls] == ["PCC1/DWGC1.WSpt"]


def test_every_template_is_described():
    for name in template_names():
        assert f"`{name}`" in SUNSPEC
        roles = load_template(name).logical_devices.values()
        (row,) = (line for line in SUNSPEC.splitlines() if line.startswith(f"| `{name}`"))
        assert all(logical_device in row for logical_device in roles)


def test_every_key_of_a_register_is_described():
    from s4g_gateway.profiles.modbus.table import Register, RegisterTable

    for key in (*Register.__struct_fields__, "max_registers", "gap_limit_registers"):
        assert f"`{key}`" in MODBUS, key
    assert set(RegisterTable.__struct_fields__) >= {"max_registers", "gap_limit_registers"}
