"""SenML Records: the labels of the standard and one frozen object per record."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import inf, isfinite
from types import MappingProxyType
from typing import Final

from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.errors import EncodeError

ExtensionValue = str | float | int | bool | bytes

DEFAULT_VERSION: Final = 10
SECONDARY_UNITS_VERSION: Final = 26
"""Version 10 with feature 4. Source: RFC 9100 §4."""


class Kind(Enum):
    """What a field holds."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "unsigned integer"
    BOOLEAN = "boolean"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Label:
    """One label of the registry.

    Attributes:
        text: label in JSON and XML.
        number: label in CBOR; None where CBOR uses the text.
        kind: what its field holds.
        attribute: name of the field in ``Record``.
    """

    text: str
    number: int | None
    kind: Kind
    attribute: str


LABELS: Final = (
    Label("bn", -2, Kind.TEXT, "base_name"),
    Label("bt", -3, Kind.NUMBER, "base_time_s"),
    Label("bu", -4, Kind.TEXT, "base_unit"),
    Label("bv", -5, Kind.NUMBER, "base_value"),
    Label("bs", -6, Kind.NUMBER, "base_sum"),
    Label("bver", -1, Kind.INTEGER, "base_version"),
    Label("bct", None, Kind.TEXT, "base_content_format"),
    Label("n", 0, Kind.TEXT, "name"),
    Label("u", 1, Kind.TEXT, "unit"),
    Label("t", 6, Kind.NUMBER, "time_s"),
    Label("ut", 7, Kind.NUMBER, "update_time_s"),
    Label("v", 2, Kind.NUMBER, "value"),
    Label("vs", 3, Kind.TEXT, "string_value"),
    Label("vb", 4, Kind.BOOLEAN, "boolean_value"),
    Label("vd", 8, Kind.DATA, "data_value"),
    Label("s", 5, Kind.NUMBER, "value_sum"),
    Label("ct", None, Kind.TEXT, "content_format"),
)
"""Every registered label, in the order our encoders write them. Source: RFC 8428 §12.2, RFC 9193 §9."""

