"""One simulated device of a house that moves on in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.modbus_server import ModbusTcpServer
from s4g_gateway.simulators.modbus_slave import Slave, Unit

STEP_S = 0.5


class SteppingDevice:
    """Serves one Modbus unit and steps its house.

    Args:
        house: the physics behind the device.
        unit_id: Modbus unit id.
        unit: the device's registers.
        show: brings the registers up to date after each step.
        time_scale: simulated seconds per second.
    """

    def __init__(
        self, house: House, unit_id: int, unit: Unit, show: Callable[[], None], time_scale: float
    ) -> None:
        self.server = ModbusTcpServer(Slave({unit_id: unit}))
        self._house = house
        self._show = show
        self._time_scale = time_scale
        self._stepping: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Begins to listen and to step."""
        await self.server.start(host, port)
        self._stepping = asyncio.create_task(self._run(), name="house")

    async def stop(self) -> None:
        """Stops both; idempotent."""
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.wait([self._stepping])
        await self.server.stop()

    async def _run(self) -> None:
        while True:
            self._house.step(STEP_S * self._time_scale)
            self._show()
            await asyncio.sleep(STEP_S)


def new_house(seed: int) -> House:
    """Returns a house at the present time of day."""
    return House(seed=seed, time_s=time.time())
