"""docs/configuration.md is what the configuration classes say; the schema judges as the loader does."""

import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema_rs
import pytest

from s4g_gateway.runtime.config import site_json_schema

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "render_configuration.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*/site.toml")), ids=lambda path: path.parent.name
)
def test_the_schema_takes_the_examples_and_refuses_a_wrong_key(path):
    document = tomllib.loads(path.read_text())
    validator = jsonschema_rs.validator_for(site_json_schema())
    assert validator.is_valid(document)
    document["southbound"][0]["prot"] = 1
    assert not validator.is_valid(document)
