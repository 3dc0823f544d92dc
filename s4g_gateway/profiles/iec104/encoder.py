"""Encoders compiled per DataSet: a Report in, finished ASDUs out.

What does not change (addresses, type, station, octets per object) is laid out once. A Report fills in values,
quality and time with one ``struct`` call per run of objects of the same type.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from math import isfinite
from operator import or_
from typing import Any, Final, NamedTuple

from s4g_gateway.codecs.iec104.cp56time import UTC_TIME, TimeCoder, TimeTag
from s4g_gateway.codecs.iec104.identifiers import Cause, TypeId
from s4g_gateway.errors import EncodeError
from s4g_gateway.model import DataSet, Report, TimeQuality, Value
from s4g_gateway.profiles.iec104.deadband import Deadband, picker, stepwise
from s4g_gateway.profiles.iec104.packing import asdu_header, pack_objects, pack_sequence, stretches
from s4g_gateway.profiles.iec104.raw_values import Raw, quality_octets, raw_converter
from s4g_gateway.profiles.iec104.signals import TIMED, Signal

_BAD_CLOCK: Final = TimeQuality.CLOCK_NOT_SYNCHRONISED | TimeQuality.CLOCK_FAILURE

# Octets of one element after its address, without time: value, then quality where it has an octet of its own.
_ELEMENT: Final = {
    TypeId.M_SP_NA_1: "B",
    TypeId.M_DP_NA_1: "B",
    TypeId.M_ST_NA_1: "BB",
    TypeId.M_BO_NA_1: "IB",
    TypeId.M_ME_NA_1: "hB",
    TypeId.M_ME_NB_1: "hB",
    TypeId.M_ME_NC_1: "fB",
    TypeId.M_IT_NA_1: "iB",
}
_JOINED: Final = frozenset({TypeId.M_SP_NA_1, TypeId.M_DP_NA_1})

_NOBODY: Final = b""

Columns = tuple[Sequence[Raw], Sequence[int]]


class _Descriptors:
    """The quality octets of one column of qualities; they differ by type, so each kind is made when asked for."""

    __slots__ = ("_made", "quality")

    def __init__(self, quality: tuple[int, ...]) -> None:
        self.quality = quality
        self._made: dict[int, bytes] = {}

    def of(self, octets: bytes) -> bytes:
        made = self._made.get(id(octets))
        if made is None:
            quality = self.quality
            made = bytes([octets[item] for item in quality]) if any(quality) else bytes(len(quality))
            self._made[id(octets)] = made
        return made


class _Picture(NamedTuple):
    """The columns of one Report, quality and time as octets; one time for all, or one per member."""

    values: Sequence[Value]
    descriptors: _Descriptors
    times: Sequence[bytes] | bytes
    # Of every member, beside its quality; empty for none.
    qualifiers: bytes = b""


class _Run:
    """The members of a DataSet that share station and type, in the order of their addresses.

    Sites have a hundred thousand of them, so nothing is kept per member that can be had otherwise.
    """

    __slots__ = (
        "addresses", "common_address", "convert", "groups", "ioas", "is_plain", "octets", "periods_s", "pick",
        "positions", "size", "type_id",
    )  # fmt: skip

    def __init__(self, signals: Sequence[tuple[int, Signal]], members: int) -> None:
        ordered = sorted(signals, key=lambda entry: entry[1].ioa)
        own = [signal for _, signal in ordered]
        self.size = len(own)
        self.type_id = own[0].type_id
        self.common_address = own[0].common_address
        self.positions = stepwise([position for position, _ in ordered])
        self.ioas = stepwise([signal.ioa for signal in own])
        self.addresses = [signal.ioa.to_bytes(3, "little") for signal in own]
        self.groups = bytes(signal.group for signal in own) if any(signal.group for signal in own) else b""
        self.periods_s = tuple(s.cyclic_period_s for s in own) if any(s.cyclic_period_s for s in own) else ()
        self.octets = quality_octets(self.type_id)
        self.pick = picker(self.positions, members)
        scalings = [signal.scaling for signal in own]
        is_uniform = scalings.count(scalings[0]) == len(scalings)
        self.convert = [raw_converter(self.type_id, s) for s in (scalings[:1] if is_uniform else scalings)]
        # Floats that go out as they are need no Python per value.
        self.is_plain = is_uniform and self.type_id is TypeId.M_ME_NC_1 and scalings[0].is_identity

    def columns(
        self, values: Sequence[Value], descriptors: Sequence[int], which: bytes | None, qualifiers: bytes
    ) -> Columns:
        """Returns raw values and quality octets of the members that ``which`` includes."""
        if len(self.convert) == 1:
            pairs = list(map(self.convert[0], values))
        else:
            convert = self.convert if which is None else compress(self.convert, which)
            pairs = [function(value) for function, value in zip(convert, values, strict=True)]
        raws = [raw for raw, _ in pairs]
        bits = list(map(or_, descriptors, [extra for _, extra in pairs]))
        if qualifiers:
            own = self.pick(qualifiers)
            bits = list(map(or_, bits, own if which is None else compress(own, which)))
        if self.type_id is TypeId.M_ST_NA_1:
            raws = [int(raw) & 0x7F for raw in raws]
        return raws, bits


def _fill(
    run: _Run, columns: Columns, addresses: Sequence[bytes] | None, times: Sequence[bytes] | None
) -> list[Any]:
    """Lays the columns side by side, object after object."""
    values, qualities = columns
    joined = run.type_id in _JOINED
    count = len(values)
    parts: list[Sequence[Any]] = [] if addresses is None else [addresses]
    if joined:
        parts.append(list(map(or_, values, qualities)))
    else:
        parts += [values, qualities]
    if times is not None:
        parts.append(times)
    width = len(parts)
    flat: list[Any] = [None] * (width * count)
    for index, part in enumerate(parts):
        flat[index::width] = part
    return flat


class DataSetEncoder:
    """Encodes the Reports of one DataSet for one outstation.

    It remembers what was last sent of members with a deadband, and nothing else.

    Args:
        data_set: the DataSet.
        signals: the signal list's entries; those of other DataSets are passed over.
        coder: zone of the time tags.
    """

    def __init__(self, data_set: DataSet, signals: Iterable[Signal], coder: TimeCoder = UTC_TIME) -> None:
        self.data_set = data_set
        self._coder = coder
        size = len(data_set)
        own = [
            (data_set.index[signal.reference], signal)
            for signal in signals
            if signal.reference in data_set.index
        ]
        self._all = _runs(own, size)
        eventful = [entry for entry in own if entry[1].spontaneous]
        timed = [entry for entry in eventful if entry[1].event_time_tag]
        self._events = self._all if len(timed) == len(own) else _runs(timed, size)
        self._bare_events = _runs([entry for entry in eventful if not entry[1].event_time_tag], size)
        banded = [(position, s.deadband) for position, s in own if s.spontaneous and s.deadband > 0]
        self._deadband = Deadband(banded, size) if banded else None
        self._descriptors = _Descriptors(())

    # -- events ------------------------------------------------------------------------------------

    def spontaneous(self, report: Report) -> list[bytes]:
        """Returns the events of a data-change Report, cause 3, with CP56Time2a unless a signal wants none.

        A member whose value moved by less than its deadband since it was last sent, with the same quality, is
        not in them. The Report must be of this encoder's DataSet.
        """
        included = report.included if self._deadband is None else self._deadband.beyond(report)
        picture = _Picture(report.values, self._quality(report), self._times(report))
        asdus: list[bytes] = []
        for runs, encode in ((self._events, self._timed), (self._bare_events, self._untimed)):
            for run in runs:
                which = None if included is None else bytes(run.pick(included))
                if which is not None and 1 not in which:
                    continue
                if which is not None and 0 not in which:
                    which = None
                asdus += encode(run, picture, which, Cause.SPONTANEOUS)
        return asdus

    def counters(
        self,
        report: Report,
        *,
        common_address: int,
        group: int = 0,
        qualifiers: bytes = b"",
        timed: bool = False,
    ) -> list[bytes]:
        """Returns the integrated totals of a station, cause 37 + group; group 0 returns all.

        Args:
            report: a snapshot, or what was frozen.
            common_address: the station.
            group: 1 to 4, 0 for all.
            qualifiers: sequence number and flags of the reading of every member (``CounterQualifier``), as many
                as the DataSet has members; empty for none.
            timed: type 37 with the Report's times, else type 15.
        """
        times = self._times(report) if timed else b""
        picture = _Picture(report.values, self._quality(report), times, qualifiers)
        encode = self._timed if timed else self._untimed
        asdus: list[bytes] = []
        for run in self._all:
            which = _members_of(run, group)
            if run.type_id is TypeId.M_IT_NA_1 and run.common_address == common_address and which != _NOBODY:
                asdus += encode(run, picture, which, Cause.COUNTERS_GENERAL + group)
        return asdus

    def _timed(self, run: _Run, picture: _Picture, which: bytes | None, cause: int) -> list[bytes]:
        times = picture.times

        def build(columns: Columns) -> list[bytes]:
            count = len(columns[0])
            addresses = run.addresses if which is None else list(compress(run.addresses, which))
            if isinstance(times, bytes):
                tags: Sequence[bytes] = [times] * count
            else:
                tags = run.pick(times) if which is None else list(compress(run.pick(times), which))
            flat = _fill(run, columns, addresses, tags)
            header = asdu_header(TIMED[run.type_id], run.common_address, cause)
            return pack_objects(header, "3s" + _ELEMENT[run.type_id] + "7s", flat, count)

        return _build(run, picture, which, build)

    # -- present values ----------------------------------------------------------------------------

    def present(
        self, report: Report, *, cause: int, group: int = 0, common_address: int | None = None
    ) -> list[bytes]:
        """Returns the present values in types without time tag, integrated totals excepted.

        Args:
            report: a snapshot of the DataSet.
            cause: such as ``Cause.INTERROGATED_BY_STATION`` or ``Cause.BACKGROUND``.
            group: only the members of this group; 0 returns all.
            common_address: only this station; None for every one.
        """
        picture = _Picture(report.values, self._quality(report), b"")
        asdus: list[bytes] = []
        for run in self._all:
            if run.type_id is TypeId.M_IT_NA_1 or common_address not in (None, run.common_address):
                continue
            which = _members_of(run, group)
            if which != _NOBODY:
                asdus += self._untimed(run, picture, which, cause)
        return asdus

    def cyclic(self, report: Report, period_s: float) -> list[bytes]:
        """Returns the present values of the members with this cyclic period, cause 1."""
        picture = _Picture(report.values, self._quality(report), b"")
        asdus: list[bytes] = []
        for run in self._all:
            which = bytes(period == period_s for period in run.periods_s)
            if 1 in which:
                chosen = which if 0 in which else None
                asdus += self._untimed(run, picture, chosen, Cause.PERIODIC)
        return asdus

    def one(self, report: Report, position: int, *, cause: int = Cause.REQUEST) -> bytes | None:
        """Returns the present value of one member without time tag; None where it has no address."""
        picture = _Picture(report.values, self._quality(report), b"")
        for run in self._all:
            if position in run.positions:
                which = bytes(other == position for other in run.positions)
                return self._untimed(run, picture, which, cause)[0]
        return None

    def position(self, common_address: int, ioa: int) -> int | None:
        """Returns the position of the member at an address, None where there is none."""
        for run in self._all:
            if run.common_address == common_address and run.ioas[0] <= ioa <= run.ioas[-1]:
                index = bisect_left(run.ioas, ioa)
                if run.ioas[index] == ioa:
                    return run.positions[index]
        return None

    def _untimed(self, run: _Run, picture: _Picture, which: bytes | None, cause: int) -> list[bytes]:
        ioas = run.ioas if which is None else list(compress(run.ioas, which))
        element = _ELEMENT[run.type_id]

        def build(columns: Columns) -> list[bytes]:
            header = asdu_header(run.type_id, run.common_address, cause)
            asdus: list[bytes] = []
            for start, stop, is_sequence in stretches(ioas):
                part = (columns[0][start:stop], columns[1][start:stop])
                if is_sequence:
                    flat = _fill(run, part, None, None)
                    asdus += pack_sequence(header, element, flat, ioas[start], stop - start)
                else:
                    addresses = [ioa.to_bytes(3, "little") for ioa in ioas[start:stop]]
                    flat = _fill(run, part, addresses, None)
                    asdus += pack_objects(header, "3s" + element, flat, stop - start)
            return asdus

        return _build(run, picture, which, build)

    # -- columns -----------------------------------------------------------------------------------

    def _quality(self, report: Report) -> _Descriptors:
        # Reports of a healthy device carry the same tuple again and again.
        if report.quality is not self._descriptors.quality:
            self._descriptors = _Descriptors(report.quality)
        return self._descriptors

    def _times(self, report: Report) -> Sequence[bytes] | bytes:
        times = report.time_ns
        bad = bool(report.time_quality & _BAD_CLOCK)
        if isinstance(times, int):
            return self._tag(times, bad)
        known: dict[int, bytes] = {}
        tags: list[bytes] = []
        for time_ns in times:
            tag = known.get(time_ns)
            if tag is None:
                tag = known[time_ns] = self._tag(time_ns, bad)
            tags.append(tag)
        return tags

    def _tag(self, time_ns: int, bad: bool) -> bytes:
        try:
            return self._coder.encode(TimeTag(time_ns, bad))
        except EncodeError:  # a device that lives before 2000 has no clock to speak of
            return self._coder.encode(TimeTag(0, True))


def _members_of(run: _Run, group: int) -> bytes | None:
    """Returns the mask of a group's members; None for all, ``_NOBODY`` for none."""
    if group == 0:
        return None
    which = bytes(member == group for member in run.groups)
    if 1 not in which:
        return _NOBODY
    return which if 0 in which else None


def _runs(own: Sequence[tuple[int, Signal]], size: int) -> tuple[_Run, ...]:
    sorted_own = sorted(own, key=lambda entry: (entry[1].common_address, entry[1].type_id, entry[1].ioa))
    groups: dict[tuple[int, int], list[tuple[int, Signal]]] = {}
    for position, signal in sorted_own:
        groups.setdefault((signal.common_address, signal.type_id), []).append((position, signal))
    return tuple(_Run(group, size) for group in groups.values())


def _build(
    run: _Run,
    picture: _Picture,
    which: bytes | None,
    build: Callable[[Columns], list[bytes]],
) -> list[bytes]:
    picked = run.pick(picture.values)
    bits: Sequence[int] = run.pick(picture.descriptors.of(run.octets))
    if which is not None:
        picked, bits = list(compress(picked, which)), list(compress(bits, which))
    if run.is_plain:
        try:
            if isfinite(sum(picked)):
                return build((picked, bits))
        except (struct.error, OverflowError, TypeError):
            pass  # a value is missing or too great: the careful way finds out which
    return build(run.columns(picked, bits, which, picture.qualifiers))
