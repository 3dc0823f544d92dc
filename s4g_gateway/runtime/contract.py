"""What a connector is: the contract between the runtime and every south- and north-bound adapter.

A connector type is an entry point in the group ``s4g_gateway.southbound`` or ``s4g_gateway.northbound`` that
names a ``ConnectorType``. The runtime reads the table of ``site.toml`` into ``ConnectorType.config``, calls
``create`` (offline: it compiles tables and finds every contradiction, and opens nothing), then ``run``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, runtime_checkable

import structlog

from s4g_gateway.model import Control, ControlAnswer, ControlPoint, DataSet, ObjectReference
from s4g_gateway.profiles.iec61850_90_7 import FunctionState
from s4g_gateway.runtime.clock import Clock
from s4g_gateway.security import Principal

if TYPE_CHECKING:
    from s4g_gateway.runtime.database import RealTimeDatabase

SOUTHBOUND_GROUP = "s4g_gateway.southbound"
NORTHBOUND_GROUP = "s4g_gateway.northbound"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppliedDataSet:
    """A DataSet that a connector keeps up to date.

    Attributes:
        data_set: the points.
        period_s: how often a Report is expected, > 0.
        stale_after_s: age at which every member becomes questionable, oldData; 0 takes 2.5 periods + 1 s.
        invalid_after_s: age at which every member becomes invalid; 0 takes 5 periods + 5 s.
    """

    data_set: DataSet
    period_s: float
    stale_after_s: float = 0.0
    invalid_after_s: float = 0.0

    def ages_s(self) -> tuple[float, float]:
        """Returns the ages (questionable, invalid) in seconds, defaults filled in."""
        stale = self.stale_after_s or 2.5 * self.period_s + 1.0
        return stale, max(self.invalid_after_s or 5.0 * self.period_s + 5.0, stale)


@dataclass(slots=True)
class Counters:
    """Counters and gauges of one connector, shown by ``s4g watch`` and the metrics page.

    Names are lower_snake and end in ``_total`` for counters, in their unit for gauges.
    """

    values: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, amount: float = 1) -> None:
        """Adds to a counter."""
        self.values[name] = self.values.get(name, 0) + amount

    def set(self, name: str, value: float) -> None:
        """Sets a gauge."""
        self.values[name] = value


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteContext:
    """What ``create`` may look at.

    Attributes:
        site: name of the site, also its SenML and topic name.
        directory: folder of ``site.toml``; relative paths in a configuration start here.
        state_directory: folder for files that outlive the process.
        supplied: for a north-bound connector: every DataSet of the site, south-bound order; else empty.
        controls: likewise every ControlPoint.
        roles: conventional reference -> reference of this site, from ``[site.roles]``.
        radial_id: the DSO's name of the feeder, empty if unknown.
        position: where the site is, as a geo URI (RFC 5870), empty if unknown.
    """

    site: str
    directory: Path
    state_directory: Path
    supplied: tuple[SuppliedDataSet, ...] = ()
    controls: tuple[ControlPoint, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    radial_id: str = ""
    position: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a running connector gets from the runtime.

    Attributes:
        name: the connector's name in the site.
        database: the site's RealTimeDatabase.
        clock: the clocks.
        log: structured log, bound to the connector's name.
        counters: its counters.
        state_directory: folder of its own for files that outlive the process; exists.
        principal: under which the connector itself reads, for what no better identity is known.
    """

    name: str
    database: RealTimeDatabase
    clock: Clock
    log: structlog.stdlib.BoundLogger
    counters: Counters
    state_directory: Path
    principal: Principal


