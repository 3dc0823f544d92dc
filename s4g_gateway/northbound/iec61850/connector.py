"""The server as a connector: its model compiled offline from the site, or read from the user's ICD."""

from __future__ import annotations

from ssl import SSLContext

from s4g_gateway.errors import ConfigError, Problem
from s4g_gateway.model import DataSet
from s4g_gateway.northbound.iec104.tls import server_context
from s4g_gateway.northbound.iec61850.config import Iec61850Config, check_config
from s4g_gateway.northbound.iec61850.server import ServerRun
from s4g_gateway.profiles.iec61850 import ModelPlan, plan_model
from s4g_gateway.runtime.contract import Services, SiteContext


class Iec61850Server:
    """An IEC 61850 server, compiled from the site and not yet listening.

    Args:
        name: name of the connector.
        config: its keys.
        context: the site.

    Raises:
        ConfigError: every contradiction, with keys relative to the connector's table.
    """

    def __init__(self, name: str, config: Iec61850Config, context: SiteContext) -> None:
        self.name = name
        self.config = config
        self.data_sets: tuple[DataSet, ...] = tuple(entry.data_set for entry in context.supplied)
        self.address: tuple[str, int] | None = None
        """Host and port while it listens."""
        problems = check_config(config)
        self._tls: SSLContext | None = None
        if config.tls is not None:
            try:
                self._tls = server_context(config.tls, context.directory)
            except ConfigError as error:
                problems += error.problems
        self.plan: ModelPlan
        """The model and how the site fills it."""
        self.plan, found = self._plan(context)
        problems += found
        if problems:
            raise ConfigError(problems)

    async def run(self, services: Services) -> None:
        """Serves clients until cancelled."""
        await ServerRun(self, services, self._tls).run()

    def _plan(self, context: SiteContext) -> tuple[ModelPlan, list[Problem]]:
        members = [member for entry in context.supplied for member in entry.data_set.members]
        settings = self.config.plan_settings(context.site)
        result = plan_model(members, context.controls, settings)
        return result.plan, list(result.problems)
