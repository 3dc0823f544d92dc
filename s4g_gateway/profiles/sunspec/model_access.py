"""Reads, writes and read-back of one model of a device, as steps of an exchange; sans-I/O."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping

from s4g_gateway.model import AddCause, ControlAnswer, refused
from s4g_gateway.profiles.modbus.answers import Answer, refusal
from s4g_gateway.profiles.modbus.reads import Read, Step, Write
from s4g_gateway.profiles.sunspec.layout import Layout, LayoutPoint, decode_model
from s4g_gateway.profiles.sunspec.point_types import Value, pack

MAX_WRITE_REGISTERS = 123

Steps = Generator[Step, Answer, None]


class RefusedError(Exception):
    """Ends an exchange; carries the answer."""

    def __init__(self, answer: ControlAnswer) -> None:
        super().__init__(answer.detail)
        self.answer = answer


class ModelAccess:
    """One model of a device.

    Args:
        layout: its layout.
        address: of its ID register.
        max_registers: longest read the device allows.

    Attributes:
        found: raw values by path, as last read.
        has_written: true once anything was written.
    """

    def __init__(self, layout: Layout, address: int, max_registers: int) -> None:
        self.layout = layout
        self.found: Mapping[str, Value] = {}
        self.has_written = False
        self._address = address
        self._max_registers = max_registers

    def read(self) -> Steps:
        """Reads the whole model into ``found``."""
        data = b""
        while len(data) < 2 * self.layout.registers:
            at = len(data) // 2
            count = min(self._max_registers, self.layout.registers - at)
            answer = yield Read(self._address + at, count)
            if answer.exception:
                raise RefusedError(refusal(answer.exception, f"reading model {self.layout.model_id}"))
            data += answer.data
        self.found = decode_model(self.layout, data)

    def write(self, wanted: Mapping[str, Value]) -> Steps:
        """Writes raw values, neighbours together, in order of address."""
        points = sorted((self.point(path) for path in wanted), key=lambda point: point.offset)
        start, data = -1, b""
        for point in points:
            encoded = pack(point.definition.type, wanted[point.path], point.definition.registers)
            is_next = start >= 0 and start + len(data) // 2 == point.offset
            if is_next and len(data) + len(encoded) <= 2 * MAX_WRITE_REGISTERS:
                data += encoded
                continue
            if start >= 0:
                yield from self._write_block(start, data)
            start, data = point.offset, encoded
        if start >= 0:
            yield from self._write_block(start, data)

    def _write_block(self, offset: int, data: bytes) -> Steps:
        self.has_written = True
        answer = yield Write(self._address + offset, data)
        if answer.exception:
            raise RefusedError(refusal(answer.exception, f"writing register {self._address + offset}"))

    def confirm(self, wanted: Mapping[str, Value], ignore: Collection[str] = ()) -> Steps:
        """Reads the model and compares.

        Args:
            wanted: raw values by path.
            ignore: paths that the device may change by itself.
        """
        yield from self.read()
        wrong = self.differences(wanted, ignore)
        if wrong:
            raise RefusedError(
                refused(AddCause.ABORTION_DUE_TO_DEVIATION, "read back differs: " + "; ".join(wrong))
            )

    def differences(self, wanted: Mapping[str, Value], ignore: Collection[str] = ()) -> list[str]:
        """Returns what was found unlike wanted, one line each."""
        return [
            f"{path} is {self.found.get(path)}, written {raw}"
            for path, raw in wanted.items()
            if self.found.get(path) != raw and path not in ignore
        ]

    def point(self, path: str) -> LayoutPoint:
        """Returns a point of the model; ends the exchange where the device has none."""
        point = self.layout.index.get(path)
        if point is None:
            raise RefusedError(
                refused(AddCause.NOT_SUPPORTED, f"model {self.layout.model_id} of this device has no {path}")
            )
        return point
