"""Serves a simulated Modbus slave over TCP, TLS or a serial line.

Faults can be switched on while it runs, to see how a master takes them.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import termios
import tty
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from s4g_gateway.simulators.modbus_slave import Slave

_BUFFER_LIMIT = 64 * 1024


@dataclass(slots=True)
class Faults:
    """What goes wrong.

    Attributes:
        delay_s: each answer comes so much later.
        is_silent: requests are swallowed: a half-open connection, a device that hangs.
        garbage: sent in place of every answer; None for none.
    """

    delay_s: float = 0.0
    is_silent: bool = False
    garbage: bytes | None = None


class ModbusTcpServer:
    """A Modbus TCP (or TLS) server on a socket of its own.

    Args:
        slave: what it serves.
        tls: server context; None for plain TCP.
    """

    def __init__(self, slave: Slave, *, tls: ssl.SSLContext | None = None) -> None:
        self.slave = slave
        self.faults = Faults()
        self.host = ""
        self.port = 0
        self.connections: set[_Connection] = set()
        self.connections_total = 0
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Begins to listen; port 0 takes a free one, which ``port`` then tells."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port, ssl=self._tls)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    def drop_connections(self) -> None:
        """Cuts every connection and goes on listening."""
        for connection in tuple(self.connections):
            connection.abort()

    async def stop(self) -> None:
        """Stops listening and cuts every connection; the port can be taken again."""
        if self._server is not None:
            self._server.close()
            self.drop_connections()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        if self._server is None:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class _Connection(asyncio.Protocol):
    def __init__(self, server: ModbusTcpServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._server.connections.add(self)
        self._server.connections_total += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._server.connections.discard(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        transport, faults = self._transport, self._server.faults
        if transport is None or faults.is_silent:
            return
        self._buffer += data
        answers = self._server.slave.receive_tcp(self._buffer)
        if answers is None or len(self._buffer) > _BUFFER_LIMIT:
            transport.abort()
        elif answers:
            if faults.garbage is not None:
                answers = faults.garbage
            if faults.delay_s:
                asyncio.get_running_loop().call_later(faults.delay_s, transport.write, answers)
            else:
                transport.write(answers)


class ModbusRtuServer:
    """A Modbus RTU slave on a serial line or the far end of a pseudo-terminal.

    Args:
        slave: what it serves.
    """

    def __init__(self, slave: Slave) -> None:
        self.slave = slave
        self.faults = Faults()
        self._buffer = bytearray()
        self._descriptor = -1
        self._spare = -1

    def start_on_pty(self) -> str:
        """Makes a pseudo-terminal and serves one end.

        Returns:
            Path of the other end, for the master.
        """
        self._descriptor, self._spare = os.openpty()
        tty.setraw(self._spare)
        self._serve()
        return os.ttyname(self._spare)

    def start_on_line(self, path: str, baud_rate: int = 9600) -> None:
        """Serves a serial device, 8 data bits, no parity, 1 stop bit."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._descriptor)
        speed = getattr(termios, f"B{baud_rate}")
        attributes = termios.tcgetattr(self._descriptor)
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(self._descriptor, termios.TCSANOW, attributes)
        self._serve()

    def _serve(self) -> None:
        os.set_blocking(self._descriptor, False)
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, 4096)
        except (BlockingIOError, OSError):
            return
        if self.faults.is_silent:
            return
        self._buffer += data
        if len(self._buffer) > _BUFFER_LIMIT:
            self._buffer.clear()
        answers = self.slave.receive_rtu(self._buffer)
        if answers:
            if self.faults.garbage is not None:
                answers = self.faults.garbage
            loop = asyncio.get_running_loop()
            loop.call_later(self.faults.delay_s, self._write, answers)

    def _write(self, data: bytes) -> None:
        if self._descriptor >= 0:
            os.write(self._descriptor, data)

    def stop(self) -> None:
        """Leaves the line."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            if self._spare >= 0:
                os.close(self._spare)
            self._descriptor = self._spare = -1
