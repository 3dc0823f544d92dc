"""What every simulator command shares: where it listens, how long it runs, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

duration_option = click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Run so long; until Ctrl-C without.",
)
seed_option = click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed, the same house."
)
time_scale_option = click.option(
    "--time-scale",
    type=click.FloatRange(min=0.01, max=10_000),
    default=1.0,
    show_default=True,
    help="Simulated seconds per second.",
)


def listen_options(port: int) -> Callable[[Decorated], Decorated]:
    """Adds ``--host``, ``--port`` and ``--insecure`` to a command.

    Args:
        port: the default port.
    """

    def add(command: Decorated) -> Decorated:
        command = click.option(
            "--insecure", is_flag=True, help="Allow a --host that other machines reach, unprotected."
        )(command)
        command = click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help="TCP port; 0 takes a free one and prints it.",
        )(command)
        return click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")(
            command
        )

    return add


def checked_host(host: str, *, insecure: bool) -> str:
    """Returns the host.

    Raises:
        click.BadParameter: other machines reach it, and nobody allowed that.
    """
    if host == "localhost" or insecure:
        return host
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise click.BadParameter(
            f"{host!r}; expected an IP address or localhost", param_hint="--host"
        ) from error
    if not loopback:
        raise click.BadParameter(
            f"{host} is reached by other machines; expected a loopback address, or --insecure",
            param_hint="--host",
        )
    return host


def run_until_stopped(
    start: Callable[[], Coroutine[Any, Any, None]],
    stop: Callable[[], Coroutine[Any, Any, None]],
    duration_s: float | None,
) -> None:
    """Starts, waits for Ctrl-C, SIGTERM or the duration, stops."""

    async def main() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        try:
            await start()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(duration_s):
                    await stopped.wait()
        finally:
            await stop()

    asyncio.run(main())
