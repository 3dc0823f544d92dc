"""Binds a configured device to the chain of models that it really has: reads, decoders, controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType

from s4g_gateway.model import ValueType
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.modbus.columns import (
    NEVER,
    NOT_IMPLEMENTED,
    AnalogColumn,
    Column,
    DerivedColumn,
    DiscreteColumn,
    Field,
    Pair,
    Raw,
)
from s4g_gateway.profiles.modbus.decoder import ReportDecoder
from s4g_gateway.profiles.modbus.reads import MAX_READ_REGISTERS, Read, Span, plan_reads
from s4g_gateway.profiles.sunspec.chain import Chain, ChainModel
from s4g_gateway.profiles.sunspec.derived import RULES
from s4g_gateway.profiles.sunspec.device import (
    MappedControl,
    MappedDerivation,
    MappedPoint,
    Section,
    SunspecDevice,
)
from s4g_gateway.profiles.sunspec.layout import HEADER_REGISTERS, Layout, LayoutPoint
from s4g_gateway.profiles.sunspec.mapping import PointMapping, Template
from s4g_gateway.profiles.sunspec.point_types import Kind, struct_code, text

_ANALOG_KINDS = (Kind.NUMBER, Kind.FLOAT, Kind.ACCUMULATOR)


@dataclass(frozen=True, slots=True)
class BoundControl:
    """A controllable point and the model that carries it; None where the device lacks the model."""

    mapped: MappedControl
    model: ChainModel | None


@dataclass(frozen=True, slots=True)
class SunspecBinding:
    """A device as found.

    Attributes:
        device: as configured.
        chain: as found.
        decoders: one per DataSet of the device, in the same order; each knows its reads.
        controls: by ObjectReference.
        missing: titles of the mapping files whose models the device lacks.
        max_registers: longest read it allows.
    """

    device: SunspecDevice
    chain: Chain
    decoders: tuple[ReportDecoder, ...]
    controls: MappingProxyType[str, BoundControl]
    missing: tuple[str, ...]
    max_registers: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A point that must be read, with its model."""

    model: ChainModel
    point: LayoutPoint

    @property
    def address(self) -> int:
        return self.model.address + self.point.offset

    @property
    def scale(self) -> _Wanted | None:
        layout = self.model.layout
        if layout is None or not isinstance(self.point.scale, str):
            return None
        found = layout.index.get(self.point.scale)
        return None if found is None else _Wanted(self.model, found)


