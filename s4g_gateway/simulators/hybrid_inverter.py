"""A simulated hybrid inverter with battery and grid-support functions.

SunSpec models 1, 103, 120 to 124 and 160 are as a Fronius Symo Hybrid has them; behind them stand 705, 706, 711 and
712. Model 124 is a window of charge and discharge rates in percent of WChaMax; both may be negative; a contradictory
window is ignored; there is no reversion timer. Model 123's limits revert by their own timers.

Source: Fronius register map for the Symo Hybrid (via public register lists, clause unverified).
"""

from __future__ import annotations

from s4g_gateway.profiles.sunspec.point_types import Value
from s4g_gateway.simulators.grid_functions import GridFunctions, function_models
from s4g_gateway.simulators.house import House, HouseRatings
from s4g_gateway.simulators.modbus_slave import ExceptionCode
from s4g_gateway.simulators.sunspec_image import SimulatedModel, SunspecImage

_CONTROLS = (
    "Conn_WinTms", "Conn_RvrtTms", "Conn", "WMaxLimPct", "WMaxLimPct_WinTms", "WMaxLimPct_RvrtTms",
    "WMaxLimPct_RmpTms", "WMaxLim_Ena", "OutPFSet", "OutPFSet_WinTms", "OutPFSet_RvrtTms", "OutPFSet_RmpTms",
    "OutPFSet_Ena", "VArWMaxPct", "VArMaxPct", "VArAvalPct", "VArPct_WinTms", "VArPct_RvrtTms", "VArPct_RmpTms",
    "VArPct_Mod", "VArPct_Ena",
)  # fmt: skip
_STORAGE = ("StorCtl_Mod", "MinRsvPct", "OutWRte", "InWRte", "ChaGriSet")
_TIMERS = (
    ("WMaxLim_Ena", "WMaxLimPct_RvrtTms"),
    ("OutPFSet_Ena", "OutPFSet_RvrtTms"),
    ("VArPct_Ena", "VArPct_RvrtTms"),
)
_STANDBY, _MPPT = 8, 4
_EMPTY, _DISCHARGING, _CHARGING, _FULL, _HOLDING = 2, 3, 4, 5, 6


