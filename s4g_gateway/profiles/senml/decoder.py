"""Decoders compiled per DataSet: Reports from packs of any layout, records from anything else.

Three ways, each giving the same result as the last where it applies: the layout of our own encoder; packs of
any layout with common fields; and the general way, which covers the whole standard record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from s4g_gateway.codecs.senml import (
    DEFAULT_LIMITS,
    STRICT,
    Dialect,
    Format,
    Limits,
    Record,
    Resolver,
    SenmlDecodeError,
)
from s4g_gateway.codecs.senml.cbor_format import load_cbor, record_from_map
from s4g_gateway.codecs.senml.json_format import load_json, record_from_object
from s4g_gateway.model import DataSet, ObjectReference, Reason, Report, Value
from s4g_gateway.model.quality import GOOD
from s4g_gateway.profiles.senml.assembly import Assembler, Moment, seconds
from s4g_gateway.profiles.senml.columns import Column, WireMember, check_columns, columns_of
from s4g_gateway.profiles.senml.fast_decoders import compile_fast_decoder
from s4g_gateway.profiles.senml.foreign import ForeignReader
from s4g_gateway.profiles.senml.foreign_records import Found
from s4g_gateway.profiles.senml.layout import Layout


class ColumnDecoder:
    """Decodes packs into columns.

    Not to be shared between threads.

    Args:
        columns: what is known, in order.
        form: representation.
        dialect: which rules hold.
        limits: how much is accepted.

    Raises:
        ProfileError: two columns of one name, or one that SenML cannot carry.
    """

    __slots__ = (
        "_assembler",
        "_dialect",
        "_foreign",
        "_good",
        "_limits",
        "columns",
        "fast",
        "form"
    )  # fmt: skip

    def __init__(
        self,
        columns: Sequence[Column],
        form: Format,
        *,
        dialect: Dialect = STRICT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        check_columns(columns)
        self.columns = tuple(columns)
        self.form = form
        self.fast = compile_fast_decoder(Layout(columns, form))
        self._good = (GOOD,) * len(columns)
        self._dialect = dialect
        self._limits = limits
        self._assembler = Assembler(columns)
        self._foreign = ForeignReader(columns, form, self._assembler)

    def decode(self, data: bytes, now_ns: int) -> Moment:
        """Decodes a pack of one moment.

        Args:
            data: the pack.
            now_ns: what relative times count from, ns since 1970 UTC.

        Returns:
            The columns; those that the pack does not hold are None, invalid and not included.

        Raises:
            SenmlDecodeError: no such pack, no column in it, or a column at two times.
        """
        if len(data) <= self._limits.max_bytes:
            found = self.fast(data)
            if found is not None:
                return Moment(found[0], self._good, found[1], None)
        return Moment(*self.decode_foreign(data, now_ns))

    def decode_foreign(self, data: bytes, now_ns: int) -> Found:
        """Does what ``decode`` does, without the way for our own layout; returns a Moment's attributes."""
        pack = self._load(data)
        if self._dialect is STRICT:
            found = self._foreign.read(pack, now_ns)
            if found is not None:
                return found
        moment = self._one(self._assembler.moments(self._resolve(pack, now_ns))[0])
        return moment.values, moment.quality, moment.time_ns, moment.included

    def decode_generally(self, data: bytes, now_ns: int) -> Moment:
        """Does what ``decode`` does, with no short way at all."""
        return self._one(self.decode_all(data, now_ns)[0])

    @staticmethod
    def _one(moments: tuple[Moment, ...]) -> Moment:
        if len(moments) != 1:
            found = f"{len(moments)} times" if moments else "none of its columns"
            raise SenmlDecodeError(f"expected a pack of one moment, found {found}")
        return moments[0]

    def decode_all(self, data: bytes, now_ns: int) -> tuple[tuple[Moment, ...], tuple[Record, ...]]:
        """Decodes a pack of any number of moments, the general way.

        Args:
            data: the pack.
            now_ns: what relative times count from, ns since 1970 UTC.

        Returns:
            The moments, in chronological order, and the resolved records of other names.

        Raises:
            SenmlDecodeError: no such pack.
        """
        return self._assembler.moments(self._resolve(self._load(data), now_ns))

    def _load(self, data: bytes) -> list[object]:
        if self.form is Format.JSON:
            return load_json(data, self._limits)
        if self.form is Format.CBOR:
            return load_cbor(data, self._limits, indefinite=self._dialect.indefinite_pack)
        from s4g_gateway.codecs.senml.xml_format import load_xml  # loads lxml

        return list(load_xml(data, self._limits))

    def _resolve(self, pack: list[object], now_ns: int) -> list[Record]:
        read = self._reader()
        resolver = Resolver(self._dialect)
        now_s = seconds(now_ns)
        resolved = (resolver.resolve(read(item, number), now_s) for number, item in enumerate(pack, start=1))
        return [record for record in resolved if record is not None]

    def _reader(self) -> Callable[[object, int], Record]:
        limits = self._limits
        if self.form is Format.JSON:
            return lambda item, number: record_from_object(item, number, limits)
        if self.form is Format.CBOR:
            return record_from_map
        from s4g_gateway.codecs.senml.xml_format import record_from_attributes

        return lambda item, number: record_from_attributes(item.items(), number)  # type: ignore[attr-defined]  # an element


