"""What the gateway adds to pymodbus' framing: raw answers, a stream that is no Modbus ends the request at once."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextvars import ContextVar

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from s4g_gateway.profiles.modbus.reads import Function, Write

_MBAP_LENGTH_MAX = 254

# Why the last attempt to connect in this task failed.
why_not: ContextVar[str] = ContextVar("why_not", default="")


class _Overheard(logging.Handler):
    """Keeps pymodbus's remarks from the log, but remembers the last one: it says why connecting failed."""

    def emit(self, record: logging.LogRecord) -> None:
        why_not.set(record.getMessage().removeprefix("Failed to connect "))


_PYMODBUS_LOG = logging.getLogger("pymodbus.logging")
_PYMODBUS_LOG.setLevel(logging.WARNING)
_PYMODBUS_LOG.propagate = False
_PYMODBUS_LOG.addHandler(_Overheard())


class RawAnswer:
    """Mixin: the answer's data as bytes."""

    data: bytes = b""

    def decode(self, data: bytes) -> None:
        """Keeps the data after the byte count."""
        if not data or data[0] != len(data) - 1:
            raise ModbusException("byte count and length of the answer disagree")
        self.data = data[1:]

    def __str__(self) -> str:
        return "raw answer"


class _RawHolding(RawAnswer, ReadHoldingRegistersResponse):
    pass


class _RawInput(RawAnswer, ReadInputRegistersResponse):
    pass


class _RawCoils(RawAnswer, ReadCoilsResponse):
    pass


class _RawDiscrete(RawAnswer, ReadDiscreteInputsResponse):
    pass


def _raw_decoder() -> DecodePDU:
    decoder = DecodePDU(False)
    for answer in (_RawHolding, _RawInput, _RawCoils, _RawDiscrete):
        decoder.register(answer)
    return decoder


# Without state, so one serves every connection.
DECODER = _raw_decoder()


class CarefulFramer(FramerSocket):
    """MBAP framing that ends a request at once when the stream is no Modbus.

    pymodbus waits for the time-out instead; its TLS framer cannot join an answer that came in two records.
    """

    def __init__(self, fail: Callable[[str], None]) -> None:
        super().__init__(DECODER)
        self._fail = fail

    def handleFrame(  # noqa: N802 - pymodbus's name
        self, data: bytes, exp_devid: int, exp_tid: int
    ) -> tuple[int, ModbusPDU | None]:
        """Returns how many bytes were used, and the answer once it is whole."""
        if len(data) >= self.MIN_SIZE:
            protocol, length = struct.unpack_from(">HH", data, 2)
            if protocol != 0 or not 2 <= length <= _MBAP_LENGTH_MAX:
                self._fail("the peer sends no Modbus")
                return len(data), None
        try:
            return super().handleFrame(data, exp_devid, exp_tid)
        except ModbusException as error:
            self._fail(str(error))
            return len(data), None


READ_REQUESTS: dict[Function, type[ModbusPDU]] = {
    Function.READ_COILS: ReadCoilsRequest,
    Function.READ_DISCRETE_INPUTS: ReadDiscreteInputsRequest,
    Function.READ_HOLDING_REGISTERS: ReadHoldingRegistersRequest,
    Function.READ_INPUT_REGISTERS: ReadInputRegistersRequest,
}


def write_pdu(unit_id: int, step: Write) -> ModbusPDU:
    """Returns pymodbus' request for a write."""
    if step.function is Function.WRITE_SINGLE_COIL:
        return WriteSingleCoilRequest(address=step.address, bits=[bool(step.data[0])], dev_id=unit_id)
    registers = list(struct.unpack(f">{len(step.data) // 2}H", step.data))
    if step.function is Function.WRITE_SINGLE_REGISTER:
        return WriteSingleRegisterRequest(address=step.address, registers=registers, dev_id=unit_id)
    return WriteMultipleRegistersRequest(address=step.address, registers=registers, dev_id=unit_id)
