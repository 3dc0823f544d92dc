"""The simulated devices of a site on real sockets: inverter with battery, grid meter, load meter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from s4g_gateway.simulators.house import House, HouseRatings, HouseState
from s4g_gateway.simulators.hybrid_inverter import HybridInverter
from s4g_gateway.simulators.modbus_server import ModbusTcpServer
from s4g_gateway.simulators.modbus_slave import Slave
from s4g_gateway.simulators.sunspec_meter import SunspecMeter, grid_reading, load_reading

INVERTER_UNIT, GRID_METER_UNIT, LOAD_METER_UNIT = 1, 240, 241
OnStep = Callable[[HouseState], None]


class SimulatedSite:
    """A house whose devices each listen on a port of their own.

    Args:
        seed: the same seed gives the same house.
        time_scale: simulated seconds per real second.
        step_s: real seconds between two steps.
        ratings: what is built into the house.
        start_s: simulated time at the start, s since 1970 UTC; None for now.
        on_step: called after each step, once the registers show it.

    Attributes:
        house: the physics.
        servers: the devices' servers by name (inverter, grid_meter, load_meter), each with its port.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        time_scale: float = 1.0,
        step_s: float = 0.5,
        ratings: HouseRatings | None = None,
        start_s: float | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        self.house = House(ratings, seed=seed, time_s=time.time() if start_s is None else start_s)
        self.inverter = HybridInverter(self.house)
        self.grid_meter = SunspecMeter(self.house, grid_reading, "SIM-PCC")
        self.load_meter = SunspecMeter(self.house, load_reading, "SIM-LOAD")
        self.servers = {
            "inverter": ModbusTcpServer(Slave({INVERTER_UNIT: self.inverter.image.unit})),
            "grid_meter": ModbusTcpServer(Slave({GRID_METER_UNIT: self.grid_meter.image.unit})),
            "load_meter": ModbusTcpServer(Slave({LOAD_METER_UNIT: self.load_meter.image.unit})),
        }
        self._time_scale = time_scale
        self._step_s = step_s
        self._on_step = on_step
        self._stepping: asyncio.Task[None] | None = None

    @property
    def inverter_port(self) -> int:
        """Where the inverter listens."""
        return self.servers["inverter"].port

    @property
    def grid_meter_port(self) -> int:
        """Where the grid meter listens."""
        return self.servers["grid_meter"].port

    @property
    def load_meter_port(self) -> int:
        """Where the load meter listens."""
        return self.servers["load_meter"].port

    async def start(self, host: str = "127.0.0.1", ports: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Starts the devices; port 0 takes a free one."""
        self.step()
        for server, port in zip(self.servers.values(), ports, strict=True):
            await server.start(host, port)
        self._stepping = asyncio.create_task(self._run(), name="simulated site")

    async def stop(self) -> None:
        """Stops the devices; idempotent."""
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.wait([self._stepping])
            self._stepping = None
        for server in self.servers.values():
            await server.stop()

    def step(self) -> None:
        """Moves the house one step and shows it in every device's registers."""
        state = self.house.step(self._step_s * self._time_scale)
        self.inverter.show()
        self.grid_meter.show()
        self.load_meter.show()
        if self._on_step is not None:
            self._on_step(state)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s += self._step_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self.step()
