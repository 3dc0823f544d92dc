"""Client of one IEC 61850 server: ER#SMX (D3.1 §4.1.18) and any other server with a table of points.

The library runs in a worker (``s4g_gateway.workers.iec61850_client``); here Controls become what the server is to
be asked, set-points in force are repeated, and what must not outlive the gateway is given back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from msgspec import Meta

from s4g_gateway.errors import ConfigError, PermanentError, Problem
from s4g_gateway.model import (
    AddCause,
    Control,
    ControlAnswer,
    ControlPoint,
    ObjectReference,
    Origin,
    OriginCategory,
    refused,
)
from s4g_gateway.profiles.iec61850.device_table import ServerDevice, bind_device, load_device_table
from s4g_gateway.runtime.contract import ConnectorType, Services, SiteContext, SuppliedDataSet
from s4g_gateway.runtime.worker import Worker
from s4g_gateway.southbound.set_points import SetPoint, SetPointStore
from s4g_gateway.workers.libiec61850.library import library_path

MODULE = "s4g_gateway.workers.iec61850_client"
ENTRY_FILE = "report-entries.json"
# How long a clean stop may take to give set-points back.
RELEASE_TIMEOUT_S = 5.0
_RETRY_S = 1.0

LogicalDevice = Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Iec61850Config:
    """Keys in ``site.toml``.

    Attributes:
        host: name or address of the server.
        template: kind of server: name of a table, or path of one's own file ending in .toml.
        port: TCP port.
        period_s: how often everything is told, and what no report carries is read.
        reports: kind of report control blocks to prefer; none reads everything.
        logical_devices: role -> logical device name in the site, in place of the table's.
        connect_timeout_s: how long the association may take.
        request_timeout_s: how long an answer may take.
        retry_min_s: wait before the first new attempt; doubles with every failure.
        retry_max_s: longest wait between attempts.
        repeat_s: how often set-points in force are sent again; absent for the table's, 0 for never.
    """

    host: Annotated[str, Meta(min_length=1, description="name or address of the server")]
    template: Annotated[str, Meta(min_length=1, description="kind of server, such as energy-router")]
    port: Annotated[int, Meta(ge=1, le=65535)] = 102
    period_s: Seconds = 1.0
    reports: Literal["buffered", "unbuffered", "none"] = "buffered"
    logical_devices: dict[str, LogicalDevice] = field(default_factory=dict)
    connect_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    request_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    retry_min_s: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    retry_max_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    repeat_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None


class Iec61850Connector:
    """A south-bound connector.

    Args:
        config: its keys.
        device: the server's points.
    """

    def __init__(self, config: Iec61850Config, device: ServerDevice) -> None:
        self._config, self._device = config, device
        self._repeat_s = device.repeat_s if config.repeat_s is None else config.repeat_s
        self._worker: Worker | None = None
        self._store: SetPointStore | None = None
        self._in_force: dict[str, Control] = {}

    @property
    def supplied(self) -> tuple[SuppliedDataSet, ...]:
        """The server's points."""
        return (SuppliedDataSet(data_set=self._device.data_set, period_s=self._config.period_s),)

    @property
    def controls(self) -> tuple[ControlPoint, ...]:
        """The server's control objects."""
        return self._device.controls

    async def run(self, services: Services) -> None:
        """Runs the worker until cancelled, then gives back what must not outlive the gateway."""
        config = self._config
        store = self._store = SetPointStore(services.state_directory)
        left = await store.load()
        if left:
            services.log.warning("set-points of an earlier run will be released", references=left)
        worker = self._worker = Worker(
            MODULE,
            start={
                "host": config.host,
                "port": config.port,
                "period_s": config.period_s,
                "reports": config.reports,
                "connect_timeout_s": config.connect_timeout_s,
                "request_timeout_s": config.request_timeout_s,
                "retry_min_s": config.retry_min_s,
                "retry_max_s": config.retry_max_s,
                "entry_file": str(services.state_directory / ENTRY_FILE),
                "points": list(self._device.tasks),
                "controls": self._device.objects,
            },
            data_sets=(self._device.data_set,),
            on_report=services.database.publish,
        )
        running = asyncio.create_task(worker.run(services), name=f"{services.name}/worker")
        chores = asyncio.create_task(self._chores(services), name=f"{services.name}/set-points")
        try:
            await asyncio.wait((running, chores), return_when=asyncio.FIRST_COMPLETED)
            for task in (running, chores):
                if task.done():
                    task.result()
        finally:
            chores.cancel()
            await self._release_all(services)
            self._worker = None
            running.cancel()
            await asyncio.gather(running, chores, return_exceptions=True)

    async def execute(self, control: Control) -> ControlAnswer:
        """Carries out one operate or release that arbitration has let through."""
        reference = control.reference
        worker, store = self._worker, self._store
        if worker is None or store is None or reference not in self._device.objects:
            return refused(AddCause.NOT_SUPPORTED, f"{reference} is not controllable now")
        release = self._device.releases.get(reference)
        if control.value is None and release is None:
            return refused(AddCause.NOT_SUPPORTED, f"{reference} has no value that releases it")
        if control.value is not None and release is not None:
            await store.note(reference, SetPoint(control.value, control.not_after_ns or 0))
        self._in_force.pop(reference, None)
        answer = await worker.execute(self._on_the_wire(control))
        if answer.accepted and control.value is not None:
            self._in_force[reference] = control
        if control.value is None:
            if answer.accepted:
                await store.forget(reference)
            else:
                # It is owed to the device until it can be reached.
                await store.note(reference, SetPoint(None, 0))
        return answer

    def _on_the_wire(self, control: Control) -> Control:
        value = control.value
        if value is None:
            value = self._device.releases[control.reference]
        factor = self._device.factors[control.reference]
        if factor != 1.0 and isinstance(value, int | float):
            value = value / factor
        return replace(control, value=value)

    async def _chores(self, services: Services) -> None:
        """Repeats set-points in force, and releases those that are owed."""
        clock = services.clock
        repeated_s = clock.monotonic_s()
        while True:
            await asyncio.sleep(_RETRY_S)
            await self._release_owed(services)
            if self._repeat_s and clock.monotonic_s() - repeated_s >= self._repeat_s:
                repeated_s = clock.monotonic_s()
                for reference, control in tuple(self._in_force.items()):
                    if self._worker is None or self._in_force.get(reference) is not control:
                        continue
                    services.counters.add("set_points_repeated_total")
                    answer = await self._worker.execute(self._on_the_wire(control))
                    if not answer.accepted:
                        services.log.warning(
                            "set-point was not taken again", reference=reference, detail=answer.detail
                        )

    async def _release_owed(self, services: Services) -> None:
        store, worker = self._store, self._worker
        if store is None or worker is None or not worker.running:
            return
        for reference, point in store.items():
            if point.value is None and reference in self._device.releases:
                answer = await worker.execute(self._on_the_wire(_release(reference, services)))
                if answer.accepted:
                    await store.forget(reference)

    async def _release_all(self, services: Services) -> None:
        store, worker = self._store, self._worker
        if store is None or worker is None or not store.has_points:
            return
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                for reference in dict(store.items()):
                    if reference not in self._device.releases:
                        await store.forget(reference)
                        continue
                    answer = await worker.execute(self._on_the_wire(_release(reference, services)))
                    if answer.accepted:
                        await store.forget(reference)
        except TimeoutError:
            pass
        if store.has_points:
            services.log.warning(
                "set-points could not be released; the next start will",
                references=tuple(reference for reference, _ in store.items()),
            )


