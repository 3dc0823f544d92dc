"""What a running site listens on for its own people: the local socket and the metrics page."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from s4g_gateway.errors import PermanentError
from s4g_gateway.runtime.listen import Listen
from s4g_gateway.runtime.local_socket import LocalSite, local_socket
from s4g_gateway.runtime.metrics import metrics_server
from s4g_gateway.runtime.site_config import SiteConfig


class Listeners:
    """The listeners of one site, wherever its configuration puts them.

    An asynchronous context manager; what was opened is closed at its end.

    Args:
        site: what they serve.
    """

    def __init__(self, site: LocalSite) -> None:
        self._site = site
        self._sockets = contextlib.AsyncExitStack()
        self._socket_path: Path | None = None
        self._retire_socket: Callable[[], None] | None = None
        self._metrics = contextlib.AsyncExitStack()
        self._listen: Listen | None = None

    async def __aenter__(self) -> Self:
        """Opens nothing yet; ``apply`` does."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes every listener and every connection."""
        try:
            await self._metrics.aclose()
        finally:
            await self._sockets.aclose()

    async def apply(self, config: SiteConfig) -> None:
        """Listens where a configuration says; what stays where it is goes on undisturbed.

        Connections to a local socket that moves go on until their clients leave: a reload is asked for, and
        answered, over one of them.

        Raises:
            PermanentError: an address cannot be had; everything listens where it did.
        """
        moved = None
        if config.socket_path != self._socket_path:
            moved = await self._sockets.enter_async_context(local_socket(config.socket_path, self._site))
        try:
            await self._move_metrics(config.metrics_listen)
        except PermanentError:
            if moved is not None:
                moved()
            raise
        if moved is not None:
            if self._retire_socket is not None:
                self._retire_socket()
            self._socket_path, self._retire_socket = config.socket_path, moved

    async def _move_metrics(self, listen: Listen | None) -> None:
        before = self._listen
        if listen == before:
            return
        # One port on two addresses may be taken twice or not, whichever they are.
        in_the_way = before is not None and listen is not None and before.port == listen.port
        if in_the_way:
            await self._metrics.aclose()
        try:
            opened = await self._open_metrics(listen)
        except PermanentError:
            if in_the_way:
                self._metrics = await self._open_metrics(before)
            raise
        await self._metrics.aclose()
        self._metrics, self._listen = opened, listen

    async def _open_metrics(self, listen: Listen | None) -> contextlib.AsyncExitStack:
        stack = contextlib.AsyncExitStack()
        if listen is not None:
            await stack.enter_async_context(metrics_server(listen, self._site))
        return stack
