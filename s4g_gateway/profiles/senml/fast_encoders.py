"""Encoding the usual Report, every column at one time with good quality, without touching a value in Python.

Each function made here returns None for what it does not cover; the caller then goes record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final

import orjson

from s4g_gateway.codecs.senml import Format
from s4g_gateway.model import Value, ValueType
from s4g_gateway.profiles.senml.columns import Column
from s4g_gateway.profiles.senml.layout import Layout

MIN_TIME_NS: Final = 2**28 * 1_000_000_000
"""1978-07-04: earlier times would be read as relative. Source: RFC 8428 §4.5.3."""
MAX_TIME_NS: Final = 2**32 * 1_000_000_000
"""2106: beyond, a double of seconds does not hold every microsecond."""

FastEncode = Callable[[tuple[Value, ...], int], bytes | None]
Factors = tuple[tuple[int, float], ...]

_TRUE, _FALSE = b"\xf5", b"\xf4"
_U, _L, _QUOTE = b'ul"'


def time_to_wire_s(time_ns: int) -> float:
    """Returns a time as it travels: s since 1970 UTC, rounded to 1 us."""
    return (time_ns + 500) // 1000 / 1e6


def factors_of(columns: Sequence[Column], scale: int = 1, offset: int = 0) -> tuple[Factors, Factors]:
    """Returns places with multipliers and places with divisors, factors of 1 left out.

    Args:
        columns: what travels.
        scale: a column's place is its position x ``scale`` + ``offset``.
        offset: see ``scale``.
    """
    scales = [(position * scale + offset, column.scale) for position, column in enumerate(columns)]
    return (
        tuple((place, each.multiplier) for place, each in scales if each.multiplier != 1.0),
        tuple((place, each.divisor) for place, each in scales if each.divisor != 1.0),
    )


def _none(_values: tuple[Value, ...], _time_ns: int) -> None:
    """The fast path of columns that have none."""


def compile_fast_encoder(layout: Layout) -> FastEncode:
    """Compiles the path of a layout; texts, whose length moves the layout, have none."""
    if any(column.value_type is ValueType.TEXT for column in layout.columns):
        return _none
    return _cbor_path(layout) if layout.writer.form is Format.CBOR else _text_path(layout)


def boolean_positions(layout: Layout) -> tuple[int, ...]:
    """Returns the positions of the boolean columns."""
    return tuple(p for p, column in enumerate(layout.columns) if column.value_type is ValueType.BOOLEAN)


def cbor_structure(layout: Layout) -> tuple[Struct, Struct, list[bytes | float]]:
    """Returns the structure of a full CBOR pack, that of its holes alone, and its items.

    The items are constants and holes in turn: time, then one double or one byte (boolean) per column.
    """
    pieces = layout.full()
    booleans = [False, *(column.value_type is ValueType.BOOLEAN for column in layout.columns)]
    items: list[bytes | float] = []
    whole = holes = ">"
    for piece, boolean in zip(pieces[:-1], booleans, strict=True):
        constant = piece if boolean else piece + b"\xfb"
        hole = "1s" if boolean else "d"
        items += [constant, _FALSE if boolean else 0.0]
        whole += f"{len(constant)}s{hole}"
        holes += f"{len(constant)}x{hole}"
    last = pieces[-1]
    items.append(last)
    return Struct(f"{whole}{len(last)}s"), Struct(f"{holes}{len(last)}x"), items


def _cbor_path(layout: Layout) -> FastEncode:
    structure, _, items = cbor_structure(layout)
    pack = structure.pack
    multiplied, divided = factors_of(layout.columns, 2, 3)
    booleans = tuple((position, 2 * position + 3) for position in boolean_positions(layout))

    def encode(values: tuple[Value, ...], time_ns: int) -> bytes | None:
        try:
            items[3::2] = values  # type: ignore[assignment]  # what is no number fails below
            total: float = sum(values)  # type: ignore[arg-type]
            for place, factor in multiplied:
                items[place] = scaled = items[place] * factor  # type: ignore[operator]
                total += scaled
            for place, factor in divided:
                items[place] = scaled = items[place] / factor  # type: ignore[operator]
                total += scaled
            # a sum equals itself only where every addend is finite
            if total - total != 0.0 or not MIN_TIME_NS <= time_ns < MAX_TIME_NS:
                return None
            for position, place in booleans:
                value = values[position]
                if value.__class__ is not bool:
                    return None
                items[place] = _TRUE if value else _FALSE
            items[1] = (time_ns + 500) // 1000 / 1e6
            return pack(*items)
        except (TypeError, ValueError, OverflowError, struct_error):
            return None

    return encode


def _text_path(layout: Layout) -> FastEncode:
    pieces = layout.full()
    items = [piece for pair in zip(pieces, [b""] * len(pieces), strict=True) for piece in pair][:-1]
    multiplied, divided = factors_of(layout.columns, 1, 1)
    booleans = tuple((position, position + 1) for position in boolean_positions(layout))
    dumps, join = orjson.dumps, b"".join

    def encode_numbers(values: tuple[Value, ...], time_ns: int) -> bytes | None:
        numbers = [(time_ns + 500) // 1000 / 1e6, *values]
        try:
            for place, factor in multiplied:
                numbers[place] *= factor  # type: ignore[operator]
            for place, factor in divided:
                numbers[place] /= factor  # type: ignore[operator]
            text = dumps(numbers)
            # true, false, null (also for what is not finite) and texts are no numbers
            if _U in text or _L in text or _QUOTE in text or not MIN_TIME_NS <= time_ns < MAX_TIME_NS:
                return None
            items[1::2] = text[1:-1].split(b",")
        except (TypeError, ValueError, OverflowError):
            return None
        return join(items)

    def encode(values: tuple[Value, ...], time_ns: int) -> bytes | None:
        numbers = list(values)
        if len(numbers) != len(layout.columns):
            return None
        for position, _ in booleans:
            if numbers[position].__class__ is not bool:
                return None
            numbers[position] = 0
        if encode_numbers(tuple(numbers), time_ns) is None:
            return None
        for position, place in booleans:
            items[2 * place + 1] = b"true" if values[position] else b"false"
        return join(items)

    return encode if booleans else encode_numbers
