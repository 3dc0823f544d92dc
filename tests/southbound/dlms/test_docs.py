"""The examples of docs/dlms.md are read by the code they explain."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from s4g_gateway.profiles.dlms import METERS, MappedObject, parse_object_map
from s4g_gateway.runtime.config import load_site
from s4g_gateway.southbound.dlms import DlmsMeterConfig, DlmsSecurity

PAGE = (Path(__file__).parents[3] / "docs" / "dlms.md").read_text()


def blocks(kind):
    return re.findall(rf"```toml {kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", blocks("site"))
def test_sites_of_the_docs_are_sound(tmp_path, text):
    (tmp_path / "site.toml").write_text(text)
    assert load_site(tmp_path / "site.toml").supplied


def test_the_map_of_the_docs_is_sound():
    (text,) = blocks("map")
    assert parse_object_map(text.encode(), "docs").object[0].obis == "1.0.16.7.0.255"
    for key in MappedObject.__struct_fields__:
        assert f"`{key}`" in PAGE, key


def test_security_of_the_docs_is_sound(tmp_path, connector):
    (text,), (keys,) = blocks("security"), blocks("keys")
    (tmp_path / "keys.toml").write_text(keys)
    (tmp_path / "keys.toml").chmod(0o600)
    security = msgspec.convert(tomllib.loads(text), DlmsSecurity)
    assert connector(DlmsMeterConfig(meter=METERS[0], host="127.0.0.1", security=security)).supplied


def test_every_meter_is_described():
    for meter in METERS:
        assert f"| `{meter}` |" in PAGE
