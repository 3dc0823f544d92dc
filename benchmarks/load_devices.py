"""The simulator of the gateway benchmarks, a process of its own: many devices, one register image.

Prints one JSON line with its ports, then, at SIGTERM, one with what it counted. Device 0 notes when each change was
first fetched, on the machine's monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time

from s4g_gateway.simulators.fleet import Fleet
from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.hybrid_inverter import HybridInverter
from s4g_gateway.simulators.modbus_server import ModbusTcpServer
from s4g_gateway.simulators.modbus_slave import Slave, Unit


class Witness(Slave):
    """Notes when device 0 first handed out each change."""

    def __init__(self, unit: Unit, fleet: Fleet) -> None:
        super().__init__({1: unit})
        self._fleet = fleet
        self.fetched: dict[int, float] = {}

    def respond(self, unit_id: int, pdu: bytes) -> bytes | None:
        self.fetched.setdefault(self._fleet.value_of_first(), time.monotonic())
        return super().respond(unit_id, pdu)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("registers", "inverters"))
    parser.add_argument("devices", type=int)
    parser.add_argument("--registers", type=int, default=100)
    parser.add_argument("--period", type=float, default=1.0, help="s between changes of the registers")
    arguments = parser.parse_args()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if arguments.kind == "registers":
        fleet = Fleet(arguments.devices - 1, arguments.registers, period_s=arguments.period)
        witness = Witness(fleet.unit, fleet)
        first = ModbusTcpServer(witness)
        await first.start()
        await fleet.start()
        print(json.dumps([first.port, *fleet.ports]), flush=True)
        await stop.wait()
        print(
            json.dumps({"requests": fleet.requests_total, "fetched": list(witness.fetched.items())}),
            flush=True,
        )
        await fleet.stop()
        await first.stop()
    else:
        house = House(seed=1, time_s=9 * 3600.0)
        inverter = HybridInverter(house)
        slave = Slave({1: inverter.image.unit})
        servers = [ModbusTcpServer(slave) for _ in range(arguments.devices)]
        for server in servers:
            await server.start()
        print(json.dumps([server.port for server in servers]), flush=True)
        while not stop.is_set():
            house.step(10.0)
            inverter.show()
            try:
                await asyncio.wait_for(stop.wait(), 1.0)
            except TimeoutError:
                continue
        print(json.dumps({"requests": inverter.image.unit.requests_total, "fetched": []}), flush=True)
        for server in servers:
            await server.stop()


asyncio.run(main())
