"""Checks a TOML table against a configuration dataclass and finds every problem at once.

The dataclass is the one source: msgspec turns it into a JSON Schema, jsonschema-rs lists every deviation,
msgspec builds the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec

from s4g_gateway.errors import Problem
from s4g_gateway.runtime.sound_tables import is_sound

T = TypeVar("T")
Schema = dict[str, Any]
_FOUND_LIMIT = 80


def table_schema(config: type, common: Mapping[str, Schema] | None = None) -> Schema:
    """Returns the JSON Schema (2020-12) of a configuration dataclass; unknown keys are forbidden.

    Args:
        config: a frozen keyword-only dataclass.
        common: further required keys with their schemas, such as ``name`` and ``type``.
    """
    (root,), components = msgspec.json.schema_components((config,), ref_template="#/$defs/{name}")
    for component in components.values():
        if "properties" in component:
            component["additionalProperties"] = False
    name = root["$ref"].rpartition("/")[2]
    schema: Schema = components.pop(name)
    schema.setdefault("required", [])
    if common:
        schema["properties"] = {**common, **schema["properties"]}
        schema["required"] = [*common, *schema["required"]]
    if components:
        schema["$defs"] = components
    return schema


def check_table(table: object, schema: Schema, *, file: str, key: str) -> list[Problem]:
    """Returns every deviation of a table from its schema.

    Args:
        table: what the TOML file holds.
        schema: from ``table_schema``.
        file: the file, for the Problems.
        key: path of the table in the file, for the Problems; empty for the root.
    """
    if is_sound(table, schema, schema):
        return []
    import jsonschema_rs  # takes megabytes, and sound tables do without

    problems = []
    for error in jsonschema_rs.validator_for(schema).iter_errors(table):
        node = _node(schema, error.schema_path[:-1])
        path = _join(key, error.instance_path)
        kind = error.kind
        if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
            missing = str(kind.property)
            problem = Problem(
                file=file,
                key=_join(path, [missing]),
                found="nothing",
                expected=_expected(_resolve(schema, node["properties"][missing])),
            )
            problems.append(problem)
        elif isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
            known = list(node.get("properties", {}))
            for unexpected in kind.unexpected:
                close = get_close_matches(unexpected, known, 1)
                hint = f"{close[0]!r} perhaps; known keys: " if close else "one of "
                problems.append(
                    Problem(
                        file=file,
                        key=_join(path, [unexpected]),
                        found="an unknown key",
                        expected=hint + ", ".join(known),
                    )
                )
        else:
            problems.append(
                Problem(file=file, key=path, found=_show(error.instance), expected=_expected(node))
            )
    return problems


def build_table(table: Mapping[str, object], config: type[T]) -> T:
    """Returns the configuration object of a table that ``check_table`` found clean."""
    return msgspec.convert(table, config)


def _join(key: str, path: Sequence[str | int]) -> str:
    for part in path:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    return key


def _resolve(schema: Schema, node: Schema) -> Schema:
    reference = node.get("$ref", "")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else node


def _node(schema: Schema, path: Sequence[str | int]) -> Schema:
    node: Any = schema
    for part in path:
        node = node[part]
        if isinstance(node, dict):
            node = _resolve(schema, node)
    return node if isinstance(node, dict) else {}


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _FOUND_LIMIT else text[: _FOUND_LIMIT - 3] + "..."


_WORDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
    "minLength": "not shorter than {}",
    "maxLength": "not longer than {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "pattern": "matching {}",
}
_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "an array",
    "object": "a table",
    "null": "nothing",
}


def _expected(node: Schema) -> str:
    if "enum" in node:
        words = "one of " + ", ".join(repr(item) for item in node["enum"])
    elif "anyOf" in node:
        words = " or ".join(_expected(part) for part in node["anyOf"] if part.get("type") != "null")
    else:
        words = _TYPES.get(node.get("type", ""), "another value")
        limits = [text.format(node[keyword]) for keyword, text in _WORDS.items() if keyword in node]
        if limits:
            words += " " + ", ".join(limits)
    description = node.get("description", "").partition("\n")[0]
    return f"{words} ({description})" if description and node.get("type") != "object" else words
