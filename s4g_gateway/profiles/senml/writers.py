"""Writers: records with holes, and what goes into the holes, in each representation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from struct import Struct
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import orjson

from s4g_gateway.codecs.senml import Format
from s4g_gateway.codecs.senml.cbor_format import LABEL_BYTES, cbor_head, cbor_int, cbor_text
from s4g_gateway.codecs.senml.xml_writing import HEAD, TAIL, escape_text

_DOUBLE: Final = Struct(">Bd")
_NOTHING: Final = b""


class Hole(Enum):
    """What is filled in later."""

    VALUE = 0
    """A time or a value, which differs from pack to pack."""
    CONSTANT = 1
    """A base name, which differs from device to device."""


Constant = str | int
Fields = Sequence[tuple[str, Constant | Hole]]
"""Labels with their constants or holes."""


class Writer(ABC):
    """Writes records with holes, and what fills them, in one representation."""

    form: Format
    number_mark: bytes = _NOTHING
    """What stands before the eight octets of a number where its hole holds these alone."""

    @abstractmethod
    def record(self, fields: Fields) -> list[bytes]:
        """Returns the pieces of a record around its holes."""

    @abstractmethod
    def constant(self, value: str) -> bytes:
        """Returns a text as it stands in a hole for a constant."""

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
    """A blank on each side of a value, so that a reader of this layout finds the values by one split."""

    form = Format.JSON

    def record(self, fields: Fields) -> list[bytes]:
        parts = [f'"{label}":{self._content(content)}' for label, content in fields]
        return ("{" + ",".join(parts) + "}").encode().split(b"\0")

    def _content(self, content: Constant | Hole) -> str:
        if isinstance(content, Hole):
            return " \0 " if content is Hole.VALUE else "\0"
        return orjson.dumps(content).decode()

    def constant(self, value: str) -> bytes:
        # Made anew: a text from orjson keeps the kilobytes it was written in.
        return orjson.dumps(value).decode().encode()

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
    """Single quotes around a value and nowhere else, so that a reader finds the values by one split."""

    form = Format.XML

    def record(self, fields: Fields) -> list[bytes]:
        parts = [f" {label}={self._content(content)}" for label, content in fields]
        return ("<senml" + "".join(parts) + "/>").encode().split(b"\0")

    def _content(self, content: Constant | Hole) -> str:
        if isinstance(content, Hole):
            return "'\0'" if content is Hole.VALUE else "\0"
        return quoteattr(str(content))

    def constant(self, value: str) -> bytes:
        return quoteattr(value).encode()

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
    number_mark = b"\xfb"

    def record(self, fields: Fields) -> list[bytes]:
        pieces = [cbor_head(5, len(fields))]
        for label, content in fields:
            pieces[-1] += LABEL_BYTES[label]
            if isinstance(content, Hole):
                pieces.append(b"")
            else:
                pieces[-1] += cbor_text(content) if isinstance(content, str) else cbor_int(content)
        return pieces

    def constant(self, value: str) -> bytes:
        return cbor_text(value)

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


WRITERS: Final[dict[Format, Writer]] = {
    Format.JSON: _JsonWriter(),
    Format.CBOR: _CborWriter(),
    Format.XML: _XmlWriter(),
}
