"""Modbus slave: registers, requests, answers; sans-I/O.

Source: Modbus Application Protocol V1.1b3; Modbus Messaging on TCP/IP V1.0b; Modbus over Serial Line V1.02
(clauses unverified).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum

MAX_READ_REGISTERS = 125
MAX_WRITE_REGISTERS = 123
MAX_READ_BITS = 2000
MAX_WRITE_BITS = 1968
MAX_READ_WRITE_REGISTERS = 121
BROADCAST = 0


class ExceptionCode(IntEnum):
    """Why a slave refuses. Source: Modbus Application Protocol V1.1b3 (clause unverified)."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3
    SERVER_DEVICE_FAILURE = 4
    SERVER_DEVICE_BUSY = 6
    GATEWAY_TARGET_FAILED_TO_RESPOND = 11


class RefusedError(Exception):
    """A request that is answered with an exception code."""

    def __init__(self, code: ExceptionCode) -> None:
        super().__init__(code.name)
        self.code = code


WriteHook = Callable[[int, bytes], ExceptionCode | None]


class RegisterBlock:
    """A run of registers as one byte image.

    Args:
        address: PDU address of the first.
        data: their contents, two bytes each.
        is_writable: per register 1 where a master may write; None for none at all.
    """

    __slots__ = ("address", "data", "end", "writable")

    def __init__(self, address: int, data: bytes, is_writable: bytes | None = None) -> None:
        self.address = address
        self.data = bytearray(data)
        self.end = address + len(data) // 2
        self.writable = is_writable

    def read(self, address: int, count: int) -> bytes:
        """Returns registers that lie within the block."""
        start = 2 * (address - self.address)
        return bytes(self.data[start : start + 2 * count])

    def put(self, address: int, data: bytes) -> None:
        """Overwrites registers that lie within the block."""
        start = 2 * (address - self.address)
        self.data[start : start + len(data)] = data