BY_TEXT: Final[Mapping[str, Label]] = MappingProxyType({label.text: label for label in LABELS})
BY_NUMBER: Final[Mapping[int, Label]] = MappingProxyType(
    {label.number: label for label in LABELS if label.number is not None}
)
_EXTENSION = re.compile(r"[A-Za-z0-9][-_:.A-Za-z0-9]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One SenML Record as it stands in a pack, or resolved (then without base fields, but for the version).

    Attributes:
        base_name: ``bn``.
        base_time_s: ``bt``, s.
        base_unit: ``bu``.
        base_value: ``bv``.
        base_sum: ``bs``.
        base_version: ``bver``.
        base_content_format: ``bct``.
        name: ``n``.
        unit: ``u``.
        time_s: ``t``, s; below 2**28 relative to now.
        update_time_s: ``ut``, s: longest time until the next record of this name.
        value: ``v``.
        string_value: ``vs``.
        boolean_value: ``vb``.
        data_value: ``vd``.
        value_sum: ``s``: integral of the value over time, in ``unit`` times s.
        content_format: ``ct``: what ``data_value`` holds.
        extensions: labels outside the registry with their values, in order; only plain values are kept.

    Source: RFC 8428 §4.3, RFC 9193 §3 and §4.
    """

    base_name: str | None = None
    base_time_s: float | None = None
    base_unit: str | None = None
    base_value: float | None = None
    base_sum: float | None = None
    base_version: int | None = None
    base_content_format: str | None = None
    name: str | None = None
    unit: str | None = None
    time_s: float | None = None
    update_time_s: float | None = None
    value: float | None = None
    string_value: str | None = None
    boolean_value: bool | None = None
    data_value: bytes | None = None
    value_sum: float | None = None
    content_format: str | None = None
    extensions: tuple[tuple[str, ExtensionValue], ...] = ()

    def fields(self) -> list[tuple[Label, str | float | bool | bytes]]:
        """Returns the fields that are present, with their labels, in our writing order."""
        present = ((label, getattr(self, label.attribute)) for label in LABELS)
        return [(label, value) for label, value in present if value is not None]


def build_record(fields: Mapping[str, object], number: int) -> Record:
    """Makes a Record of decoded fields, checking types and must-understand labels.

    Args:
        fields: text labels and values; numbers as int or float, data as bytes.
        number: number of the record in its pack, from 1, for messages.

    Returns:
        The record. Unknown labels with a plain value become extensions, others are dropped.

    Raises:
        SenmlDecodeError: a value has the wrong type, or an unknown label must be understood.

    Source: RFC 8428 §4.3, §4.4.
    """
    known: dict[str, object] = {}
    extensions: list[tuple[str, ExtensionValue]] = []
    for text, value in fields.items():
        label = BY_TEXT.get(text)
        if label is not None:
            known[label.attribute] = _checked(label, value, number)
        elif text.endswith("_"):
            raise SenmlDecodeError(f"label {text!r} must be understood and is not", record=number)
        elif _EXTENSION.match(text) and isinstance(value, (str, int, float, bytes)):
            plain = _to_double(value) if type(value) is int and not -(2**63) <= value < 2**64 else value
            if isinstance(plain, (str, bytes)) or isfinite(plain):
                extensions.append((text, plain))
    return Record(**known, extensions=tuple(extensions))  # type: ignore[arg-type]  # checked per label


def _to_double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf


def _checked(label: Label, value: object, number: int) -> object:
    kind = label.kind
    if kind is Kind.NUMBER and isinstance(value, (int, float)) and not isinstance(value, bool):
        result = _to_double(value)
        if not isfinite(result):
            raise SenmlDecodeError(
                f"{label.text}: expected a finite number, found {value!r:.40}", record=number
            )
        return result
    if kind is Kind.TEXT and isinstance(value, str):
        return value
    if kind is Kind.BOOLEAN and isinstance(value, bool):
        return value
    if kind is Kind.DATA and isinstance(value, bytes):
        return value
    if kind is Kind.INTEGER and isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise SenmlDecodeError(f"{label.text}: expected {kind.value}, found {value!r:.40}", record=number)


def check_encodable(record: Record, number: int) -> None:
    """Checks a record that is about to be written.

    Raises:
        EncodeError: a number is not finite, a text is no Unicode, or an extension takes a registered label.
    """
    for label, value in record.fields():
        if isinstance(value, float) and not isfinite(value):
            raise EncodeError(f"record {number}: {label.text}: expected a finite number, found {value!r}")
    for text, value in record.extensions:
        if text in BY_TEXT or not _EXTENSION.match(text):
            raise EncodeError(f"record {number}: {text!r} cannot be the label of an extension")
        if isinstance(value, float) and not isfinite(value):
            raise EncodeError(f"record {number}: {text}: expected a finite number, found {value!r}")
    texts = [value for _, value in record.fields() if isinstance(value, str)]
    texts += [value for _, value in record.extensions if isinstance(value, str)]
    for value in texts:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise EncodeError(f"record {number}: {value!r:.40} is no Unicode text") from error


_TO_STANDARD = str.maketrans("-_", "+/")


def data_to_text(data: bytes) -> str:
    """Returns data as base64 with the URL-safe alphabet and no padding. Source: RFC 8428 §5, RFC 4648 §5."""
    return binascii.b2a_base64(data, newline=False).decode().rstrip("=").translate(str.maketrans("+/", "-_"))


def data_from_text(text: str, number: int) -> bytes:
    """Returns the data a base64url text stands for.

    Raises:
        SenmlDecodeError: padding, another alphabet or a length that no data has.
    """
    try:
        if "+" in text or "/" in text or "=" in text:
            raise ValueError("expected the URL-safe alphabet without padding")
        padded = text.translate(_TO_STANDARD) + "=" * (-len(text) % 4)
        return binascii.a2b_base64(padded.encode("ascii"), strict_mode=True)
    except ValueError as error:
        raise SenmlDecodeError(
            f"vd: expected base64url, found {text!r:.40} ({error})", record=number
        ) from error


def compact_number(value: float) -> float | int:
    """Returns a whole number as int where a double holds it exactly, so that it is written without fraction."""
    if value.is_integer() and -(2**53) <= value <= 2**53 and (value != 0 or str(value)[0] != "-"):
        return int(value)
    return value
