"""SenML in CBOR with integer labels. Source: RFC 8428 §6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from io import BytesIO
from struct import pack, unpack
from types import MappingProxyType
from typing import Final, NoReturn

import cbor2

from s4g_gateway.codecs.senml.dialect import STRICT, Dialect
from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.codecs.senml.limits import DEFAULT_LIMITS, Limits
from s4g_gateway.codecs.senml.record import (
    BY_NUMBER,
    BY_TEXT,
    Kind,
    Record,
    build_record,
    check_encodable,
    compact_number,
)
from s4g_gateway.codecs.senml.resolution import check_pack
from s4g_gateway.errors import EncodeError

_REFUSED_TAGS = (0, 1, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000)
"""Tags cbor2 would turn into dates, patterns, messages, shared references and the like."""


class _RefusedTag(Exception):  # noqa: N818 - never leaves this module
    pass


def _refuse(_value: object, _immutable: bool) -> NoReturn:
    raise _RefusedTag


_SEMANTIC_DECODERS: Final = dict.fromkeys(_REFUSED_TAGS, _refuse)


def load_cbor_item(data: bytes, limits: Limits) -> object:
    """Parses one CBOR item; tags other than 2, 3 (big integers) and 4 (decimal fraction) are refused.

    Raises:
        SenmlDecodeError: no such item, bytes after it, a label twice in a map, or beyond the limits.
    """
    stream = BytesIO(data)
    try:
        item: object = cbor2.CBORDecoder(
            stream,
            tag_hook=_refuse,
            semantic_decoders=_SEMANTIC_DECODERS,
            max_depth=limits.max_depth,
            allow_duplicate_keys=False,
        ).decode()
    except cbor2.CBORDecodeError as error:
        if isinstance(error.__cause__, _RefusedTag):
            raise SenmlDecodeError("a CBOR tag; expected none but decimal fractions") from error
        raise SenmlDecodeError(f"no CBOR: {error}", offset=min(stream.tell(), len(data))) from error
    if stream.tell() != len(data):
        raise SenmlDecodeError("bytes after the end of the pack", offset=stream.tell())
    return item


def load_cbor(data: bytes, limits: Limits, *, indefinite: bool = False) -> list[object]:
    """Parses the outer array of a pack; the elements are not looked at.

    Args:
        data: the pack.
        limits: how much is accepted.
        indefinite: accept an outer array of indefinite length, which the standard keeps for streams.

    Raises:
        SenmlDecodeError: no such array, empty, or beyond the limits.
    """
    if len(data) > limits.max_bytes:
        raise SenmlDecodeError(f"{len(data)} bytes; expected at most {limits.max_bytes}")
    if data[:1] == b"\x9f" and not indefinite:
        raise SenmlDecodeError("an array of indefinite length; expected a definite one in a pack", offset=0)
    item = load_cbor_item(data, limits)
    if not isinstance(item, list):
        raise SenmlDecodeError(f"expected a CBOR array of records, found {type(item).__name__}")
    if not item:
        raise SenmlDecodeError("a pack without records; expected at least one")
    if len(item) > limits.max_records:
        raise SenmlDecodeError(f"{len(item)} records; expected at most {limits.max_records}")
    return item


def record_from_map(value: object, number: int) -> Record:
    """Makes a Record of one parsed CBOR map.

    Raises:
        SenmlDecodeError: no map, wrong types, or a registered label written as text.
    """
    if not isinstance(value, dict):
        raise SenmlDecodeError(f"expected a CBOR map, found {type(value).__name__}", record=number)
    fields: dict[str, object] = {}
    for key, content in value.items():
        if type(key) is int:
            label = BY_NUMBER.get(key)
            if label is None:
                continue  # labels not understood are ignored; the standard adds no further integers
            text = label.text
        elif type(key) is str:
            known = BY_TEXT.get(key)
            if known is not None and known.number is not None:
                raise SenmlDecodeError(f"label {key!r} as text; expected {known.number}", record=number)
            text = key
        else:
            raise SenmlDecodeError(f"label {key!r:.40}; expected an integer or a text", record=number)
        fields[text] = float(content) if isinstance(content, Decimal) else content
    return build_record(fields, number)


def decode_cbor(
    data: bytes, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS
) -> tuple[Record, ...]:
    """Decodes a pack.

    Args:
        data: ``application/senml+cbor``.
        dialect: which rules hold.
        limits: how much is accepted.

    Returns:
        The records as they stand, checked against the rules of RFC 8428 §4.

    Raises:
        SenmlDecodeError: no such pack.
    """
    items = load_cbor(data, limits, indefinite=dialect.indefinite_pack)
    records = tuple(record_from_map(item, number) for number, item in enumerate(items, start=1))
    check_pack(records, dialect)
    return records


def cbor_head(major: int, argument: int) -> bytes:
    """Returns the shortest head of an item. Source: RFC 8949 §3."""
    if argument < 24:
        return bytes((major << 5 | argument,))
    if argument < 1 << 8:
        return bytes((major << 5 | 24, argument))
    if argument < 1 << 16:
        return pack(">BH", major << 5 | 25, argument)
    if argument < 1 << 32:
        return pack(">BI", major << 5 | 26, argument)
    return pack(">BQ", major << 5 | 27, argument)


def cbor_int(value: int) -> bytes:
    """Returns an integer of at most 64 bits."""
    return cbor_head(0, value) if value >= 0 else cbor_head(1, -1 - value)


def cbor_text(value: str) -> bytes:
    """Returns a text string of definite length."""
    encoded = value.encode()
    return cbor_head(3, len(encoded)) + encoded


def cbor_number(value: float) -> bytes:
    """Returns a number in the shortest form that keeps its value as a double."""
    compact = compact_number(value)
    forms = [cbor_int(compact)] if isinstance(compact, int) else []
    for form, head in (("e", b"\xf9"), ("f", b"\xfa"), ("d", b"\xfb")):
        try:
            encoded = pack(">" + form, value)
        except OverflowError:
            continue
        if unpack(">" + form, encoded)[0] == value:
            forms.append(head + encoded)
    return min(forms, key=len)


def _content(value: str | float | bool | bytes) -> bytes:
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, str):
        return cbor_text(value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, int):
        return cbor_int(value) if -(2**64) <= value < 2**64 else cbor_number(float(value))
    return cbor_number(value)


LABEL_BYTES: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        text: cbor_text(text) if label.number is None else cbor_int(label.number)
        for text, label in BY_TEXT.items()
    }
)
"""Each registered label as it stands in CBOR."""


def record_to_cbor(record: Record, number: int) -> bytes:
    """Encodes one record as a CBOR map.

    Raises:
        EncodeError: the record holds what cannot be carried.
    """
    check_encodable(record, number)
    fields = record.fields()
    parts = [cbor_head(5, len(fields) + len(record.extensions))]
    for label, value in fields:
        number_field = label.kind is Kind.NUMBER and isinstance(value, (int, float))
        parts += [LABEL_BYTES[label.text], cbor_number(float(value)) if number_field else _content(value)]
    for text, extension in record.extensions:
        parts += [cbor_text(text), _content(extension)]
    return b"".join(parts)


def encode_cbor(records: Iterable[Record]) -> bytes:
    """Encodes a pack.

    Returns:
        ``application/senml+cbor``: integer labels in the standard's order, numbers in their shortest form.

    Raises:
        EncodeError: no record, or one that cannot be carried.
    """
    body = [record_to_cbor(record, number) for number, record in enumerate(records, start=1)]
    if not body:
        raise EncodeError("a pack without records; expected at least one")
    return cbor_head(4, len(body)) + b"".join(body)
