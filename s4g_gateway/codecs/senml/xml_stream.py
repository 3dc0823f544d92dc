"""SensML out of a stream in XML. Source: RFC 8428 §7."""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree

from s4g_gateway.codecs.senml.dialect import STRICT, Dialect
from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.codecs.senml.limits import DEFAULT_LIMITS, Limits
from s4g_gateway.codecs.senml.record import Record
from s4g_gateway.codecs.senml.stream import StreamDecoder
from s4g_gateway.codecs.senml.xml_format import (
    DOCTYPE,
    PACK_TAG,
    RECORD_TAG,
    event_parser,
    record_from_attributes,
)


class _Target:
    """What lxml calls while it parses; builds no tree."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.count = 0
        self.depth = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        expected = (PACK_TAG, RECORD_TAG)
        if self.depth > 1 or tag != expected[self.depth]:
            raise SenmlDecodeError(f"element {tag!r:.80}; expected records in one {PACK_TAG}")
        if self.depth == 1:
            self.count += 1
            self.records.append(record_from_attributes(attributes.items(), self.count))
        self.depth += 1

    def end(self, _tag: str) -> None:
        self.depth -= 1

    def data(self, text: str) -> None:
        if text.strip(" \t\r\n"):
            raise SenmlDecodeError("text between the elements; expected attributes only")

    def close(self) -> None:
        """Called by lxml at the end of the document."""


class XmlStreamDecoder(StreamDecoder):
    """SensML in XML: one ``sensml`` element whose end may never come."""

    def __init__(self, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(dialect=dialect, limits=limits)
        self._target = _Target()
        self._parser = event_parser(self._target)
        self._tail = b""
        self._pending = 0
        self._loose = False

    def _take(self, data: bytes) -> list[Record]:
        markup_end = data.rfind(b">") + 1
        self._loose = bool(data[markup_end:].strip()) or (self._loose and not markup_end)
        if DOCTYPE in self._tail + data:
            raise SenmlDecodeError("a document type declaration; expected none")
        self._tail = (self._tail + data)[-len(DOCTYPE) :]
        target = self._target
        started = target.depth > 0
        if data:
            try:
                self._parser.feed(data)
            except etree.XMLSyntaxError as error:
                raise SenmlDecodeError(f"no XML: {error}", record=target.count + 1) from error
        self.finished = (started or target.count > 0) and target.depth == 0
        records, target.records = target.records, []
        self._count = target.count
        self._pending = 0 if records else self._pending + len(data)
        if self._pending > self._limits.max_record_bytes:
            raise self._too_long()
        return records

    def close(self) -> None:
        """Ends the input, see ``StreamDecoder.close``.

        Raises:
            SenmlDecodeError: it stopped within a record, or the document does not end after its end tag.
        """
        if self.finished and not self._spent:
            self._spent = True
            try:
                self._parser.close()
            except etree.XMLSyntaxError as error:
                raise SenmlDecodeError(f"no XML: {error}") from error
        super().close()

    def _unfinished(self) -> bool:
        return self._loose or self._target.depth > 1
