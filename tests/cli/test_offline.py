"""Commands that need no running gateway."""

import csv
import io
import json
import subprocess
import sys
import tomllib
import zipfile

import jsonschema_rs
import pytest
from click.testing import CliRunner

from s4g_gateway.cli.failures import ExitCode
from s4g_gateway.cli.root import s4g
from s4g_gateway.codecs.senml import Format, decode_pack

SITE = """\
[site]
name = "t1"
latitude = 46.5
longitude = 11.35

[[southbound]]
name = "inverter"
type = "sunspec"
host = "192.0.2.10"

[[southbound.device]]
template = "fronius-symo-hybrid"

[[northbound]]
name = "scada"
type = "iec104"
listen = "127.0.0.1:2404"
"""


def run(*words, **more):
    return CliRunner().invoke(s4g, [str(word) for word in words], **more)


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


def test_init_writes_a_site_that_passes_check_and_the_schema(tmp_path):
    result = run("init", tmp_path / "new" / "mysite")
    path = tmp_path / "new" / "mysite" / "site.toml"
    assert result.exit_code == 0
    assert str(path) in result.output
    text = path.read_text()
    assert len(text.splitlines()) <= 40
    assert sum("#" in line for line in text.splitlines()) >= 10
    checked = run("check", path)
    assert (checked.exit_code, "fine" in checked.output) == (0, True), checked.output
    schema = json.loads(run("schema").output)
    assert list(jsonschema_rs.validator_for(schema).iter_errors(tomllib.loads(text))) == []


def test_init_overwrites_only_when_told_to(site):
    result = run("init", site.parent)
    assert (result.exit_code, site.read_text()) == (ExitCode.PROBLEMS, SITE)
    assert "--force" in result.stderr
    assert run("init", site.parent, "--force").exit_code == 0
    assert site.read_text() != SITE


BROKEN = SITE.replace('name = "t1"', 'name = "t 1"\nnmae = "x"\nmetrics_listen = "0.0.0.0:9464"').replace(
    "listen = ", "lisen = "
)


def test_check_finds_every_problem_at_once(site):
    site.write_text(BROKEN)
    result = run("check", site)
    assert (result.exit_code, result.stdout) == (ExitCode.PROBLEMS, "")
    lines = result.stderr.splitlines()
    assert all(line.startswith(f"s4g: {site}: ") for line in lines)
    for key in ("site.name", "site.nmae", "northbound[0].lisen"):
        assert any(f": {key}: found " in line for line in lines), key


def test_check_as_json(site):
    assert json.loads(run("check", site, "--format", "json").output) == {"ok": True, "problems": []}
    site.write_text(BROKEN)
    result = run("check", site, "--format", "json")
    found = json.loads(result.output)
    assert (result.exit_code, found["ok"]) == (ExitCode.PROBLEMS, False)
    assert {"file", "key", "found", "expected"} == set(found["problems"][0])


def test_check_refuses_a_metrics_page_that_other_machines_reach(site):
    site.write_text(SITE.replace('name = "t1"', 'name = "t1"\nmetrics_listen = "0.0.0.0:9464"'))
    result = run("check", site)
    assert result.exit_code == ExitCode.PROBLEMS
    assert "site.metrics_listen" in result.stderr
    site.write_text(
        SITE.replace('name = "t1"', 'name = "t1"\ninsecure = true\nmetrics_listen = "0.0.0.0:9464"')
    )
    assert run("check", site).exit_code == 0


def test_check_against_the_list_that_the_control_centre_has(site):
    listed = site.parent / "signals.csv"
    assert run("points", site, "-o", listed).exit_code == 0
    assert run("check", site, "--against", listed).exit_code == 0
    rows = list(csv.reader(io.StringIO(listed.read_text())))
    moved = rows[1][3]
    rows[1][1] = "999999"
    with listed.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    result = run("check", site, "--against", listed)
    assert result.exit_code == ExitCode.PROBLEMS
    assert moved in result.stderr


def test_a_missing_file_is_wrong_usage(tmp_path):
    for command in ("check", "run", "points", "sensorthings"):
        result = run(command, tmp_path / "no.toml")
        assert (result.exit_code, "does not exist" in result.stderr) == (ExitCode.USAGE, True)


