"""Encoding the usual Report, every column at one time with good quality, without touching a value in Python.

Each function made here returns None for what it does not cover; the caller then goes record by record.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as struct_error
from typing import Final

import orjson

from s4g_gateway.codecs.senml import Format
from s4g_gateway.model import Value
from s4g_gateway.profiles.senml.layout import Layout

MIN_TIME_NS: Final = 2**28 * 1_000_000_000
"""1978-07-04: earlier times would be read as relative. Source: RFC 8428 §4.5.3."""
MAX_TIME_NS: Final = 2**32 * 1_000_000_000
"""2106: beyond, a double of seconds does not hold every microsecond."""

FastEncode = Callable[[tuple[Value, ...], int], bytes | None]

_TRUE, _FALSE = b"\xf5", b"\xf4"
_U, _L, _QUOTE = b'ul"'


def time_to_wire_s(time_ns: int) -> float:
    """Returns a time as it travels: s since 1970 UTC, rounded to 1 us."""
    return (time_ns + 500) // 1000 / 1e6


def _none(_values: tuple[Value, ...], _time_ns: int) -> None:
    """The fast path of columns that have none."""


def compile_fast_encoder(layout: Layout) -> FastEncode:
    """Compiles the path of a layout; texts, whose length moves the layout, have none."""
    if layout.pattern.has_text:
        return _none
    return _cbor_path(layout) if layout.pattern.writer.form is Format.CBOR else _text_path(layout)


def cbor_structure(layout: Layout) -> tuple[Struct, list[bytes | float]]:
    """Returns the structure of a full CBOR pack, and its items.

    The items are constants and holes in turn: time, then one double or one byte (boolean) per column. Layouts
    of one pattern share the structure where their base names are equally long.
    """
    pieces = layout.full()
    items: list[bytes | float] = [0.0] * (2 * len(pieces) - 1)
    items[0::2] = pieces
    structures = layout.pattern.structures
    lengths = tuple(map(len, layout.base_names))
    structure = structures.get(lengths)
    if structure is None:
        holes = [f"{len(piece)}s{hole}" for piece, hole in zip(pieces, cbor_holes(layout), strict=False)]
        structure = structures[lengths] = Struct(f">{''.join(holes)}{len(pieces[-1])}s")
    return structure, items


def cbor_holes(layout: Layout) -> str:
    """Returns one letter per hole of a full CBOR pack: a double, or the octet of a boolean."""
    holes = ["d"] * (len(layout.pattern.columns) + 1)
    for position in layout.pattern.booleans:
        holes[position + 1] = "c"
    return "".join(holes)


def _cbor_path(layout: Layout) -> FastEncode:
    structure, items = cbor_structure(layout)
    pack = structure.pack
    multiplied, divided = layout.pattern.multiplied, layout.pattern.divided
    booleans = tuple((position, 2 * position + 3) for position in layout.pattern.booleans)

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
    items = [b""] * (2 * len(pieces) - 1)
    items[0::2] = pieces
    multiplied, divided = layout.pattern.multiplied, layout.pattern.divided
    booleans = tuple((position, position + 1) for position in layout.pattern.booleans)
    size = len(layout.pattern.columns)
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
        if len(numbers) != size:
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