class SouthboundConnector(Protocol):
    """An adapter to devices."""

    @property
    def supplied(self) -> tuple[SuppliedDataSet, ...]:
        """The DataSets it keeps up to date; fixed from creation on."""
        ...

    @property
    def controls(self) -> tuple[ControlPoint, ...]:
        """The points through which Controls go down; fixed from creation on."""
        ...

    async def run(self, services: Services) -> None:
        """Talks to the devices until cancelled; publishes Reports; survives every fault of a device.

        It must not return. An exception that escapes makes the supervisor start it anew with back-off.
        On cancellation it releases set-points where the device would otherwise keep them.
        """
        ...

    async def execute(self, control: Control) -> ControlAnswer:
        """Carries out one operate (or, with value None, a release) that arbitration has let through.

        Called only while ``run`` runs. Answers accepted only after the device has confirmed (read-back where
        the protocol has it); out of reach is ABORTION_BY_COMMUNICATION_LOSS. Never raises GatewayError.
        """
        ...


@runtime_checkable
class AnsweringConnector(Protocol):
    """A south-bound connector whose devices tell more than points, on request (such as a load profile)."""

    @property
    def devices(self) -> Mapping[str, DataSet]:
        """Names of its devices and what they supply; who may read all of that may ask the device."""
        ...

    async def ask(self, device: str, question: str, body: Mapping[str, Any]) -> Any:
        """Asks a device.

        Args:
            device: one of ``devices``.
            question: what is asked for.
            body: particulars, JSON types.

        Returns:
            JSON types.

        Raises:
            TransientError: the device is out of reach.
            PermanentError: no such question, wrong particulars, or the device refuses.
        """
        ...


@runtime_checkable
class FunctionReader(Protocol):
    """A south-bound connector whose devices tell the state of their functions (TR 61850-90-7).

    Such a connector declares ControlPoints with ``functions``; requests reach ``execute`` as text.
    """

    async def read_function(self, reference: ObjectReference, code: str) -> FunctionState:
        """Reads the state of a function from the device.

        Args:
            reference: the ControlPoint.
            code: which of its functions; empty for the one that the device's settings stand for.

        Raises:
            TransientError: the device is out of reach.
            PermanentError: it lacks the function.
        """
        ...


class NorthboundConnector(Protocol):
    """An adapter to consumers."""

    async def run(self, services: Services) -> None:
        """Serves its consumers until cancelled; reads and controls only through ``services.database``."""
        ...


@runtime_checkable
class AdoptingConnector(NorthboundConnector, Protocol):
    """A north-bound connector that outlives a reload of the devices behind it; others are restarted."""

    def adopt(self, successor: Self) -> None:
        """Goes on as what ``successor`` is, without losing a peer.

        Called when the connector's own table and files are as before, and DataSets, controls, roles or access
        policy of the site are not. It is called in the event loop while ``run`` runs, at whichever of its awaits,
        and must be quick and must not block. By then the database holds the points and the policy of the new
        configuration, and no Report of a new or changed device has come yet; so what a connector subscribes anew
        here misses nothing. The DataSet of an untouched device is the same object as before, that of a changed
        one is another object even where all its members are equal. Views and subscriptions made earlier may lead
        to points that are gone: all of them are to be made anew, also those of untouched DataSets.

        From then on, and if ``run`` is started anew, the connector serves the adopted configuration. A reload that
        fails later is rolled back by another ``adopt``, whose successor is of the old configuration; so it is
        after a refusal.

        Args:
            successor: made by ``create`` from the same table and the new site; never runs, and may be plundered.

        Raises:
            GatewayError: it cannot go on so; the reload is rolled back. The connector still runs, as before.
        """
        ...


ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorType(Generic[ConfigT]):
    """What an entry point names.

    Attributes:
        config: frozen keyword-only dataclass of the connector's keys in ``site.toml`` (``name`` and ``type``
            excepted). Constraints and help stand in ``Annotated[..., msgspec.Meta(...)]``; unknown keys
            are errors; keys end in their unit.
        create: ``create(name, config, context)``; offline, raises ConfigError whose problems carry keys
            relative to the connector's table (the runtime puts file and path before them).
        summary: one line for ``s4g init`` and docs.
    """

    config: type[ConfigT]
    create: Callable[[str, ConfigT, SiteContext], Any]
    summary: str
