"""The chain of models of a device: where the map begins, which models follow, where each stands.

Sans-I/O: ``discover`` yields the reads it wants and is sent their answers.
Source: SunSpec Device Information Model Specification (clause unverified, via pysunspec2).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Generator
from dataclasses import dataclass
from types import MappingProxyType

from s4g_gateway.errors import RemoteProtocolError
from s4g_gateway.profiles.modbus.reads import Read
from s4g_gateway.profiles.sunspec.definition import known_models, load_definition
from s4g_gateway.profiles.sunspec.layout import (
    HEADER_REGISTERS,
    Layout,
    compile_layout,
    count_points,
    fixed_layout,
)

BASES = (40000, 50000, 0)
MARKER = b"SunS"
END_MODEL = 0xFFFF
_ADDRESS_END = 0x10000
# The longest public maps have some 30 models; a walk beyond this reads noise.
_MODEL_LIMIT = 256


@dataclass(frozen=True, slots=True)
class ChainModel:
    """One model of a chain.

    Attributes:
        model_id: its number.
        address: PDU address of its ID register.
        length: its L.
        layout: its points; None for a model without a definition.
    """

    model_id: int
    address: int
    length: int
    layout: Layout | None


@dataclass(frozen=True, slots=True)
class Chain:
    """The models of a device.

    Attributes:
        base: address of the marker "SunS".
        models: the models in order of address, unknown ones too.
        has_end: false where the device stops answering instead of ending its chain properly.
    """

    base: int
    models: tuple[ChainModel, ...]
    has_end: bool = True

    @property
    def unknown(self) -> tuple[int, ...]:
        """Numbers of the models that have no definition."""
        return tuple(model.model_id for model in self.models if model.layout is None)

    def find(self, model_ids: Collection[int], occurrence: int = 1) -> ChainModel | None:
        """Returns the first (second, ...) model whose number is among these; None where there is none."""
        for model in self.models:
            if model.model_id in model_ids and model.layout is not None:
                occurrence -= 1
                if occurrence == 0:
                    return model
        return None


def discover(bases: Collection[int] = BASES) -> Generator[Read, bytes | None, Chain]:
    """Walks the chain of a device.

    Args:
        bases: addresses where the marker may stand.

    Yields:
        Reads; to be sent the answer's data, or None where the device answered with an exception.

    Returns:
        The chain.

    Raises:
        RemoteProtocolError: no marker anywhere, a model that runs past the last register, a chain that does
            not end: no SunSpec device, or one that answers garbage.
    """
    for base in bases:
        if (yield Read(base, 2)) == MARKER:
            return (yield from _walk(base))
    raise RemoteProtocolError(f"no SunSpec map: no 'SunS' at {', '.join(map(str, bases))}")


def _walk(base: int) -> Generator[Read, bytes | None, Chain]:
    models: list[ChainModel] = []
    address = base + HEADER_REGISTERS
    while len(models) < _MODEL_LIMIT:
        if address + HEADER_REGISTERS > _ADDRESS_END:
            raise RemoteProtocolError(f"the SunSpec chain runs past register 65535 after {_named(models)}")
        answer = yield Read(address, HEADER_REGISTERS)
        if answer is None or len(answer) != 2 * HEADER_REGISTERS:
            if not models:
                raise RemoteProtocolError(f"the SunSpec chain at {base} has no first model")
            return Chain(base, tuple(models), has_end=False)
        model_id, length = struct.unpack(">HH", answer)
        if model_id == END_MODEL:
            return Chain(base, tuple(models))
        if model_id == 0 or address + HEADER_REGISTERS + length > _ADDRESS_END:
            raise RemoteProtocolError(
                f"register {address}: model {model_id} of {length} registers is garbage"
            )
        layout = None
        if model_id in known_models():
            layout = yield from _layout(model_id, address, length)
        models.append(ChainModel(model_id, address, length, layout))
        address += HEADER_REGISTERS + length
    raise RemoteProtocolError(f"the SunSpec chain at {base} has no end after {_MODEL_LIMIT} models")


def _layout(model_id: int, address: int, length: int) -> Generator[Read, bytes | None, Layout | None]:
    definition = load_definition(model_id)
    counts: dict[str, int] = {}
    fixed = fixed_layout(definition, length)
    for name in count_points(definition):
        point = fixed.index.get(name)
        answer = (yield Read(address + point.offset, 1)) if point is not None else None
        count = int.from_bytes(answer or b"", "big")
        # Not implemented, or more than could ever fit: a model whose groups cannot be trusted has none.
        counts[name] = count if count <= length else 0
    return compile_layout(definition, length, MappingProxyType(counts))


def _named(models: list[ChainModel]) -> str:
    return f"model {models[-1].model_id}" if models else "the marker"