def bind(
    device: SunspecDevice,
    chain: Chain,
    *,
    max_registers: int = MAX_READ_REGISTERS,
    gap_limit: int = MAX_READ_REGISTERS,
) -> SunspecBinding:
    """Binds a device to its chain.

    Args:
        device: as configured.
        chain: as found.
        max_registers: longest read the device allows, 16 (a string point) to 125.
        gap_limit: as in ``plan_reads``; small for slow serial lines.

    Returns:
        The binding; members whose model or register the device lacks are INVALID|BAD_REFERENCE.
    """
    controls: dict[str, BoundControl] = {
        mapped.point.reference: BoundControl(mapped, _control_model(chain, mapped))
        for mapped in device.mapped_controls
    }
    return SunspecBinding(
        device=device,
        chain=chain,
        decoders=tuple(
            decoder.twin(section.data_set)
            for decoder, section in zip(
                _decoders(_Shape.of(device, chain, max_registers, gap_limit)), device.sections, strict=True
            )
        ),
        controls=MappingProxyType(controls),
        missing=_missing(device, chain),
        max_registers=max_registers,
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """What decides how registers become columns; devices that agree in it share the compiled decoders."""

    template: Template
    signs: tuple[int, int]
    models: tuple[tuple[int, int, int, Layout | None], ...]
    max_registers: int
    gap_limit: int
    device: SunspecDevice = field(compare=False)
    chain: Chain = field(compare=False)

    @classmethod
    def of(cls, device: SunspecDevice, chain: Chain, max_registers: int, gap_limit: int) -> _Shape:
        models = tuple((model.model_id, model.address, model.length, model.layout) for model in chain.models)
        signs = (device.options.meter_sign, device.options.battery_sign)
        return cls(device.template, signs, models, max_registers, gap_limit, device, chain)


@lru_cache(maxsize=256)
def _decoders(shape: _Shape) -> tuple[ReportDecoder, ...]:
    return tuple(
        _decoder(section, shape.chain, shape.max_registers, shape.gap_limit)
        for section in shape.device.sections
    )


def _control_model(chain: Chain, mapped: MappedControl) -> ChainModel | None:
    return chain.find(mapped.row.models or mapped.file.models, mapped.use.occurrence)


def _missing(device: SunspecDevice, chain: Chain) -> tuple[str, ...]:
    files = {
        point.file.title: point
        for section in device.sections
        for points in section.points.values()
        for point in points
    }
    return tuple(
        title
        for title, point in files.items()
        if not point.use.optional and chain.find(point.file.models, point.use.occurrence) is None
    )


def _find(chain: Chain, points: Iterable[MappedPoint]) -> tuple[MappedPoint, _Wanted] | None:
    for point in points:
        model = chain.find(point.file.models, point.use.occurrence)
        if model is None or model.layout is None:
            continue
        if point.row.models and model.model_id not in point.row.models:
            continue
        found = model.layout.index.get(point.path)
        if found is not None and _is_readable(model, found):
            return point, _Wanted(model, found)
    return None


def _is_readable(model: ChainModel, point: LayoutPoint) -> bool:
    """False where the scale factor lies beyond the model's end: the value could not be understood."""
    layout = model.layout
    return layout is not None and (not isinstance(point.scale, str) or point.scale in layout.index)


def _find_input(chain: Chain, name: str) -> _Wanted | None:
    model_id, _, path = name.partition(":")
    model = chain.find((int(model_id),))
    if model is None or model.layout is None:
        return None
    point = model.layout.index.get(path)
    return _Wanted(model, point) if point is not None and _is_readable(model, point) else None


def _decoder(section: Section, chain: Chain, max_registers: int, gap_limit: int) -> ReportDecoder:
    found = {ref: hit for ref, points in section.points.items() if (hit := _find(chain, points))}
    derived = {
        ref: entry
        for ref, entry in section.derived.items()
        if all(_find_input(chain, name) if ":" in name else name in found for name in entry.inputs)
    }
    hidden = {
        name: known
        for entry in derived.values()
        for name in entry.inputs
        if ":" in name and (known := _find_input(chain, name))
    }
    wanted = [hit[1] for hit in found.values()] + list(hidden.values())
    wanted += [scale for entry in wanted if (scale := entry.scale) is not None]
    reads = plan_reads(_spans(wanted, max_registers), max_count=max_registers, gap_limit=gap_limit)
    places = _Places(reads)

    columns: list[Column] = [
        _column(ref, found[ref][0].row, found[ref][0].sign, found[ref][1], places)
        for ref in section.points
        if ref in found
    ]
    columns += [_input_column(name, entry, places) for name, entry in hidden.items()]
    columns += [_derived_column(ref, entry) for ref, entry in derived.items()]
    expected: list[tuple[Field, int]] = []
    for model in dict.fromkeys(entry.model for entry in wanted):
        if places.covers(model.address, HEADER_REGISTERS):
            expected.append((places.field(model.address, 1, "H"), model.model_id))
            expected.append((places.field(model.address + 1, 1, "H"), model.length))
    return ReportDecoder(section.data_set, reads, columns, expected=expected)


def _spans(wanted: Sequence[_Wanted], max_registers: int) -> list[Span]:
    """Keeps each model in one read where that is possible, so that its values and scale factors agree.

    ID and L are read along to notice a map that has moved.
    """
    by_model: dict[ChainModel, list[_Wanted]] = {}
    for entry in wanted:
        by_model.setdefault(entry.model, []).append(entry)
    spans: list[Span] = []
    for model, entries in by_model.items():
        first = min(entry.address for entry in entries)
        end = model.address + max(entry.point.end for entry in entries)
        if end - model.address <= max_registers:
            spans.append(Span(model.address, end - model.address))
        elif end - first <= max_registers:
            spans.append(Span(first, end - first))
        else:
            spans += [Span(entry.address, entry.point.definition.registers) for entry in entries]
    return spans


class _Places:
    """Finds registers in the joined answers of reads."""

    def __init__(self, reads: Sequence[Read]) -> None:
        self._reads = reads
        self._starts: list[int] = []
        at = 0
        for read in reads:
            self._starts.append(at)
            at += read.byte_count

    def _index(self, address: int, registers: int) -> int | None:
        for index, read in enumerate(self._reads):
            if read.address <= address and address + registers <= read.end:
                return index
        return None

    def covers(self, address: int, registers: int) -> bool:
        return self._index(address, registers) is not None

    def field(self, address: int, registers: int, code: str) -> Field:
        index = self._index(address, registers)
        if index is None:
            raise LookupError(f"register {address} is in no read")
        return Field(self._starts[index] + 2 * (address - self._reads[index].address), code, index)

    def of(self, wanted: _Wanted) -> Field:
        definition = wanted.point.definition
        return self.field(
            wanted.address, definition.registers, struct_code(definition.type, definition.registers)
        )


def _sentinel(wanted: _Wanted) -> float:
    """Returns the raw value that means "not implemented".

    An accumulator says so by 0, which is also what a real one says before the first watt-hour: 0 counts as a
    value where the model makes the point mandatory.
    """
    definition = wanted.point.definition
    if definition.type.kind is Kind.ACCUMULATOR and definition.is_mandatory:
        return NEVER
    raw = definition.type.not_implemented
    return NEVER if raw is None else raw


def _analog(name: str, factor: Fraction, wanted: _Wanted, places: _Places) -> AnalogColumn:
    if isinstance(wanted.point.scale, int):
        factor *= Fraction(10) ** wanted.point.scale
    scale = wanted.scale
    return AnalogColumn(
        name=name,
        field=places.of(wanted),
        factor=factor,
        scale=None if scale is None else places.of(scale),
        sentinel=_sentinel(wanted),
    )


def _column(
    reference: str, row: PointMapping, sign: int, wanted: _Wanted, places: _Places
) -> AnalogColumn | DiscreteColumn:
    if row.is_analog:
        return _analog(reference, Fraction(str(row.factor)) * sign, wanted, places)
    return DiscreteColumn(name=reference, field=places.of(wanted), translate=_translation(row, wanted))


def _input_column(name: str, wanted: _Wanted, places: _Places) -> AnalogColumn | DiscreteColumn:
    if wanted.point.definition.type.kind in _ANALOG_KINDS:
        return _analog(name, Fraction(1), wanted, places)
    return DiscreteColumn(name=name, field=places.of(wanted), translate=_as_integer(_sentinel(wanted)))


def _derived_column(reference: str, entry: MappedDerivation) -> DerivedColumn:
    return DerivedColumn(name=reference, inputs=entry.inputs, rule=RULES[entry.row.rule])


def _as_integer(sentinel: float) -> Callable[[Raw], Pair]:
    def translate(raw: Raw) -> Pair:
        return (None, NOT_IMPLEMENTED) if raw == sentinel else (int(raw), q.GOOD)

    return translate


def _translation(row: PointMapping, wanted: _Wanted) -> Callable[[Raw], Pair]:
    sentinel = _sentinel(wanted)
    states = {int(state): value for state, value in row.values.items()}

    def translate(raw: Raw) -> Pair:
        if isinstance(raw, bytes):
            found = text(raw)
            return found, NOT_IMPLEMENTED if found is None else q.GOOD
        if raw == sentinel:
            return None, NOT_IMPLEMENTED
        number = int(raw)
        if row.bit is not None:
            return bool(number >> row.bit & 1), q.GOOD
        if row.equals:
            return number in row.equals, q.GOOD
        if states:
            known = states.get(number)
            return known, q.INVALID | q.OUT_OF_RANGE if known is None else q.GOOD
        return (bool(number) if row.type is ValueType.BOOLEAN else number), q.GOOD

    return translate
