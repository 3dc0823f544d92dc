"""The local Unix socket of a running gateway: ``s4g watch``, ``read``, ``operate`` and scripts talk to it.

The socket file has mode 0600. Its principal is the peer's Unix user, as the kernel tells it (SO_PEERCRED),
with the role ENGINEER; users other than the gateway's own and root are turned away even where a file system
ignores modes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog

from s4g_gateway.errors import (
    AccessError,
    ConfigError,
    DecodeError,
    GatewayError,
    ModelError,
)
from s4g_gateway.runtime import local_requests as requests
from s4g_gateway.runtime.clock import Clock
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.runtime.local_protocol import (
    MAX_REQUEST_BYTES,
    AnyRequest,
    Ask,
    ErrorKind,
    ListPoints,
    Operate,
    Read,
    ReadFunction,
    Reload,
    Status,
    Unwatch,
    Watch,
    decode_request,
    encode_answer,
    encode_error,
)
from s4g_gateway.runtime.local_watch import WatchStream
from s4g_gateway.runtime.unix_listener import bound_socket, peer
from s4g_gateway.security import Principal

MAX_CONNECTIONS: Final = 16
# A reader that takes nothing for this long is cut off.
WRITE_TIMEOUT_S: Final = 30.0
_LOG = structlog.get_logger("local_socket")


class LocalSite(Protocol):
    """What the socket needs of a site."""

    @property
    def database(self) -> RealTimeDatabase:
        """The points."""
        ...

    @property
    def clock(self) -> Clock:
        """The clocks."""
        ...

    def status(self) -> Any:
        """Returns a dataclass that says what the site is doing."""
        ...

    async def ask(self, principal: Principal, device: str, question: str, body: Mapping[str, Any]) -> Any:
        """Asks a device for what is no point."""
        ...

    async def reload(self) -> None:
        """Reads the site file again."""
        ...


async def serve_local(path: Path, site: LocalSite) -> None:
    """Serves the local socket until cancelled.

    Raises:
        PermanentError: the socket cannot be made there, or another gateway serves it.
    """
    async with local_socket(path, site):
        await asyncio.get_running_loop().create_future()


@contextlib.asynccontextmanager
async def local_socket(
    path: Path, site: LocalSite, *, connections: int = MAX_CONNECTIONS
) -> AsyncIterator[Callable[[], None]]:
    """Serves the local socket inside an ``async with`` block.

    The block gets a function that takes the socket away before the block ends; connections then go on until their
    clients leave.

    Args:
        path: where; the folder is made with mode 0700 if missing.
        site: what it serves.
        connections: most clients at a time.

    Raises:
        PermanentError: the socket cannot be made there, or another gateway serves it.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(bound_socket(path, connections))
        clients: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            full = len(clients) >= connections
            task = asyncio.get_running_loop().create_task(_connection(site, reader, writer, full=full))
            clients.add(task)
            task.add_done_callback(clients.discard)
            # A task that is cancelled before its first step closes nothing itself.
            task.add_done_callback(lambda _: writer.close())

        server = await asyncio.start_unix_server(accept, sock=listener, limit=MAX_REQUEST_BYTES)

        def retire() -> None:
            server.close()
            stack.close()

        try:
            yield retire
        finally:
            server.close()
            for task in clients:
                task.cancel()
            if clients:
                await asyncio.wait(clients)


async def _connection(
    site: LocalSite, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, full: bool
) -> None:
    principal = peer(writer)
    session = _Session(site, principal, writer) if principal is not None else None
    try:
        if session is None:
            writer.write(encode_error(None, ErrorKind.DENIED, "this socket serves the gateway's own user"))
        elif full:
            writer.write(encode_error(None, ErrorKind.BUSY, "too many connections"))
        else:
            await session.serve(reader)
    except (ConnectionError, TimeoutError):
        pass  # the client's end of the matter
    finally:
        if session is not None:
            await session.stop_watch()
        writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


class _Session:
    def __init__(self, site: LocalSite, principal: Principal, writer: asyncio.StreamWriter) -> None:
        self._site = site
        self._principal = principal
        self._writer = writer
        self._sending = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    async def serve(self, reader: asyncio.StreamReader) -> None:
        while (line := await _line(reader)) is not None:
            if len(line) > MAX_REQUEST_BYTES:
                text = f"expected a line of at most {MAX_REQUEST_BYTES} bytes"
                await self.send(encode_error(None, ErrorKind.MALFORMED, text))
            elif line.strip():
                await self._handle(line)

    async def send(self, line: bytes) -> None:
        async with self._sending, asyncio.timeout(WRITE_TIMEOUT_S):
            self._writer.write(line)
            await self._writer.drain()
            await asyncio.sleep(0)  # drain alone does not let others in between the lines of a long answer

    async def stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None

    async def _handle(self, line: bytes) -> None:
        request_id = None
        try:
            request = decode_request(line)
            request_id = request.id
            async for fields in self._answers(request):
                await self.send(encode_answer(request_id, ok=True, **fields))
        except DecodeError as error:
            await self.send(encode_error(requests.id_of(line), ErrorKind.MALFORMED, str(error)))
        except ModelError as error:
            await self.send(encode_error(request_id, ErrorKind.UNKNOWN_POINT, str(error)))
        except AccessError as error:
            await self.send(encode_error(request_id, ErrorKind.DENIED, str(error)))
        except ConfigError as error:
            problems = [msgspec.to_builtins(problem) for problem in error.problems]
            answer = encode_error(request_id, ErrorKind.CONFIGURATION, str(error), problems=problems)
            await self.send(answer)
        except GatewayError as error:
            await self.send(encode_error(request_id, ErrorKind.FAILED, str(error)))

    async def _answers(self, request: AnyRequest) -> AsyncIterator[Mapping[str, Any]]:
        site, principal = self._site, self._principal
        match request:
            case ListPoints():
                for chunk in requests.list_points(site.database, principal, request):
                    yield chunk
            case Read():
                yield requests.read_points(site.database, principal, request)
            case Operate():
                yield await requests.operate(site.database, site.clock, principal, request)
            case ReadFunction():
                yield await requests.read_function(site.database, principal, request)
            case Ask():
                answer = await site.ask(principal, request.device, request.question, request.body)
                yield {"answer": answer}
            case Status():
                yield {"status": requests.status(site.status())}
            case Reload():
                await site.reload()
                _LOG.info("reloaded over the local socket", principal=principal.name)
                yield {}
            case Watch():
                await self.stop_watch()
                self._start_watch(request)
            case Unwatch():
                await self.stop_watch()
                yield {}

    def _start_watch(self, request: Watch) -> None:
        status: Callable[[], dict[str, Any]] = lambda: requests.status(self._site.status())  # noqa: E731
        stream = WatchStream(self._site.database, self._principal, request, status)

        async def send(fields: dict[str, Any]) -> None:
            await self.send(encode_answer(request.id, ok=True, **fields))

        async def watch() -> None:
            try:
                await stream.run(send)
            except (ConnectionError, TimeoutError):
                self._writer.transport.abort()

        self._watch = asyncio.create_task(watch(), name="local-watch")


async def _line(reader: asyncio.StreamReader) -> bytes | None:
    """Returns the next line, one longer than MAX_REQUEST_BYTES where it was too long, None at the end."""
    too_long = False
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(max(error.consumed, 1))
            too_long = True
            continue
        return bytes(MAX_REQUEST_BYTES + 1) if too_long else line
