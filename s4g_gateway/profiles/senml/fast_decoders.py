"""Decoding packs of our own encoder's layout: the constant bytes are compared, the values taken.

Each function made here returns None for every other pack, and never anything the general way would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from struct import error as struct_error
from types import GenericAlias
from typing import Any, Final

import msgspec

from s4g_gateway.codecs.senml import RELATIVE_BELOW_S, Format
from s4g_gateway.model import Value, ValueType
from s4g_gateway.profiles.senml.columns import Column, factors_of
from s4g_gateway.profiles.senml.fast_encoders import cbor_holes, cbor_structure
from s4g_gateway.profiles.senml.layout import Layout

MAX_TIME_S: Final = 2**63 / 1e9
"""Later times do not fit the model's 64 bits of ns."""

FastDecode = Callable[[bytes], tuple[tuple[Value, ...], int] | None]

_WHOLE: Final = (ValueType.INTEGER, ValueType.ENUMERATED)
_FLAGS: Final = {b"\xf5": True, b"\xf4": False}


def time_from_wire_ns(time_s: float) -> int:
    """Returns a time of the model, rounded to 1 us as our encoder writes it."""
    return round(time_s * 1e6) * 1000


def _none(_data: bytes) -> None:
    """The fast path of columns that have none."""


def compile_fast_decoder(layout: Layout) -> FastDecode:
    """Compiles the path for packs that hold every column at one time with good quality."""
    if layout.pattern.has_text:
        return _none
    form = layout.pattern.writer.form
    if form is Format.CBOR:
        return _cbor_path(layout)
    return _text_path(layout, b" " if form is Format.JSON else b"'")


def _finish(columns: Sequence[Column]) -> Callable[[tuple[Any, ...]], tuple[Value, ...] | None] | None:
    """Returns what turns wire values into canonical ones; None where they are the same."""
    multiplied, divided = factors_of(columns)
    whole = tuple(p for p, column in enumerate(columns) if column.value_type in _WHOLE)
    if not multiplied and not divided and not whole:
        return None

    def finish(wire: tuple[Any, ...]) -> tuple[Value, ...] | None:
        values = list(wire)
        total = 0.0
        for position, factor in divided:
            values[position] *= factor
            total += values[position]
        for position, factor in multiplied:
            values[position] /= factor
            total += values[position]
        if total - total != 0.0:
            return None
        for position in whole:
            value = values[position]
            if value.__class__ is float:
                if not value.is_integer():
                    return None
                values[position] = int(value)
        return tuple(values)

    return finish


def _cbor_path(layout: Layout) -> FastDecode:
    structure, items = cbor_structure(layout)
    holes = zip(items[0::2], cbor_holes(layout), strict=False)
    skipped = "".join(f"{len(piece)}x{hole}" for piece, hole in holes)  # type: ignore[arg-type]  # constants
    unpack = Struct(f">{skipped}{len(items[-1])}x").unpack  # type: ignore[arg-type]  # likewise
    size, pack = structure.size, structure.pack
    booleans = layout.pattern.booleans
    finish = _finish(layout.pattern.columns)

    def decode(data: bytes) -> tuple[tuple[Value, ...], int] | None:
        if len(data) != size:
            return None
        try:
            found = unpack(data)
            items[1::2] = found
            # written again, it must be the same pack: then every constant is ours
            if pack(*items) != data:
                return None
        except struct_error:
            return None
        values: tuple[Any, ...] | None = found[1:]
        if booleans:
            flagged = list(found[1:])
            for position in booleans:
                flag = _FLAGS.get(flagged[position])
                if flag is None:
                    return None
                flagged[position] = flag
            values = tuple(flagged)
        total: float = sum(values)  # type: ignore[arg-type]  # numbers and booleans
        if total - total != 0.0:
            return None
        if finish is not None:
            values = finish(values)  # type: ignore[arg-type]  # not None so far
        time_s = found[0]
        if values is None or not RELATIVE_BELOW_S <= time_s < MAX_TIME_S:
            return None
        return values, round(time_s * 1e6) * 1000

    return decode


_TYPES: Final[dict[ValueType, type]] = {
    ValueType.FLOAT: float,
    ValueType.INTEGER: int,
    ValueType.ENUMERATED: int,
    ValueType.BOOLEAN: bool,
}


def _text_path(layout: Layout, separator: bytes) -> FastDecode:
    constants = [piece.strip(separator) for piece in layout.full()]
    columns = layout.pattern.columns
    types = [_TYPES[column.value_type] if column.scale.is_identity else float for column in columns]
    # one array of exactly these types: a piece of text that is no single number or boolean fails
    read = msgspec.json.Decoder(GenericAlias(tuple, (float, *types))).decode
    join = b",".join
    finish = _finish(columns)

    def decode(data: bytes) -> tuple[tuple[Value, ...], int] | None:
        parts = data.split(separator)
        if parts[0::2] != constants:
            return None
        try:
            found: tuple[Any, ...] = read(b"[%b]" % join(parts[1::2]))
        except msgspec.DecodeError:
            return None
        values: tuple[Any, ...] | None = found[1:]
        if finish is not None:
            values = finish(found[1:])
        time_s = found[0]
        if values is None or not RELATIVE_BELOW_S <= time_s < MAX_TIME_S:
            return None
        return values, round(time_s * 1e6) * 1000

    return decode