class Unit:
    """One unit behind a Modbus address.

    Args:
        holding: blocks of holding registers, not overlapping.
        input_registers: blocks of input registers; None to answer with the holding registers.
        coils: coil states from address 0.
        discrete_inputs: discrete input states from address 0.
        on_write: asked before holding registers change, with address and new contents; an exception code
            refuses.
    """

    def __init__(
        self,
        holding: tuple[RegisterBlock, ...] = (),
        *,
        input_registers: tuple[RegisterBlock, ...] | None = None,
        coils: bytearray | None = None,
        discrete_inputs: bytearray | None = None,
        on_write: WriteHook | None = None,
    ) -> None:
        self.holding = holding
        self.input_registers = holding if input_registers is None else input_registers
        self.coils = coils if coils is not None else bytearray()
        self.discrete_inputs = discrete_inputs if discrete_inputs is not None else bytearray()
        self.on_write = on_write
        self.requests_total = 0
        self.refuse_all: ExceptionCode | None = None

    def answer(self, pdu: bytes) -> bytes:
        """Returns the answer to one request.

        Args:
            pdu: function code and data, at least one byte.

        Returns:
            The answer's PDU: an exception answer where the request cannot be served.
        """
        self.requests_total += 1
        function = pdu[0]
        try:
            if self.refuse_all is not None:
                raise RefusedError(self.refuse_all)
            handler = _HANDLERS.get(function)
            if handler is None:
                raise RefusedError(ExceptionCode.ILLEGAL_FUNCTION)
            return handler(self, pdu)
        except RefusedError as refusal:
            return bytes((function & 0x7F | 0x80, refusal.code))
        except struct.error:
            return bytes((function & 0x7F | 0x80, ExceptionCode.ILLEGAL_DATA_VALUE))

    # -- functions -------------------------------------------------------------------------------

    def _read_holding(self, pdu: bytes) -> bytes:
        return _read_registers(self.holding, pdu)

    def _read_input(self, pdu: bytes) -> bytes:
        return _read_registers(self.input_registers, pdu)

    def _read_coils(self, pdu: bytes) -> bytes:
        return _read_bits(self.coils, pdu)

    def _read_discrete(self, pdu: bytes) -> bytes:
        return _read_bits(self.discrete_inputs, pdu)

    def _write_coil(self, pdu: bytes) -> bytes:
        address, value = _exactly(">HH", pdu)
        if value not in (0, 0xFF00):
            raise RefusedError(ExceptionCode.ILLEGAL_DATA_VALUE)
        if address >= len(self.coils):
            raise RefusedError(ExceptionCode.ILLEGAL_DATA_ADDRESS)
        self.coils[address] = 1 if value else 0
        return pdu

    def _write_coils(self, pdu: bytes) -> bytes:
        address, count, size = struct.unpack_from(">HHB", pdu, 1)
        if not 1 <= count <= MAX_WRITE_BITS or size != (count + 7) // 8 or len(pdu) != 6 + size:
            raise RefusedError(ExceptionCode.ILLEGAL_DATA_VALUE)
        if address + count > len(self.coils):
            raise RefusedError(ExceptionCode.ILLEGAL_DATA_ADDRESS)
        for place in range(count):
            self.coils[address + place] = pdu[6 + place // 8] >> place % 8 & 1
        return pdu[:5]

    def _write_register(self, pdu: bytes) -> bytes:
        address, _ = _exactly(">HH", pdu)
        self._write(address, pdu[3:5])
        return pdu

    def _write_registers(self, pdu: bytes) -> bytes:
        address, count, size = struct.unpack_from(">HHB", pdu, 1)
        if not 1 <= count <= MAX_WRITE_REGISTERS or size != 2 * count or len(pdu) != 6 + size:
            raise RefusedError(ExceptionCode.ILLEGAL_DATA_VALUE)
        self._write(address, pdu[6:])
        return pdu[:5]

    def _mask_write(self, pdu: bytes) -> bytes:
        address, and_mask, or_mask = _exactly(">HHH", pdu)
        block = _block(self.holding, address, 1)
        old = int.from_bytes(block.read(address, 1), "big")
        self._write(address, (old & and_mask | or_mask & ~and_mask & 0xFFFF).to_bytes(2, "big"))
        return pdu

    def _read_write(self, pdu: bytes) -> bytes:
        read_at, read_count, address, count, size = struct.unpack_from(">HHHHB", pdu, 1)
        if not (1 <= read_count <= MAX_READ_REGISTERS and 1 <= count <= MAX_READ_WRITE_REGISTERS):
            raise RefusedError(ExceptionCode.ILLEGAL_DATA_VALUE)
        if size != 2 * count or len(pdu) != 10 + size:
            raise RefusedError(ExceptionCode.ILLEGAL_DATA_VALUE)
        _block(self.holding, read_at, read_count)
        self._write(address, pdu[10:])
        data = _block(self.holding, read_at, read_count).read(read_at, read_count)
        return bytes((pdu[0], len(data))) + data

    def _write(self, address: int, data: bytes) -> None:
        count = len(data) // 2
        block = _block(self.holding, address, count)
        start = address - block.address
        if block.writable is None or 0 in block.writable[start : start + count]:
            raise RefusedError(ExceptionCode.ILLEGAL_DATA_ADDRESS)
        if self.on_write is not None:
            refusal = self.on_write(address, data)
            if refusal is not None:
                raise RefusedError(refusal)
        block.put(address, data)


_HANDLERS: Mapping[int, Callable[[Unit, bytes], bytes]] = {
    1: Unit._read_coils,  # noqa: SLF001 - the table of the class's own functions
    2: Unit._read_discrete,  # noqa: SLF001
    3: Unit._read_holding,  # noqa: SLF001
    4: Unit._read_input,  # noqa: SLF001
    5: Unit._write_coil,  # noqa: SLF001
    6: Unit._write_register,  # noqa: SLF001
    15: Unit._write_coils,  # noqa: SLF001
    16: Unit._write_registers,  # noqa: SLF001
    22: Unit._mask_write,  # noqa: SLF001
    23: Unit._read_write,  # noqa: SLF001
}


def _exactly(layout: str, pdu: bytes) -> tuple[int, ...]:
    """Unpacks the data of a request of fixed length."""
    return struct.unpack(layout, pdu[1:])


def _block(blocks: tuple[RegisterBlock, ...], address: int, count: int) -> RegisterBlock:
    for block in blocks:
        if block.address <= address and address + count <= block.end:
            return block
    raise RefusedError(ExceptionCode.ILLEGAL_DATA_ADDRESS)


def _read_registers(blocks: tuple[RegisterBlock, ...], pdu: bytes) -> bytes:
    address, count = _exactly(">HH", pdu)
    if not 1 <= count <= MAX_READ_REGISTERS:
        raise RefusedError(ExceptionCode.ILLEGAL_DATA_VALUE)
    data = _block(blocks, address, count).read(address, count)
    return bytes((pdu[0], len(data))) + data


def _read_bits(states: bytearray, pdu: bytes) -> bytes:
    address, count = _exactly(">HH", pdu)
    if not 1 <= count <= MAX_READ_BITS:
        raise RefusedError(ExceptionCode.ILLEGAL_DATA_VALUE)
    if address + count > len(states):
        raise RefusedError(ExceptionCode.ILLEGAL_DATA_ADDRESS)
    packed = bytearray((count + 7) // 8)
    for place in range(count):
        packed[place // 8] |= (1 if states[address + place] else 0) << place % 8
    return bytes((pdu[0], len(packed))) + bytes(packed)


class Slave:
    """The units behind one connection or line, and the two framings.

    Args:
        units: by unit id, 1 to 255.
        answers_unknown: true where a TCP gateway answers for units that do not exist (exception 11); false
            where nobody does.
    """

    def __init__(self, units: Mapping[int, Unit], *, answers_unknown: bool = True) -> None:
        self.units = dict(units)
        self.answers_unknown = answers_unknown

    def respond(self, unit_id: int, pdu: bytes) -> bytes | None:
        """Returns the answer's PDU, None where none is sent (broadcast, a unit that does not exist)."""
        unit = self.units.get(unit_id)
        if unit is not None:
            return unit.answer(pdu)
        if unit_id == BROADCAST:
            # Writes reach every unit, reads none; nobody answers.
            if pdu[0] in (5, 6, 15, 16, 22):
                for each in self.units.values():
                    each.answer(pdu)
            return None
        if self.answers_unknown:
            return bytes((pdu[0] & 0x7F | 0x80, ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND))
        return None

    def receive_tcp(self, buffer: bytearray) -> bytes | None:
        """Answers every complete request in a TCP buffer, pipelined ones in order.

        Args:
            buffer: what was received; answered requests are removed.

        Returns:
            The answers to send, perhaps empty; None where the stream is no Modbus and must be closed.
        """
        answers = bytearray()
        while len(buffer) >= 8:
            transaction, protocol, length = struct.unpack_from(">HHH", buffer)
            if protocol != 0 or not 2 <= length <= 254:
                return None
            if len(buffer) < 6 + length:
                break
            unit_id, pdu = buffer[6], bytes(buffer[7 : 6 + length])
            del buffer[: 6 + length]
            answer = self.respond(unit_id, pdu)
            if answer is not None:
                answers += struct.pack(">HHHB", transaction, 0, len(answer) + 1, unit_id) + answer
        return bytes(answers)

    def receive_rtu(self, buffer: bytearray) -> bytes:
        """Answers every complete request in a serial buffer.

        Args:
            buffer: what was received; consumed frames and garbage are removed.

        Returns:
            The answers to send, perhaps empty.
        """
        answers = bytearray()
        while len(buffer) >= 4:
            size = _rtu_request_size(buffer)
            if size is None:
                # An unknown function has no known length: the frame is what came until the line fell silent.
                size = len(buffer)
            if len(buffer) < size:
                break
            frame = bytes(buffer[:size])
            if crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
                # Out of step with the frames: look for the next one a byte further on.
                del buffer[0]
                continue
            del buffer[:size]
            answer = self.respond(frame[0], frame[1:-2]) if frame[0] in self.units or frame[0] == 0 else None
            if answer is not None:
                reply = frame[:1] + answer
                answers += reply + crc16(reply).to_bytes(2, "little")
        return bytes(answers)


def _rtu_request_size(buffer: bytearray) -> int | None:
    function = buffer[1]
    if 1 <= function <= 6:
        return 8
    if function in (15, 16):
        return 9 + buffer[6] if len(buffer) > 6 else 9
    if function == 22:
        return 10
    if function == 23:
        return 13 + buffer[10] if len(buffer) > 10 else 13
    return None


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """Returns the RTU checksum, sent low byte first. Source: Modbus over Serial Line V1.02 (clause unverified)."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc
