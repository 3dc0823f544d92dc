"""What stands in the hole of a value, column by column; for the general way, which looks at each value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import isfinite
from typing import Final

from s4g_gateway.model import Value, ValueType
from s4g_gateway.profiles.senml.columns import Column, Scale
from s4g_gateway.profiles.senml.writers import Writer

Content = Callable[[Value], bytes | None]
"""Writes a value into its hole; None for a value that the column cannot take."""

_EXPECTED: Final = {ValueType.BOOLEAN: "a boolean", ValueType.TEXT: "a Unicode text"}


def expected_of(kind: ValueType) -> str:
    """Returns what a column of this kind takes, for messages."""
    return _EXPECTED.get(kind, "a number that a double holds")


def contents_of(columns: Sequence[Column], writer: Writer) -> tuple[Content, ...]:
    """Returns what writes the values of each column; columns of one kind and scale share it."""
    made: dict[tuple[str, Scale], Content] = {}
    for column in columns:
        key = (column.label, column.scale)
        if key not in made:
            made[key] = _content(column, writer)
    return tuple(made[column.label, column.scale] for column in columns)


def _content(column: Column, writer: Writer) -> Content:
    number, scale = writer.number, column.scale
    is_scaled = not scale.is_identity

    def write_number(value: Value) -> bytes | None:
        if value.__class__ is float and not is_scaled and value - value == 0.0:
            return number(value)
        if isinstance(value, (int, float)):
            plain = int(value) if isinstance(value, bool) else value
            with suppress(TypeError, OverflowError):
                scaled = scale.to_wire(plain) if is_scaled else plain
                if isfinite(scaled):
                    return number(scaled)
        return None

    def write_boolean(value: Value) -> bytes | None:
        return writer.boolean(value) if isinstance(value, bool) else None

    def write_text(value: Value) -> bytes | None:
        if isinstance(value, str):
            with suppress(TypeError, UnicodeEncodeError):
                return writer.text(value)
        return None

    if column.value_type is ValueType.BOOLEAN:
        return write_boolean
    return write_text if column.value_type is ValueType.TEXT else write_number
