"""Writes docs/configuration.md from the JSON Schema of site.toml; ``--check`` only compares."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from s4g_gateway.runtime.config import connector_types, site_json_schema
from s4g_gateway.runtime.contract import NORTHBOUND_GROUP, SOUTHBOUND_GROUP
from s4g_gateway.runtime.site_config import SiteTable

PAGE = Path(__file__).with_name("configuration.md")
HEAD = """\
# site.toml

This page is made from the configuration classes by `python docs/render_configuration.py`. `s4g schema` prints the
same as JSON Schema, for editors. `s4g check` finds every problem of a file at once.

A site file has one `[site]` table, one `[[southbound]]` table for each connection to devices and one `[[northbound]]`
table for each consumer. Each connector has a `name`, unique in the site, and a `type`. Keys end in their unit. Unknown
keys are errors. Relative paths start at the folder of the file.

`[site.roles]` maps the references by which D3.1's messages know a value (such as `PCC1/MMXU1.TotW`) to the references
of this site, where they differ.
"""


def described(config: type) -> dict[str, str]:
    """Returns the Attributes of a class's docstring and its bases' by name."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:")[2]
        for match in re.finditer(r"^    (\w+): (.*(?:\n     +.*)*)", text, re.MULTILINE):
            found[match[1]] = " ".join(match[2].split()).replace("``", "`")
    return found


def type_of(node: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in node:
        return "table"
    if "anyOf" in node:
        return " or ".join(kind for part in node["anyOf"] if (kind := type_of(part, schema)) != "null")
    if "enum" in node:
        return " or ".join(f"`{item}`" for item in node["enum"])
    if node.get("type") == "array":
        return f"array of {type_of(node.get('items', {}), schema)}s"
    words = {
        "object": "table",
        "number": "number",
        "integer": "integer",
        "boolean": "boolean",
        "string": "string",
    }
    word = words.get(node.get("type", ""), node.get("type", "any"))
    limits = [f"{sign} {node[key]}" for key, sign in SIGNS.items() if key in node]
    return f"{word} {', '.join(limits)}" if limits else word


SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def table(
    config: type, node: dict[str, Any], schema: dict[str, Any], title: str, depth: int = 3
) -> list[str]:
    words = described(config)
    lines = [f"{'#' * depth} {title}", "", "| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, part in node["properties"].items():
        default = part.get("default", "" if name in node.get("required", ()) else "–")
        shown = (
            f"`{default}`"
            if default not in ("", "–", None, [], {})
            else "required"
            if default == "" and name in node.get("required", ())
            else "–"
        )
        lines.append(
            f"| `{name}` | {type_of(part, schema)} | {shown} | {words.get(name, part.get('description', ''))} |"
        )
    return [line.replace("||", "|") for line in lines] + [""]


def nested(config: type) -> list[type]:
    """Returns the classes of a configuration's sub-tables, depth first."""
    found: list[type] = []
    for field in dataclasses.fields(config):
        for kind in re.findall(r"\b[A-Z]\w+\b", str(field.type)):
            candidate = getattr(sys.modules[config.__module__], kind, None)
            if dataclasses.is_dataclass(candidate) and isinstance(candidate, type) and candidate not in found:
                found += [candidate, *nested(candidate)]
    return found


def page() -> str:
    schema = site_json_schema()
    lines = [HEAD, *table(SiteTable, schema["properties"]["site"], schema, "`[site]`", 2)]
    for group, section in ((SOUTHBOUND_GROUP, "southbound"), (NORTHBOUND_GROUP, "northbound")):
        for name in sorted(connector_types(group)):
            kind = connector_types(group)[name].load()
            keys = next(
                entry
                for entry in schema["properties"][section]["items"]["oneOf"]
                if entry["properties"]["type"]["const"] == name
            )
            lines += [
                f'## `[[{section}]]` with `type = "{name}"`',
                "",
                kind.summary[0].upper() + kind.summary[1:] + ".",
                "",
            ]
            lines += table(kind.config, keys, schema, "Keys")
            for part in nested(kind.config):
                definition = schema["$defs"].get(f"{name}.{part.__name__}")
                if definition is not None:
                    lines += table(part, definition, schema, f"Sub-table {part.__name__}", 4)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == text else "docs/configuration.md is not current")
    PAGE.write_text(text, encoding="utf-8")
