"""Encoders compiled per DataSet: the constant bytes are laid out once, a Report only fills in values.

The usual Report, every member at one time with good quality, takes a path per representation that touches
each value in C only; every other Report is put together record by record. Both write the same bytes for the
same Report (a property test holds them to it).

Source: RFC 8428 §5 to §7; names, units and quality as the project's design fixes them (docs/senml.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import compress
from math import isfinite

from s4g_gateway.codecs.senml import DEFAULT_VERSION, Format
from s4g_gateway.errors import EncodeError
from s4g_gateway.model import DataSet, ObjectReference, Report, Value, ValueType
from s4g_gateway.model.quality import ALL_BITS, GOOD
from s4g_gateway.profiles.senml.columns import Column, WireMember, check_columns, columns_of
from s4g_gateway.profiles.senml.fast_encoders import (
    MAX_TIME_NS,
    MIN_TIME_NS,
    compile_fast_encoder,
    time_to_wire_s,
)
from s4g_gateway.profiles.senml.layout import Layout, Writer, base_changes


class ColumnEncoder:
    """Encodes columns of values.

    Not to be shared between threads: the values of the pack in work stand in the compiled layout.

    Args:
        columns: what travels, in order.
        form: representation.

    Raises:
        ProfileError: two columns of one name, or one that SenML cannot carry.
    """

    __slots__ = (
        "_contents",
        "_layout",
        "_plain",
        "all_good",
        "columns",
        "fast",
        "form",
        "media_type",
        "version",
    )

    def __init__(self, columns: Sequence[Column], form: Format) -> None:
        check_columns(columns)
        self.columns = tuple(columns)
        self.form = form
        self.media_type = form.media_type
        layout = self._layout = Layout(columns, form)
        self.version = layout.version or DEFAULT_VERSION
        self.all_good = (GOOD,) * len(columns)
        self.fast = compile_fast_encoder(layout)
        self._contents = [_content_writer(column, layout.writer) for column in columns]
        self._plain = [layout.frame((p, False, False, False, "")) for p in range(len(columns))]

    def encode(
        self,
        values: tuple[Value, ...],
        quality: tuple[int, ...],
        time_ns: int | tuple[int, ...],
        included: bytes | None = None,
    ) -> bytes:
        """Encodes one value per column.

        Args:
            values: canonical values (wire values where the columns have no scale); None where there is none.
            quality: one IEC 61850 quality per column.
            time_ns: one time, or one per column; ns since 1970 UTC, not before 1978-07-04.
            included: one byte per column, 1 where it is to be sent; None sends all.

        Returns:
            The pack. A column without value is sent as its quality alone.

        Raises:
            EncodeError: nothing to send, or a value, quality or time that SenML cannot carry.
        """
        if included is None and isinstance(time_ns, int) and quality == self.all_good:
            data = self.fast(values, time_ns)
            if data is not None:
                return data
        return self.encode_by_record(values, quality, time_ns, included)

    def encode_by_record(
        self,
        values: tuple[Value, ...],
        quality: tuple[int, ...],
        time_ns: int | tuple[int, ...],
        included: bytes | None = None,
    ) -> bytes:
        """Does what ``encode`` does, record by record."""
        columns, contents, layout = self.columns, self._contents, self._layout
        frame, number, write_quality = layout.frame, layout.writer.number, layout.writer.quality
        size = len(columns)
        for name, entries in (
            ("values", values),
            ("quality", quality),
            ("times", time_ns),
            ("mask", included),
        ):
            if entries is not None and not isinstance(entries, int) and len(entries) != size:
                raise EncodeError(f"{len(entries)} {name} for {size} columns")
        times = None if isinstance(time_ns, int) else time_ns
        label = "bt" if times is None else "t"
        time = b"" if times else number(_checked_time_s(time_ns, columns[0]))  # type: ignore[arg-type]  # one time
        records: list[bytes] = []
        base: str | None = None
        for position in range(size) if included is None else compress(range(size), included):
            column = columns[position]
            if times is not None:
                time = number(_checked_time_s(times[position], column))
            value, state = values[position], quality[position]
            if value is not None:
                content = contents[position](value)
                if base == column.base and not label:
                    before, after = self._plain[position]
                    records.append(before + content + after)
                else:
                    pieces = frame((position, False, base_changes(base, column), not records, label))
                    records.append(_filled(pieces, time, content))
                    base = column.base
                    label = "t" if times else ""
            if value is None or state:
                if not 0 <= state <= ALL_BITS:
                    raise EncodeError(f"{column.full_name}: quality {state}; expected 0 to {ALL_BITS}")
                pieces = frame((position, True, base_changes(base, column), not records, label))
                records.append(_filled(pieces, time, write_quality(state)))
                base = column.base
                label = "t" if times else ""
        if not records:
            raise EncodeError("a Report without members; expected at least one")
        return layout.writer.pack(records)


def _filled(pieces: tuple[bytes, ...], time: bytes, content: bytes) -> bytes:
    if len(pieces) == 2:
        return pieces[0] + content + pieces[1]
    return b"".join((pieces[0], time, pieces[1], content, pieces[2]))


def _checked_time_s(time_ns: int, column: Column) -> float:
    if not MIN_TIME_NS <= time_ns < MAX_TIME_NS:
        raise EncodeError(f"{column.full_name}: time {time_ns} ns; expected one from 1978-07-04 to 2106")
    return time_to_wire_s(time_ns)


def _content_writer(column: Column, writer: Writer) -> Callable[[Value], bytes]:
    """Returns what writes a value of the column into its hole, or raises EncodeError."""
    number, scale = writer.number, column.scale
    is_scaled = not scale.is_identity

    def write_number(value: Value) -> bytes:
        if value.__class__ is float and not is_scaled and value - value == 0.0:
            return number(value)
        if isinstance(value, (int, float)):
            plain = int(value) if isinstance(value, bool) else value
            with suppress(TypeError, OverflowError):
                scaled = scale.to_wire(plain) if is_scaled else plain
                if isfinite(scaled):
                    return number(scaled)
        raise EncodeError(f"{column.full_name}: {value!r:.40}; expected a number that a double holds")

    def write_boolean(value: Value) -> bytes:
        if isinstance(value, bool):
            return writer.boolean(value)
        raise EncodeError(f"{column.full_name}: {value!r:.40}; expected a boolean")

    def write_text(value: Value) -> bytes:
        if isinstance(value, str):
            with suppress(TypeError, UnicodeEncodeError):
                return writer.text(value)
        raise EncodeError(f"{column.full_name}: {value!r:.40}; expected a Unicode text")

    if column.value_type is ValueType.BOOLEAN:
        return write_boolean
    return write_text if column.value_type is ValueType.TEXT else write_number


class Encoder:
    """Encodes the Reports of one DataSet.

    Not to be shared between threads.

    Args:
        data_set: whose Reports.
        columns: how its members travel, in its order.
        form: representation.

    Attributes:
        encode: takes a Report and returns its pack: one record per included value, ``.q`` records where
            quality is other than good. Raises EncodeError where the Report is of another DataSet, includes
            nothing, or holds what SenML cannot carry.
    """

    __slots__ = ("data_set", "encode", "form", "media_type", "version")

    def __init__(self, data_set: DataSet, columns: Sequence[Column], form: Format) -> None:
        encoder = ColumnEncoder(columns, form)
        self.data_set = data_set
        self.form = form
        self.media_type = encoder.media_type
        self.version = encoder.version
        self.encode = _report_encoder(data_set, encoder)


def _report_encoder(data_set: DataSet, encoder: ColumnEncoder) -> Callable[[Report], bytes]:
    # a closure saves what attribute look-ups would cost in every call
    fast, all_good, by_record = encoder.fast, encoder.all_good, encoder.encode_by_record

    def encode(report: Report) -> bytes:
        if report.data_set is not data_set:
            raise EncodeError(
                f"a Report of DataSet {report.data_set.name!r}; expected one of {data_set.name!r}"
            )
        time_ns = report.time_ns
        if report.included is None and time_ns.__class__ is int and report.quality == all_good:
            data = fast(report.values, time_ns)
            if data is not None:
                return data
        return by_record(report.values, report.quality, time_ns, report.included)

    return encode


def compile_encoder(
    data_set: DataSet,
    *,
    site: str,
    form: Format,
    wire: Mapping[ObjectReference, WireMember] | None = None,
    secondary_units: bool = False,
) -> Encoder:
    """Compiles the encoder of a DataSet.

    Args:
        data_set: whose Reports are encoded.
        site: first part of every name; empty for none.
        form: representation.
        wire: members that travel under another name, in another unit or by another factor than the rule's.
        secondary_units: Wh, varh, VAh, Ah and percent as they are, in packs of ``bver`` 26.

    Raises:
        ProfileError: a name or unit that SenML cannot carry, or two members of one name.
    """
    return Encoder(
        data_set, columns_of(data_set, site=site, wire=wire, secondary_units=secondary_units), form
    )
