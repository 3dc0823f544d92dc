"""A Modbus slave over TCP, TLS or a serial line, for simulated devices.

Own code on purpose: the product's client is pymodbus, and a simulator built on the same library would share its
mistakes. Registers live in one array per unit; a device fills it and hears of writes.

Source: MODBUS Application Protocol Specification V1.1b3 §6 (clause unverified); MODBUS Messaging on TCP/IP
Implementation Guide V1.0b (clause unverified).
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

REGISTERS = 65_536
MAX_READ = 125
MAX_WRITE = 123
_MBAP = struct.Struct(">HHHB")
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE, _NO_TARGET = 1, 2, 3, 11

OnWrite = Callable[[int, int], None]


@dataclass(slots=True)
class Unit:
    """One addressable device behind a slave.

    Attributes:
        words: 65,536 holding registers in network order, ready to be sent.
        readable: ranges of addresses that exist; reading outside is ILLEGAL DATA ADDRESS.
        writable: ranges of addresses that may be written.
        on_write: called after a write with address and count; raises ValueError for ILLEGAL DATA VALUE.
    """

    words: bytearray = field(default_factory=lambda: bytearray(2 * REGISTERS))
    readable: tuple[range, ...] = (range(REGISTERS),)
    writable: tuple[range, ...] = ()
    on_write: OnWrite | None = None

    def put(self, address: int, values: bytes) -> None:
        """Stores registers given in network order."""
        self.words[2 * address : 2 * address + len(values)] = values

    def get(self, address: int, count: int) -> bytes:
        """Returns registers in network order."""
        return bytes(self.words[2 * address : 2 * (address + count)])


def _inside(ranges: tuple[range, ...], address: int, count: int) -> bool:
    return any(part.start <= address and address + count <= part.stop for part in ranges)


def _error(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


def respond(unit: Unit, pdu: bytes) -> bytes:
    """Answers one request PDU.

    Args:
        unit: the device asked.
        pdu: function code and data.

    Returns:
        The response PDU, normal or exception. Functions: 3, 4 read; 6 write one; 16 write many; 23 both.
    """
    function = pdu[0] if pdu else 0
    if function in (3, 4):
        return _read(unit, pdu)
    if function == 6:
        if len(pdu) != 5:
            return _error(function, _ILLEGAL_VALUE)
        return _write(unit, function, int.from_bytes(pdu[1:3], "big"), pdu[3:]) or pdu
    if function == 16:
        if len(pdu) < 6:
            return _error(function, _ILLEGAL_VALUE)
        address, count, size = struct.unpack_from(">HHB", pdu, 1)
        if not 1 <= count <= MAX_WRITE or size != 2 * count or len(pdu) != 6 + size:
            return _error(function, _ILLEGAL_VALUE)
        return _write(unit, function, address, pdu[6:]) or pdu[:5]
    if function == 23:
        if len(pdu) < 10:
            return _error(function, _ILLEGAL_VALUE)
        size = pdu[9]
        address, count = struct.unpack_from(">HH", pdu, 5)
        if not 1 <= count <= 121 or size != 2 * count or len(pdu) != 10 + size:
            return _error(function, _ILLEGAL_VALUE)
        refusal = _write(unit, function, address, pdu[10:])
        return refusal or bytes((function,)) + _read(unit, pdu[:5])[1:]
    return _error(function, _ILLEGAL_FUNCTION)


def _read(unit: Unit, pdu: bytes) -> bytes:
    if len(pdu) != 5:
        return _error(pdu[0], _ILLEGAL_VALUE)
    address, count = struct.unpack_from(">HH", pdu, 1)
    if not 1 <= count <= MAX_READ:
        return _error(pdu[0], _ILLEGAL_VALUE)
    if not _inside(unit.readable, address, count):
        return _error(pdu[0], _ILLEGAL_ADDRESS)
    return bytes((pdu[0], 2 * count)) + unit.words[2 * address : 2 * (address + count)]


def _write(unit: Unit, function: int, address: int, values: bytes) -> bytes:
    """Writes registers; returns an exception response, empty when all went well."""
    count = len(values) // 2
    if not _inside(unit.writable, address, count):
        return _error(function, _ILLEGAL_ADDRESS)
    before = unit.get(address, count)
    unit.put(address, values)
    if unit.on_write is not None:
        try:
            unit.on_write(address, count)
        except ValueError:
            unit.put(address, before)
            return _error(function, _ILLEGAL_VALUE)
    return b""


class _TcpConnection(asyncio.Protocol):
    def __init__(self, slave: ModbusTcpSlave) -> None:
        self._slave = slave
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._slave.connections.add(self._transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._slave.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        answers = []
        while len(buffer) - start >= 8:
            transaction, protocol, length, unit_id = _MBAP.unpack_from(buffer, start)
            if protocol != 0 or not 2 <= length <= 254:
                self._transport.close()
                return
            end = start + 6 + length
            if len(buffer) < end:
                break
            self._slave.requests_total += 1
            pdu = self._slave.answer(unit_id, bytes(buffer[start + 7 : end]))
            answers.append(_MBAP.pack(transaction, 0, len(pdu) + 1, unit_id) + pdu)
            start = end
        del buffer[:start]
        if answers and not self._slave.mute:
            self._transport.write(b"".join(answers))


class ModbusTcpSlave:
    """Serves units over TCP or TLS.

    Args:
        units: unit id -> device; an unknown unit is answered GATEWAY TARGET DEVICE FAILED TO RESPOND.

    Attributes:
        mute: true to take requests and never answer, as a hung device does.
        requests_total: requests taken.
        connections: transports of the masters that are connected.
    """

    def __init__(self, units: Mapping[int, Unit]) -> None:
        self.units = units
        self.mute = False
        self.requests_total = 0
        self.connections: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    def answer(self, unit_id: int, pdu: bytes) -> bytes:
        """Answers one request PDU for a unit."""
        unit = self.units.get(unit_id)
        return _error(pdu[0], _NO_TARGET) if unit is None else respond(unit, pdu)

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        """Starts to listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _TcpConnection(self), host, port, ssl=tls)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def drop(self) -> None:
        """Cuts every connection, as a lost link does; goes on listening."""
        for transport in tuple(self.connections):
            transport.abort()

    async def stop(self) -> None:
        """Stops to listen and cuts every connection; idempotent."""
        if self._server is not None:
            self._server.close()
            self.drop()
            await self._server.wait_closed()
            self._server = None


