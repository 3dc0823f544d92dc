"""Every document that the code cites has a row in docs/standards.md that says how it was read."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CITATION = re.compile(
    r"\b(RFC ?\d{4}|IEC (?:TR |TS )?\d{5}(?:-\d+)+|IEEE \d{4}(?:\.\d+)?-\d{4}|OCPP \d\.\d|AsyncAPI|UCUM|IDIS)\b"
)


def citations(text):
    return {found.replace("RFC", "RFC ").replace("  ", " ") for found in CITATION.findall(text)}


def test_citations_are_found_in_their_usual_spellings():
    assert citations("see RFC8428 §4, RFC 8798 and IEC TR 61850-90-7:2013, IEEE 1547-2018 or OCPP 1.6J") == {
        "RFC 8428",
        "RFC 8798",
        "IEC TR 61850-90-7",
        "IEEE 1547-2018",
    }


def numbers(text):
    """The distinctive part of a citation: the number, or the name where there is none."""
    return re.findall(r"\d{4,5}(?:[-.]\d+)*|OCPP \d\.\d|AsyncAPI|UCUM|IDIS", text)


@pytest.mark.parametrize("suffix", [".py", ".csv", ".toml"])
def test_every_cited_document_has_a_row(suffix):
    page = (ROOT / "docs/standards.md").read_text()
    package = ROOT / "s4g_gateway"
    cited = {}
    for path in sorted(package.rglob(f"*{suffix}")):
        for found in citations(path.read_text()):
            cited.setdefault(found, path.relative_to(ROOT))
    assert cited
    listed = " ".join(numbers(page))
    missing = {
        found: str(path)
        for found, path in cited.items()
        if not all(re.search(rf"(?<![\d.]){re.escape(n)}", f"{listed} {page}") for n in numbers(found))
    }
    assert not missing
