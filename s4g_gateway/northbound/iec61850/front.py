"""The front: takes clients in by TCP or TLS, knows who they are, and passes their octets to the worker.

A client costs the worker nothing before it has sent something, and is cut off when it is silent, slow to
associate, or one too many: the library behind it has no such limits of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import Final, Protocol, cast

from s4g_gateway.errors import GatewayError, TransientError
from s4g_gateway.northbound.iec104.tls import common_name

TLS_HANDSHAKE_S: Final = 10.0
SWEEP_S: Final = 0.5
WRITE_LIMIT_BYTES: Final = 256 * 1024
# What a client may send before its connection to the worker stands: an association request is far smaller.
EARLY_BYTES: Final = 8 * 1024
_TPKT_HEADER: Final = 4
_TPKT_VERSION: Final = 3
_FRAMES_TO_ASSOCIATE: Final = 2  # the transport's confirmation, then the answer to the MMS initiate
_KEEPALIVE_S: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """What clients may take.

    Attributes:
        association_s: from the connection to the association.
        idle_s: silence in both directions.
    """

    association_s: float
    idle_s: float


class Gate(Protocol):
    """Who decides about clients; the running server implements it."""

    def admit(self, identity: str, address: str) -> bool:
        """Takes a new client in or refuses it."""
        ...

    async def announce(self, identity: str, local: str) -> tuple[str, int]:
        """Tells the worker of a client before it connects.

        Args:
            identity: the client.
            local: address and port from which the front connects to the worker.

        Returns:
            Address and port of the worker.

        Raises:
            GatewayError: there is no worker.
        """
        ...

    def gone(self, identity: str, local: str, reason: str) -> None:
        """Takes word that a client that was admitted has gone; ``local`` is empty if it never was announced."""
        ...


class _Upstream(asyncio.Protocol):
    """The side of a connection that faces the worker."""

    def __init__(self, client: ClientWire) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._client.close("the worker closed the association")

    def pause_writing(self) -> None:
        self._client.hold()

    def resume_writing(self) -> None:
        self._client.go_on()


class ClientWire(asyncio.Protocol):
    """The side of a connection that faces the client.

    Args:
        front: where it belongs.
        gate: who decides about it.
    """

    def __init__(self, front: Front, gate: Gate) -> None:
        self._front = front
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._worker: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._early = bytearray()
        self._head = bytearray()
        self._frames_left = _FRAMES_TO_ASSOCIATE
        self._skip = 0
        self._reason = "the client closed the connection"
        self._is_admitted = False
        self._loop = asyncio.get_running_loop()
        self.identity = ""
        self.local = ""
        self.since_s = self._loop.time()
        self.active_s = self.since_s

    @property
    def is_associated(self) -> bool:
        """True once the worker has answered the association."""
        return self._frames_left == 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learns who connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_LIMIT_BYTES)
        _tune(self._transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        certificate = transport.get_extra_info("peercert")
        self.identity = address if certificate is None else common_name(certificate) or ""
        self._is_admitted = self._gate.admit(self.identity, address)
        if self._is_admitted:
            self._front.wires.add(self)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Passes octets to the worker."""
        self.active_s = self._loop.time()
        if self._worker is not None:
            self._worker.write(data)
            return
        if not self._is_admitted:
            return
        self._early += data
        if len(self._early) > EARLY_BYTES:
            self.close(f"more than {EARLY_BYTES} octets before the association")
        elif self._opening is None:
            self._opening = self._loop.create_task(self._open())

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the worker's side."""
        self._front.wires.discard(self)
        if self._opening is not None:
            self._opening.cancel()
        if self._worker is not None:
            self._worker.close()
        if self._is_admitted:
            self._is_admitted = False
            reason = self._reason if exc is None else f"{self._reason}: {exc}"
            self._gate.gone(self.identity, self.local, reason)

    def pause_writing(self) -> None:
        """Takes nothing from the worker while the client takes nothing."""
        if self._worker is not None:
            self._worker.pause_reading()

    def resume_writing(self) -> None:
        """Goes on."""
        if self._worker is not None and not self._worker.is_closing():
            self._worker.resume_reading()

    def hold(self) -> None:
        """Takes nothing from the client while the worker takes nothing."""
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Goes on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def answer(self, data: bytes) -> None:
        """Passes octets to the client."""
        self.active_s = self._loop.time()
        if self._frames_left:
            self._count(data)
        if self._transport is not None:
            self._transport.write(data)

    def close(self, reason: str) -> None:
        """Writes what is left, then closes."""
        if self._transport is not None and not self._transport.is_closing():
            self._reason = reason
            if self._transport.get_write_buffer_size() > WRITE_LIMIT_BYTES // 2:
                self._transport.abort()
            else:
                self._transport.close()

    def abort(self, reason: str) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._reason = reason
            self._transport.abort()

    def _count(self, data: bytes) -> None:
        """Counts the frames of the worker until the client is associated."""
        at = 0
        while at < len(data) and self._frames_left:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                self._frames_left -= not self._skip
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) == _TPKT_HEADER:
                self._skip = max(1, int.from_bytes(self._head[2:4], "big") - _TPKT_HEADER)
                self._head.clear()

    async def _open(self) -> None:
        """Announces the client to the worker and connects to it."""
        if self._early[0] != _TPKT_VERSION:
            self.close("what it sent is no TPKT frame")
            return
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            host, port = sock.getsockname()
            local = f"{host}:{port}"
            address = await self._gate.announce(self.identity, local)
            self.local = local
            await self._loop.sock_connect(sock, address)
            transport, _ = await self._loop.create_connection(partial(_Upstream, self), sock=sock)
        except (OSError, GatewayError) as error:
            sock.close()
            self.close(f"the worker cannot be reached: {error}")
            return
        except asyncio.CancelledError:
            sock.close()
            raise
        _tune(transport)
        if self._transport is None or self._transport.is_closing():
            transport.close()
            return
        transport.set_write_buffer_limits(high=WRITE_LIMIT_BYTES)
        self._worker = transport
        self._worker.write(bytes(self._early))
        self._early.clear()


