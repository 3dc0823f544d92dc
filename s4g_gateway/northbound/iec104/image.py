"""The process image: what an outstation answers from, straight out of the RealTimeDatabase."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from s4g_gateway.codecs.iec104 import (
    Cause,
    CommandMode,
    CommandPoint,
    CounterQualifier,
    FreezeMode,
    TimeCoder,
)
from s4g_gateway.model import DataSet, Report, Value
from s4g_gateway.profiles.iec104 import CommandSignal, DataSetEncoder, Signal, SignalList
from s4g_gateway.runtime.database import View


@dataclass(slots=True)
class ImagePart:
    """One DataSet of the image.

    Attributes:
        encoder: its encoder.
        view: its present values.
        counters: those of its signals that are counters.
        baseline: what a reset has taken off each counter, by position.
    """

    encoder: DataSetEncoder
    view: View
    counters: tuple[Signal, ...]
    baseline: dict[int, float]


@dataclass(frozen=True, slots=True)
class _Frozen:
    """Counter readings held by a freeze."""

    report: Report
    sequence: int


class DatabaseImage:
    """Implements ``codecs.iec104.ProcessImage`` on views of the RealTimeDatabase.

    Args:
        signal_list: every address.
        select_timeout_s: how long a selection lives.
        counter_time_tags: answer counter interrogations with type 37.
    """

    def __init__(self, signal_list: SignalList, *, select_timeout_s: float, counter_time_tags: bool) -> None:
        self._stations = frozenset(signal_list.common_addresses)
        self._commands = {(command.common_address, command.ioa): command for command in signal_list.commands}
        self._points = {key: _command_point(c, select_timeout_s) for key, c in self._commands.items()}
        self._timed_counters = counter_time_tags
        self._parts: list[ImagePart] = []
        self._frozen: dict[tuple[int, int], list[tuple[ImagePart, _Frozen]]] = {}
        self._sequence: dict[tuple[int, int], int] = {}

    def add(self, data_set: DataSet, view: View, signals: tuple[Signal, ...], coder: TimeCoder) -> ImagePart:
        """Takes in a DataSet."""
        counters = tuple(signal for signal in signals if signal.is_counter)
        part = ImagePart(DataSetEncoder(data_set, signals, coder), view, counters, {})
        self._parts.append(part)
        return part

    @property
    def parts(self) -> tuple[ImagePart, ...]:
        """The DataSets, in the order of their addition."""
        return tuple(self._parts)

    @property
    def common_addresses(self) -> Collection[int]:
        """The stations served."""
        return self._stations

    def interrogate(self, common_address: int, group: int) -> Iterator[bytes]:
        """Yields present values, read at the moment the link takes them."""
        cause = Cause.INTERROGATED_BY_STATION + group
        for part in self._parts:
            yield from part.encoder.present(
                part.view.snapshot(), cause=cause, group=group, common_address=common_address
            )

    def interrogate_counters(self, common_address: int, group: int) -> Iterator[bytes]:
        """Yields what the last freeze of that group holds, else the present readings."""
        frozen = self._frozen.get((common_address, group)) or self._frozen.get((common_address, 0))
        if frozen is None:
            readings = [
                (part, _Frozen(self._reading(part), 0)) for part in self._counter_parts(common_address)
            ]
        else:
            readings = frozen
        for part, held in readings:
            yield from part.encoder.counters(
                held.report,
                common_address=common_address,
                group=group,
                qualifier=held.sequence & CounterQualifier.SEQUENCE,
                timed=self._timed_counters,
            )

    def freeze_counters(self, common_address: int, group: int, mode: FreezeMode, utc_ns: int) -> bool:
        """Holds the readings, or lets them count from zero again; false where there are no such counters."""
        parts = [
            part
            for part in self._counter_parts(common_address)
            if any(_belongs(signal, common_address, group) for signal in part.counters)
        ]
        if not parts:
            return False
        key = (common_address, group)
        if mode in (FreezeMode.FREEZE, FreezeMode.FREEZE_AND_RESET):
            sequence = self._sequence[key] = self._sequence.get(key, 0) % CounterQualifier.SEQUENCE + 1
            self._frozen[key] = [
                (part, _Frozen(replace(self._reading(part), time_ns=utc_ns), sequence)) for part in parts
            ]
        if mode in (FreezeMode.RESET, FreezeMode.FREEZE_AND_RESET):
            for part in parts:
                self._reset(part, common_address, group)
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

    def _counter_parts(self, common_address: int) -> list[ImagePart]:
        return [
            part
            for part in self._parts
            if any(_belongs(signal, common_address, 0) for signal in part.counters)
        ]

    def _reading(self, part: ImagePart) -> Report:
        report = part.view.snapshot()
        if not part.baseline:
            return report
        values: list[Value] = list(report.values)
        for position, taken in part.baseline.items():
            value = values[position]
            if isinstance(value, int | float):
                values[position] = value - taken
        return replace(report, values=tuple(values))

    def _reset(self, part: ImagePart, common_address: int, group: int) -> None:
        report = part.view.snapshot()
        for signal in part.counters:
            if _belongs(signal, common_address, group):
                position = part.encoder.data_set.index[signal.reference]
                value = report.values[position]
                if isinstance(value, int | float):
                    part.baseline[position] = value


def _belongs(signal: Signal, common_address: int, group: int) -> bool:
    return signal.is_counter and signal.common_address == common_address and group in (0, signal.group)


def _command_point(command: CommandSignal, select_timeout_s: float) -> CommandPoint:
    return CommandPoint(
        type_id=command.type_id,
        mode=CommandMode.SELECT if command.select else CommandMode.DIRECT,
        select_timeout_s=select_timeout_s,
    )
