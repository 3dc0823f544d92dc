"""One TCP or TLS connection of a master."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from s4g_gateway.northbound.iec104.tls import common_name

# Beyond this the socket's buffer counts as full and no new ASDUs are drawn for it.
WRITE_LIMIT_BYTES = 64 * 1024


class WireOwner:
    """What a connection calls; the connector implements it."""

    def accept(self, wire: MasterWire) -> Callable[[bytes], None] | None:
        """Takes a new connection: returns where its octets go, None to refuse it."""
        raise NotImplementedError

    def gone(self, wire: MasterWire) -> None:
        """Takes word that the socket is gone."""
        raise NotImplementedError

    def writable(self, wire: MasterWire) -> None:
        """Takes word that the socket takes data again."""
        raise NotImplementedError


class MasterWire(asyncio.Protocol):
    """The socket's side of a link.

    Args:
        owner: who is told.
    """

    def __init__(self, owner: WireOwner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._take: Callable[[bytes], None] | None = None
        self.is_writable = True
        self.address = ""
        self.identity = ""
        self.link = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learns who connected and asks the owner to take it."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_LIMIT_BYTES)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        certificate = transport.get_extra_info("peercert")
        self.identity = self.address if certificate is None else common_name(certificate) or ""
        self._take = self._owner.accept(self)
        if self._take is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Passes octets on."""
        if self._take is not None:
            self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the owner."""
        del exc
        if self._take is not None:
            self._take = None
            self._owner.gone(self)

    def pause_writing(self) -> None:
        """Stops drawing ASDUs for this socket."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """Goes on."""
        self.is_writable = True
        self._owner.writable(self)

    def write(self, data: bytes) -> None:
        """Hands octets to the socket."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Writes what is left, then closes; a peer that takes nothing is cut off."""
        if self._transport is not None:
            if self.is_writable:
                self._transport.close()
            else:
                self._transport.abort()

    def abort(self) -> None:
        """Closes without writing what is left."""
        if self._transport is not None:
            self._transport.abort()
