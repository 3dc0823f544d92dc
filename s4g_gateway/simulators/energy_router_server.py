"""The simulated energy router on a socket: an IEC 61850 server whose Controls steer the physics.

It is built from the product's own server; what speaks to it in tests is libiec61850's own client and others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from pathlib import Path
from typing import Final

import structlog

from s4g_gateway.model import (
    ACCEPTED,
    AddCause,
    Control,
    ControlAnswer,
    ControlModel,
    ControlPoint,
    Report,
    Value,
    refused,
)
from s4g_gateway.northbound.iec61850 import Iec61850Config, Iec61850Server
from s4g_gateway.profiles.iec61850.device_table import bind_device, load_device_table
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.audit import JsonLinesAuditLog
from s4g_gateway.runtime.clock import SystemClock
from s4g_gateway.runtime.contract import Counters, Services, SiteContext, SuppliedDataSet
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.runtime.ledger import SqliteCommandLedger
from s4g_gateway.security import Principal, default_policy
from s4g_gateway.simulators.energy_router import EnergyRouter

TEMPLATE: Final = "energy-router"
_NAME: Final = "energy-router"
_ROUTER: Final = "ER1"
_CLOSED, _OPEN = 2, 1


class EnergyRouterServer:
    """An energy router that listens.

    Args:
        router: the physics and what it has been told.
        directory: for what it keeps; exists.
        models: control model of each Control by data object, such as ``{"GGIO1.ISCSO1": SBO_ENHANCED}``; direct
            with enhanced security otherwise.
        insecure: true allows an address that is not loopback.

    Attributes:
        refusal: while set, every Control is refused with it.
    """

    def __init__(
        self,
        router: EnergyRouter,
        directory: Path,
        *,
        models: dict[str, ControlModel] | None = None,
        insecure: bool = False,
    ) -> None:
        self.router = router
        self.refusal: ControlAnswer | None = None
        self.host = ""
        self._directory = directory
        self._insecure = insecure
        device = bind_device(_NAME, load_device_table(TEMPLATE, directory), {}, TEMPLATE)
        self._data_set = device.data_set
        chosen = models or {}
        self._controls = tuple(
            ControlPoint(
                reference=point.reference,
                value_type=point.value_type,
                unit=point.unit,
                model=chosen.get(point.reference.partition("/")[2], point.model),
                expires=False,
                minimum=point.minimum,
                maximum=point.maximum,
                description=point.description,
            )
            for point in device.controls
        )
        self._clock = SystemClock()
        self._database: RealTimeDatabase | None = None
        self._server: Iec61850Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.counters = Counters()

    @property
    def port(self) -> int:
        """Where it listens; 0 while it does not."""
        address = self._server.address if self._server is not None else None
        return address[1] if address else 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Starts to serve; port 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        self.host = host
        policy = default_policy()
        self._ledger = SqliteCommandLedger(self._directory / "commands.sqlite")
        arbitration = Arbitration(
            clock=self._clock,
            policy=policy,
            audit=JsonLinesAuditLog(self._directory / "audit.jsonl"),
            ledger=self._ledger,
        )
        database = self._database = RealTimeDatabase(
            clock=self._clock, policy=policy, arbitration=arbitration
        )
        supplied = (SuppliedDataSet(data_set=self._data_set, period_s=3600.0),)
        database.add(_NAME, supplied)
        arbitration.add(_NAME, self._controls, self._execute)
        context = SiteContext(
            site=_NAME,
            directory=self._directory,
            state_directory=self._directory,
            supplied=supplied,
            controls=self._controls,
        )
        server = self._server = Iec61850Server(
            _NAME, Iec61850Config(listen=f"{host}:{port}", insecure=self._insecure), context
        )
        self.show()
        services = Services(
            name=_NAME,
            database=database,
            clock=self._clock,
            log=structlog.wrap_logger(
                structlog.PrintLogger(sys.stderr),
                wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            ),
            counters=self.counters,
            state_directory=self._directory,
            principal=Principal(name=_NAME, roles=frozenset({"SCADA"})),
        )
        task = self._task = asyncio.create_task(server.run(services), name=_NAME)
        while not (server.address and self.counters.values.get("worker_running")):
            if task.done():
                task.result()
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Stops; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._ledger.close()

    def show(self) -> None:
        """Shows the physics in the model."""
        if self._database is None:
            return
        values = self._values()
        row: tuple[Value, ...] = tuple(
            values[reference.partition("/")[2] if reference.startswith(f"{_ROUTER}/") else reference]
            for reference in self._data_set.references
        )
        self._database.publish(Report(self._data_set, row, (0,) * len(row), time.time_ns()))

    def _values(self) -> dict[str, Value]:
        state, settings = self.router.house.state, self.router.settings
        return {
            "MMXU1.TotW": state.inverter_w,
            "MMXU1.TotVAr": state.inverter_var,
            "MMXU1.Hz": state.frequency_hz,
            "MMXU1.PhV.phsA": state.voltage_v,
            "XCBR1.Pos": _CLOSED if self.router.is_connected else _OPEN,
            "PV1/MMDC1.Watt": state.pv_w,
            "ESS1/DBAT1.Watt": state.battery_w,
            "ESS1/DSTO1.SocEffWhPct": state.soc_pct,
            "DWMN1.WMinSpt": settings.power_w[0],
            "DWMX1.WMaxSpt": settings.power_w[1],
            "DPMC1.VArMinSpt": settings.reactive_var[0],
            "DPMC1.VArMaxSpt": settings.reactive_var[1],
            "GGIO1.ISCSO1": settings.mode,
        }

    async def _execute(self, control: Control) -> ControlAnswer:
        if self.refusal is not None:
            return self.refusal
        settings, value = self.router.settings, control.value
        if value is None or isinstance(value, str):
            return refused(AddCause.INCONSISTENT_PARAMETERS, f"{value!r} is no set-point")
        match control.reference.partition("/")[2]:
            case "DWMN1.WMinSpt":
                settings.power_w = (float(value), settings.power_w[1])
            case "DWMX1.WMaxSpt":
                settings.power_w = (settings.power_w[0], float(value))
            case "DPMC1.VArMinSpt":
                settings.reactive_var = (float(value), settings.reactive_var[1])
            case "DPMC1.VArMaxSpt":
                settings.reactive_var = (settings.reactive_var[0], float(value))
            case "GGIO1.ISCSO1" if value in (1, 2, 3, 4, 5):
                settings.mode = int(value)
            case _:
                return refused(AddCause.INCONSISTENT_PARAMETERS, f"{value} for {control.reference}")
        self.show()
        return ACCEPTED
