"""SenML of answers and requests: records built one by one, as they are rare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import cbor2
import msgspec

from s4g_gateway.codecs.senml import Format, Record, encode_pack
from s4g_gateway.errors import DecodeError
from s4g_gateway.model import DataSet, Report, Value
from s4g_gateway.model.quality import GOOD
from s4g_gateway.profiles.senml import columns_of
from s4g_gateway.profiles.senml.fast_encoders import time_to_wire_s

MAX_REQUEST_NAMES = 20_000
_LABELS = {"bn": -2, "n": 0, "v": 2, "vs": 3}
_MAX_DEPTH = 4
_DECODE: dict[Format, Callable[[bytes], object]] = {
    Format.JSON: msgspec.json.decode,
    Format.CBOR: partial(cbor2.loads, max_depth=_MAX_DEPTH),
}


def named(name: str, value: Value, *, at_s: float | None = None, unit: str = "") -> Record:
    """Returns one record; the kind of value decides between v, vb and vs."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Record(
        name=name,
        unit=unit or None,
        time_s=at_s,
        value=value if is_number else None,  # type: ignore[arg-type]  # told by is_number
        boolean_value=value if isinstance(value, bool) else None,
        string_value=value if isinstance(value, str) else None,
    )


def pairs_pack(pairs: Iterable[tuple[str, Value]], form: Format) -> bytes:
    """Encodes names and values without times, such as an answer."""
    return encode_pack([named(name, value) for name, value in pairs], form)


def report_records(data_set: DataSet, report: Report, site: str) -> Iterator[Record]:
    """Yields the records of a Report as a compiled encoder would write them."""
    columns = columns_of(data_set, site=site)
    for column, value, quality, time_ns in zip(
        columns, report.values, report.quality, report.times_ns(), strict=True
    ):
        at_s = time_to_wire_s(time_ns)
        scaled = value
        if isinstance(value, int | float) and not isinstance(value, bool):
            scaled = column.scale.to_wire(value)
        if scaled is not None:
            yield named(column.full_name, scaled, at_s=at_s, unit=column.unit)
        if quality != GOOD:
            yield Record(name=f"{column.full_name}.q", value=quality, time_s=at_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A FETCH pack (RFC 8790): names without values; ``cmd.`` members may have one.

    Attributes:
        names: what is asked for, in order, ``cmd.`` members excepted; empty asks for everything.
        members: values of the ``cmd.`` members, without their prefix.
    """

    names: tuple[str, ...]
    members: dict[str, str | float]


def sniff(payload: bytes) -> Format:
    """Returns the representation that the first byte of a pack tells.

    Raises:
        DecodeError: none.
    """
    first = payload.lstrip(b" \t\r\n")[:1]
    if first == b"[":
        return Format.JSON
    if first == b"<":
        return Format.XML
    if first and 0x80 <= first[0] <= 0x9F:
        return Format.CBOR
    raise DecodeError("expected a SenML pack in JSON, CBOR or XML", offset=0)


def decode_request(payload: bytes, *, site: str) -> Request:
    """Reads a request in JSON or CBOR; one without payload asks for everything.

    Args:
        payload: the FETCH pack.
        site: what names start with; taken off.

    Raises:
        DecodeError: no FETCH pack, or a name of another site.

    Source: RFC 8790 §3 (clause unverified).
    """
    if not payload:
        return Request(names=(), members={})
    form = sniff(payload)
    if form is Format.XML:
        raise DecodeError("a FETCH pack is JSON or CBOR (RFC 8790 defines no XML)", offset=0)
    try:
        records = _DECODE[form](payload)
    except (msgspec.DecodeError, cbor2.CBORDecodeError, RecursionError, ValueError) as error:
        raise DecodeError(f"no FETCH pack: {error}") from error
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_REQUEST_NAMES:
        raise DecodeError(f"expected a list of 1 to {MAX_REQUEST_NAMES} records")
    return _request(records, form, f"{site}/")


def _request(records: list[object], form: Format, head: str) -> Request:
    names: dict[str, None] = {}
    members: dict[str, str | float] = {}
    base = ""
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise DecodeError(f"record {number}: expected a map")
        fields = {
            label: record.get(label if form is Format.JSON else code) for label, code in _LABELS.items()
        }
        base = _text(fields["bn"], number) or base
        name = base + _text(fields["n"], number)
        if not name.startswith(head):
            raise DecodeError(f"record {number}: name {name!r:.80}, expected one that starts with {head}")
        path = name.removeprefix(head)
        value = fields["vs"] if fields["v"] is None else fields["v"]
        if path.startswith("cmd."):
            if not isinstance(value, str | int | float) or isinstance(value, bool):
                raise DecodeError(f"record {number}: {path} without a value")
            members[path.removeprefix("cmd.")] = value
        elif value is not None:
            raise DecodeError(f"record {number}: {path!r:.80} has a value; a request names, it does not set")
        elif path:
            names[path] = None
    return Request(names=tuple(names), members=members)


def _text(value: object, number: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 300:
        raise DecodeError(f"record {number}: a name that is no text of at most 300 characters")
    return value