def test_points_as_csv_markdown_and_xlsx(site):
    rows = list(csv.DictReader(io.StringIO(run("points", site).stdout)))
    assert {"CA", "IOA", "type", "reference", "unit", "scaling", "deadband", "commands"} <= rows[0].keys()
    assert any(row["reference"] == "ESS1/DWGC1.WSpt" and row["type"].startswith("C_SE_NC_1") for row in rows)
    assert run("points", site, "--format", "markdown").stdout.startswith("| CA | IOA |")
    target = site.parent / "signals.xlsx"
    assert run("points", site, "--format", "xlsx").exit_code == ExitCode.USAGE
    result = run("points", site, "--format", "xlsx", "-o", target)
    assert (result.exit_code, f"{len(rows)} signals" in result.stderr) == (0, True)
    assert "xl/workbook.xml" in zipfile.ZipFile(target).namelist()


def test_exported_addresses_stay_when_a_device_goes(site):
    before = {row[3]: row[1] for row in csv.reader(io.StringIO(run("points", site).stdout))}
    second = '\n[[southbound.device]]\ntemplate = "generic-meter"\nunit_id = 240\n'
    site.write_text(SITE.replace("\n[[northbound]]", second + "\n[[northbound]]", 1))
    after = {row[3]: row[1] for row in csv.reader(io.StringIO(run("points", site).stdout))}
    assert len(after) > len(before)
    assert {reference: after[reference] for reference in before} == before


def test_points_of_a_site_without_outstation(site):
    site.write_text(SITE.partition("[[northbound]]")[0])
    result = run("points", site)
    assert (result.exit_code, "type iec104" in result.stderr) == (ExitCode.PROBLEMS, True)
    assert run("points", site, "--outstation", "nix").exit_code == ExitCode.PROBLEMS


def test_sensorthings_entities(site):
    found = json.loads(run("sensorthings", site, "--root-url", "https://x.example/v1.1/").output)
    assert {thing["name"] for thing in found["Things"]} >= {"INV1", "ESS1", "PV1"}
    assert found["Locations"][0]["location"]["coordinates"] == [11.35, 46.5]
    assert found["Datastreams"][0]["@iot.selfLink"].startswith("https://x.example/v1.1/Datastreams(")
    assert found["TaskingCapabilities"]


def test_sensorthings_needs_to_know_where_the_site_is(site):
    site.write_text(SITE.replace("latitude = 46.5\n", ""))
    result = run("sensorthings", site)
    assert (result.exit_code, "site.latitude" in result.stderr) == (ExitCode.PROBLEMS, True)


PACK = b'[{"bn":"house-1/ESS1/","n":"DSTO1.SocEffWhPct","u":"%EL","v":63.5,"t":1700000000}]'


def test_senml_from_standard_input_to_standard_output(tmp_path):
    cbor = run("senml", "convert", "--from", "json", "--to", "cbor", "-", input=PACK).stdout_bytes
    assert decode_pack(cbor, Format.CBOR) == decode_pack(PACK, Format.JSON)
    source, target = tmp_path / "pack.cbor", tmp_path / "pack.json"
    source.write_bytes(cbor)
    assert run("senml", "convert", "--from", "cbor", "--to", "json", source, "-o", target).exit_code == 0
    assert decode_pack(target.read_bytes(), Format.JSON) == decode_pack(PACK, Format.JSON)


def test_senml_that_is_none_is_one_error(tmp_path):
    result = run("senml", "convert", "--from", "json", "--to", "cbor", "-", input=b'[{"v":1}]')
    assert (result.exit_code, result.stdout) == (ExitCode.PROBLEMS, "")
    assert result.stderr.startswith("s4g: ")
    historic = b'[{"n":"a b","v":1,"t":1500000000000}]'
    words = ("senml", "convert", "--from", "json", "--to", "cbor", "-")
    assert run(*words, input=historic).exit_code == ExitCode.PROBLEMS
    assert run(*words, "--dialect", "s4g-historic", input=historic).exit_code == 0


def test_interfaces():
    listed = run("interfaces").output.splitlines()
    assert len(listed) == 28
    assert any("lessag-eb" in line for line in listed)
    assert len(json.loads(run("interfaces", "--format", "json").output)["interfaces"]) == 28
    assert json.loads(run("interfaces", "--format", "asyncapi").output)["asyncapi"].startswith("3.")
    one = json.loads(run("interfaces", "lessag-eb", "--format", "json").output)["interfaces"]
    assert [interface["slug"] for interface in one] == ["lessag-eb"]
    unknown = run("interfaces", "nix")
    assert (unknown.exit_code, "lessag-eb" in unknown.stderr) == (ExitCode.USAGE, True)


def test_the_module_runs_without_the_script_on_the_path():
    done = subprocess.run(
        [sys.executable, "-m", "s4g_gateway.cli", "interfaces"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 28
