"""A DLMS meter of a house: what it measures, as COSEM objects with the addresses of a Landis+Gyr ZMG310.

The addresses stand in data/objects.csv; powers are in the meter's own frame (+ = taken from the grid).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from s4g_gateway.model.tables import rows
from s4g_gateway.simulators.dlms_meter.application import LogicalDevice, MeterSecurity
from s4g_gateway.simulators.dlms_meter.axdr import Data, Tag, number, octets
from s4g_gateway.simulators.dlms_meter.objects import (
    Captured,
    CosemObject,
    clock,
    data_object,
    load_profile,
    register,
)
from s4g_gateway.simulators.house import House, HouseState
from s4g_gateway.simulators.sunspec_meter import Reading

LOAD_PROFILE_OBIS: Final = "1.0.99.1.0.255"
PROFILE_PERIOD_S: Final = 900
_PROFILE_COLUMNS: Final = ("1.0.1.8.0.255", "1.0.2.8.0.255", "1.0.16.7.0.255")
_COLUMNS: Final = ("obis", "quantity", "phase", "tag", "scaler", "unit", "base_name", "description")
_PHASE_OFFSETS_V: Final = {"": 0.0, "1": -0.4, "2": 0.0, "3": 0.4}


@dataclass(slots=True)
class _Counted:
    """Reactive energies, which the house does not count."""

    time_s: float | None = None
    taken_varh: float = 150_000.0
    fed_varh: float = 40_000.0


class HouseholdMeter:
    """A meter in a house.

    Args:
        house: the physics.
        reading: what it sees of it, in its own frame.
        serial: its serial number, also its logical device name.
        security: what it demands of clients.
        max_pdu_bytes: longest APDU.
        multiple_references: false for a meter without GET-with-list.

    Attributes:
        device: the meter for a server.
        profile: its load profile.
    """

    def __init__(
        self,
        house: House,
        reading: Reading,
        serial: str = "LGZ0000000000001",
        *,
        security: MeterSecurity | None = None,
        max_pdu_bytes: int = 1024,
        multiple_references: bool = True,
    ) -> None:
        self._house = house
        self._reading = reading
        self._counted = _Counted()
        security = security or MeterSecurity()
        objects = [
            clock(self.now, base_name=11200),
            data_object("0.0.42.0.0.255", lambda: octets(serial.encode()), base_name=0xFD00, public=True),
            data_object(
                "0.0.43.1.1.255",
                lambda: number(Tag.DOUBLE_LONG_UNSIGNED, self._client_counter()),
                public=True,
            ),
        ]
        objects += self._registers()
        by_name = {bytes(item.logical_name): item for item in objects}
        columns = [objects[0], *(by_name[bytes(map(int, obis.split(".")))] for obis in _PROFILE_COLUMNS)]
        self.profile = load_profile(
            LOAD_PROFILE_OBIS, tuple(map(Captured, columns)), PROFILE_PERIOD_S, base_name=0x6270
        )
        self.device = LogicalDevice(
            (*objects, self.profile),
            security,
            max_pdu_bytes=max_pdu_bytes,
            multiple_references=multiple_references,
        )
        self.show()

    def now(self) -> datetime:
        """Returns the time of its clock, UTC."""
        return datetime.fromtimestamp(self._house.state.time_s, UTC)

    def show(self) -> None:
        """Counts reactive energy and captures the load profile; after each step of the house."""
        state, counted = self._house.state, self._counted
        power_var = self._reading(state)[1]
        if counted.time_s is not None:
            hours = (state.time_s - counted.time_s) / 3_600
            counted.taken_varh += max(0.0, power_var) * hours
            counted.fed_varh += max(0.0, -power_var) * hours
            if state.time_s // PROFILE_PERIOD_S > counted.time_s // PROFILE_PERIOD_S:
                self.profile.capture()
        counted.time_s = state.time_s

    def _client_counter(self) -> int:
        return max(self.device.counters.greatest.values(), default=0)

    def _registers(self) -> list[CosemObject]:
        text = (files("s4g_gateway.simulators.dlms_meter") / "data" / "objects.csv").read_text("utf-8")
        found = []
        for row in rows("objects.csv", text, _COLUMNS):
            scaler, tag = int(row["scaler"]), Tag[row["tag"]]
            read = self._reader(row["quantity"], row["phase"], scaler, tag)
            found.append(
                register(row["obis"], read, scaler, int(row["unit"]), base_name=int(row["base_name"] or 0))
            )
        return found

    def _reader(self, quantity: str, phase: str, scaler: int, tag: Tag) -> Callable[[], Data]:
        measure = _QUANTITIES[quantity]
        factor = 10.0**-scaler

        def read() -> Data:
            value = measure(self._house.state, self._reading, self._counted)
            if phase and quantity in ("power", "reactive", "current"):
                value /= 3
            if quantity == "voltage":
                value += _PHASE_OFFSETS_V[phase]
            return number(tag, round(value * factor))

        return read


_Measure = Callable[[HouseState, Reading, _Counted], float]


def _apparent_va(state: HouseState, reading: Reading) -> float:
    power_w, power_var, _, _ = reading(state)
    return float((power_w**2 + power_var**2) ** 0.5)


def _power_factor(state: HouseState, reading: Reading) -> float:
    apparent_va = _apparent_va(state, reading)
    return reading(state)[0] / apparent_va if apparent_va > 1 else 1.0


_QUANTITIES: Final[dict[str, _Measure]] = {
    "power": lambda state, reading, _: reading(state)[0],
    "reactive": lambda state, reading, _: reading(state)[1],
    "current": lambda state, reading, _: _apparent_va(state, reading) / state.voltage_v,
    "voltage": lambda state, _, __: state.voltage_v,
    "frequency": lambda state, _, __: state.frequency_hz,
    "power_factor": lambda state, reading, _: _power_factor(state, reading),
    "taken_wh": lambda state, reading, _: reading(state)[2],
    "fed_wh": lambda state, reading, _: reading(state)[3],
    "taken_varh": lambda _, __, counted: counted.taken_varh,
    "fed_varh": lambda _, __, counted: counted.fed_varh,
}
