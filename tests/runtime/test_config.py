from dataclasses import dataclass, field
from typing import Annotated

import pytest
from msgspec import Meta

from s4g_gateway.errors import ConfigError, Problem
from s4g_gateway.model import DataSet, Member, ObjectReference
from s4g_gateway.runtime import config as config_module
from s4g_gateway.runtime import site_config
from s4g_gateway.runtime.config import load_site
from s4g_gateway.runtime.contract import ConnectorType, SuppliedDataSet


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterConfig:
    host: Annotated[str, Meta(min_length=1, description="where it listens")]
    port: Annotated[int, Meta(ge=1, le=65535)] = 502
    period_s: Annotated[float, Meta(gt=0)] = 1.0
    logical_device: str = "PCC1"
    limits: dict[str, float] = field(default_factory=dict)
    table: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScadaConfig:
    listen: str = "127.0.0.1:0"


class Meter:
    controls = ()

    def __init__(self, name, config, context):
        if config.host == "bad":
            raise ConfigError([Problem(file="", key="host", found="'bad'", expected="a good host")])
        member = Member(reference=ObjectReference(f"{config.logical_device}/MMXU1.TotW"), unit="W")
        self.supplied = (SuppliedDataSet(data_set=DataSet(name, (member,)), period_s=config.period_s),)

    async def execute(self, control):
        raise AssertionError


class Scada:
    def __init__(self, name, config, context):
        self.context = context


class FakeEntryPoint:
    def __init__(self, kind):
        self.kind = kind

    def load(self):
        if isinstance(self.kind, Exception):
            raise self.kind
        return self.kind


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    found = {
        "s4g_gateway.southbound": {
            "meter": FakeEntryPoint(ConnectorType(config=MeterConfig, create=Meter, summary="a meter")),
            "heavy": FakeEntryPoint(ModuleNotFoundError("no", name="pymodbus.client")),
        },
        "s4g_gateway.northbound": {
            "scada": FakeEntryPoint(ConnectorType(config=ScadaConfig, create=Scada, summary="a SCADA")),
        },
    }
    monkeypatch.setattr(config_module, "connector_types", found.__getitem__)
    monkeypatch.setattr(site_config, "connector_types", found.__getitem__)


def write(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text)
    return path


GOOD = """
[site]
name = "house-1"
[site.roles]
"PCC1/MMXU1.TotW" = "PCC7/MMXU1.TotW"
[[southbound]]
name = "meter"
type = "meter"
host = "127.0.0.1"
period_s = 2
logical_device = "PCC7"
[[northbound]]
name = "scada"
type = "scada"
"""


def test_a_good_site_is_compiled(tmp_path):
    site = load_site(write(tmp_path, GOOD))
    assert site.site.name == "house-1"
    assert site.southbound[0].config == MeterConfig(host="127.0.0.1", period_s=2.0, logical_device="PCC7")
    assert site.northbound[0].connector.context.supplied == site.supplied
    assert site.northbound[0].connector.context.roles == {"PCC1/MMXU1.TotW": "PCC7/MMXU1.TotW"}
    assert site.socket_path == tmp_path / "state" / "s4g.sock"


BAD = """
colour = "red"
[site]
name = "house 1"
latitude = 100
setpoint = 5
[[southbound]]
name = "m1"
type = "meter"
prot = 5
[[southbound]]
name = "m1"
type = "meter"
host = "bad"
[[southbound]]
name = "m3"
type = "mater"
[[southbound]]
name = "m4"
type = "heavy"
[[northbound]]
name = "scada"
type = "scada"
listen = 5
"""


def test_every_problem_is_found_at_once(tmp_path):
    path = write(tmp_path, BAD)
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    found = {problem.key: problem for problem in caught.value.problems}
    assert {problem.file for problem in found.values()} == {str(path)}
    assert set(found) == {
        "colour",
        "site.name",
        "site.latitude",
        "site.setpoint",
        "southbound[0].host",
        "southbound[0].prot",
        "southbound[1].name",
        "southbound[1].host",
        "southbound[2].type",
        "southbound[3].type",
        "northbound[0].listen",
    }
    assert found["southbound[0].prot"].expected.startswith("'port' perhaps")
    assert found["southbound[0].host"].expected == "a string not shorter than 1 (where it listens)"
    assert found["site.latitude"].found == "100"
    assert "at most 90" in found["site.latitude"].expected
    assert found["southbound[3].type"].expected == "pip install s4g-gateway[modbus]"
    assert found["southbound[2].type"].expected == "one of heavy, meter"


def test_a_reference_supplied_twice_is_found(tmp_path):
    more = '[[southbound]]\nname = "m2"\ntype = "meter"\nhost = "x"\nlogical_device = "PCC7"\n'
    with pytest.raises(ConfigError, match=r"southbound\[1\]: found PCC7/MMXU1.TotW again"):
        load_site(write(tmp_path, GOOD + more))


def test_a_role_without_a_point_is_found(tmp_path):
    with pytest.raises(ConfigError, match=r"PCC9/MMXU1\.TotW"):
        load_site(write(tmp_path, GOOD.replace('= "PCC7/MMXU1.TotW"', '= "PCC9/MMXU1.TotW"')))


@pytest.mark.parametrize("text", ["[site\n", "\x00", 'a = "\\q"'])
def test_a_file_that_is_no_toml_is_one_problem(tmp_path, text):
    with pytest.raises(ConfigError, match="a TOML file"):
        load_site(write(tmp_path, text))


def test_a_reload_keeps_what_did_not_change(tmp_path):
    path = write(tmp_path, GOOD + '[[southbound]]\nname = "m2"\ntype = "meter"\nhost = "a"\n')
    first = load_site(path)
    same = load_site(path, first)
    assert [entry.connector for entry in same.southbound] == [entry.connector for entry in first.southbound]
    assert same.northbound[0].connector is first.northbound[0].connector
    path.write_text(path.read_text().replace('host = "a"', 'host = "b"'))
    changed = load_site(path, first)
    assert changed.southbound[0].connector is first.southbound[0].connector
    assert changed.southbound[1].connector is not first.southbound[1].connector
    assert changed.northbound[0].connector is not first.northbound[0].connector


def test_feeder_and_position_reach_north_bound_connectors(tmp_path):
    told = 'name = "house-1"\nlatitude = -0.00001\nlongitude = 11.5\nradial_id = "f-1"'
    path = write(tmp_path, GOOD.replace('name = "house-1"', told))
    first = load_site(path)
    context = first.northbound[0].connector.context
    assert (context.radial_id, context.position) == ("f-1", "geo:-0.00001,11.5")
    path.write_text(path.read_text().replace("11.5", "12"))
    second = load_site(path, first)
    assert second.northbound[0].connector.context.position == "geo:-0.00001,12"
    assert second.southbound[0] is first.southbound[0]
    path.write_text(GOOD)
    assert load_site(path).northbound[0].connector.context.position == ""


def test_a_changed_file_named_in_a_table_counts_as_a_change(tmp_path):
    (tmp_path / "registers.toml").write_text("a")
    path = write(tmp_path, GOOD.replace('host = "127.0.0.1"', 'host = "h"\ntable = "registers.toml"'))
    first = load_site(path)
    assert load_site(path, first).southbound[0] is first.southbound[0]
    (tmp_path / "registers.toml").write_text("b")
    assert load_site(path, first).southbound[0] is not first.southbound[0]
