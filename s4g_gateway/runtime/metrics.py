"""HTTP for monitoring: ``/metrics`` for Prometheus, ``/health`` for probes, ``/`` for people.

A few lines of HTTP/1.1 of our own: GET and HEAD, one request a connection, everything bounded. It shows
names, counts and ages, never a point's value, and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import msgspec
import structlog

from s4g_gateway.errors import PermanentError
from s4g_gateway.runtime.exposition import Freshness, FreshnessReader, families, render
from s4g_gateway.runtime.health import STALE_PER_DATA_SET, health, page
from s4g_gateway.runtime.listen import Listen
from s4g_gateway.runtime.local_socket import LocalSite
from s4g_gateway.security import Principal

MAX_HEAD_BYTES: Final = 8192
MAX_CONNECTIONS: Final = 16
# For the whole exchange: a client that is slower than this is cut off.
EXCHANGE_TIMEOUT_S: Final = 10.0
# DataSets between two pauses in which the gateway does its real work.
_SETS_PER_PAUSE: Final = 50
_PRINCIPAL: Final = Principal(name="metrics", roles=frozenset({"VIEWER"}))
_HEADERS = (
    "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"
)
_LOG = structlog.get_logger("metrics")


async def serve_metrics(listen: Listen, site: LocalSite) -> None:
    """Serves until cancelled.

    Raises:
        PermanentError: the address cannot be bound.
    """
    async with metrics_server(listen, site):
        await asyncio.get_running_loop().create_future()


@contextlib.asynccontextmanager
async def metrics_server(
    listen: Listen, site: LocalSite, *, exchange_timeout_s: float = EXCHANGE_TIMEOUT_S
) -> AsyncIterator[int]:
    """Serves inside an ``async with`` block that gets the port.

    Raises:
        PermanentError: the address cannot be bound.
    """
    pages = _Pages(site, check_host=listen.is_loopback)
    clients: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(clients) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(_exchange(pages, reader, writer, exchange_timeout_s))
        clients.add(task)
        task.add_done_callback(clients.discard)

    try:
        server = await asyncio.start_server(accept, listen.host, listen.port, limit=MAX_HEAD_BYTES)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PermanentError(f"metrics on {listen.host} port {listen.port}: {reason}") from error
    port = int(server.sockets[0].getsockname()[1])
    _LOG.info("metrics and health page", host=listen.host, port=port)
    try:
        yield port
    finally:
        server.close()
        for task in clients:
            task.cancel()
        if clients:
            await asyncio.wait(clients)


async def _exchange(
    pages: _Pages, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            writer.write(await pages.answer(reader))
            await writer.drain()
            # A polite end: what the client still sends is read away, else it could see a reset, no answer.
            writer.write_eof()
            while await reader.read(MAX_HEAD_BYTES):
                pass
    except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, OSError):
        pass  # the client's end of the matter
    finally:
        writer.transport.abort()


class _Pages:
    def __init__(self, site: LocalSite, *, check_host: bool) -> None:
        self._site = site
        self._check_host = check_host
        self._freshness = FreshnessReader(site.database, _PRINCIPAL)

    async def answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        request, _, fields = head.partition(b"\r\n")
        words = request.split(b" ")
        if len(words) != 3 or not words[1].startswith(b"/") or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            return _response(HTTPStatus.BAD_REQUEST)
        if words[0] not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, extra="Allow: GET, HEAD\r\n")
        # A web page elsewhere must not read a loopback page by giving its own name our address.
        if self._check_host and not _host_is_local(fields):
            return _response(HTTPStatus.MISDIRECTED_REQUEST)
        answer = await self._page(words[1].partition(b"?")[0])
        return answer if words[0] == b"GET" else answer[: answer.index(b"\r\n\r\n") + 4]

    async def _page(self, path: bytes) -> bytes:
        if path == b"/metrics":
            body = render(families(self._site.status(), await self._fresh()))
            return _response(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", body)
        if path == b"/health":
            found = health(self._site.status(), await self._fresh())
            code = HTTPStatus.SERVICE_UNAVAILABLE if found["status"] == "failed" else HTTPStatus.OK
            return _response(code, "application/json", msgspec.json.encode(found) + b"\n")
        if path == b"/":
            freshness = await self._fresh(STALE_PER_DATA_SET)
            found = health(self._site.status(), freshness)
            return _response(HTTPStatus.OK, "text/html; charset=utf-8", page(found, freshness))
        return _response(HTTPStatus.NOT_FOUND)

    async def _fresh(self, stale_limit: int = 0) -> list[Freshness]:
        found = []
        for entry in self._freshness.read(stale_limit):
            found.append(entry)
            if len(found) % _SETS_PER_PAUSE == 0:
                await asyncio.sleep(0)
        return found


def _host_is_local(fields: bytes) -> bool:
    for line in fields.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"host":
            host = value.strip().decode("latin-1").lower()
            host = (
                host[1 : host.index("]")] if host.startswith("[") and "]" in host else host.partition(":")[0]
            )
            if host in ("localhost", ""):
                return True
            try:
                return ipaddress.ip_address(host) is not None
            except ValueError:
                return False
    return True


def _response(status: HTTPStatus, kind: str = "", body: bytes = b"", *, extra: str = "") -> bytes:
    body = body or f"{status.value} {status.phrase}\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind or 'text/plain; charset=utf-8'}\r\n"
        f"Content-Length: {len(body)}\r\n{_HEADERS}{extra}\r\n"
    )
    return head.encode("ascii") + body
