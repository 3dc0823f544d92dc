"""docs/cli.md is what the commands say, docs/operations.md what the gateway does."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from s4g_gateway.runtime.local_protocol import AnyRequest, ErrorKind, decode_request

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_current():
    done = subprocess.run(
        [sys.executable, str(DOCS / "render_cli.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_page_has_every_command_and_exit_code():
    page = (DOCS / "cli.md").read_text()
    for name in ("s4g init", "s4g operate", "s4g simulate iec104-master", "s4g senml convert", "s4g demo"):
        assert f"\n## {name}\n" in page
    for code in range(5):
        assert f"\n| {code} |" in page


OPERATIONS = (DOCS / "operations.md").read_text()


def test_the_requests_of_the_page_are_requests():
    found = re.findall(r"[`'](\{\"do\".*?\})[`']", OPERATIONS)
    kinds = {type(decode_request(line.encode())) for line in found}
    assert kinds == set(get_args(AnyRequest))


def test_the_kinds_of_errors_are_listed():
    assert all(f"`{kind}`" in OPERATIONS for kind in ErrorKind)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit(tmp_path):
    text = re.search(r"```ini\n(.*?)```", OPERATIONS, re.DOTALL)[1]
    unit = tmp_path / "s4g-house.service"
    unit.write_text(text.replace("/opt/s4g/bin/s4g", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
