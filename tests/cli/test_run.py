"""``s4g run`` as a process: signals, service manager, second start."""

import json
import signal
import socket
import urllib.request

import pytest

from s4g_gateway.cli.failures import ExitCode
from s4g_gateway.cli.target import socket_of

NOT_LISTENING = 9  # discard: nothing answers there


@pytest.fixture
def site(tmp_path, site_text):
    path = tmp_path / "site.toml"
    path.write_text(site_text(NOT_LISTENING))
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(site, start, number):
    gateway = start("run", site)
    gateway.wait_for("site runs")
    assert socket_of(site).exists()
    gateway.signal(number)
    assert gateway.end() == 0
    assert "site stopped" in gateway.output
    assert "Traceback" not in gateway.output
    assert not socket_of(site).exists()


def test_it_runs_though_the_device_is_dead_and_logs_json(site, start):
    gateway = start("run", site, "--log-level", "debug")
    gateway.wait_for("site runs")
    gateway.stop()
    for line in gateway.output.splitlines():
        entry = json.loads(line)
        assert {"time", "level", "logger", "event"} <= entry.keys()


def test_log_levels(site, start):
    gateway = start("run", site, "--log-level", "error", "--log-level", "site=info")
    gateway.wait_for("site runs")
    assert gateway.stop() == 0
    assert {json.loads(line)["logger"] for line in gateway.output.splitlines()} == {"site"}
    loud = start("run", site, "--log-level", "loud")
    assert (loud.end(), "--log-level" in loud.output) == (ExitCode.PROBLEMS, True)


def test_hangup_reloads_and_a_wrong_file_changes_nothing(site, site_text, start):
    gateway = start("run", site)
    gateway.wait_for("site runs")
    site.write_text(site_text(NOT_LISTENING, more="setpoint_validity_s = 60"))
    gateway.signal(signal.SIGHUP)
    gateway.wait_for("site reloaded")
    site.write_text(site_text(NOT_LISTENING, more="nonsense = 1"))
    gateway.signal(signal.SIGHUP)
    found = gateway.wait_for('"problem":"([^"]*)"')
    assert "site.nonsense" in found[1]
    assert gateway.stop() == 0


def test_a_reload_moves_the_metrics_page_and_the_socket(site, site_text, start):
    gateway = start("run", site)
    gateway.wait_for("site runs")
    old = socket_of(site)
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    text = site_text(NOT_LISTENING, more='socket = "moved.sock"')
    site.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    refused = start("reload", "--site", site, "--socket", old)
    assert refused.end() == ExitCode.PROBLEMS
    assert f"port {port}" in refused.output
    taken.close()
    accepted = start("reload", "--site", site, "--socket", old)
    assert (accepted.end(), accepted.output) == (0, "reloaded\n")
    assert start("reload", "--site", site).end() == 0
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
        assert json.load(answer)["status"] == "degraded"
    assert gateway.stop() == 0


def test_a_site_file_with_problems_does_not_start(site, start):
    site.write_text("[site]\n")
    gateway = start("run", site)
    assert gateway.end() == ExitCode.PROBLEMS
    lines = gateway.output.splitlines()
    assert all(line.startswith(f"s4g: {site}: ") for line in lines)
    assert len(lines) == 2


def test_a_second_gateway_of_the_same_site_does_not_start(site, start):
    first = start("run", site)
    first.wait_for("site runs")
    second = start("run", site)
    assert second.end() == ExitCode.PROBLEMS
    assert "another gateway serves this socket" in second.output
    assert first.stop() == 0


def test_a_killed_gateway_leaves_nothing_in_the_way(site, start):
    first = start("run", site)
    first.wait_for("site runs")
    first.signal(signal.SIGKILL)
    first.end()
    assert socket_of(site).exists()
    second = start("run", site)
    second.wait_for("site runs")
    assert second.stop() == 0


def test_metrics_and_health_are_served(site, start):
    gateway = start("run", site)
    port = gateway.wait_for('"port":([0-9]+),"event":"metrics and health page"')[1]
    gateway.wait_for("site runs")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
        assert json.load(answer)["status"] == "degraded"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b's4g_supervisor_running{connector="inverter"' in answer.read()
    assert gateway.stop() == 0


def test_the_service_manager_is_told(site, start, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(60)
        gateway = start("run", site, env={"NOTIFY_SOCKET": str(path)})
        assert listener.recv(4096).decode().splitlines() == ["READY=1", "STATUS=runs site t1"]
        gateway.signal(signal.SIGHUP)
        reloading = dict(line.split("=") for line in listener.recv(4096).decode().splitlines())
        assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
        assert listener.recv(4096) == b"READY=1"
        gateway.signal(signal.SIGTERM)
        assert listener.recv(4096) == b"STOPPING=1"
        assert gateway.end() == 0


def test_a_state_folder_that_cannot_be_made(site, start):
    (site.parent / "state").write_text("in the way")
    gateway = start("run", site)
    assert (gateway.end(), "Traceback" in gateway.output) == (ExitCode.PROBLEMS, False)
    assert "state" in gateway.output
