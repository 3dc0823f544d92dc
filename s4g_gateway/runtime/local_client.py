"""The client's end of the local socket; blocking, so that a command line starts without an event loop."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from s4g_gateway.errors import GatewayError, RemoteProtocolError, TransientError

# Longer than a device may take to confirm a Control (Arbitration's execute_timeout_s).
ANSWER_TIMEOUT_S: Final = 30.0
# A line holds at most CHUNK_POINTS points, or one status.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024

Answer = dict[str, Any]


class GatewayUnreachableError(TransientError):
    """No gateway serves this socket, or it went away."""


class RequestRefusedError(GatewayError):
    """The gateway did not carry out a request.

    Args:
        answer: the negative answer.

    Attributes:
        kind: an ``ErrorKind`` in words.
        answer: the negative answer.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.get("error", "refused without a reason")))
        self.kind = str(answer.get("kind", ""))
        self.answer = answer


class LocalClient:
    """One connection to a running gateway; a context manager.

    Args:
        path: the socket.
        timeout_s: how long an answer may take.

    Raises:
        GatewayUnreachableError: nothing answers there.
    """

    def __init__(self, path: Path, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            reason = error.strerror or str(error)
            raise GatewayUnreachableError(f"no running gateway at {path}: {reason}") from error
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; idempotent."""
        self._lines.close()
        self._socket.close()

    def ask(self, do: str, **fields: Any) -> Answer:
        """Sends one request and returns its answer, lists of several lines joined.

        Raises:
            RequestRefusedError: the gateway answered no.
            GatewayUnreachableError: it went away or took too long.
            RemoteProtocolError: what came is no answer.
        """
        self._send({"do": do} | fields)
        answer = self._receive()
        while answer.pop("more", False):
            following = self._receive()
            answer["points"] += following.pop("points", [])
            answer |= following
        return answer

    def watch(self, *match: str, interval_s: float = 1.0, status: bool = False) -> Iterator[Answer]:
        """Yields a snapshot and then updates, each of them whole.

        Raises:
            RequestRefusedError: the gateway answered no.
            GatewayUnreachableError: it went away.
            RemoteProtocolError: what came is no answer.
        """
        self._socket.settimeout(self._timeout_s + interval_s)
        self._send({"do": "watch", "match": match or ("*",), "interval_s": interval_s, "status": status})
        while True:
            answer = self._receive()
            while not answer.get("complete"):
                following = self._receive()
                answer["points"] += following.pop("points", [])
                answer |= following
            yield answer

    def _send(self, request: Answer) -> None:
        try:
            self._socket.sendall(msgspec.json.encode(request) + b"\n")
        except OSError as error:
            raise self._lost(error) from error

    def _receive(self) -> Answer:
        try:
            line = self._lines.readline(MAX_ANSWER_BYTES)
        except OSError as error:
            raise self._lost(error) from error
        if not line:
            raise GatewayUnreachableError(f"the gateway at {self.path} closed the connection")
        try:
            answer = msgspec.json.decode(line, type=Answer)
        except msgspec.DecodeError as error:
            raise RemoteProtocolError(f"{self.path}: no answer of a gateway: {error}") from error
        if not answer.get("ok"):
            raise RequestRefusedError(answer)
        return answer

    def _lost(self, error: OSError) -> GatewayUnreachableError:
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        return GatewayUnreachableError(f"lost the gateway at {self.path}: {reason}")
