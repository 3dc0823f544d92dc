"""SenML read from XML, without entities, DTDs or network. Source: RFC 8428 §7."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from lxml import etree

from s4g_gateway.codecs.senml.dialect import STRICT, Dialect
from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.codecs.senml.limits import DEFAULT_LIMITS, Limits
from s4g_gateway.codecs.senml.record import (
    BY_TEXT,
    Kind,
    Record,
    build_record,
    data_from_text,
)
from s4g_gateway.codecs.senml.resolution import check_pack
from s4g_gateway.codecs.senml.xml_writing import NAMESPACE

PACK_TAG: Final = f"{{{NAMESPACE}}}sensml"
RECORD_TAG: Final = f"{{{NAMESPACE}}}senml"
DOCTYPE: Final = b"<!DOCTYPE"

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}\Z")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_SPACE = " \t\r\n"
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|(["\\/bfnrt]))|\\')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


_SAFELY: Final[dict[str, Any]] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "attribute_defaults": False,
    "huge_tree": False,
    "recover": False,
    "remove_comments": True,
    "remove_pis": True,
    "collect_ids": False,
}
"""UTF-8 only, no entities, nothing from outside."""

_PARSER: Final = etree.XMLParser(**_SAFELY)


class EventParser(Protocol):
    """A parser fed in portions."""

    def feed(self, data: bytes) -> None:
        """Parses the next bytes, calling the target for each event."""

    def close(self) -> object:
        """Ends the document."""


def event_parser(target: object) -> EventParser:
    """Returns a parser, as safe as that for packs, that hands its events to ``target`` and builds no tree."""
    options = {**_SAFELY, "target": target}
    return cast("EventParser", etree.XMLParser(**options))


def load_xml(data: bytes, limits: Limits) -> list[etree._Element]:
    """Parses a pack; the attributes of its records are not looked at.

    Raises:
        SenmlDecodeError: no such document, a DTD, no record, foreign elements or text, or beyond the limits.
    """
    if len(data) > limits.max_bytes:
        raise SenmlDecodeError(f"{len(data)} bytes; expected at most {limits.max_bytes}")
    position = data.find(DOCTYPE)
    if position >= 0:
        raise SenmlDecodeError("a document type declaration; expected none", offset=position)
    try:
        root = etree.fromstring(data, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise SenmlDecodeError(f"no XML: {error}") from error
    if root.tag != PACK_TAG:
        raise SenmlDecodeError(f"root element {root.tag!r:.80}; expected {PACK_TAG}")
    records = list(root)
    if not records:
        raise SenmlDecodeError("a pack without records; expected at least one")
    if len(records) > limits.max_records:
        raise SenmlDecodeError(f"{len(records)} records; expected at most {limits.max_records}")
    if {element.tag for element in records} != {RECORD_TAG} or any(map(len, records)):
        raise SenmlDecodeError(f"foreign elements; expected {RECORD_TAG} only, one level deep")
    if "".join(root.itertext()).strip(_SPACE):  # the parser keeps no comment or PI
        raise SenmlDecodeError("text between the elements; expected attributes only")
    return records


def record_from_attributes(attributes: Iterable[tuple[str, str]], number: int) -> Record:
    """Makes a Record of the attributes of one ``senml`` element.

    Args:
        attributes: names (those of other namespaces are skipped) and values.
        number: number of the record in its pack, from 1, for messages.

    Raises:
        SenmlDecodeError: an attribute is not of its type.
    """
    fields: dict[str, object] = {}
    for text, value in attributes:
        if text[0] == "{":
            continue
        label = BY_TEXT.get(text)
        fields[text] = value if label is None else _content(text, label.kind, value, number)
    return build_record(fields, number)


def _content(text: str, kind: Kind, value: str, number: int) -> object:
    if kind is Kind.TEXT:
        return _unescape(value, number) if text == "vs" else value
    if kind is Kind.DATA:
        return data_from_text(value.strip(_SPACE), number)
    token = value.strip(_SPACE)
    if kind is Kind.NUMBER and _NUMBER.match(token):
        return float(token)
    if kind is Kind.INTEGER and _INTEGER.match(token):
        return int(token)
    if kind is Kind.BOOLEAN and token in _BOOLEANS:
        return _BOOLEANS[token]
    raise SenmlDecodeError(f"{text}: expected {kind.value}, found {value!r:.40}", record=number)


def _unescape(value: str, number: int) -> str:
    if "\\" not in value:
        return value

    def replacement(match: re.Match[str]) -> str:
        code, plain = match.groups()
        if code:
            return chr(int(code, 16))
        if plain:
            return _ESCAPES[plain]
        raise SenmlDecodeError(f"vs: a lone backslash in {value!r:.40}", record=number)

    try:
        # \ud83d\ude00 stands for one character; a lone half for none
        return _ESCAPE.sub(replacement, value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise SenmlDecodeError(f"vs: half a surrogate pair in {value!r:.40}", record=number) from error


def decode_xml(
    data: bytes, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS
) -> tuple[Record, ...]:
    """Decodes a pack.

    Args:
        data: ``application/senml+xml`` in UTF-8.
        dialect: which rules hold.
        limits: how much is accepted.

    Returns:
        The records as they stand, checked against the rules of RFC 8428 §4. Extensions are text, because
        XML carries no type.

    Raises:
        SenmlDecodeError: no such pack.
    """
    elements = load_xml(data, limits)
    records = tuple(
        record_from_attributes(element.items(), number) for number, element in enumerate(elements, start=1)
    )
    check_pack(records, dialect)
    return records
