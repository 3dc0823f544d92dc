"""The simulated devices of a site on real sockets: inverter with battery, grid meter, load meter."""

from __future__ import annotations

from typing import Any

from s4g_gateway.simulators.deployment import Deployment
from s4g_gateway.simulators.hybrid_inverter import HybridInverter
from s4g_gateway.simulators.modbus_server import ModbusTcpServer
from s4g_gateway.simulators.modbus_slave import Slave
from s4g_gateway.simulators.sunspec_meter import SunspecMeter, grid_reading, load_reading

INVERTER_UNIT, GRID_METER_UNIT, LOAD_METER_UNIT = 1, 240, 241


class SimulatedSite(Deployment):
    """A house with SunSpec devices: inverter, grid_meter and load_meter; arguments as ``Deployment``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inverter = HybridInverter(self.house)
        self.grid_meter = SunspecMeter(self.house, grid_reading, "SIM-PCC")
        self.load_meter = SunspecMeter(self.house, load_reading, "SIM-LOAD")
        self.servers = {
            "inverter": ModbusTcpServer(Slave({INVERTER_UNIT: self.inverter.image.unit})),
            "grid_meter": ModbusTcpServer(Slave({GRID_METER_UNIT: self.grid_meter.image.unit})),
            "load_meter": ModbusTcpServer(Slave({LOAD_METER_UNIT: self.load_meter.image.unit})),
        }

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

    def show(self) -> None:
        """Shows the house in every device's registers."""
        self.inverter.show()
        self.grid_meter.show()
        self.load_meter.show()
