"""The server as a connector: its model compiled offline from the site, or read from the user's ICD."""

from __future__ import annotations

from fnmatch import fnmatchcase
from ssl import SSLContext

from s4g_gateway.errors import ConfigError, Problem
from s4g_gateway.model import ControlPoint, DataSet
from s4g_gateway.northbound.iec104.tls import server_context
from s4g_gateway.northbound.iec61850.config import Iec61850Config, check_config
from s4g_gateway.northbound.iec61850.server import ServerRun
from s4g_gateway.profiles.iec61850 import ModelPlan, bind_points, plan_model, read_scl
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
        self.controls: tuple[ControlPoint, ...] = context.controls
        self.address: tuple[str, int] | None = None
        """Host and port while it listens."""
        problems = check_config(config)
        self._tls: SSLContext | None = None
        if config.tls is not None:
            try:
                self._tls = server_context(config.tls, context.directory)
            except ConfigError as error:
                problems += error.problems
        self.unbound: tuple[str, ...] = ()
        """Points that the user's ICD has no place for."""
        self.plan: ModelPlan
        """The model and how the site fills it."""
        self.plan, found = self._plan(context)
        problems += found
        if problems:
            raise ConfigError(problems)

    async def run(self, services: Services) -> None:
        """Serves clients until cancelled."""
        if self.unbound:
            services.log.warning(
                "points without a place in the ICD", count=len(self.unbound), first=self.unbound[0]
            )
        await ServerRun(self, services, self._tls).run()

    def _plan(self, context: SiteContext) -> tuple[ModelPlan, list[Problem]]:
        members = [member for entry in context.supplied for member in entry.data_set.members]
        if not self.config.icd:
            result = plan_model(members, context.controls, self.config.plan_settings(context.site))
            return result.plan, list(result.problems)
        path = context.directory / self.config.icd
        empty = ModelPlan(ied_name="", types={}, devices=())
        try:
            read = read_scl(path.read_bytes(), str(path), self.config.ied_name)
        except OSError as error:
            problem = Problem(file="", key="icd", found=str(error), expected="a readable SCL file")
            return empty, [problem]
        except ConfigError as error:
            return empty, list(error.problems)
        wanted = [member for member in members if self._is_offered(member.reference)]
        controls = [control for control in context.controls if self._is_offered(control.reference)]
        bound = bind_points(read, wanted, controls)
        self.unbound = bound.unbound
        return bound.plan, []

    def _is_offered(self, reference: str) -> bool:
        return any(fnmatchcase(reference, pattern) for pattern in self.config.include)
