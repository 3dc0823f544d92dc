"""`s4g function` against a running gateway in front of a simulated inverter."""

import json

import pytest
from click.testing import CliRunner

from s4g_gateway.cli.failures import ExitCode
from s4g_gateway.cli.root import s4g
from s4g_gateway.cli.target import socket_of
from s4g_gateway.runtime.local_client import LocalClient

CURVE = "0.92:44,0.98:0,1.02:0,1.08:-44"


def run(*words):
    return CliRunner().invoke(s4g, ["function", *(str(word) for word in words)])


def test_the_list_needs_no_gateway():
    result = run("--list")
    assert result.exit_code == 0
    assert "VV11  volt-var: Reactive power by voltage" in result.output
    assert "ieee1547-volt-var-1 (VV11): 0.92:44,0.98:0,1.02:0,1.08:-44 y_reference=va-max" in result.output
    table = json.loads(run("--list", "--json").output)
    assert [entry["code"] for entry in table["functions"]][:2] == ["INV1", "INV2"]
    assert len(table["curves"]) == 8


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), ExitCode.USAGE, "expected [SITE.TOML] FUNCTION, or --list"),
        (("a", "b", "c"), ExitCode.USAGE, "expected [SITE.TOML] FUNCTION, or --list"),
        (("site.toml", "volt-vra"), ExitCode.PROBLEMS, "no function 'volt-vra'; expected such as volt-var"),
        (("site.toml", "volt-var", "--show", "--off"), ExitCode.USAGE, "--show goes with nothing to set"),
        (
            ("site.toml", "volt-var", "--release", "--ramp-s", "1"),
            ExitCode.USAGE,
            "--release goes with nothing else",
        ),
        (
            ("site.toml", "volt-var", "--curve", "nix"),
            ExitCode.USAGE,
            "expected x:y,... or ieee1547-volt-var-1",
        ),
        (("site.toml", "volt-var", "--set", "nix"), ExitCode.USAGE, "expected NAME=VALUE"),
        (("site.toml", "volt-var", "--curve", "1:2"), ExitCode.PROBLEMS, "found 1 points, expected 2 to 10"),
        (
            ("site.toml", "volt-var", "--set", "response_s=x"),
            ExitCode.PROBLEMS,
            "response_s: found 'x', expected",
        ),
    ],
)
def test_what_is_wrong_is_said_before_any_gateway_is_asked(words, code, message):
    result = run(*words)
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr


def test_no_gateway(tmp_path):
    assert run("volt-var", "--socket", tmp_path / "nix.sock").exit_code == ExitCode.UNREACHABLE


@pytest.fixture
def site(start, inverter_port, site_text, tmp_path):
    """A running gateway with two inverters that are one and the same."""
    path = tmp_path / "site.toml"
    text = site_text(inverter_port).replace("fronius-symo-hybrid", "hybrid-inverter")
    second = text[text.index("[[southbound]]") :].replace('name = "inverter"', 'name = "other"')
    second += 'logical_devices = { inverter = "INV2", storage = "ESS2", pv = "PV2" }\n'
    path.write_text(text + second)
    start("run", path).wait_for("site runs")
    with LocalClient(socket_of(path)) as client:
        missing = {"INV1/MMXU1.TotW", "INV2/MMXU1.TotW"}
        for update in client.watch(*missing, interval_s=0.05):
            missing -= {point["reference"] for point in update["points"] if point["value"] is not None}
            if not missing:
                return path
    return path


def test_functions_are_shown_set_and_read_back(site):
    inverter = (site, "volt-var", "--device", "inverter")
    result = run(site, "volt-var")
    assert result.exit_code == ExitCode.USAGE
    assert "several devices take volt-var; name one with --device: inverter, other" in result.stderr
    assert "expected one of inverter, other" in run(site, "volt-var", "--device", "x").stderr
    assert "no device of this site takes dynamic-reactive-current" in run(site, "TV31").stderr

    result = run(*inverter, "--curve", CURVE, "--set", "y_reference=w-max", "--set", "response_s=2")
    assert result.exit_code == 0, result.stderr
    assert result.output.splitlines()[:2] == [
        "accepted: INV1/DVVR1.VVArCrv",
        "volt-var (VV11) of inverter, INV1/DVVR1.VVArCrv: on",
    ]
    shown = run(*inverter, "--show")
    assert {"  y_reference: w-max", "  response_s: 2 s", f"  curve: {CURVE}"} <= set(
        shown.output.splitlines()
    )

    result = run(*inverter, "--curve", "ieee1547-volt-var-2", "--revert-s", "600", "--json")
    answer = json.loads(result.output)
    assert (answer["accepted"], answer["enabled"], answer["curve"][0]) == (True, True, [0.88, 100])
    assert answer["parameters"]["revert_s"] == 600
    result = run(*inverter, "--release")
    assert f"  curve: {CURVE}" in result.output.splitlines(), result.output + result.stderr
    assert "  revert_s: 0 s" in result.output.splitlines()
    assert run(site, "no-volt-var", "--device", "inverter").output.splitlines()[1].endswith(": off")
    assert json.loads(run(*inverter, "--on", "--json").output)["enabled"] is True
    assert json.loads(run(*inverter, "--off", "--json").output)["enabled"] is False

    result = run(site, "volt-var", "--device", "inverter", "--ramp-s", "5")
    assert (result.exit_code, result.stderr) == (
        ExitCode.PROBLEMS,
        "s4g: refused: not-supported: ramp_s: model 705 of this device has no place for ramp_s\n",
    )
    limit = (site, "max-generation", "--device", "inverter")
    answer = json.loads(run(*limit, "--set", "limit_pct=60", "--revert-s", "600", "--json").output)
    assert (answer["enabled"], answer["parameters"]["limit_pct"]) == (True, 60)
    assert json.loads(run(*limit, "--off", "--json").output)["enabled"] is False
    factor = (
        site,
        "INV3",
        "--device",
        "inverter",
        "--set",
        "power_factor=0.95",
        "--set",
        "over_excited=false",
    )
    assert "  over_excited: false" in run(*factor).output.splitlines()
    assert run(site, "INV3", "--device", "inverter", "--release").exit_code == 0

    audited = (site.parent / "state" / "audit.jsonl").read_text().splitlines()
    assert any('"INV1/DVVR1.VVArCrv"' in line and "VV11" in line for line in audited)
