"""Every link of the documentation leads somewhere, and every file it names is there."""

import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for folder in ("docs", "examples", "benchmarks") for page in (ROOT / folder).rglob("*.md")),
    ]
)
FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
DEFINITION = re.compile(r"^\[[^\]]+\]:\s*<?([^>\s]+)>?", re.MULTILINE)
HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$", re.MULTILINE)
ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
# What a reader would look for in the repository: a path below one of its folders, or a file at its top.
FOLDERS = {"s4g_gateway", "tests", "docs", "benchmarks", "examples", "scripts", ".ci"}
FOLDERS |= {path.name for path in (ROOT / "s4g_gateway").iterdir() if path.is_dir()}
TOP = ("pyproject.toml", "tox.ini")


def prose(page):
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def slug(heading):
    """Returns the anchor that GitHub makes of a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    text = unicodedata.normalize("NFC", text).lower()
    return "".join(c for c in text if c.isalnum() or c in " -_").replace(" ", "-")


def anchors(page):
    found, text = set(), prose(page)
    for _, heading in HEADING.findall(text):
        plain = name = slug(heading)
        number = 0
        while name in found:
            number += 1
            name = f"{plain}-{number}"
        found.add(name)
    return found | set(ANCHOR.findall(text))


def links(page):
    text = CODE.sub("", prose(page))
    return [*LINK.findall(text), *DEFINITION.findall(text)]


def faults(page, root=ROOT):
    """Returns the links of a page that lead nowhere, each with the reason."""
    found = []
    for link in links(page):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if path.startswith("/") or not target.is_relative_to(root):
            found.append(f"{link}: leaves the repository")
        elif not target.exists():
            found.append(f"{link}: no such file")
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target)):
            found.append(f"{link}: no such heading")
    return found


def named_files(page):
    """Returns what stands in backticks and looks like a path of the repository."""
    found = []
    for _, text in CODE.findall(prose(page)):
        word = text.strip()
        looks = word in TOP or (word.partition("/")[0] in FOLDERS and "/" in word)
        if looks and not re.search(r"[\s<>*{}|$…:]", word):
            found.append(word)
    return found


def identity(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_every_link_leads_somewhere(page):
    assert faults(page) == []


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_every_file_that_is_named_is_there(page):
    missing = []
    for word in named_files(page):
        places = (ROOT / word, page.parent / word, ROOT / "s4g_gateway" / word)
        if not any(place.exists() for place in places):
            missing.append(word)
    assert missing == []


def test_what_leads_nowhere_is_found(tmp_path):
    (tmp_path / "docs").mkdir()
    other = tmp_path / "docs" / "other.md"
    other.write_text("# A `b` c, d!\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    good = ["docs/other.md", "docs/other.md#a-b-c-d", "docs/other.md#twice-1", "#here", "https://a.example/x"]
    bad = ["docs/none.md", "docs/other.md#no-heading", "#there", "/docs/other.md", "../up.md"]
    page.write_text("# Here\n" + " ".join(f"[x]({link})" for link in good + bad) + " `[y](code.md)`\n")
    assert [fault.partition(": ")[0] for fault in faults(page, tmp_path)] == bad
    page.write_text("`docs/other.md` `tests/none.py` `s4g/v1/x` `docs/<page>.md`\n```\ndocs/fence.md\n```\n")
    assert named_files(page) == ["docs/other.md", "tests/none.py"]