class Front:
    """The listener and its connections.

    Args:
        gate: who decides about clients.
        limits: what clients may take.
        tls: certificates, None for plain TCP.
    """

    def __init__(self, gate: Gate, limits: FrontLimits, tls: SSLContext | None) -> None:
        self._gate = gate
        self._limits = limits
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.wires: set[ClientWire] = set()

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Listens; returns host and port.

        Raises:
            TransientError: the address cannot be bound.
        """
        make: Callable[[], ClientWire] = partial(ClientWire, self, self._gate)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                make,
                host,
                port,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else TLS_HANDSHAKE_S,
            )
        except OSError as error:
            raise TransientError(f"cannot listen on {host}:{port}: {error}") from error
        found = self._server.sockets[0].getsockname()
        return str(found[0]), int(found[1])

    async def sweep(self) -> None:
        """Cuts off clients that are silent or slow, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            now_s = loop.time()
            for wire in tuple(self.wires):
                if not wire.is_associated:
                    if now_s - wire.since_s > self._limits.association_s:
                        wire.abort(f"not associated within {self._limits.association_s:g} s")
                elif now_s - wire.active_s > self._limits.idle_s:
                    wire.abort(f"silent for {self._limits.idle_s:g} s")
            await asyncio.sleep(SWEEP_S)

    async def close(self) -> None:
        """Stops listening and cuts everybody off."""
        if self._server is not None:
            self._server.close()
        for wire in tuple(self.wires):
            wire.abort("the server stops")
        await asyncio.sleep(0)


def _tune(transport: asyncio.BaseTransport) -> None:
    """Sends small frames at once and finds peers that are gone without a word."""
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
