"""Commands against a running gateway in front of a simulated inverter."""

import json
import time

import pytest
from click.testing import CliRunner

from s4g_gateway.cli.failures import ExitCode
from s4g_gateway.cli.root import s4g
from s4g_gateway.cli.target import socket_of
from s4g_gateway.runtime.local_client import (
    GatewayUnreachableError,
    LocalClient,
    RequestRefusedError,
)

SETPOINT = "ESS1/DWGC1.WSpt"
SOC = "ESS1/DSTO1.SocEffWhPct"


def run(*words, **more):
    return CliRunner().invoke(s4g, [str(word) for word in words], **more)


@pytest.fixture(autouse=True)
def values(gateway):
    """Waits for the first values of the inverter."""
    with LocalClient(socket_of(gateway)) as client:
        for update in client.watch(SOC, interval_s=0.05):
            if update["points"] and update["points"][-1]["value"] is not None:
                return


def test_read_one_and_many(gateway):
    result = run("read", "--site", gateway, SOC)
    assert result.exit_code == 0
    reference, value, unit, quality = result.output.split()[:4]
    assert (reference, unit, quality) == (SOC, "%", "good")
    assert 0 <= float(value) <= 100
    result = run("read", "--site", gateway, "ESS1/*", "--json")
    points = [json.loads(line) for line in result.output.splitlines()]
    assert len(points) > 5
    assert all(point["reference"].startswith("ESS1/") for point in points)
    assert points[0].keys() == {"reference", "value", "unit", "quality", "time_ns", "age_s", "owner"}


def test_the_site_comes_from_environment_or_folder(gateway, monkeypatch):
    monkeypatch.setenv("S4G_SITE", str(gateway))
    assert run("read", SOC).exit_code == 0
    monkeypatch.delenv("S4G_SITE")
    monkeypatch.setenv("S4G_SOCKET", str(socket_of(gateway)))
    assert run("read", SOC).exit_code == 0
    monkeypatch.delenv("S4G_SOCKET")
    monkeypatch.chdir(gateway.parent)
    assert run("read", SOC).exit_code == 0


def test_a_point_that_does_not_exist(gateway):
    result = run("read", "--site", gateway, "ESS9/DSTO1.SocEffWhPct")
    assert (result.exit_code, result.stderr) == (
        ExitCode.PROBLEMS,
        "s4g: no point 'ESS9/DSTO1.SocEffWhPct' in this site\n",
    )


def test_no_gateway(tmp_path):
    site = tmp_path / "site.toml"
    site.write_text('[site]\nname = "x"\n')
    for words in (
        ("read", "--site", site, SOC),
        ("watch", site),
        ("operate", "--site", site, SETPOINT, "1"),
        ("reload", "--socket", tmp_path / "nix.sock"),
    ):
        result = run(*words)
        assert (result.exit_code, result.stderr.count("\n")) == (ExitCode.UNREACHABLE, 1)
        assert "no running gateway at" in result.stderr
    result = run("read", "--site", tmp_path / "nix.toml", SOC)
    assert (result.exit_code, "--site" in result.stderr) == (ExitCode.PROBLEMS, True)


def test_watch_once(gateway):
    lines = run("watch", gateway, "--once").output.splitlines()
    assert len(lines) > 30
    result = run("watch", gateway, "--once", "--json", "--match", SOC)
    (point,) = [json.loads(line) for line in result.output.splitlines()]
    assert (point["reference"], point["owner"]) == (SOC, "inverter")
    assert point["age_s"] is not None


def test_watch_follows_changes_as_lines(gateway, start):
    watch = start("watch", gateway, "--interval", "0.1", "--match", SETPOINT)
    watch.wait_for(SETPOINT)
    assert run("operate", "--site", gateway, SETPOINT, "-1234", "--for", "60").exit_code == 0
    watch.wait_for(rf"{SETPOINT}  -12\d\d(\.\d+)? W  good")
    assert run("operate", "--site", gateway, SETPOINT, "--release").exit_code == 0


