"""The demo site: simulated devices, an embedded broker and a gateway, each on real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Any, Self

from s4g_gateway.errors import TransientError
from s4g_gateway.runtime.broker import EmbeddedBroker, free_port
from s4g_gateway.simulators.deployment import Deployment
from s4g_gateway.simulators.house import HouseState
from s4g_gateway.simulators.simulated_site import (
    GRID_METER_UNIT,
    INVERTER_UNIT,
    LOAD_METER_UNIT,
    SimulatedSite,
)

SITE_NAME = "demo"
COMMON_ADDRESS = 1
POWER_IOA = 9001
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0

_HEAD = """\
[site]
name = "$name"
description = "$description"
latitude = 56.7
longitude = 9.0
radial_id = "demo-feeder-1"
metrics_listen = "127.0.0.1:$metrics_port"

"""
_TAIL = """\
[[northbound]]
name = "scada"
type = "iec104"
listen = "127.0.0.1:$iec104_port"

# the one signal whose way is measured gets a fixed address and no deadband
[[northbound.point]]
reference = "PCC1/MMXU1.TotW"
ioa = $power_ioa
deadband = 0.0

[[northbound]]
name = "cloud"
type = "mqtt"
url = "$mqtt_url"

[northbound.clients]
operator = ["OPERATOR"]
"""
DESCRIPTIONS = {
    "house": "Simulated house: PV, battery, load, grid meter (SunSpec)",
    "fur": "Simulated house of Fur, D3.1 6.3: SunSpec hybrid inverter, DLMS meter",
    "bucharest": "Simulated prosumer of Bucharest, D3.1 6.1: energy router (IEC 61850), two DLMS meters",
}


def site_text(kind: str, **fields: object) -> str:
    """Returns the site file of a demo.

    Args:
        kind: one of DESCRIPTIONS.
        fields: ports, units and addresses, by the names that stand in it.
    """
    devices = (files("s4g_gateway.cli") / "data" / "demo" / f"{kind}.toml").read_text(encoding="utf-8")
    known = {
        "name": SITE_NAME,
        "description": DESCRIPTIONS[kind],
        "power_ioa": POWER_IOA,
        "inverter_unit": INVERTER_UNIT,
        "grid_meter_unit": GRID_METER_UNIT,
        "load_meter_unit": LOAD_METER_UNIT,
    }
    return Template(_HEAD + devices + _TAIL).substitute(known, **fields)


@dataclass(frozen=True, slots=True)
class Change:
    """A change at a simulated device.

    Attributes:
        export_w: what the grid meter shows since then, W, + export.
        monotonic_s: when it began to show it.
    """

    export_w: float
    monotonic_s: float


class DemoSite:
    """Everything the demo runs; use as ``async with``.

    Args:
        seed: of the simulated house.
        time_scale: simulated seconds per second.
        kind: house, fur or bucharest.

    Attributes:
        changes: the latest changes of the grid meter, newest last.
        iec104_port: where the outstation listens.
        broker: the embedded broker.
        socket_path: the gateway's local socket.
        directory: site file and state.
    """

    def __init__(self, *, seed: int, time_scale: float, kind: str = "house") -> None:
        self.kind = kind
        self._folder = tempfile.TemporaryDirectory(prefix="s4g-demo-")
        self.directory = Path(self._folder.name)
        self.changes: list[Change] = []
        # nine in the morning: sun, load and battery all move
        morning_s = time.time() // 86_400 * 86_400 + 9 * 3_600
        self.devices = self._deployment(
            seed=seed, time_scale=time_scale, step_s=1.0, on_step=self._changed, start_s=morning_s
        )
        self.broker = EmbeddedBroker(self.directory / "broker")
        self.iec104_port = free_port()
        self.metrics_port = free_port()
        self.site_file = self.directory / "site.toml"
        self.socket_path = self.directory / "state" / "s4g.sock"
        self.log_path = self.directory / "gateway.log"
        self._gateway: asyncio.subprocess.Process | None = None

    @property
    def gateway_id(self) -> int | None:
        """Process id of the gateway while it runs."""
        return self._gateway.pid if self._gateway and self._gateway.returncode is None else None

    async def __aenter__(self) -> Self:
        try:
            await self.devices.start()
            await self.broker.start()
            self._write_site()
            await self._start_gateway()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stops everything, consumers first; idempotent."""
        gateway = self._gateway
        if gateway is not None and gateway.returncode is None:
            gateway.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await gateway.wait()
            except TimeoutError:
                gateway.kill()
                await gateway.wait()
        await self.broker.stop()
        await self.devices.stop()
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    def _deployment(self, **options: Any) -> Deployment:
        if self.kind == "house":
            return SimulatedSite(**options)
        # Their libraries are extras, which a demo of the house does without.
        from s4g_gateway.simulators.d31_sites import BucharestSite, FurSite

        if self.kind == "fur":
            return FurSite(**options)
        folder = self.directory / "router"
        folder.mkdir()
        return BucharestSite(folder, **options)

    def _changed(self, state: HouseState) -> None:
        export_w = -float(round(-state.export_w))
        if not self.changes or self.changes[-1].export_w != export_w:
            self.changes.append(Change(export_w, time.monotonic()))
            del self.changes[:-60]

    def _write_site(self) -> None:
        ports = {f"{name}_port": server.port for name, server in self.devices.servers.items()}
        self.site_file.write_text(
            site_text(
                self.kind,
                metrics_port=self.metrics_port,
                iec104_port=self.iec104_port,
                mqtt_url=self.broker.url,
                **ports,
            ),
            encoding="utf-8",
        )

    async def _start_gateway(self) -> None:
        with self.log_path.open("wb") as log:
            self._gateway = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "s4g_gateway.cli",
                "run",
                str(self.site_file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not self.socket_path.exists():
                    if self._gateway.returncode is not None:
                        raise TransientError(f"the gateway ended: {self.log_path.read_text()[-2000:]}")
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise TransientError(
                f"the gateway does not start: {self.log_path.read_text()[-2000:]}"
            ) from error
