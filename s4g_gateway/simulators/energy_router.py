"""The energy router of D3.1: a DC bus with PV and battery, fed to the grid as Table 15's set-points and mode say.

Source: Storage4Grid D3.1 §4.1.18, Table 15. How a router behaves inside a mode is our reading of its few words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from s4g_gateway.profiles.iec61850_90_7.energy_router import OperationMode, energy_router_table
from s4g_gateway.simulators.house import House, Orders


@dataclass(slots=True, kw_only=True)
class RouterSettings:
    """What the router has been told; powers in the generator frame.

    Attributes:
        power_w: smallest and greatest active power at the router's grid connection.
        reactive_var: smallest and greatest reactive power there.
        mode: operation mode, 1 to 5.
    """

    power_w: tuple[float, float]
    reactive_var: tuple[float, float]
    mode: int = 1


class EnergyRouter:
    """Steers the PV and the battery of a house in place of its hybrid inverter.

    Args:
        house: the physics; its ratings must let PV charge the battery without a grid.

    Attributes:
        settings: what it has been told.
    """

    def __init__(self, house: House) -> None:
        self.house = house
        ratings = house.ratings
        self.settings = RouterSettings(
            power_w=(-ratings.inverter_w, ratings.inverter_w),
            reactive_var=(-ratings.inverter_var, ratings.inverter_var),
        )

    @property
    def is_connected(self) -> bool:
        """Whether it is connected to the grid."""
        return self.house.orders.connected

    def obey(self, duration_s: float) -> None:
        """Turns settings into orders for the next step.

        Args:
            duration_s: length of that step, > 0.
        """
        mode = energy_router_table().operation_mode(self.settings.mode)
        self.house.orders = self._orders(mode, duration_s)

    def _orders(self, mode: OperationMode, duration_s: float) -> Orders:
        house, settings = self.house, self.settings
        reactive_var = _nearest_to_zero(*settings.reactive_var)
        reactive_var = math.copysign(min(abs(reactive_var), house.ratings.inverter_var), reactive_var)
        most_w, least_w = house.battery_limits_w(duration_s)
        pv_w = house.pv_available_w(duration_s)
        disconnected = Orders(connected=False, battery_w=(least_w, least_w), charge_from_grid=False)
        if mode.grid == "disconnected":
            return disconnected
        if mode.grid == "reactive-only":
            return Orders(
                battery_w=(-pv_w, -pv_w), limit_w=0.0, reactive_var=reactive_var, charge_from_grid=False
            )
        if mode.grid == "all":
            discharge_w = most_w if mode.battery_to_grid else 0.0
            return Orders(battery_w=(discharge_w, discharge_w), reactive_var=reactive_var)
        low_w, high_w = settings.power_w
        rating_w = house.ratings.inverter_w
        reachable = min(pv_w + most_w, rating_w)
        if low_w > high_w or low_w > reachable or high_w < max(-rating_w, least_w):
            return disconnected if mode.disconnect_without_power else Orders(limit_w=0.0)
        return Orders(
            battery_w=(low_w - pv_w, high_w - pv_w),
            limit_w=min(high_w, rating_w),
            reactive_var=reactive_var,
            charge_from_grid=high_w < 0.0 or low_w < 0.0,
        )


def _nearest_to_zero(low: float, high: float) -> float:
    return min(max(0.0, low), high) if low <= high else 0.0
