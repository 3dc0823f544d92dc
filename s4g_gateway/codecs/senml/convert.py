"""One door for the three representations, and from one to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from s4g_gateway.codecs.senml.cbor_format import decode_cbor, encode_cbor
from s4g_gateway.codecs.senml.dialect import STRICT, Dialect
from s4g_gateway.codecs.senml.formats import Format
from s4g_gateway.codecs.senml.json_format import decode_json, encode_json
from s4g_gateway.codecs.senml.limits import DEFAULT_LIMITS, Limits
from s4g_gateway.codecs.senml.record import Record
from s4g_gateway.codecs.senml.xml_writing import encode_xml


class _Decode(Protocol):
    def __call__(self, data: bytes, *, dialect: Dialect, limits: Limits) -> tuple[Record, ...]: ...


def _decode_xml(data: bytes, *, dialect: Dialect, limits: Limits) -> tuple[Record, ...]:
    from s4g_gateway.codecs.senml.xml_format import decode_xml  # loads lxml

    return decode_xml(data, dialect=dialect, limits=limits)


_DECODE: Final[Mapping[Format, _Decode]] = {
    Format.JSON: decode_json,
    Format.CBOR: decode_cbor,
    Format.XML: _decode_xml,
}
_ENCODE: Final[Mapping[Format, Callable[[Iterable[Record]], bytes]]] = {
    Format.JSON: encode_json,
    Format.CBOR: encode_cbor,
    Format.XML: encode_xml,
}


def decode_pack(
    data: bytes, form: Format, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS
) -> tuple[Record, ...]:
    """Decodes a pack.

    Args:
        data: the pack.
        form: its representation.
        dialect: which rules hold.
        limits: how much is accepted.

    Returns:
        The records as they stand, at least one, checked against the rules of RFC 8428 §4.

    Raises:
        SenmlDecodeError: no such pack.
    """
    return _DECODE[form](data, dialect=dialect, limits=limits)


def encode_pack(records: Iterable[Record], form: Format) -> bytes:
    """Encodes records as a pack.

    Raises:
        EncodeError: no record, or one that the representation cannot carry.
    """
    return _ENCODE[form](records)


def convert(
    data: bytes,
    from_: Format,
    to: Format,
    *,
    dialect: Dialect = STRICT,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """Turns a pack of one representation into another; base fields and their places stay.

    Args:
        data: the pack.
        from_: its representation.
        to: the wanted one.
        dialect: rules for reading.
        limits: how much is accepted.

    Returns:
        The same records. Extensions that carry numbers become text on their way through XML.

    Raises:
        SenmlDecodeError: no such pack.
        EncodeError: the wanted representation cannot carry it.
    """
    return encode_pack(decode_pack(data, from_, dialect=dialect, limits=limits), to)