def _crc_table() -> array[int]:
    table = array("H")
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC = _crc_table()


def crc16(frame: bytes) -> bytes:
    """Returns the CRC of an RTU frame, low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


class RtuFramer:
    """Finds request frames in the bytes of a serial line, for a slave.

    Requests carry their own length, so frames are told apart without the silent interval, which a pseudo terminal
    does not keep. Bytes that fit no frame are dropped one at a time.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[tuple[int, bytes]]:
        """Takes bytes; returns the requests they complete, as (unit id, PDU)."""
        self._buffer += data
        found = []
        while len(self._buffer) >= 8:
            size = self._size()
            if size is not None and len(self._buffer) < size:
                break
            if size is None or crc16(bytes(self._buffer[: size - 2])) != bytes(self._buffer[size - 2 : size]):
                del self._buffer[0]
                continue
            found.append((self._buffer[0], bytes(self._buffer[1 : size - 2])))
            del self._buffer[:size]
        return found

    def _size(self) -> int | None:
        function = self._buffer[1]
        if function in (3, 4, 6):
            return 8
        if function == 16:
            return 9 + self._buffer[6]
        if function == 23:
            return 13 + self._buffer[10] if len(self._buffer) > 10 else 13
        return None


def rtu_answer(units: Mapping[int, Unit], unit_id: int, pdu: bytes) -> bytes:
    """Returns the RTU frame that answers a request; empty for a broadcast or another slave's unit."""
    if unit_id == 0:
        for unit in units.values():
            respond(unit, pdu)
        return b""
    unit_found = units.get(unit_id)
    if unit_found is None:
        return b""
    frame = bytes((unit_id,)) + respond(unit_found, pdu)
    return frame + crc16(frame)
