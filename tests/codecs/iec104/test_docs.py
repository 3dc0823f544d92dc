"""docs/iec104.md: its diagrams are those of the table, its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from s4g_gateway.codecs.iec104.link_states import TRANSITIONS, LinkInput, Role

PAGE = Path(__file__).parents[3] / "docs" / "iec104.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
TESTS = {LinkInput.TESTFR_ACT, LinkInput.TESTFR_CON}


def diagram(role: Role) -> str:
    """The transitions of one end as a Mermaid diagram, test frames left out."""
    lines = ["stateDiagram-v2", "    [*] --> STOPPED"]
    for (who, state, cause), (following, answer) in TRANSITIONS.items():
        if who is role and cause not in TESTS:
            reply = f" / {answer.name}" if answer is not None else ""
            lines.append(f"    {state.name} --> {following.name}: {cause.name}{reply}")
    return "\n".join(lines)


@pytest.mark.parametrize("role", Role)
def test_the_diagrams_are_current(role: Role) -> None:
    blocks = re.findall(r"```mermaid\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert diagram(role) in blocks, f"docs/iec104.md wants this block:\n{diagram(role)}"


def test_the_example_runs_and_prints_what_it_says() -> None:
    (code,) = re.findall(r"```python\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    printed: list[str] = []
    exec(
        compile(code, str(PAGE), "exec"), {"print": lambda *items: printed.append(" ".join(map(str, items)))}
    )
    assert "\n".join(printed) == shown
