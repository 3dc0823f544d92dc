"""A simulated three-phase SunSpec meter (model 203) at the grid connection or before the loads."""

from __future__ import annotations

from collections.abc import Callable

from s4g_gateway.profiles.sunspec.point_types import Value
from s4g_gateway.simulators.house import House, HouseState
from s4g_gateway.simulators.sunspec_image import SimulatedModel, SunspecImage

# What a meter sees, in its own frame (+ = power taken from the grid): W, var, Wh taken, Wh fed in.
Reading = Callable[[HouseState], tuple[float, float, float, float]]


def grid_reading(state: HouseState) -> tuple[float, float, float, float]:
    """Returns what the meter at the grid connection sees."""
    return -state.export_w, -state.export_var, state.imported_wh, state.exported_wh


def load_reading(state: HouseState) -> tuple[float, float, float, float]:
    """Returns what the meter before the loads sees."""
    return state.load_w, state.load_var, state.consumed_wh, 0.0


class SunspecMeter:
    """A meter as a Modbus device; it counts power taken from the grid as positive.

    Args:
        house: the house it is in.
        reading: what it sees of it.
        serial: serial number in model 1.

    Attributes:
        image: its registers.
    """

    def __init__(self, house: House, reading: Reading, serial: str) -> None:
        self._house = house
        self._reading = reading
        scales: dict[str, Value] = {
            "A_SF": -2, "V_SF": -1, "Hz_SF": -2, "W_SF": 0, "VA_SF": 0, "VAR_SF": 0, "PF_SF": -1,
            "TotWh_SF": 0, "Evt": 0,
        }  # fmt: skip
        self.image = SunspecImage(
            (
                SimulatedModel(
                    model_id=1,
                    values={
                        "Mn": "Simulated",
                        "Md": "Meter 63A-3",
                        "Opt": "",
                        "Vr": "1.0",
                        "SN": serial,
                        "DA": 240,
                    },
                ),
                SimulatedModel(model_id=203, values=scales),
            )
        )
        self.show()

    def show(self) -> None:
        """Writes the house's state into the registers, after each step of the house."""
        state = self._house.state
        power_w, power_var, taken_wh, fed_wh = self._reading(state)
        apparent = (power_w**2 + power_var**2) ** 0.5
        volts = state.voltage_v
        values: dict[str, Value] = {
            "A": apparent / volts, "PhV": volts, "PPV": volts * 3**0.5, "Hz": state.frequency_hz, "W": power_w,
            "VA": apparent, "VAR": power_var, "PF": 100 * power_w / apparent if apparent > 1 else 100.0,
            "TotWhImp": round(taken_wh), "TotWhExp": round(fed_wh),
        }  # fmt: skip
        for number, phase in enumerate("ABC"):
            values[f"Aph{phase}"] = apparent / 3 / volts
            values[f"PhVph{phase}"] = volts + 0.4 * (number - 1)
            values[f"Wph{phase}"] = power_w / 3
            values[f"VARph{phase}"] = power_var / 3
        for pair in ("AB", "BC", "CA"):
            values[f"PhVph{pair}"] = volts * 3**0.5
        self.image.update(203, values)
