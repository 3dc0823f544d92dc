"""How points look: lines, the live table, and on a real terminal."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from s4g_gateway.cli.lines import age_text, point_line, value_text
from s4g_gateway.cli.watch_screen import screen
from s4g_gateway.cli.watched import Watched
from s4g_gateway.model import quality as q

SNAPSHOT = {
    "event": "snapshot",
    "sets": [{"name": "storage", "owner": "inverter"}],
    "ages_s": [0.5],
    "points": [
        {
            "reference": f"ESS1/GGIO1.AnIn{n}",
            "value": float(n),
            "quality": 0,
            "time_ns": 1,
            "unit": "W",
            "set": 0,
        }
        for n in range(30)
    ],
    "status": {
        "name": "house",
        "uptime_s": 130.0,
        "database": {"updates_total": 17.0},
        "holds": {"x": 1},
        "connectors": [
            {
                "name": "inverter",
                "type": "sunspec",
                "state": "backing-off",
                "restarts": 2,
                "counters": {"polls_total": 12.0},
                "last_error": "no route\x1b[2J",
            }
        ],
    },
}
UPDATE = {
    "event": "update",
    "ages_s": [1.5],
    "points": [
        {"reference": "ESS1/GGIO1.AnIn0", "value": None, "quality": q.INVALID | q.OLD_DATA, "time_ns": 2}
    ],
}


def drawn(watched, height):
    console = Console(file=io.StringIO(), width=120, height=height, force_terminal=False)
    console.print(screen(watched, height))
    return console.file.getvalue().splitlines()


def test_snapshot_and_update_become_points():
    watched = Watched()
    assert len(watched.take(SNAPSHOT)) == 30
    assert watched.take(UPDATE) == ["ESS1/GGIO1.AnIn0"]
    assert watched.point("ESS1/GGIO1.AnIn0") == {
        "reference": "ESS1/GGIO1.AnIn0",
        "value": None,
        "quality": q.INVALID | q.OLD_DATA,
        "time_ns": 2,
        "unit": "W",
        "age_s": 1.5,
        "owner": "inverter",
    }
    assert watched.status["name"] == "house"
    watched.take(SNAPSHOT | {"points": SNAPSHOT["points"][:1]})
    assert watched.references() == ("ESS1/GGIO1.AnIn0",)


def test_the_table_shows_points_and_connectors():
    watched = Watched()
    watched.take(SNAPSHOT)
    watched.take(UPDATE)
    lines = drawn(watched, 60)
    assert lines[0].startswith("house  up 2.2 min  30 points  17 updates  1 set-points in force")
    assert re.match(r"ESS1/GGIO1\.AnIn0 +- +W +invalid, oldData +1\.5 s", lines[2])
    assert any(
        re.match(r"inverter +sunspec +backing-off +2 +polls_total 12  no route\?\[2J", line) for line in lines
    )
    assert "\x1b[2J" not in "".join(lines)


@pytest.mark.parametrize("height", [10, 15, 24])
def test_the_table_fits_its_terminal(height):
    watched = Watched()
    watched.take(SNAPSHOT)
    lines = drawn(watched, height)
    assert len(lines) <= height
    assert any("more; narrow with --match" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "true"),
        (63.5, "63.5"),
        (-0.0000001, "0"),
        (3, "3"),
        (1e20, "100000000000000000000"),
        ("a\nb\x1b[0m", "a?b?[0m"),
    ],
)
def test_values_for_people(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("age_s", "text"),
    [(None, "never"), (0.04, "0.0 s"), (12.3, "12 s"), (130, "2.2 min"), (7300, "2.0 h"), (200_000, "2 d")],
)
def test_ages_for_people(age_s, text):
    assert age_text(age_s) == text


def test_a_point_as_a_line():
    point = {"reference": "A/GGIO1.AnIn", "value": 1.5, "unit": "W", "quality": 0, "time_ns": 0, "age_s": 1.0}
    assert point_line(point) == "A/GGIO1.AnIn  1.5 W  good  1970-01-01T00:00:00.000Z  1.0 s"


def test_watch_on_a_terminal_is_a_table_until_ctrl_c(gateway):
    controller, terminal = pty.openpty()
    watch = subprocess.Popen(
        [sys.executable, "-m", "s4g_gateway.cli", "watch", str(gateway), "--interval", "0.1"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(terminal)
    seen = b""
    end_s = time.monotonic() + 60
    while b"more; narrow" not in seen and time.monotonic() < end_s:
        seen += os.read(controller, 65536)
    watch.send_signal(signal.SIGINT)
    try:
        while data := os.read(controller, 65536):
            seen += data
    except OSError:
        pass  # a terminal without anybody left
    assert watch.wait(60) == 0
    assert b"Traceback" not in seen
    assert b"ESS1/" in seen
    os.close(controller)
