"""Layouts: the constant bytes of a pack, laid out once, with holes for times and values.

A layout belongs to a list of columns and a representation. ``full`` is the layout of a pack that holds every
column at one time and no quality; ``frame`` gives single records for any other pack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from struct import Struct
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import orjson

from s4g_gateway.codecs.senml import SECONDARY, SECONDARY_UNITS_VERSION, Format
from s4g_gateway.codecs.senml.cbor_format import LABEL_BYTES, cbor_head, cbor_int, cbor_text
from s4g_gateway.codecs.senml.xml_format import HEAD, TAIL, escape_text
from s4g_gateway.profiles.senml.columns import QUALITY_SUFFIX, Column

_DOUBLE: Final = Struct(">Bd")
Constant = str | int
Fields = Sequence[tuple[str, Constant | None]]
"""Labels with their constants; None is a hole."""


FrameKey = tuple[int, bool, bool, bool, str]
"""Which record is wanted: position of the column; True for its ``.q`` record; with base name; with base
version (in a first record); label of the time field, ``bt``, ``t`` or empty for none.
"""


class Writer(ABC):
    """Writes records with holes, and values, in one representation."""

    form: Format

    @abstractmethod
    def record(self, fields: Fields) -> list[bytes]:
        """Returns the pieces of a record around its holes."""

    @abstractmethod
    def number(self, value: float) -> bytes:
        """Returns a finite number as it stands in a hole."""

    @abstractmethod
    def quality(self, value: int) -> bytes:
        """Returns the value of a ``.q`` record."""

    @abstractmethod
    def boolean(self, value: bool) -> bytes:
        """Returns a boolean as it stands in a hole."""

    @abstractmethod
    def text(self, value: str) -> bytes:
        """Returns a text as it stands in a hole.

        Raises:
            UnicodeEncodeError: no Unicode text.
            TypeError: the same.
        """

    @abstractmethod
    def around(self, count: int, /) -> tuple[bytes, bytes, bytes]:
        """Returns what stands before, between and after the records of a pack."""

    def pack(self, records: Sequence[bytes]) -> bytes:
        """Returns the pack of complete records."""
        head, between, tail = self.around(len(records))
        return head + between.join(records) + tail


class _JsonWriter(Writer):
    """A blank on each side of a hole, so that a reader of this layout finds the values by one split."""

    form = Format.JSON

    def record(self, fields: Fields) -> list[bytes]:
        parts = [
            f'"{label}": \0 ' if constant is None else f'"{label}":{orjson.dumps(constant).decode()}'
            for label, constant in fields
        ]
        return ("{" + ",".join(parts) + "}").encode().split(b"\0")

    def number(self, value: float) -> bytes:
        return orjson.dumps(value)

    def quality(self, value: int) -> bytes:
        return b"%d" % value

    def boolean(self, value: bool) -> bytes:
        return b"true" if value else b"false"

    def text(self, value: str) -> bytes:
        return orjson.dumps(value)

    def around(self, _count: int, /) -> tuple[bytes, bytes, bytes]:
        return b"[", b",", b"]"


class _XmlWriter(Writer):
    """Single quotes around a hole and nowhere else, so that a reader finds the values by one split."""

    form = Format.XML

    def record(self, fields: Fields) -> list[bytes]:
        parts = [
            f" {label}='\0'" if constant is None else f" {label}={quoteattr(str(constant))}"
            for label, constant in fields
        ]
        return ("<senml" + "".join(parts) + "/>").encode().split(b"\0")

    def number(self, value: float) -> bytes:
        return orjson.dumps(value)

    def quality(self, value: int) -> bytes:
        return b"%d" % value

    def boolean(self, value: bool) -> bytes:
        return b"true" if value else b"false"

    def text(self, value: str) -> bytes:
        return escape(escape_text(value), {"'": "&apos;"}).encode()

    def around(self, _count: int, /) -> tuple[bytes, bytes, bytes]:
        return HEAD, b"", TAIL


class _CborWriter(Writer):
    """Numbers as doubles of nine bytes, so that the layout does not move with the values."""

    form = Format.CBOR

    def record(self, fields: Fields) -> list[bytes]:
        pieces = [cbor_head(5, len(fields))]
        for label, constant in fields:
            pieces[-1] += LABEL_BYTES[label]
            if constant is None:
                pieces.append(b"")
            else:
                pieces[-1] += cbor_text(constant) if isinstance(constant, str) else cbor_int(constant)
        return pieces

    def number(self, value: float) -> bytes:
        return _DOUBLE.pack(0xFB, value)

    def quality(self, value: int) -> bytes:
        return cbor_int(value)

    def boolean(self, value: bool) -> bytes:
        return b"\xf5" if value else b"\xf4"

    def text(self, value: str) -> bytes:
        return cbor_text(value)

    def around(self, count: int, /) -> tuple[bytes, bytes, bytes]:
        return cbor_head(4, count), b"", b""


_WRITERS: Final[dict[Format, Writer]] = {
    Format.JSON: _JsonWriter(),
    Format.CBOR: _CborWriter(),
    Format.XML: _XmlWriter(),
}


class Layout:
    """The records of one list of columns in one representation.

    Args:
        columns: what travels.
        form: representation.
    """

    __slots__ = ("_frames", "columns", "version", "writer")

    def __init__(self, columns: Sequence[Column], form: Format) -> None:
        self.columns = tuple(columns)
        self.writer = _WRITERS[form]
        self.version = SECONDARY_UNITS_VERSION if any(c.unit in SECONDARY for c in columns) else 0
        self._frames: dict[FrameKey, tuple[bytes, ...]] = {}

    def frame(self, key: FrameKey) -> tuple[bytes, ...]:
        """Returns the pieces of a record around its holes: time (if asked for), then value.

        Frames are kept; there are at most 24 per column.
        """
        pieces = self._frames.get(key)
        if pieces is None:
            pieces = self._frames[key] = tuple(self.writer.record(self._fields(key)))
        return pieces

    def _fields(self, key: FrameKey) -> list[tuple[str, Constant | None]]:
        position, is_quality, has_base, has_version, time = key
        column = self.columns[position]
        fields: list[tuple[str, Constant | None]] = []
        if has_base:
            fields.append(("bn", column.base))
        if has_version and self.version:
            fields.append(("bver", self.version))
        if time:
            fields.append((time, None))
        fields.append(("n", column.name + QUALITY_SUFFIX if is_quality else column.name))
        if column.unit and not is_quality:
            fields.append(("u", column.unit))
        fields.append(("v" if is_quality else column.label, None))
        return fields

    def full(self) -> list[bytes]:
        """Returns the pieces of the pack that holds every column at one time and no quality.

        The holes are the time and then one value per column.
        """
        head, between, tail = self.writer.around(len(self.columns))
        pieces = [head]
        base: str | None = None
        for position, column in enumerate(self.columns):
            first = position == 0
            time = "bt" if first else ""
            frame = self.frame((position, False, base_changes(base, column), first, time))
            base = column.base
            if not first:
                pieces[-1] += between
            pieces[-1] += frame[0]
            pieces += frame[1:]
        pieces[-1] += tail
        return pieces


def base_changes(base: str | None, column: Column) -> bool:
    """True where a record must state its base name; ``base`` is that in force, None for none yet."""
    return column.base != base and not (base is None and not column.base)
