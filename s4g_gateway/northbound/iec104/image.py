"""The process image: what an outstation answers from, straight out of the RealTimeDatabase."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from s4g_gateway.codecs.iec104 import (
    Cause,
    CommandMode,
    CommandPoint,
    FreezeMode,
)
from s4g_gateway.model import DataSet, Report, Value
from s4g_gateway.model import quality as q
from s4g_gateway.northbound.iec104.counter_memory import CounterMemory, FrozenReading
from s4g_gateway.profiles.iec104 import CommandSignal, DataSetEncoder, Signal, SignalList
from s4g_gateway.runtime.database import View


@dataclass(slots=True, eq=False)
class ImagePart:
    """One DataSet of the image.

    Attributes:
        source: the DataSet that the database is supplied with.
        encoder: its encoder; its DataSet has only those members that these masters may see.
        view: its present values.
        counters: those of its signals that are counters.
        fingerprint: differs where the signals do.
        is_gone: true once the site has no such DataSet any more.
    """

    source: DataSet
    encoder: DataSetEncoder
    view: View
    counters: tuple[Signal, ...]
    fingerprint: int
    is_gone: bool = False


class DatabaseImage:
    """Implements ``codecs.iec104.ProcessImage`` on views of the RealTimeDatabase; empty until ``load``.

    Args:
        memory: freezes and resets of counters.
        select_timeout_s: how long a selection lives.
        counter_time_tags: answer counter interrogations with type 37.
    """

    def __init__(self, memory: CounterMemory, *, select_timeout_s: float, counter_time_tags: bool) -> None:
        self._memory = memory
        self._select_timeout_s = select_timeout_s
        self._timed_counters = counter_time_tags
        self._stations: frozenset[int] = frozenset()
        self._commands: dict[tuple[int, int], CommandSignal] = {}
        self._points: dict[tuple[int, int], CommandPoint] = {}
        self._parts: tuple[ImagePart, ...] = ()

    def load(self, signal_list: SignalList, parts: Iterable[ImagePart]) -> None:
        """Goes over to these addresses and DataSets; interrogations under way go on with them."""
        self._stations = frozenset(signal_list.common_addresses)
        self._commands = {(command.common_address, command.ioa): command for command in signal_list.commands}
        self._points = {key: _command_point(c, self._select_timeout_s) for key, c in self._commands.items()}
        old, self._parts = self._parts, tuple(parts)
        present = {part.source for part in self._parts}
        for part in old:
            part.is_gone = part.source not in present

    @property
    def parts(self) -> tuple[ImagePart, ...]:
        """The DataSets, in the order of the site."""
        return self._parts

    @property
    def common_addresses(self) -> Collection[int]:
        """The stations served."""
        return self._stations

    def interrogate(self, common_address: int, group: int) -> Iterator[bytes]:
        """Yields present values, read at the moment the link takes them."""
        cause = Cause.INTERROGATED_BY_STATION + group
        for part in self._walk():
            for asdu in part.encoder.present(
                part.view.snapshot(), cause=cause, group=group, common_address=common_address
            ):
                if part.is_gone:
                    break
                yield asdu

    def interrogate_counters(self, common_address: int, group: int) -> Iterator[bytes]:
        """Yields what the latest freeze of each counter holds, else its present reading."""
        for part in self._walk():
            chosen = [signal for signal in part.counters if _belongs(signal, common_address, group)]
            if chosen:
                report, sequences = self._readings(part, chosen)
                yield from part.encoder.counters(
                    report,
                    common_address=common_address,
                    group=group,
                    qualifiers=sequences,
                    timed=self._timed_counters,
                )

    def freeze_counters(self, common_address: int, group: int, mode: FreezeMode, utc_ns: int) -> bool:
        """Holds the readings, or lets them count from zero again; false where there are no such counters."""
        chosen = [
            (part.view.snapshot(), part.encoder.data_set.index[signal.reference], str(signal.reference))
            for part in self._parts
            for signal in part.counters
            if _belongs(signal, common_address, group)
        ]
        if not chosen:
            return False
        memory = self._memory
        if mode in (FreezeMode.FREEZE, FreezeMode.FREEZE_AND_RESET):
            sequence = memory.next_sequence(common_address)
            for report, position, name in chosen:
                value = self._since_reset(name, report.values[position])
                memory.frozen[name] = FrozenReading(value, report.quality[position], utc_ns, sequence)
        if mode in (FreezeMode.RESET, FreezeMode.FREEZE_AND_RESET):
            for report, position, name in chosen:
                value = report.values[position]
                if isinstance(value, int | float):
                    memory.baselines[name] = value
        memory.save()
        return True

    def read(self, common_address: int, address: int) -> bytes | None:
        """Returns one point's present value."""
        for part in self._parts:
            position = part.encoder.position(common_address, address)
            if position is not None:
                return part.encoder.one(part.view.snapshot(), position)
        return None

    def command_point(self, common_address: int, address: int) -> CommandPoint | None:
        """Returns what the protocol must know of a command address."""
        return self._points.get((common_address, address))

    def command(self, common_address: int, address: int) -> CommandSignal:
        """Returns the command behind an address that ``command_point`` knows."""
        return self._commands[common_address, address]

    def command_at(self, common_address: int, address: int) -> CommandSignal | None:
        """Returns the command at an address, None where there is none."""
        return self._commands.get((common_address, address))

    @property
    def command_references(self) -> Iterator[str]:
        """Every point that can be commanded."""
        return (str(command.reference) for command in self._commands.values())

    def _walk(self) -> Iterator[ImagePart]:
        """Yields every part once, also if they change meanwhile."""
        done: set[DataSet] = set()
        parts, position = self._parts, 0
        while position < len(parts):
            part = parts[position]
            position += 1
            if part.source not in done:
                done.add(part.source)
                yield part
                if self._parts is not parts:
                    parts, position = self._parts, 0

    def _readings(self, part: ImagePart, signals: Sequence[Signal]) -> tuple[Report, bytes]:
        """Returns a Report with the readings of these counters, and the sequence numbers of all members."""
        report = part.view.snapshot()
        size = len(report.values)
        values: list[Value] = list(report.values)
        quality = list(report.quality)
        times = [report.time_ns] * size if isinstance(report.time_ns, int) else list(report.time_ns)
        sequences = bytearray(size)
        for signal in signals:
            name, position = str(signal.reference), part.encoder.data_set.index[signal.reference]
            held = self._memory.frozen.get(name)
            if held is None:
                values[position] = self._since_reset(name, values[position])
            else:
                values[position], quality[position], times[position], sequences[position] = held
        report = replace(report, values=tuple(values), quality=tuple(quality), time_ns=tuple(times))
        return report, bytes(sequences)

    def _since_reset(self, name: str, value: Value) -> Value:
        taken = self._memory.baselines.get(name)
        return value - taken if taken is not None and isinstance(value, int | float) else value


def invalid_report(report: Report, included: bytes, time_ns: int) -> Report:
    """Returns the same values as invalid since now."""
    quality = tuple(q.worst(old, q.INVALID) for old in report.quality)
    return replace(report, quality=quality, time_ns=time_ns, included=included)


def _belongs(signal: Signal, common_address: int, group: int) -> bool:
    return signal.is_counter and signal.common_address == common_address and group in (0, signal.group)


def _command_point(command: CommandSignal, select_timeout_s: float) -> CommandPoint:
    return CommandPoint(
        type_id=command.type_id,
        mode=CommandMode.SELECT if command.select else CommandMode.DIRECT,
        select_timeout_s=select_timeout_s,
    )
