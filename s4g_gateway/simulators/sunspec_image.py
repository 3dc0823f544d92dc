"""A SunSpec register image: a chain of models in the registers of a simulated device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from s4g_gateway.profiles.sunspec.definition import load_definition
from s4g_gateway.profiles.sunspec.layout import (
    Layout,
    compile_layout,
    decode_model,
    encode_model,
    encode_point,
    full_length,
    scaled,
)
from s4g_gateway.profiles.sunspec.point_types import Value
from s4g_gateway.simulators.modbus_slave import ExceptionCode, RegisterBlock, Unit

BASE_ADDRESS = 40_000
_MARK = b"SunS"
_END = b"\xff\xff\x00\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedModel:
    """One model of a simulated device.

    Attributes:
        model_id: the SunSpec model.
        values: scaled values by path, scale factors as powers of ten; what is missing is "not implemented".
        counts: values of the model's count points.
        repeats: occurrences of an open-ended group.
        writable: paths of the points a master may write.
    """

    model_id: int
    values: Mapping[str, Value]
    counts: Mapping[str, int] = field(default_factory=dict)
    repeats: int = 0
    writable: tuple[str, ...] = ()


class SunspecImage:
    """The registers of a device with a chain of models.

    Args:
        models: the chain, model 1 first.
        base: address of the "SunS" mark.

    Attributes:
        unit: the device for a Modbus slave.
    """

    def __init__(self, models: tuple[SimulatedModel, ...], base: int = BASE_ADDRESS) -> None:
        self._layouts: dict[int, Layout] = {}
        self._addresses: dict[int, int] = {}
        self._scales: dict[int, dict[str, Value]] = {}
        data = bytearray(_MARK)
        writable = bytearray(2)
        for model in models:
            definition = load_definition(model.model_id)
            layout = compile_layout(
                definition, full_length(definition, model.counts, model.repeats), model.counts
            )
            used = {point.scale for point in layout.points if isinstance(point.scale, str)}
            self._layouts[model.model_id] = layout
            self._addresses[model.model_id] = base + len(data) // 2
            self._scales[model.model_id] = {
                path: value for path, value in model.values.items() if path in used
            }
            mask = bytearray(layout.registers)
            for path in model.writable:
                point = layout.index[path]
                mask[point.offset : point.end] = b"\1" * point.definition.registers
            data += encode_model(layout, model.values)
            writable += mask
        self._block = RegisterBlock(base, bytes(data) + _END, bytes(writable) + bytes(2))
        self.unit = Unit((self._block,))

    def place(self, model_id: int) -> tuple[int, int]:
        """Returns address and number of a model's registers."""
        return self._addresses[model_id], self._layouts[model_id].registers

    def update(self, model_id: int, values: Mapping[str, Value]) -> None:
        """Writes scaled values into a model's registers."""
        layout, address = self._layouts[model_id], self._addresses[model_id]
        known = {**self._scales[model_id], **values}
        for path in values:
            point = layout.index[path]
            self._block.put(address + point.offset, encode_point(layout, point, known))

    def accept(self, address: int, data: bytes, decide: Callable[[], None]) -> ExceptionCode | None:
        """Takes a master's write if the device agrees.

        Args:
            address: first register.
            data: their new contents.
            decide: looks at the image as it would be and raises ValueError to refuse.

        Returns:
            None, or ILLEGAL_DATA_VALUE with the registers as they were.
        """
        before = self._block.read(address, len(data) // 2)
        self._block.put(address, data)
        try:
            decide()
        except ValueError:
            self._block.put(address, before)
            return ExceptionCode.ILLEGAL_DATA_VALUE
        return None

    def read(self, model_id: int) -> dict[str, Value]:
        """Returns a model's values, scaled; None where not implemented."""
        layout, address = self._layouts[model_id], self._addresses[model_id]
        raw = decode_model(layout, self._block.read(address, layout.registers))
        return {path: scaled(layout, path, raw) for path in raw}