def test_operate_is_carried_out_and_released(gateway):
    result = run("operate", "--site", gateway, SETPOINT, "-1000", "--for", "30")
    assert (result.exit_code, result.output) == (0, f"accepted: {SETPOINT}\n")
    with LocalClient(socket_of(gateway)) as client:
        holds = client.ask("status")["status"]["holds"]
        assert holds[SETPOINT][0] == -1000.0
        assert 25 < holds[SETPOINT][2] / 1e9 - time.time() <= 30
    result = run("operate", "--site", gateway, SETPOINT, "--release", "--json")
    assert json.loads(result.output)["accepted"] is True
    with LocalClient(socket_of(gateway)) as client:
        assert client.ask("status")["status"]["holds"] == {}


def test_operate_as_a_test_holds_nothing(gateway):
    result = run("operate", "--site", gateway, SETPOINT, "500", "--test")
    assert (result.exit_code, "test" in result.output) == (0, True)
    with LocalClient(socket_of(gateway)) as client:
        assert client.ask("status")["status"]["holds"] == {}


def test_select_then_operate_and_cancel(gateway):
    words = ("operate", "--site", gateway, SETPOINT)
    assert "selected" in run(*words, "100", "--select").output
    assert "cancelled" in run(*words, "--cancel").output
    assert "object-not-selected" in run(*words, "--cancel").stderr


def test_a_refused_control_says_why(gateway):
    result = run("operate", "--site", gateway, SETPOINT, "999999")
    assert result.exit_code == ExitCode.PROBLEMS
    assert result.stderr.startswith("s4g: refused: inconsistent-parameters: 999999.0 W is outside")
    result = run("operate", "--site", gateway, SOC, "50", "--json")
    assert (result.exit_code, json.loads(result.output)["add_cause"]) == (ExitCode.PROBLEMS, "NOT_SUPPORTED")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((SETPOINT,), "needs a VALUE"),
        ((SETPOINT, "1", "--release"), "takes no VALUE"),
        ((SETPOINT, "much"), "expected a number"),
        ((SETPOINT, "1", "--for", "0"), "more than 0 seconds"),
        ((SETPOINT, "1", "--priority", "0"), "--priority"),
    ],
)
def test_wrong_usage_of_operate(gateway, words, hint):
    result = run("operate", "--site", gateway, *words)
    assert (result.exit_code, hint in result.stderr) == (ExitCode.USAGE, True)


def test_the_shell_completes_references(gateway):
    def complete(*words):
        line = " ".join(("s4g", *map(str, words)))
        result = run(
            env={"_S4G_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        )
        return [entry.partition(",")[2] for entry in result.output.splitlines()]

    assert SOC in complete("read", "--site", gateway, "ESS1/DS")
    assert SETPOINT in complete("operate", "--site", gateway, "ESS1/")
    assert SOC not in complete("operate", "--site", gateway, "ESS1/")
    assert complete("read", "--site", "nix.toml", "ESS1/") == [""]


def test_reload_that_fails_changes_nothing(gateway):
    good = gateway.read_text()
    assert run("reload", "--site", gateway).output == "reloaded\n"
    gateway.write_text(good.replace("period_s", "perod_s"))
    try:
        result = run("reload", "--site", gateway)
        assert (result.exit_code, "perod_s" in result.stderr) == (ExitCode.PROBLEMS, True)
    finally:
        gateway.write_text(good)
    assert run("read", "--site", gateway, SOC).exit_code == 0


def test_the_client_tells_what_went_wrong(gateway, tmp_path):
    with pytest.raises(GatewayUnreachableError, match="no running gateway"):
        LocalClient(tmp_path / "nix")
    with LocalClient(socket_of(gateway)) as client:
        with pytest.raises(RequestRefusedError, match="references") as caught:
            client.ask("read", references=[])
        assert caught.value.kind == "malformed"
        assert client.ask("status")["status"]["name"] == "t1"
