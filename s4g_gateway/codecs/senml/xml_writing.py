"""SenML written in XML; without lxml, which a gateway that reads no XML need not load. Source: RFC 8428 §7."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import quoteattr

from s4g_gateway.codecs.senml.record import (
    ExtensionValue,
    Record,
    check_encodable,
    compact_number,
    data_to_text,
)
from s4g_gateway.errors import EncodeError

NAMESPACE: Final = "urn:ietf:params:xml:ns:senml"
HEAD: Final = f'<sensml xmlns="{NAMESPACE}">'.encode()
TAIL: Final = b"</sensml>"

_ATTRIBUTE = re.compile(r"[A-Za-z_][-_.A-Za-z0-9]*\Z")
_TO_ESCAPE = re.compile(r"[\\\x00-\x1f\ufffe\uffff]")


def escape_text(value: str) -> str:
    """Returns a String Value with the escapes of JSON for what XML cannot carry. Source: RFC 8428 §7."""
    return _TO_ESCAPE.sub(lambda match: rf"\u{ord(match[0]):04x}" if match[0] != "\\" else r"\\", value)


def xml_number(value: float) -> str:
    """Returns a number as ``xsd:double``, whole numbers without a fraction."""
    return repr(compact_number(value))


def _attribute(text: str, value: ExtensionValue, number: int) -> str:
    if isinstance(value, bool):
        content = "true" if value else "false"
    elif isinstance(value, str):
        content = escape_text(value) if text == "vs" else value
        if _TO_ESCAPE.search(content.replace("\\", "")):
            raise EncodeError(f"record {number}: {text}: XML cannot carry {value!r:.40}")
    elif isinstance(value, bytes):
        content = data_to_text(value)
    else:
        content = xml_number(value) if isinstance(value, float) else str(value)
    return f" {text}={quoteattr(content)}"


def record_to_xml(record: Record, number: int) -> bytes:
    """Encodes one record as a ``senml`` element.

    Raises:
        EncodeError: the record holds what XML cannot carry.
    """
    check_encodable(record, number)
    parts = [_attribute(label.text, value, number) for label, value in record.fields()]
    for text, extension in record.extensions:
        if not _ATTRIBUTE.match(text):
            raise EncodeError(f"record {number}: {text!r} cannot be the name of an attribute")
        parts.append(_attribute(text, extension, number))
    return f"<senml{''.join(parts)}/>".encode()


def encode_xml(records: Iterable[Record]) -> bytes:
    """Encodes a pack.

    Returns:
        ``application/senml+xml`` in UTF-8, attributes in the standard's order.

    Raises:
        EncodeError: no record, or one that XML cannot carry.
    """
    body = [record_to_xml(record, number) for number, record in enumerate(records, start=1)]
    if not body:
        raise EncodeError("a pack without records; expected at least one")
    return HEAD + b"".join(body) + TAIL
