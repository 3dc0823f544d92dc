"""The physics of a house with PV, battery, load and a grid connection; pure and deterministic by seed.

Signs are the generator frame. The balance ``export = pv + battery - load`` holds at every step, and the energy
counters are the integral of the powers they belong to.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseRatings:
    """What is built into the house.

    Attributes:
        pv_peak_w: PV power at noon without clouds.
        inverter_w: AC rating of the hybrid inverter.
        inverter_var: its greatest reactive power.
        battery_wh: energy capacity of the battery.
        battery_w: greatest charge and discharge power.
        efficiency: of one way through the battery, 0 to 1.
        base_load_w: load at night.
        peak_load_w: what the evening peak adds.
        voltage_v: nominal phase voltage.
        charges_disconnected: true where PV charges the battery while the AC switch is open (a DC bus).
    """

    pv_peak_w: float = 5_500.0
    inverter_w: float = 5_000.0
    inverter_var: float = 2_650.0
    battery_wh: float = 9_600.0
    battery_w: float = 4_500.0
    efficiency: float = 0.96
    base_load_w: float = 350.0
    peak_load_w: float = 2_600.0
    voltage_v: float = 230.0
    charges_disconnected: bool = False


@dataclass(slots=True, kw_only=True)
class Orders:
    """What the inverter has been told.

    Attributes:
        battery_w: (lowest, highest) battery power, + discharge; None for the inverter's own rule.
        limit_w: highest AC power of the inverter; None for its rating.
        reactive_var: reactive power, + injected; None for none.
        power_factor: signed PF (SunSpec OutPFSet); None for 1.
        connected: false opens the inverter's AC switch.
        charge_from_grid: false lets only PV charge the battery.
        minimum_soc_pct: the battery is not discharged below.
    """

    battery_w: tuple[float, float] | None = None
    limit_w: float | None = None
    reactive_var: float | None = None
    power_factor: float | None = None
    connected: bool = True
    charge_from_grid: bool = True
    minimum_soc_pct: float = 5.0


@dataclass(slots=True, kw_only=True)
class HouseState:
    """The house at one moment; powers in the generator frame, energies unsigned."""

    time_s: float
    pv_w: float = 0.0
    battery_w: float = 0.0
    inverter_w: float = 0.0
    inverter_var: float = 0.0
    load_w: float = 0.0
    load_var: float = 0.0
    export_w: float = 0.0
    export_var: float = 0.0
    soc_pct: float = 50.0
    voltage_v: float = 230.0
    frequency_hz: float = 50.0
    pv_wh: float = 1_200_000.0
    exported_wh: float = 500_000.0
    imported_wh: float = 800_000.0
    consumed_wh: float = 1_500_000.0


class House:
    """Steps the house through time.

    Args:
        ratings: what is built in.
        seed: the same seed and the same steps give the same house.
        time_s: where it starts, seconds since 1970 UTC.

    Attributes:
        grid_voltage_pu: voltage of the grid without the house, per unit of the nominal one.
        grid_frequency_hz: frequency of the grid.
    """

    def __init__(self, ratings: HouseRatings | None = None, *, seed: int = 1, time_s: float = 0.0) -> None:
        self.ratings = ratings or HouseRatings()
        self.orders = Orders()
        self.grid_voltage_pu = 1.0
        self.grid_frequency_hz = 50.0
        self.state = HouseState(time_s=time_s, voltage_v=self.ratings.voltage_v)
        self._chance = random.Random(seed)  # noqa: S311 - a simulation
        self._cloud = 0.2
        self._noise_w = 0.0

    def step(self, duration_s: float) -> HouseState:
        """Moves the house forward.

        Args:
            duration_s: > 0.

        Returns:
            The new state, the same object every time.
        """
        state, ratings = self.state, self.ratings
        state.time_s += duration_s
        day = state.time_s % DAY_S / DAY_S
        # the inverter regulates on what it measured a step ago, so the grid sees a little of every change
        seen_w = state.load_w - state.pv_w
        self._wander(duration_s)
        state.load_w = self._load_w(day)
        state.load_var = 0.2 * state.load_w
        available_w = self._pv_w(day)
        state.battery_w = self._battery_w(seen_w, available_w, duration_s)
        limit_w = (
            ratings.inverter_w
            if self.orders.limit_w is None
            else min(self.orders.limit_w, ratings.inverter_w)
        )
        if not self.orders.connected:
            limit_w = 0.0
            if ratings.charges_disconnected:
                state.battery_w = max(-available_w, self.battery_limits_w(duration_s)[1])
            else:
                available_w, state.battery_w = 0.0, 0.0
        # PV is curtailed before a discharge that was ordered
        state.pv_w = max(0.0, min(available_w, limit_w - state.battery_w))
        if state.pv_w + state.battery_w > limit_w:
            state.battery_w = limit_w - state.pv_w
        state.inverter_w = state.pv_w + state.battery_w
        state.inverter_var = self._reactive_var()
        state.export_w = state.inverter_w - state.load_w
        state.export_var = state.inverter_var - state.load_var
        raised_pu = 0.01 * state.export_w / 5_000
        state.voltage_v = ratings.voltage_v * (self.grid_voltage_pu + raised_pu) + self._chance.gauss(0, 0.1)
        state.frequency_hz = self.grid_frequency_hz + self._chance.gauss(0, 0.008)
        self._count(duration_s / 3_600)
        return state

    def _wander(self, duration_s: float) -> None:
        part = min(1.0, duration_s / 30)
        self._cloud = min(0.9, max(0.0, self._cloud + self._chance.gauss(0, 0.08) * part))
        self._noise_w += (self._chance.gauss(0, 80) - self._noise_w) * part

    def _load_w(self, day: float) -> float:
        morning = math.exp(-(((day - 0.31) / 0.04) ** 2))
        evening = math.exp(-(((day - 0.79) / 0.07) ** 2))
        load_w = self.ratings.base_load_w + self.ratings.peak_load_w * (0.5 * morning + evening)
        return max(60.0, load_w + self._noise_w)

    def _pv_w(self, day: float) -> float:
        height: float = math.sin(math.pi * (day - 0.25) / 0.5) if 0.25 < day < 0.75 else 0.0
        return self.ratings.pv_peak_w * math.pow(height, 1.3) * (1 - self._cloud)

    def _battery_w(self, seen_w: float, pv_w: float, duration_s: float) -> float:
        ratings, orders = self.ratings, self.orders
        lowest, highest = orders.battery_w or (-ratings.battery_w, ratings.battery_w)
        # its own rule is self-consumption: cover the load, store the surplus
        wanted_w = min(max(seen_w, lowest), highest)
        most_w, least_w = self.battery_limits_w(duration_s)
        if not orders.charge_from_grid:
            least_w = max(least_w, -pv_w)
        return min(max(wanted_w, least_w), most_w)

    def battery_limits_w(self, duration_s: float) -> tuple[float, float]:
        """Returns greatest discharge (>= 0) and greatest charge (<= 0) that the battery can hold for a step."""
        state, ratings = self.state, self.ratings
        hours = duration_s / 3_600
        stored_wh = ratings.battery_wh * (state.soc_pct - self.orders.minimum_soc_pct) / 100
        room_wh = ratings.battery_wh * (100 - state.soc_pct) / 100
        most_w = max(0.0, min(ratings.battery_w, stored_wh * ratings.efficiency / hours))
        least_w = -max(0.0, min(ratings.battery_w, room_wh / ratings.efficiency / hours))
        return most_w, least_w

    def pv_available_w(self, duration_s: float) -> float:
        """Returns what PV will give in the next step as far as the sky stays as it is."""
        return self._pv_w((self.state.time_s + duration_s) % DAY_S / DAY_S)

    def _reactive_var(self) -> float:
        state, orders = self.state, self.orders
        if orders.reactive_var is not None:
            return orders.reactive_var if orders.connected else 0.0
        factor = orders.power_factor
        if factor is None or abs(factor) >= 1 or factor == 0:
            return 0.0
        # SunSpec OutPFSet: the sign is the quadrant; negative absorbs (EEI convention, clause unverified)
        size = abs(state.inverter_w) * math.tan(math.acos(abs(factor)))
        return math.copysign(size, factor)

    def _count(self, hours: float) -> None:
        state, ratings = self.state, self.ratings
        out_wh = state.battery_w * hours
        inside_wh = out_wh / ratings.efficiency if out_wh > 0 else out_wh * ratings.efficiency
        state.soc_pct = min(100.0, max(0.0, state.soc_pct - 100 * inside_wh / ratings.battery_wh))
        state.pv_wh += state.pv_w * hours
        state.consumed_wh += state.load_w * hours
        state.exported_wh += max(0.0, state.export_w) * hours
        state.imported_wh += max(0.0, -state.export_w) * hours
