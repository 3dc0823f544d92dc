"""Resolution: base fields applied, relative times made absolute, records in chronological order.

Source: RFC 8428 §4.6; RFC 9193 §4 for ``bct``; RFC 9100 §2 for versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from typing import Final

from s4g_gateway.codecs.senml.dialect import MILLISECOND_THRESHOLD, STRICT, Dialect
from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.codecs.senml.record import DEFAULT_VERSION, SECONDARY_UNITS_VERSION, Record
from s4g_gateway.codecs.senml.units import SECONDARY

RELATIVE_BELOW_S: Final = float(2**28)
"""Times below this count from now. Source: RFC 8428 §4.5.3."""

NAME: Final = re.compile(r"[A-Za-z0-9][-A-Za-z0-9:./_]*\Z")
"""A resolved name. Source: RFC 8428 §4.5.1."""

_TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"  # noqa: S105 - an RFC 9110 token, no secret
_RESTRICTED = r"[A-Za-z0-9][-A-Za-z0-9!#$&^_.+]{0,126}"
_CONTENT_FORMAT = re.compile(
    rf"(?:0|[1-9][0-9]{{0,4}}|{_RESTRICTED}/{_RESTRICTED}"
    rf'(?: *; *{_TOKEN}=(?:{_TOKEN}|"(?:[ !#-\[\]-~]|\\[ -~])*"))*(?:@{_TOKEN})*)\Z'
)


def check_version(version: int, number: int) -> None:
    """Refuses a version that asks for more than this implementation knows.

    Raises:
        SenmlDecodeError: the version is above 10 and is not 26.

    Source: RFC 8428 §4.4, RFC 9100 §2.1: above 10 the version is a set of features, of which we know
    secondary units (4); versions below 10 are drafts that the base standard does not refuse.
    """
    if version > DEFAULT_VERSION and version != SECONDARY_UNITS_VERSION:
        raise SenmlDecodeError(
            f"bver {version} asks for features this receiver lacks; expected {DEFAULT_VERSION} or "
            f"{SECONDARY_UNITS_VERSION}",
            record=number,
        )


class Resolver:
    """Resolves the records of one pack or stream, one after the other.

    Args:
        dialect: which rules hold.
    """

    __slots__ = (
        "_base_content_format", "_base_name", "_base_sum", "_base_time_s", "_base_unit", "_base_value",
        "_dialect", "_number", "_version",
    )  # fmt: skip

    def __init__(self, dialect: Dialect = STRICT) -> None:
        self._dialect = dialect
        self._number = 0
        self._version: int | None = None
        self._base_name = ""
        self._base_time_s = 0.0
        self._base_unit: str | None = None
        self._base_value: float | None = None
        self._base_sum: float | None = None
        self._base_content_format: str | None = None

    def resolve(self, record: Record, now_s: float) -> Record | None:
        """Takes the next record.

        Args:
            record: as decoded.
            now_s: what relative times count from, s since 1970 UTC; for a stream, when the record was sent.

        Returns:
            The resolved record; None where the record only sets base fields.

        Raises:
            SenmlDecodeError: a rule of RFC 8428 §4 is broken.
        """
        self._number += 1
        self._take_bases(record)
        if _only_bases(record):
            return None
        version = self._version or DEFAULT_VERSION
        content_format = None
        if record.data_value is not None:
            content_format = record.content_format or self._base_content_format
            self._check_content_format(content_format)
        value, value_sum = self._value_and_sum(record)
        return Record(
            base_version=None if version == DEFAULT_VERSION else version,
            name=self._name(record),
            unit=self._unit(record, version),
            time_s=self._time_s(record, now_s),
            update_time_s=record.update_time_s,
            value=value,
            string_value=record.string_value,
            boolean_value=record.boolean_value,
            data_value=record.data_value,
            value_sum=value_sum,
            content_format=content_format,
            extensions=tuple(pair for pair in record.extensions if not pair[0].startswith("b")),
        )

    def _take_bases(self, record: Record) -> None:
        version = record.base_version
        if version is not None:
            check_version(version, self._number)
        if self._number == 1:
            self._version = version or DEFAULT_VERSION
        elif version is not None and version != self._version:
            raise self._error(f"bver {version} in a pack of version {self._version}; expected one version")
        if record.base_name is not None:
            self._base_name = record.base_name
        if record.base_time_s is not None:
            self._base_time_s = record.base_time_s
        if record.base_unit is not None:
            self._base_unit = record.base_unit
        if record.base_value is not None:
            self._base_value = record.base_value
        if record.base_sum is not None:
            self._base_sum = record.base_sum
        if record.base_content_format is not None:
            self._base_content_format = record.base_content_format

    def _name(self, record: Record) -> str:
        name = self._base_name + (record.name or "")
        if not name and self._dialect.default_name is not None:
            name = self._dialect.default_name
        if NAME.match(name) or (self._dialect.any_name and name.strip() and name.isprintable()):
            return name
        raise self._error(
            f"name {name!r:.80}; expected letters, digits and -:./_ with a letter or digit in front"
        )

    def _unit(self, record: Record, version: int) -> str | None:
        # an empty unit is what senders mean by none
        unit = (self._base_unit if record.unit is None else record.unit) or None
        if unit in SECONDARY and version != SECONDARY_UNITS_VERSION and not self._dialect.secondary_units:
            raise self._error(f"secondary unit {unit!r}; expected bver {SECONDARY_UNITS_VERSION} in the pack")
        return unit

    def _time_s(self, record: Record, now_s: float) -> float:
        time_s = self._base_time_s + (record.time_s or 0.0)
        if self._dialect.milliseconds and abs(time_s) > MILLISECOND_THRESHOLD:
            time_s /= 1000.0
        if time_s < RELATIVE_BELOW_S:
            time_s += now_s
        if not isfinite(time_s):
            raise self._error("bt + t is no finite number")
        return time_s

    def _value_and_sum(self, record: Record) -> tuple[float | None, float | None]:
        other = (record.string_value, record.boolean_value, record.data_value)
        count = sum(value is not None for value in (record.value, *other))
        if count > 1:
            raise self._error("more than one of v, vs, vb, vd; expected one")
        if count and record.value is None:
            return None, record.value_sum
        value_sum = record.value_sum
        if self._base_sum is not None:
            value_sum = self._base_sum + (value_sum or 0.0)
        value = record.value
        if self._base_value is not None and (value is not None or value_sum is None):
            value = self._base_value + (value or 0.0)
        if value is None and value_sum is None:
            raise self._error("no value; expected one of v, vs, vb, vd, or a sum")
        if not isfinite(value or 0.0) or not isfinite(value_sum or 0.0):
            raise self._error("base value or base sum leads beyond what a double holds")
        return value, value_sum

    def _check_content_format(self, text: str | None) -> None:
        if text is not None and (not _CONTENT_FORMAT.match(text) or (text.isdigit() and int(text) > 65535)):
            raise self._error(f"ct {text!r:.80} is no content format")

    def _error(self, message: str) -> SenmlDecodeError:
        return SenmlDecodeError(message, record=self._number)


_BASES: Final = (
    "base_name",
    "base_time_s",
    "base_unit",
    "base_value",
    "base_sum",
    "base_version",
    "base_content_format",
)
_NO_BASES: Final = dict.fromkeys(_BASES)
_NOTHING: Final = Record()


def _only_bases(record: Record) -> bool:
    """True for a record that carries no measurement of its own, such as the first one of RFC 8428 §5.1.7."""
    if (
        record.name is not None or record.value is not None or record.unit is not None
        or record.time_s is not None or record.value_sum is not None
    ):  # fmt: skip
        return False
    if any(not label.startswith("b") for label, _ in record.extensions):
        return False
    bare = replace(record, extensions=(), **_NO_BASES)
    return bare == _NOTHING and record != _NOTHING


def check_pack(records: Iterable[Record], dialect: Dialect = STRICT) -> None:
    """Checks a whole pack against the rules of RFC 8428 §4.

    Raises:
        SenmlDecodeError: naming the record and what was expected.
    """
    resolver = Resolver(dialect)
    for record in records:
        resolver.resolve(record, 0.0)


def resolve(records: Iterable[Record], now_s: float, dialect: Dialect = STRICT) -> tuple[Record, ...]:
    """Resolves a pack.

    Args:
        records: as decoded.
        now_s: what relative times count from, s since 1970 UTC.
        dialect: which rules hold.

    Returns:
        Resolved records in chronological order; records of one time keep their order.

    Raises:
        SenmlDecodeError: a rule of RFC 8428 §4 is broken.
    """
    resolver = Resolver(dialect)
    resolved = [resolver.resolve(record, now_s) for record in records]
    return tuple(sorted((r for r in resolved if r is not None), key=lambda r: r.time_s or 0.0))
