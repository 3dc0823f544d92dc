"""Many cheap devices for load: one register image behind many ports, all registers changing once a period.

The image is shared, so that the simulator costs little beside the gateway under test; each port is a device of its own
to the gateway.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

from s4g_gateway.simulators.modbus_server import ModbusTcpServer
from s4g_gateway.simulators.modbus_slave import RegisterBlock, Slave, Unit

FIRST_REGISTER = 0


class Fleet:
    """Devices with consecutive int16 registers from address 0.

    Args:
        devices: how many.
        registers: registers of each, 1 to 1000.
        period_s: how often every register takes a new value.
        on_change: called with the number of the change, after the registers show it.

    Attributes:
        ports: where the devices listen, once started.
        changes: how often the registers changed.
    """

    def __init__(
        self,
        devices: int,
        registers: int,
        *,
        period_s: float = 1.0,
        on_change: Callable[[int], None] | None = None,
    ) -> None:
        self._registers = registers
        self._period_s = period_s
        self._on_change = on_change
        self.block = RegisterBlock(FIRST_REGISTER, bytes(2 * registers))
        self.unit = Unit((self.block,))
        slave = Slave({1: self.unit})
        self._servers = [ModbusTcpServer(slave) for _ in range(devices)]
        self._changing: asyncio.Task[None] | None = None
        self.ports: list[int] = []
        self.changes = 0

    @property
    def requests_total(self) -> int:
        """Requests answered by all devices."""
        return self.unit.requests_total

    async def start(self, host: str = "127.0.0.1", first_port: int = 0) -> None:
        """Starts every device; first_port 0 takes free ones."""
        self.change()
        for number, server in enumerate(self._servers):
            await server.start(host, first_port + number if first_port else 0)
            self.ports.append(server.port)
        self._changing = asyncio.create_task(self._run(), name="fleet")

    async def stop(self) -> None:
        """Stops every device; idempotent."""
        if self._changing is not None:
            self._changing.cancel()
            await asyncio.wait([self._changing])
            self._changing = None
        for server in self._servers:
            await server.stop()

    def value_of_first(self) -> int:
        """Returns what register 0 holds; it tells the changes apart."""
        return int.from_bytes(self.block.read(FIRST_REGISTER, 1), "big", signed=True)

    def change(self) -> None:
        """Gives every register a new value."""
        self.changes += 1
        words = ((7 * self.changes + 13 * number) % 30_000 for number in range(self._registers))
        self.block.put(FIRST_REGISTER, struct.pack(f">{self._registers}h", *words))
        if self._on_change is not None:
            self._on_change(self.changes)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            self.change()
