"""Two of D3.1's deployments with simulated devices: Fur (§6.3, Table 25) and Bucharest (§6.1, Table 22)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s4g_gateway.simulators.deployment import Deployment
from s4g_gateway.simulators.dlms_meter.household_meter import HouseholdMeter
from s4g_gateway.simulators.dlms_meter.server import DlmsMeterServer
from s4g_gateway.simulators.energy_router import EnergyRouter
from s4g_gateway.simulators.energy_router_server import EnergyRouterServer
from s4g_gateway.simulators.house import HouseRatings
from s4g_gateway.simulators.hybrid_inverter import HybridInverter
from s4g_gateway.simulators.modbus_server import ModbusTcpServer
from s4g_gateway.simulators.modbus_slave import Slave
from s4g_gateway.simulators.simulated_site import INVERTER_UNIT
from s4g_gateway.simulators.sunspec_meter import grid_reading, load_reading


class FurSite(Deployment):
    """A house of Fur: hybrid inverter with battery (SunSpec) and a DLMS meter at the grid connection.

    Arguments as ``Deployment``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inverter = HybridInverter(self.house)
        self.grid_meter = HouseholdMeter(self.house, grid_reading, "LGZ0000000000001")
        self.servers = {
            "inverter": ModbusTcpServer(Slave({INVERTER_UNIT: self.inverter.image.unit})),
            "grid_meter": DlmsMeterServer(self.grid_meter.device),
        }

    def show(self) -> None:
        """Shows the house in both devices."""
        self.inverter.show()
        self.grid_meter.show()


class BucharestSite(Deployment):
    """The prosumer of Bucharest: energy router (IEC 61850) and two DLMS meters, grid connection and AC loads.

    Args:
        directory: for what the router keeps; exists.
        options: as ``Deployment``.
    """

    def __init__(self, directory: Path, **options: Any) -> None:
        options.setdefault("ratings", HouseRatings(charges_disconnected=True))
        super().__init__(**options)
        self.router = EnergyRouter(self.house)
        self.grid_meter = HouseholdMeter(self.house, grid_reading, "LGZ0000000000001")
        self.load_meter = HouseholdMeter(self.house, load_reading, "LGZ0000000000002")
        self._router_server = EnergyRouterServer(self.router, directory)
        self.servers = {
            "router": self._router_server,
            "grid_meter": DlmsMeterServer(self.grid_meter.device),
            "load_meter": DlmsMeterServer(self.load_meter.device),
        }

    def step(self) -> None:
        """Has the router steer PV and battery, then moves the house."""
        self.router.obey(self.duration_s)
        super().step()

    def show(self) -> None:
        """Shows the house in all three devices."""
        self._router_server.show()
        self.grid_meter.show()
        self.load_meter.show()
