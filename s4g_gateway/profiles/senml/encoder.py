"""Encoders compiled per DataSet: the constant bytes are laid out once, a Report only fills in values.

The usual Report, every member at one time with good quality, takes a path per representation that touches
each value in C only; every other Report is put together record by record. Both write the same bytes for the
same Report (a property test holds them to it).

Source: RFC 8428 §5 to §7; names, units and quality as the project's design fixes them (docs/senml.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import compress

from s4g_gateway.codecs.senml import DEFAULT_VERSION, Format
from s4g_gateway.errors import EncodeError
from s4g_gateway.model import DataSet, ObjectReference, Report, Value
from s4g_gateway.model.quality import ALL_BITS
from s4g_gateway.profiles.senml.columns import Column, WireMember, check_columns, columns_of
from s4g_gateway.profiles.senml.contents import expected_of
from s4g_gateway.profiles.senml.fast_encoders import (
    MAX_TIME_NS,
    MIN_TIME_NS,
    compile_fast_encoder,
    time_to_wire_s,
)
from s4g_gateway.profiles.senml.layout import Layout


class ColumnEncoder:
    """Encodes columns of values.

    Not to be shared between threads: the values of the pack in work stand in the compiled layout.

    Args:
        columns: what travels, in order.
        form: representation.

    Raises:
        ProfileError: two columns of one name, or one that SenML cannot carry.
    """

    __slots__ = ("_layout", "all_good", "fast", "form", "media_type", "version")

    def __init__(self, columns: Sequence[Column], form: Format) -> None:
        check_columns(columns)
        self.form = form
        self.media_type = form.media_type
        layout = self._layout = Layout(columns, form)
        self.version = layout.pattern.version or DEFAULT_VERSION
        self.all_good = layout.pattern.all_good
        self.fast = compile_fast_encoder(layout)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What travels; made anew at every call."""
        return self._layout.columns

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
        layout, pattern = self._layout, self._layout.pattern
        writer, frame, states_base = pattern.writer, layout.frame, pattern.states_base
        number, write_quality = writer.number, writer.quality
        contents, bases, plain = pattern.contents, pattern.bases, pattern.plain
        size = len(contents)
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
        time = b"" if times else number(self._checked_time_s(time_ns, 0))  # type: ignore[arg-type]  # one time
        records: list[bytes] = []
        base: int | None = None
        for position in range(size) if included is None else compress(range(size), included):
            if times is not None:
                time = number(self._checked_time_s(times[position], position))
            value, state = values[position], quality[position]
            own_base = bases[position]
            if value is not None:
                content = contents[position](value)
                if content is None:
                    raise self._unfit(position, value)
                if base == own_base and not label:
                    before, after = plain[position]
                    records.append(before + content + after)
                else:
                    key = (position, False, states_base(base, position), not records, label)
                    records.append(_filled(frame(key), time, content))
                    base = own_base
                    label = "t" if times else ""
            if value is None or state:
                if not 0 <= state <= ALL_BITS:
                    name = layout.name(position)
                    raise EncodeError(f"{name}: quality {state}; expected 0 to {ALL_BITS}")
                key = (position, True, states_base(base, position), not records, label)
                records.append(_filled(frame(key), time, write_quality(state)))
                base = own_base
                label = "t" if times else ""
        if not records:
            raise EncodeError("a Report without members; expected at least one")
        return writer.pack(records)

    def _checked_time_s(self, time_ns: int, position: int) -> float:
        if not MIN_TIME_NS <= time_ns < MAX_TIME_NS:
            name = self._layout.name(position)
            raise EncodeError(f"{name}: time {time_ns} ns; expected one from 1978-07-04 to 2106")
        return time_to_wire_s(time_ns)

    def _unfit(self, position: int, value: Value) -> EncodeError:
        expected = expected_of(self._layout.pattern.columns[position].value_type)
        return EncodeError(f"{self._layout.name(position)}: {value!r:.40}; expected {expected}")


def _filled(pieces: tuple[bytes, ...], time: bytes, content: bytes) -> bytes:
    if len(pieces) == 2:
        return pieces[0] + content + pieces[1]
    return b"".join((pieces[0], time, pieces[1], content, pieces[2]))


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
