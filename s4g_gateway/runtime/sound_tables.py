"""Tells quickly that a table follows its schema, so that what lists deviations is loaded only where there are some.

A validator that explains itself takes more memory than all tables of a site; sound tables do not need it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

_Schema = Mapping[str, Any]
_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples", "$defs"})


def is_sound(value: object, schema: _Schema, root: _Schema) -> bool:
    """Returns True where a value surely follows its schema.

    Args:
        value: what a TOML file holds.
        schema: JSON Schema (2020-12) of the kind ``table_schema`` makes.
        root: the schema whose ``$defs`` are meant.

    Returns:
        False also where the schema uses a keyword that is not known here.
    """
    for keyword, expected in schema.items():
        if keyword in _ANNOTATIONS:
            continue
        test = _TESTS.get(keyword)
        if test is None or not test(value, expected, schema, root):
            return False
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


_IS_OF_TYPE: Final[Mapping[str, Callable[[object], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _matches(value: object, pattern: str) -> bool:
    # Python's $ also stands before a last newline, that of JSON Schema does not.
    return isinstance(value, str) and "\n" not in value and re.search(pattern, value) is not None


def _has_known_keys(value: object, others: object, schema: _Schema, root: _Schema) -> bool:
    if not isinstance(value, dict):
        return False
    extra = value.keys() - schema.get("properties", {}).keys()
    if isinstance(others, dict):
        return all(is_sound(value[key], others, root) for key in extra)
    return others is True or not extra


_Test = Callable[[Any, Any, _Schema, _Schema], bool]
_TESTS: Final[Mapping[str, _Test]] = {
    "type": lambda value, name, _schema, _root: (
        isinstance(name, str) and name in _IS_OF_TYPE and _IS_OF_TYPE[name](value)
    ),
    "$ref": lambda value, name, _schema, root: is_sound(value, root["$defs"][name.rpartition("/")[2]], root),
    "anyOf": lambda value, options, _schema, root: any(is_sound(value, option, root) for option in options),
    "enum": lambda value, items, _schema, _root: any(type(i) is type(value) and i == value for i in items),
    "properties": lambda value, properties, _schema, root: (
        isinstance(value, dict)
        and all(is_sound(value[key], part, root) for key, part in properties.items() if key in value)
    ),
    "required": lambda value, keys, _schema, _root: isinstance(value, dict) and all(k in value for k in keys),
    "additionalProperties": _has_known_keys,
    "items": lambda value, part, _schema, root: (
        isinstance(value, list) and all(is_sound(item, part, root) for item in value)
    ),
    "minItems": lambda value, least, _schema, _root: isinstance(value, list) and len(value) >= least,
    "maxItems": lambda value, most, _schema, _root: isinstance(value, list) and len(value) <= most,
    "minLength": lambda value, least, _schema, _root: isinstance(value, str) and len(value) >= least,
    "maxLength": lambda value, most, _schema, _root: isinstance(value, str) and len(value) <= most,
    "pattern": lambda value, pattern, _schema, _root: _matches(value, pattern),
    "minimum": lambda value, least, _schema, _root: _is_number(value) and value >= least,
    "maximum": lambda value, most, _schema, _root: _is_number(value) and value <= most,
    "exclusiveMinimum": lambda value, bound, _schema, _root: _is_number(value) and value > bound,
    "exclusiveMaximum": lambda value, bound, _schema, _root: _is_number(value) and value < bound,
}