def _release(reference: str, services: Services) -> Control:
    return Control(
        reference=ObjectReference(reference),
        origin=Origin(category=OriginCategory.AUTOMATIC_STATION, identity=services.name),
        time_ns=services.clock.wall_ns(),
    )


def _create(name: str, config: Iec61850Config, context: SiteContext) -> Iec61850Connector:
    problems: list[Problem] = []
    try:
        library_path()
    except PermanentError as error:
        problems.append(
            Problem(
                file="",
                key="type",
                found="iec61850 without its library",
                expected=str(error).partition(": ")[2],
            )
        )
    device: ServerDevice | None = None
    try:
        table = load_device_table(config.template, context.directory)
        unknown = sorted(set(config.logical_devices) - set(table.logical_devices))
        if unknown:
            problems.append(
                Problem(
                    file="",
                    key="logical_devices",
                    found=", ".join(unknown),
                    expected=f"roles of the table: {', '.join(table.logical_devices) or 'it has none'}",
                )
            )
        device = bind_device(name, table, config.logical_devices, config.template)
    except ConfigError as error:
        problems += error.problems
    if problems or device is None:
        raise ConfigError(problems)
    return Iec61850Connector(config, device)


IEC61850 = ConnectorType(
    config=Iec61850Config,
    create=_create,
    summary="IEC 61850 servers over MMS, such as the energy router (extra iec61850)",
)
