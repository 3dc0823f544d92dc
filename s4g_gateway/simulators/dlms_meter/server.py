"""Serves a simulated meter over TCP, by wrapper or HDLC; faults can be switched on while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from s4g_gateway.errors import DecodeError
from s4g_gateway.simulators.dlms_meter.application import Application, LogicalDevice
from s4g_gateway.simulators.dlms_meter.axdr import Data, encode
from s4g_gateway.simulators.dlms_meter.mode_e import ModeE
from s4g_gateway.simulators.dlms_meter.services import Service
from s4g_gateway.simulators.dlms_meter.station import HdlcStation
from s4g_gateway.simulators.dlms_meter.wrapper import WrappedApdu, encode_wrapped, take_wrapped
from s4g_gateway.workers.dlms.hdlc_frame import Frame, decode_frame, encode_address, encode_frame

Link = Literal["wrapper", "hdlc", "mode-e"]
MAX_CONNECTIONS = 8


@dataclass(slots=True)
class Faults:
    """What goes wrong.

    Attributes:
        delay_s: each answer comes so much later.
        silent: requests are swallowed.
        truncate_bytes: so many bytes at the end of each answer are missing.
        other_meter: each answer comes from the address beside the meter's.
        repeat_last: the answer before comes again in place of each answer.
        flip_byte: the last byte but one of each answer is changed.
    """

    delay_s: float = 0.0
    silent: bool = False
    truncate_bytes: int = 0
    other_meter: bool = False
    repeat_last: bool = False
    flip_byte: bool = False


class _Line(Protocol):
    def receive(self, data: bytes) -> list[bytes]: ...

    def from_neighbour(self, answer: bytes) -> bytes: ...


class _WrapperLine:
    def __init__(self, device: LogicalDevice, server: int) -> None:
        self._device, self._server = device, server
        self._buffer = bytearray()
        self._applications: dict[int, Application] = {}

    def receive(self, data: bytes) -> list[bytes]:
        self._buffer += data
        answers = []
        while (message := take_wrapped(self._buffer)) is not None:
            if message.destination != self._server or len(self._applications) > 4:
                continue
            application = self._applications.get(message.source)
            if application is None:
                application = self._applications[message.source] = Application(self._device, message.source)
            answer = application.receive(message.apdu)
            answers.append(encode_wrapped(WrappedApdu(self._server, message.source, answer)))
        return answers

    def from_neighbour(self, answer: bytes) -> bytes:
        source = int.from_bytes(answer[2:4], "big") + 1
        return answer[:2] + source.to_bytes(2, "big") + answer[4:]


class _HdlcLine:
    def __init__(self, device: LogicalDevice, address: bytes, *, mode_e: bool) -> None:
        self._station = HdlcStation(device, address)
        self._greeting = ModeE() if mode_e else None

    def receive(self, data: bytes) -> list[bytes]:
        if self._greeting is not None:
            answer = self._greeting.receive(data)
            if not self._greeting.is_done:
                return [answer] if answer else []
            data, self._greeting = self._greeting.rest, None
            return [answer, *self._station.receive(data)]
        return self._station.receive(data)

    def from_neighbour(self, answer: bytes) -> bytes:
        frame = decode_frame(answer[1:-1])
        source = frame.source[:-1] + bytes((frame.source[-1] ^ 2,))
        moved = Frame(frame.destination, source, frame.control, frame.information, frame.segmented)
        return encode_frame(moved)


class DlmsMeterServer:
    """A meter on a TCP socket of its own.

    Args:
        device: the meter.
        link: how APDUs are carried; mode-e is HDLC after the greeting of IEC 62056-21.
        server_address: wrapper port, or upper HDLC address.
        physical_address: lower HDLC address; None for none.

    Attributes:
        faults: what goes wrong.
        port: where it listens.
        connections_total: connections so far.
    """

    def __init__(
        self,
        device: LogicalDevice,
        *,
        link: Link = "wrapper",
        server_address: int = 1,
        physical_address: int | None = None,
    ) -> None:
        self.device = device
        self.link = link
        self.faults = Faults()
        self.host, self.port = "", 0
        self.connections_total = 0
        self._server_address = server_address
        self._hdlc_address = encode_address(server_address, physical_address) if link != "wrapper" else b""
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    def line(self) -> _Line:
        """Returns the protocol of a new connection."""
        if self.link == "wrapper":
            return _WrapperLine(self.device, self._server_address)
        return _HdlcLine(self.device, self._hdlc_address, mode_e=self.link == "mode-e")

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Begins to listen; port 0 takes a free one, which ``port`` then tells."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self, self._connections), host, port)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    def drop_connections(self) -> None:
        """Cuts every connection and goes on listening."""
        for connection in tuple(self._connections):
            connection.abort()

    async def stop(self) -> None:
        """Stops listening and cuts every connection; idempotent."""
        if self._server is not None:
            self._server.close()
            self.drop_connections()
            await self._server.wait_closed()
            self._server = None


class _Connection(asyncio.Protocol):
    def __init__(self, server: DlmsMeterServer, connections: set[_Connection]) -> None:
        self._server, self._connections = server, connections
        self._line = server.line()
        self._transport: asyncio.Transport | None = None
        self._last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._connections.add(self)
        self._server.connections_total += 1
        if len(self._connections) > MAX_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._connections.discard(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        transport, faults = self._transport, self._server.faults
        if transport is None or faults.silent:
            return
        try:
            answers = self._line.receive(data)
        except DecodeError:
            transport.abort()  # the stream cannot be read on
            return
        if not answers:
            return
        sent = b"".join(self._spoilt(answer) for answer in answers)
        if faults.delay_s:
            asyncio.get_running_loop().call_later(faults.delay_s, transport.write, sent)
        else:
            transport.write(sent)

    def _spoilt(self, answer: bytes) -> bytes:
        faults = self._server.faults
        if faults.other_meter:
            answer = self._line.from_neighbour(answer)
        if faults.repeat_last and self._last:
            return self._last
        self._last = answer
        if faults.flip_byte:
            answer = answer[:-2] + bytes((answer[-2] ^ 0x01,)) + answer[-1:]
        return answer[: len(answer) - faults.truncate_bytes]


def data_notification(body: Data, *, invocation: int = 1, time: bytes = b"") -> bytes:
    """Returns the APDU of a DataNotification.

    Args:
        body: what is pushed.
        invocation: long invoke id.
        time: COSEM date-time, or nothing.
    """
    head = bytes((Service.DATA_NOTIFICATION,)) + invocation.to_bytes(4, "big")
    return head + bytes((len(time),)) + time + encode(body)


async def push(
    host: str, port: int, apdus: Sequence[bytes], *, source: int = 1, destination: int = 16
) -> None:
    """Connects to a listener and sends APDUs by wrapper, as a meter does of its own accord."""
    _, writer = await asyncio.open_connection(host, port)
    try:
        for apdu in apdus:
            writer.write(encode_wrapped(WrappedApdu(source, destination, apdu)))
        await writer.drain()
    finally:
        writer.close()
        await writer.wait_closed()