class HybridInverter:
    """The inverter of a house, as a Modbus device.

    Args:
        house: whose physics it shows and whose orders it gives.
        serial: serial number in model 1.

    Attributes:
        image: its registers.
        functions: its grid-support functions.
    """

    def __init__(self, house: House, serial: str = "SIM-0001") -> None:
        self.house = house
        self.image = SunspecImage((*_models(house.ratings, serial), *function_models()))
        self.image.unit.on_write = self._accept
        self.functions = GridFunctions(self.image, house)
        self._limit_w: float | None = None
        self._reactive_var: float | None = None
        self._since_s: dict[str, float] = {}
        self.show()

    def _accept(self, address: int, data: bytes) -> ExceptionCode | None:
        refusal = self.image.accept(address, data, self._obey)
        if refusal is None:
            self.functions.obey(address, len(data) // 2)
        return refusal

    def show(self) -> None:
        """Writes the house's state into the registers, after each step of the house."""
        self._revert()
        self.functions.regulate(self._limit_w, self._reactive_var)
        state = self.house.state
        apparent = (state.inverter_w**2 + state.inverter_var**2) ** 0.5
        current = apparent / 3 / state.voltage_v
        values: dict[str, Value] = {
            "A": 3 * current,
            "W": state.inverter_w,
            "Hz": state.frequency_hz,
            "VA": apparent,
            "VAr": state.inverter_var,
            "PF": 100 * state.inverter_w / apparent if apparent > 1 else 100.0,
            "WH": round(state.pv_wh),
            "DCW": state.pv_w + state.battery_w,
            "TmpCab": 35 + state.inverter_w / 400,
            "St": _MPPT if abs(state.inverter_w) > 1 or state.battery_w else _STANDBY,
        }
        for number, phase in enumerate("ABC"):
            values[f"Aph{phase}"] = current
            values[f"PhVph{phase}"] = state.voltage_v + 0.4 * (number - 1)
        for pair in ("AB", "BC", "CA"):
            values[f"PPVph{pair}"] = state.voltage_v * 3**0.5
        self.image.update(103, values)
        pv_v, battery_v = 620.0, 300.0 + 0.5 * state.soc_pct
        direct: dict[str, Value] = {}
        for number, power_w, volts in ((1, state.pv_w, pv_v), (2, abs(state.battery_w), battery_v)):
            direct[f"module[{number}].DCA"] = power_w / volts
            direct[f"module[{number}].DCV"] = volts
            direct[f"module[{number}].DCW"] = power_w
        self.image.update(160, direct)
        self.image.update(124, {"ChaState": state.soc_pct, "ChaSt": self._charge_state()})
        self.image.update(122, {"ActWh": round(state.pv_wh)})

    def _charge_state(self) -> int:
        state = self.house.state
        if abs(state.battery_w) >= 0.5:
            return _DISCHARGING if state.battery_w > 0 else _CHARGING
        if state.soc_pct >= 99.99:
            return _FULL
        return _EMPTY if state.soc_pct <= self.house.orders.minimum_soc_pct + 0.01 else _HOLDING

    def _obey(self) -> None:
        """Turns what a master wrote into orders; ValueError refuses the write."""
        storage, controls = self.image.read(124), self.image.read(123)
        ratings, orders = self.house.ratings, self.house.orders
        window = _window_w(storage, ratings.battery_w)
        if not 0 <= _number(controls, "WMaxLimPct") <= 100 or not abs(_number(controls, "OutPFSet")) <= 1:
            raise ValueError("outside of what the inverter takes")
        orders.battery_w = window
        orders.charge_from_grid = storage["ChaGriSet"] == 1
        orders.minimum_soc_pct = _number(storage, "MinRsvPct")
        orders.connected = controls["Conn"] == 1
        limited, factored, varred = (controls[enable] == 1 for enable, _ in _TIMERS)
        self._limit_w = _number(controls, "WMaxLimPct") / 100 * ratings.inverter_w if limited else None
        orders.power_factor = _number(controls, "OutPFSet") if factored else None
        self._reactive_var = _number(controls, "VArMaxPct") / 100 * ratings.inverter_var if varred else None
        self.functions.regulate(self._limit_w, self._reactive_var)
        for enable, _ in _TIMERS:
            if controls[enable] == 1:
                self._since_s[enable] = self.house.state.time_s
            else:
                self._since_s.pop(enable, None)

    def _revert(self) -> None:
        """Ends what its own timer of model 123 has run out for."""
        controls = self.image.read(123) if self._since_s else {}
        for enable, timer in _TIMERS:
            since_s, limit_s = self._since_s.get(enable), controls.get(timer)
            if since_s is None or not isinstance(limit_s, int) or limit_s == 0:
                continue
            if self.house.state.time_s - since_s >= limit_s:
                self.image.update(123, {enable: 0})
                self._obey()


def _number(values: dict[str, Value], path: str) -> float:
    value = values[path]
    if not isinstance(value, int | float):
        raise ValueError(f"{path} is not implemented")  # noqa: TRY004 - what refuses a write
    return float(value)


def _window_w(storage: dict[str, Value], battery_w: float) -> tuple[float, float] | None:
    mode = int(_number(storage, "StorCtl_Mod"))
    out_pct, in_pct = _number(storage, "OutWRte"), _number(storage, "InWRte")
    if not (-100 <= out_pct <= 100 and -100 <= in_pct <= 100) or not 0 <= mode <= 3:
        raise ValueError("outside of what the inverter takes")
    if mode == 0 or (mode == 3 and -in_pct > out_pct):
        return None
    lowest = -in_pct if mode & 1 else -100.0
    highest = out_pct if mode & 2 else 100.0
    return min(lowest, highest) / 100 * battery_w, highest / 100 * battery_w


def _models(ratings: HouseRatings, serial: str) -> tuple[SimulatedModel, ...]:
    inverter_w, battery_w, var = ratings.inverter_w, ratings.battery_w, ratings.inverter_var
    common: dict[str, Value] = {
        "Mn": "Simulated", "Md": "Hybrid 5.0", "Opt": "battery", "Vr": "1.0", "SN": serial, "DA": 1,
    }  # fmt: skip
    measured: dict[str, Value] = {
        "A_SF": -2, "V_SF": -1, "W_SF": 0, "Hz_SF": -2, "VA_SF": 0, "VAr_SF": 0, "PF_SF": -2, "WH_SF": 0,
        "DCA_SF": -2, "DCV_SF": -1, "DCW_SF": 0, "Tmp_SF": -1, "Evt1": 0, "Evt2": 0,
    }  # fmt: skip
    nameplate: dict[str, Value] = {
        "DERTyp": 4, "WRtg": inverter_w, "VARtg": inverter_w, "VArRtgQ1": var, "VArRtgQ4": -var,
        "WHRtg": ratings.battery_wh, "MaxChaRte": battery_w, "MaxDisChaRte": battery_w, "WRtg_SF": 1, "VARtg_SF": 1,
        "VArRtg_SF": 1, "WHRtg_SF": 0, "MaxChaRte_SF": 0, "MaxDisChaRte_SF": 0,
    }  # fmt: skip
    settings: dict[str, Value] = {
        "WMax": inverter_w, "VRef": ratings.voltage_v, "VRefOfs": 0, "VAMax": inverter_w, "VArMaxQ1": var,
        "VArMaxQ4": -var, "WMax_SF": 1, "VRef_SF": 0, "VRefOfs_SF": 0, "VAMax_SF": 1, "VArMax_SF": 1,
    }  # fmt: skip
    status: dict[str, Value] = {"PVConn": 7, "StorConn": 7, "ECPConn": 1, "ActWh": 0}
    controls: dict[str, Value] = {
        "Conn": 1, "WMaxLimPct": 100.0, "WMaxLimPct_RvrtTms": 0, "WMaxLim_Ena": 0, "OutPFSet": 1.0,
        "OutPFSet_RvrtTms": 0, "OutPFSet_Ena": 0, "VArMaxPct": 0, "VArPct_RvrtTms": 0, "VArPct_Mod": 2,
        "VArPct_Ena": 0, "WMaxLimPct_SF": -2, "OutPFSet_SF": -3, "VArPct_SF": 0,
    }  # fmt: skip
    inputs: dict[str, Value] = {
        "DCA_SF": -2, "DCV_SF": -1, "DCW_SF": 0, "DCWH_SF": 0, "Evt": 0, "N": 2, "module[1].ID": 1,
        "module[1].IDStr": "PV", "module[2].ID": 2, "module[2].IDStr": "Battery",
    }  # fmt: skip
    storage: dict[str, Value] = {
        "WChaMax": battery_w, "WChaGra": 100, "WDisChaGra": 100, "StorCtl_Mod": 0, "MinRsvPct": 5.0, "ChaState": 50.0,
        "ChaSt": _HOLDING, "OutWRte": 100.0, "InWRte": 100.0, "ChaGriSet": 1, "WChaMax_SF": 0,
        "WChaDisChaGra_SF": 0, "MinRsvPct_SF": -2, "ChaState_SF": -2, "InOutWRte_SF": -2,
    }  # fmt: skip
    return (
        SimulatedModel(model_id=1, values=common),
        SimulatedModel(model_id=103, values=measured),
        SimulatedModel(model_id=120, values=nameplate),
        SimulatedModel(model_id=121, values=settings, writable=("WMax",)),
        SimulatedModel(model_id=122, values=status),
        SimulatedModel(model_id=123, values=controls, writable=_CONTROLS),
        SimulatedModel(model_id=160, values=inputs, counts={"N": 2}, repeats=2),
        SimulatedModel(model_id=124, values=storage, writable=_STORAGE),
    )
