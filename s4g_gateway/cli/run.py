"""``s4g run``: a site until somebody stops it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from s4g_gateway.cli.lean import load_structlog
from s4g_gateway.cli.site_file import read_site, site_argument

if TYPE_CHECKING:
    from s4g_gateway.runtime.site_config import SiteConfig
    from s4g_gateway.runtime.supervisor import Site


@click.command()
@site_argument
@click.option(
    "--log-level",
    "log_levels",
    multiple=True,
    metavar="[LOGGER=]LEVEL",
    help="debug, info, warning, error or critical; for everything or for one logger. May be repeated.",
)
def run(site: Path, log_levels: tuple[str, ...]) -> None:
    """Run a site until SIGTERM, SIGINT or Ctrl-C.

    SIGTERM stops cleanly: consumers first, then devices, whose set-points are released. SIGHUP reads the site
    file again; connectors that did not change keep their connections, and a file that is wrong changes nothing.
    Logs go to standard error: readable on a terminal, JSON otherwise.

    Exits with 1 if the site file has a problem, with 0 after a clean stop.

    \b
    Examples:
      s4g run site.toml
      s4g run site.toml --log-level warning --log-level sunspec=debug
      kill -HUP $(pidof -x s4g)      # read the site file again
    """
    load_structlog()
    from s4g_gateway.runtime.logs import configure_logging, parse_levels

    configure_logging(parse_levels(log_levels))
    config = read_site(site)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


async def _serve(config: SiteConfig) -> None:
    from s4g_gateway.runtime.listeners import Listeners
    from s4g_gateway.runtime.service_manager import notify
    from s4g_gateway.runtime.supervisor import Site

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    site = Site(config)
    reloads = _Reloads(site)
    loop.add_signal_handler(signal.SIGHUP, reloads.request)
    async with Listeners(site) as listeners:
        # First of all: the socket tells whether this site runs already, before any device is touched.
        await listeners.apply(config)
        site.listeners = listeners.apply
        running = asyncio.create_task(site.run(), name="site")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        ready = asyncio.create_task(site.ready.wait(), name="ready")
        try:
            await asyncio.wait([running, stopping, ready], return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                notify(READY="1", STATUS=f"runs site {config.site.name}")
                await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            notify(STOPPING="1")
            await reloads.stop()
            for task in (running, stopping, ready):
                task.cancel()
            await asyncio.wait([running, stopping, ready])
        if not running.cancelled():
            running.result()


class _Reloads:
    """Reloads one after the other; a signal during a reload asks for one more."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="reload")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        import structlog

        from s4g_gateway.errors import ConfigError, GatewayError
        from s4g_gateway.runtime.service_manager import notify

        log = structlog.get_logger("site")
        while self._wanted:
            self._wanted = False
            notify(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))
            try:
                await self._site.reload()
            except ConfigError as error:
                for problem in error.problems:
                    text = str(problem)
                    log.error("reload refused; the running configuration stays", problem=text)  # noqa: TRY400
            except GatewayError as error:
                log.error("reload failed", error=str(error))  # noqa: TRY400 - says it all without a traceback
            notify(READY="1")
