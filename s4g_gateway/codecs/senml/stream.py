"""SensML: records one by one, out of and into a stream that may never end.

Decoders take bytes in any portions and hand out the records that are complete. They keep at most one
unfinished record. Source: RFC 8428 §4.8.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

import orjson

from s4g_gateway.codecs.senml.cbor_format import load_cbor_item, record_from_map, record_to_cbor
from s4g_gateway.codecs.senml.cbor_scan import ItemScanner
from s4g_gateway.codecs.senml.dialect import STRICT, Dialect
from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.codecs.senml.formats import Format
from s4g_gateway.codecs.senml.json_format import record_from_object, record_to_json
from s4g_gateway.codecs.senml.limits import DEFAULT_LIMITS, Limits
from s4g_gateway.codecs.senml.record import Record
from s4g_gateway.codecs.senml.resolution import Resolver
from s4g_gateway.codecs.senml.xml_writing import HEAD, TAIL, record_to_xml
from s4g_gateway.errors import LocalProtocolError


class StreamDecoder(ABC):
    """Takes a SensML stream apart.

    After a SenmlDecodeError the decoder is spent: the stream has lost its structure.

    Args:
        dialect: which rules hold.
        limits: ``max_record_bytes`` and ``max_depth`` bound what is kept of an unfinished record.
    """

    def __init__(self, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._checker = Resolver(dialect)
        self._count = 0
        self._spent = False
        self.finished = False
        """True once the stream has been ended by its sender."""

    def feed(self, data: bytes) -> list[Record]:
        """Takes the next bytes.

        Args:
            data: any portion of the stream, also a single byte.

        Returns:
            The records completed by them, as they stand; pass each to a ``Resolver`` with the time it came.

        Raises:
            SenmlDecodeError: no such stream, or a rule of RFC 8428 §4 is broken.
            LocalProtocolError: an earlier call raised.
        """
        if self._spent:
            raise LocalProtocolError("the stream was given up after an error")
        self._spent = True
        records = self._take(data)
        for record in records:
            self._checker.resolve(record, 0.0)
        self._spent = False
        return records

    def close(self) -> None:
        """Ends the input; a stream may stop between records without its end mark.

        Raises:
            SenmlDecodeError: it stopped within a record.
        """
        if not self.finished and self._unfinished():
            raise SenmlDecodeError("the stream stopped within a record", record=self._count + 1)

    @abstractmethod
    def _take(self, data: bytes) -> list[Record]: ...

    @abstractmethod
    def _unfinished(self) -> bool: ...

    def _too_long(self) -> SenmlDecodeError:
        return SenmlDecodeError(f"longer than {self._limits.max_record_bytes} bytes", record=self._count + 1)


_JSON_SPACE = b" \t\r\n"
_STRUCTURE = re.compile(rb'["{}\[\]]')
_STRING_STOP = re.compile(rb'["\\]')


class JsonStreamDecoder(StreamDecoder):
    """SensML in JSON: an array whose end may never come."""

    def __init__(self, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(dialect=dialect, limits=limits)
        self._buffer = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False
        self._expected = b"["

    def _take(self, data: bytes) -> list[Record]:
        self._buffer += data
        records: list[Record] = []
        start = 0
        while True:
            if self._depth == 0:
                start = self._between(start)
                if self._depth == 0:
                    break
            end = self._end_of_record()
            if end is None:
                break
            records.append(self._record(bytes(self._buffer[start:end])))
            start = end
        del self._buffer[:start]
        self._scanned -= start
        if len(self._buffer) > self._limits.max_record_bytes:
            raise self._too_long()
        return records

    def _between(self, position: int) -> int:
        """Walks from the end of a record into the next; returns its start or the end of the buffer."""
        buffer = self._buffer
        while position < len(buffer):
            byte = buffer[position]
            if byte not in _JSON_SPACE:
                if self.finished or byte not in self._expected:
                    expected = "nothing" if self.finished else " or ".join(map(chr, self._expected))
                    raise SenmlDecodeError(
                        f"expected {expected}, found {chr(byte)!r}", record=self._count + 1
                    )
                if byte == ord("{"):
                    self._depth = 1
                    self._scanned = position + 1
                    return position
                if byte == ord("]"):
                    self.finished = True
                self._expected = b"{]" if byte == ord("[") else b"{"
            position += 1
        self._scanned = position
        return position

    def _end_of_record(self) -> int | None:
        buffer = self._buffer
        while True:
            found = (_STRING_STOP if self._in_string else _STRUCTURE).search(buffer, self._scanned)
            if found is None:
                self._scanned = max(len(buffer), self._scanned)
                return None
            self._scanned = found.end()
            token = found[0]
            if token == b"\\":
                self._scanned += 1  # whatever is escaped, perhaps not here yet
            elif token == b'"':
                self._in_string = not self._in_string
            elif token in b"{[":
                self._depth += 1
                if self._depth >= self._limits.max_depth:
                    raise SenmlDecodeError("nested too deep", record=self._count + 1)
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._expected = b",]"
                    return self._scanned

    def _record(self, text: bytes) -> Record:
        self._count += 1
        if len(text) > self._limits.max_record_bytes:
            raise self._too_long()
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise SenmlDecodeError(f"no JSON: {error.msg}", record=self._count) from error
        return record_from_object(value, self._count, self._limits)

    def _unfinished(self) -> bool:
        return self._depth > 0


class CborStreamDecoder(StreamDecoder):
    """SensML in CBOR: an array, usually of indefinite length. Source: RFC 8428 §6."""

    def __init__(self, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(dialect=dialect, limits=limits)
        self._scanner = ItemScanner(max_bytes=limits.max_record_bytes, max_depth=limits.max_depth)

    def _take(self, data: bytes) -> list[Record]:
        records = []
        for item in self._scanner.feed(data):
            self._count += 1
            records.append(record_from_map(load_cbor_item(item, self._limits), self._count))
        self.finished = self._scanner.finished
        return records

    def _unfinished(self) -> bool:
        return self._scanner.unfinished


def _decoder_type(form: Format) -> type[StreamDecoder]:
    if form is Format.XML:
        from s4g_gateway.codecs.senml.xml_stream import XmlStreamDecoder  # loads lxml

        return XmlStreamDecoder
    return JsonStreamDecoder if form is Format.JSON else CborStreamDecoder


def stream_decoder(
    form: Format, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS
) -> StreamDecoder:
    """Returns a decoder for a stream in the given representation."""
    return _decoder_type(form)(dialect=dialect, limits=limits)


class StreamEncoder:
    """Writes a SensML stream: ``start``, any number of ``record``, ``end`` if it ever ends.

    Args:
        form: representation.
    """

    def __init__(self, form: Format) -> None:
        self._form = form
        self._count = 0

    def start(self) -> bytes:
        """Returns what opens the stream."""
        return {Format.JSON: b"[", Format.CBOR: b"\x9f", Format.XML: HEAD}[self._form]

    def record(self, record: Record) -> bytes:
        """Returns the next record.

        Raises:
            EncodeError: the representation cannot carry it.
        """
        self._count += 1
        if self._form is Format.CBOR:
            return record_to_cbor(record, self._count)
        if self._form is Format.XML:
            return record_to_xml(record, self._count)
        return (b"" if self._count == 1 else b",") + record_to_json(record, self._count)

    def end(self) -> bytes:
        """Returns what closes the stream."""
        return {Format.JSON: b"]", Format.CBOR: b"\xff", Format.XML: TAIL}[self._form]
