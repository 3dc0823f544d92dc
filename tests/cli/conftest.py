import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

S4G = [sys.executable, "-m", "s4g_gateway.cli"]
DEADLINE_S = 60


class Process:
    """A subprocess whose lines can be waited for."""

    def __init__(self, *words, cwd=None, env=None):
        self.process = subprocess.Popen(
            [*S4G, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=os.environ | (env or {}),
        )
        self.output = ""

    def wait_for(self, pattern, since=0):
        """Waits until the output holds the pattern; returns the match."""
        end_s = time.monotonic() + DEADLINE_S
        descriptor = self.process.stdout.fileno()
        while not (found := re.compile(pattern).search(self.output, since)):
            readable, _, _ = select.select([descriptor], [], [], max(0, end_s - time.monotonic()))
            data = os.read(descriptor, 65536) if readable else b""
            if not data:
                raise AssertionError(f"no {pattern!r} in: {self.output}")
            self.output += data.decode()
        return found

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """Waits for its end; returns exit code and the rest of the output."""
        rest, _ = self.process.communicate(timeout=DEADLINE_S)
        self.output += rest.decode()
        return self.process.returncode

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.end()


@pytest.fixture
def start():
    """Starts subprocesses that end with the test."""
    started = []

    def begin(*words, **more):
        started.append(Process(*words, **more))
        return started[-1]

    yield begin
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()


@pytest.fixture(scope="session")
def inverter_port():
    """A simulated hybrid inverter in a process of its own."""
    simulator = Process("simulate", "hybrid-inverter", "--port", "0")
    yield int(simulator.wait_for(r"unit 1, on 127\.0\.0\.1:(\d+)")[1])
    simulator.stop()


def _site_text(port, more=""):
    return f"""\
[site]
name = "t1"
metrics_listen = "127.0.0.1:0"
{more}
[[southbound]]
name = "inverter"
type = "sunspec"
host = "127.0.0.1"
port = {port}

[[southbound.device]]
template = "fronius-symo-hybrid"
period_s = 0.2
"""


@pytest.fixture(scope="module")
def gateway(inverter_port, tmp_path_factory):
    """A running gateway; gives the path of its site file."""
    site = Path(tmp_path_factory.mktemp("site")) / "site.toml"
    site.write_text(_site_text(inverter_port))
    process = Process("run", site)
    process.wait_for("site runs")
    yield site
    assert process.stop() == 0, process.output


@pytest.fixture(scope="session")
def site_text():
    """Makes the text of a site file with one inverter at a port."""
    return _site_text
