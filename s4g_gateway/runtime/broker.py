"""The embedded event broker: a child process on loopback, started, watched and restarted.

An installed ``nats-server`` is preferred, then the one that the extra ``broker`` brings, then an installed
``mosquitto``. NATS serves MQTT 3.1.1 (its listener keeps sessions and retained messages in JetStream). What either
keeps for subscribers that are away is bounded in size and ends after a day.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from s4g_gateway.errors import PermanentError, TransientError

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
START_ATTEMPTS = 3
LOG_BYTES = 5_000_000
STORE_BYTES = 1 << 30
_PR_SET_PDEATHSIG = 1
_LOG = structlog.get_logger("broker")


class BrokerKind(StrEnum):
    """Which server is run."""

    NATS = "nats"
    MOSQUITTO = "mosquitto"


def find_broker(kind: BrokerKind | None = None) -> tuple[BrokerKind, Path]:
    """Finds a broker's program.

    Args:
        kind: the one wanted; None takes NATS where it is found, else Mosquitto.

    Returns:
        What it is and where.

    Raises:
        PermanentError: there is none; the message says what to install.
    """
    beside_python = Path(sys.executable).parent
    for candidate, program in ((BrokerKind.NATS, "nats-server"), (BrokerKind.MOSQUITTO, "mosquitto")):
        if kind not in (None, candidate):
            continue
        # Debian puts mosquitto into /usr/sbin, which is not on everybody's PATH
        for place in (shutil.which(program), f"/usr/sbin/{program}", str(beside_python / program)):
            if place and Path(place).is_file():
                return candidate, Path(place)
    wanted = kind or "nats or mosquitto"
    raise PermanentError(
        f"no {wanted} broker found; pip install s4g-gateway[broker], or install nats-server or mosquitto"
    )


def free_port() -> int:
    """Returns a loopback port that is free now; for programs that cannot report the port they chose."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class EmbeddedBroker:
    """A broker for one gateway; use as ``async with``.

    Args:
        directory: where it keeps its data; made if missing.
        kind: which server; None takes what is found.
        port: MQTT port on loopback; 0 takes a free one and keeps it over restarts.

    Attributes:
        restarts: how often it had to be started anew.
    """

    def __init__(self, directory: Path, *, kind: BrokerKind | None = None, port: int = 0) -> None:
        self.kind, self._program = find_broker(kind)
        self._directory = directory
        self._chooses_port = port == 0
        self.port = port or free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def url(self) -> str:
        """Where MQTT clients connect, such as ``mqtt://127.0.0.1:1883``."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def process_id(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts the child and waits until it takes connections.

        Raises:
            TransientError: it does not within 15 s, or it ended.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for attempt in range(START_ATTEMPTS):
            try:
                await self._spawn()
                break
            except TransientError:
                # Somebody may have taken the free port in between.
                if not self._chooses_port or attempt == START_ATTEMPTS - 1:
                    raise
                self.port = free_port()
        self._watching = asyncio.create_task(self._watch(), name="embedded broker")

    async def stop(self) -> None:
        """Stops the child; idempotent."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _spawn(self) -> None:
        arguments = _COMMANDS[self.kind](self._directory, self.port)
        log = self._directory / "broker.log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name("broker.log.1"))
        try:
            with log.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    str(self._program),
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    preexec_fn=_die_with_parent,
                )
        except OSError as error:
            raise TransientError(f"{self._program} cannot be run: {error}") from error
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._listens():
                    if self._process.returncode is not None:
                        raise TransientError(
                            f"{self._program.name} ended with {self._process.returncode}; see {log}"
                        )
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise TransientError(
                f"{self._program.name} takes no connection within {START_TIMEOUT_S} s"
            ) from error

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def _watch(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            if self._process is not None:
                code = await self._process.wait()
                _LOG.error("broker ended, starting it again", program=self._program.name, code=code)
            await asyncio.sleep(backoff_s)
            self.restarts += 1
            try:
                await self._spawn()
                backoff_s = FIRST_BACKOFF_S
            except TransientError as error:
                backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
                _LOG.error("broker does not start", error=str(error))


_LIBC = ctypes.CDLL(None)


def _die_with_parent() -> None:
    # One call and nothing else between fork and exec. A gateway killed with -9 must not leave a broker behind
    # that holds port and store.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _nats(directory: Path, port: int) -> list[str]:
    path = directory / "nats.conf"
    # JSON is a subset of the NATS configuration language, and it quotes paths
    path.write_text(
        json.dumps(
            {
                "server_name": "s4g-embedded",
                "listen": f"127.0.0.1:{free_port()}",
                "jetstream": {
                    "store_dir": str(directory / "jetstream"),
                    "max_file_store": STORE_BYTES,
                    "max_memory_store": STORE_BYTES // 16,
                },
                "mqtt": {
                    "listen": f"127.0.0.1:{port}",
                    "max_ack_pending": 1000,
                    "consumer_inactive_threshold": "24h",
                },
            }
        )
    )
    return ["--config", str(path)]


def _mosquitto(directory: Path, port: int) -> list[str]:
    path = directory / "mosquitto.conf"
    lines = (
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        # started by root it would become another user, who may not write here
        *(["user root"] if os.geteuid() == 0 else []),
        "persistence true",
        f"persistence_location {directory}/",
        "autosave_interval 60",
        "persistent_client_expiration 1d",
        "set_tcp_nodelay true",
        # a backlog after an outage comes faster than subscribers take it
        "max_queued_messages 100000",
        "max_inflight_messages 1000",
        "log_dest stdout",
        "log_type error",
        "log_type warning",
    )
    path.write_text("\n".join(lines) + "\n")
    return ["-c", str(path)]


_COMMANDS: dict[BrokerKind, Callable[[Path, int], list[str]]] = {
    BrokerKind.NATS: _nats,
    BrokerKind.MOSQUITTO: _mosquitto,
}
