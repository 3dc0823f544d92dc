"""docs/cli.md is what the commands say."""

import subprocess
import sys
from pathlib import Path

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
