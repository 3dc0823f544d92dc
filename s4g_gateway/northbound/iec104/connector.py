"""The outstation as a connector: compiled offline from the site, run by the runtime."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from ssl import SSLContext

from s4g_gateway.errors import (
    ConfigError,
    PermanentError,
    Problem,
    TransientError,
)
from s4g_gateway.model import DataSet
from s4g_gateway.northbound.iec104.config import Iec104Config, check_config
from s4g_gateway.northbound.iec104.server import OutstationServer
from s4g_gateway.northbound.iec104.tls import server_context
from s4g_gateway.profiles.iec104 import (
    AddressEntry,
    SignalList,
    SignalPlan,
    parse_ioa_file,
    plan_signals,
    render_ioa_file,
)
from s4g_gateway.runtime.contract import Services, SiteContext


class Iec104Outstation:
    """An IEC 60870-5-104 outstation, compiled from the site and not yet listening.

    Args:
        name: name of the connector.
        config: its keys.
        context: the site.

    Raises:
        ConfigError: every contradiction, with keys relative to the connector's table.
    """

    def __init__(self, name: str, config: Iec104Config, context: SiteContext) -> None:
        self.name = name
        self.config = config
        self.data_sets: tuple[DataSet, ...] = tuple(entry.data_set for entry in context.supplied)
        self.ioa_path = context.directory / (config.ioa_file or f"{context.site}.ioa.csv")
        problems = check_config(config)
        self._tls: SSLContext | None = None
        if config.tls is not None:
            try:
                self._tls = server_context(config.tls, context.directory)
            except ConfigError as error:
                problems += error.problems
        plan, found = self._plan(context)
        problems += found
        problems += _check_overflow_points(config, plan.signal_list)
        if problems:
            raise ConfigError(problems)
        self._signal_list: SignalList | None = plan.signal_list
        self._ioa_text = render_ioa_file(plan.entries)
        self._context = context
        self._server: OutstationServer | None = None
        self.address: tuple[str, int] | None = None
        """Host and port while it listens."""

    @property
    def signal_list(self) -> SignalList:
        """Every address it serves: what ``s4g points`` exports."""
        if self._signal_list is None:
            return self._plan(self._context)[0].signal_list
        return self._signal_list

    def release_signal_list(self) -> None:
        """Forgets the signal list; it can be had again, and on small hardware it is worth its memory."""
        self._signal_list = None

    def persist_addresses(self) -> None:
        """Writes new automatic addresses into the file beside ``site.toml``; does nothing where there are none.

        Raises:
            PermanentError: the file cannot be written.
        """
        if not self._ioa_text:
            return  # kept already
        try:
            old = self.ioa_path.read_text(encoding="utf-8") if self.ioa_path.exists() else None
            if old != self._ioa_text:
                _replace(self.ioa_path, self._ioa_text)
        except OSError as error:
            raise PermanentError(f"addresses cannot be kept: {self.ioa_path}: {error}") from error
        self._ioa_text = ""

    async def run(self, services: Services) -> None:
        """Serves masters until cancelled."""
        self.persist_addresses()
        self._server = OutstationServer(self, services, self._tls)
        try:
            await self._server.run()
        finally:
            self._server = None
            self.address = None

    def adopt(self, successor: Iec104Outstation) -> None:
        """Goes on with other points while masters stay connected; see ``AdoptingConnector``.

        Addresses that were given automatically stay. Masters are told that points which are gone are invalid.
        """
        successor.persist_addresses()
        before = self.data_sets, self._signal_list, self._context
        self.data_sets = successor.data_sets
        self._signal_list, self._context = successor._signal_list, successor._context
        if self._server is not None:
            try:
                self._server.adopt()
            except TransientError:
                self.data_sets, self._signal_list, self._context = before
                raise

    def _plan(self, context: SiteContext) -> tuple[SignalPlan, list[Problem]]:
        problems: list[Problem] = []
        entries: tuple[AddressEntry, ...] = ()
        try:
            if self.ioa_path.exists():
                entries = parse_ioa_file(self.ioa_path.read_text(encoding="utf-8"), str(self.ioa_path))
        except ConfigError as error:
            problems += error.problems
        except (OSError, UnicodeDecodeError) as error:
            problems.append(
                Problem(
                    file=str(self.ioa_path), key="ioa_file", found=str(error), expected="a readable text file"
                )
            )
        members = [member for entry in context.supplied for member in entry.data_set.members]
        plan = plan_signals(members, context.controls, self.config.signal_settings, entries)
        return plan, [*problems, *plan.problems]


def _replace(path: Path, text: str) -> None:
    """Writes the whole file or leaves the old one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _check_overflow_points(config: Iec104Config, signal_list: SignalList) -> list[Problem]:
    own = config.common_address
    taken = {signal.ioa for signal in signal_list.signals if signal.common_address == own}
    taken |= {command.ioa for command in signal_list.commands if command.common_address == own}
    return [
        Problem(
            file="",
            key=f"group[{position}].overflow_ioa",
            found=str(group.overflow_ioa),
            expected="an address that no point of the station has",
        )
        for position, group in enumerate(config.group)
        if group.overflow_ioa in taken
    ]