@dataclass(frozen=True, slots=True)
class Decoded:
    """A pack taken apart.

    Attributes:
        reports: in chronological order; one where no member stands at two times, else one per time.
        others: resolved records of names that are no members, or with a sum only.
    """

    reports: tuple[Report, ...]
    others: tuple[Record, ...]


class Decoder:
    """Decodes packs into Reports of one DataSet.

    Not to be shared between threads.

    Args:
        data_set: whose Reports.
        columns: how its members travel, in its order.
        form: representation.
        dialect: which rules hold.
        limits: how much is accepted.
    """

    __slots__ = ("_columns", "_fast", "_good", "_max_bytes", "data_set", "form")

    def __init__(
        self,
        data_set: DataSet,
        columns: Sequence[Column],
        form: Format,
        *,
        dialect: Dialect = STRICT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.data_set = data_set
        self.form = form
        self._columns = ColumnDecoder(columns, form, dialect=dialect, limits=limits)
        self._fast = self._columns.fast
        self._good = (GOOD,) * len(columns)
        self._max_bytes = limits.max_bytes

    def decode(self, data: bytes, now_ns: int) -> Report:
        """Decodes a pack that holds each member at most once.

        Args:
            data: the pack.
            now_ns: what relative times count from, ns since 1970 UTC.

        Returns:
            The Report; members that the pack does not hold are None, invalid and not included. Records of
            other names are left out.

        Raises:
            SenmlDecodeError: no such pack, no member in it, or a member at two times.
        """
        if len(data) <= self._max_bytes:
            found = self._fast(data)
            if found is not None:
                return Report(self.data_set, found[0], self._good, found[1])
        return self._report(*self._columns.decode_foreign(data, now_ns))

    def decode_all(self, data: bytes, now_ns: int) -> Decoded:
        """Decodes any pack: as many Reports as it has moments, and what belongs to no member.

        Args:
            data: the pack.
            now_ns: what relative times count from, ns since 1970 UTC.

        Raises:
            SenmlDecodeError: no such pack.
        """
        moments, others = self._columns.decode_all(data, now_ns)
        reports = (self._report(m.values, m.quality, m.time_ns, m.included) for m in moments)
        return Decoded(tuple(reports), others)

    def _report(
        self,
        values: tuple[Value, ...],
        quality: tuple[int, ...],
        time_ns: int | tuple[int, ...],
        included: bytes | None,
    ) -> Report:
        reason = Reason.INTEGRITY if included is None else Reason.DATA_CHANGE
        return Report(self.data_set, values, quality, time_ns, reason, included)


def compile_decoder(
    data_set: DataSet,
    *,
    site: str,
    form: Format,
    wire: Mapping[ObjectReference, WireMember] | None = None,
    secondary_units: bool = False,
    dialect: Dialect = STRICT,
    limits: Limits = DEFAULT_LIMITS,
) -> Decoder:
    """Compiles the decoder of a DataSet.

    Args:
        data_set: whose Reports are made.
        site: first part of every name; empty for none.
        form: representation.
        wire: members that travel under another name, in another unit or by another factor than the rule's.
        secondary_units: as for the encoder; records in other units of the same quantity are converted.
        dialect: which rules hold.
        limits: how much is accepted.

    Raises:
        ProfileError: a name or unit that SenML cannot carry, or two members of one name.
    """
    columns = columns_of(data_set, site=site, wire=wire, secondary_units=secondary_units)
    return Decoder(data_set, columns, form, dialect=dialect, limits=limits)
