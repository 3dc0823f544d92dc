"""SenML in JSON. Source: RFC 8428 §5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from s4g_gateway.codecs.senml.dialect import STRICT, Dialect
from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.codecs.senml.limits import DEFAULT_LIMITS, Limits
from s4g_gateway.codecs.senml.record import (
    Kind,
    Record,
    build_record,
    check_encodable,
    compact_number,
    data_from_text,
    data_to_text,
)
from s4g_gateway.codecs.senml.resolution import check_pack
from s4g_gateway.errors import EncodeError


def load_json(data: bytes, limits: Limits) -> list[object]:
    """Parses the outer array of a pack; the elements are not looked at.

    Raises:
        SenmlDecodeError: no JSON array, empty, or beyond the limits.
    """
    if len(data) > limits.max_bytes:
        raise SenmlDecodeError(f"{len(data)} bytes; expected at most {limits.max_bytes}")
    try:
        pack = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SenmlDecodeError(f"no JSON: {error.msg}", offset=error.pos) from error
    if not isinstance(pack, list):
        raise SenmlDecodeError(f"expected a JSON array of records, found {type(pack).__name__}")
    if not pack:
        raise SenmlDecodeError("a pack without records; expected at least one")
    if len(pack) > limits.max_records:
        raise SenmlDecodeError(f"{len(pack)} records; expected at most {limits.max_records}")
    return pack


def record_from_object(value: object, number: int, limits: Limits) -> Record:
    """Makes a Record of one parsed JSON object.

    Raises:
        SenmlDecodeError: no object, wrong types, or nested too deep.
    """
    if not isinstance(value, dict):
        raise SenmlDecodeError(f"expected a JSON object, found {type(value).__name__}", record=number)
    _check_depth(value, limits.max_depth - 1, number)
    data = value.get("vd")
    if isinstance(data, str):
        value["vd"] = data_from_text(data, number)
    version = value.get("bver")
    if isinstance(version, float) and version.is_integer():
        value["bver"] = int(version)  # 10.0 and 10 are one JSON number
    return build_record(value, number)


def _check_depth(value: object, depth: int, number: int) -> None:
    level = [value]
    while level:
        if depth < 0:
            raise SenmlDecodeError("nested too deep", record=number)
        below: list[object] = []
        for item in level:
            children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
            below += [child for child in children if isinstance(child, (dict, list))]
        level = below
        depth -= 1


def decode_json(
    data: bytes, *, dialect: Dialect = STRICT, limits: Limits = DEFAULT_LIMITS
) -> tuple[Record, ...]:
    """Decodes a pack.

    Args:
        data: ``application/senml+json``. Of a label that stands twice in one record the last counts.
        dialect: which rules hold.
        limits: how much is accepted.

    Returns:
        The records as they stand, checked against the rules of RFC 8428 §4.

    Raises:
        SenmlDecodeError: no such pack.
    """
    pack = load_json(data, limits)
    records = tuple(record_from_object(item, number, limits) for number, item in enumerate(pack, start=1))
    check_pack(records, dialect)
    return records


def record_to_json(record: Record, number: int) -> bytes:
    """Encodes one record as a JSON object.

    Raises:
        EncodeError: the record holds what JSON cannot carry.
    """
    check_encodable(record, number)
    fields: dict[str, object] = {}
    for label, value in record.fields():
        if label.kind is Kind.NUMBER and isinstance(value, float):
            fields[label.text] = compact_number(value)
        else:
            fields[label.text] = data_to_text(value) if isinstance(value, bytes) else value
    for text, extension in record.extensions:
        fields[text] = data_to_text(extension) if isinstance(extension, bytes) else extension
    try:
        return orjson.dumps(fields)
    except TypeError as error:
        raise EncodeError(f"record {number}: {error}") from error


def encode_json(records: Sequence[Record] | Iterable[Record]) -> bytes:
    """Encodes a pack.

    Returns:
        ``application/senml+json``: labels in the standard's order, whole numbers without a fraction.

    Raises:
        EncodeError: no record, or one that JSON cannot carry.
    """
    body = [record_to_json(record, number) for number, record in enumerate(records, start=1)]
    if not body:
        raise EncodeError("a pack without records; expected at least one")
    return b"[%b]" % b",".join(body)
