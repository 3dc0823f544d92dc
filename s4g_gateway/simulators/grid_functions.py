"""Grid-support functions of a simulated inverter: SunSpec models 705, 706, 711 and 712, really acted upon.

The first curve of each model is the one in force and cannot be written; a master writes another and asks for it to be
adopted. Volt-var and watt-var order reactive power, volt-watt and frequency droop (above nominal) limit active power,
each with its open-loop response time. Reversion timers adopt the curve to revert to, or switch the function off.

Source: SunSpec model definitions; the adopt sequence after the DER information models (clause unverified).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from s4g_gateway.profiles.sunspec.point_types import Value
from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.sunspec_image import SimulatedModel, SunspecImage

POINTS, CURVES, NOMINAL_HZ = 10, 3, 50.0
_IN_PROGRESS, _COMPLETED, _FAILED = 0, 1, 2
_W_MAX, _VAR_MAX, _VAR_AVAILABLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Kind:
    """What tells the models apart: names of their points, and the points of a curve that are no axis."""

    group: str
    request: str
    result: str
    revert_to: str
    axes: tuple[str, str] | None
    plain: tuple[str, ...]


_CURVE = ("AdptCrvReq", "AdptCrvRslt", "RvrtCrv")
_KINDS = {
    705: _Kind("Crv", *_CURVE, ("V", "Var"), ("ActPt", "DeptRef", "Pri", "VRef", "RspTms")),
    706: _Kind("Crv", *_CURVE, ("V", "W"), ("ActPt", "DeptRef", "RspTms")),
    711: _Kind("Ctl", "AdptCtlReq", "AdptCtlRslt", "RvrtCtl", None, ("DbOf", "DbUf", "KOf", "KUf", "RspTms")),
    712: _Kind("Crv", *_CURVE, ("W", "Var"), ("ActPt", "DeptRef", "Pri")),
}


@dataclass(slots=True)
class _Active:
    """One function in force."""

    values: dict[str, float]
    curve: list[tuple[float, float]]
    output: float | None = None


@dataclass(slots=True)
class GridFunctions:
    """The functions of one inverter.

    Attributes:
        image: its registers, with the models of ``function_models``.
        house: whose grid it measures and whose orders it gives.
        adopts_at_once: false to adopt a curve only with the next step, as slow devices do.
    """

    image: SunspecImage
    house: House
    adopts_at_once: bool = True
    _active: dict[int, _Active] = field(default_factory=dict)
    _ends_s: dict[int, float] = field(default_factory=dict)
    _to_adopt: dict[int, int] = field(default_factory=dict)
    _time_s: float = 0.0
    _power_before_w: float = 0.0

    def obey(self, address: int, registers: int) -> None:
        """Takes in what a master wrote."""
        for model_id in _KINDS:
            first, count = self.image.place(model_id)
            if address < first + count and first < address + registers:
                self._obey(model_id)

    def _obey(self, model_id: int) -> None:
        kind = _KINDS[model_id]
        found = self.image.read(model_id)
        slot = found[kind.request]
        if isinstance(slot, int) and slot:
            self.image.update(model_id, {kind.request: 0, kind.result: _IN_PROGRESS})
            self._to_adopt[model_id] = slot
            if self.adopts_at_once:
                self._adopt(model_id)
                found = self.image.read(model_id)
        timer = found["RvrtTms"]
        if found["Ena"] == 1 and isinstance(timer, int) and timer > 0:
            self._ends_s[model_id] = self.house.state.time_s + timer
        else:
            self._ends_s.pop(model_id, None)
        self._take(model_id, found)

    def _take(self, model_id: int, found: dict[str, Value]) -> None:
        """Notes a function that is in force with its first curve."""
        if found["Ena"] != 1:
            self._active.pop(model_id, None)
            return
        values, curve = self._curve(model_id, 1, found)
        before = self._active.get(model_id)
        self._active[model_id] = _Active(values, curve, before.output if before else None)

    def _adopt(self, model_id: int) -> None:
        kind, slot = _KINDS[model_id], self._to_adopt.pop(model_id)
        found = self.image.read(model_id)
        values, curve = self._curve(model_id, slot, found) if 2 <= slot <= CURVES else ({}, [])
        rises = all(left[0] < right[0] for left, right in pairwise(curve))
        is_sound = bool(values) and rises and (kind.axes is None or len(curve) == values.get("ActPt", 0) > 1)
        if not is_sound:
            self.image.update(model_id, {kind.result: _FAILED})
            return
        prefix, own = f"{kind.group}[1].", f"{kind.group}[{slot}]."
        copied = {
            prefix + path.removeprefix(own): value
            for path, value in found.items()
            if path.startswith(own) and not path.endswith("ReadOnly") and value is not None
        }
        self.image.update(model_id, {**copied, kind.result: _COMPLETED})

    def _curve(
        self, model_id: int, slot: int, found: dict[str, Value]
    ) -> tuple[dict[str, float], list[tuple[float, float]]]:
        kind = _KINDS[model_id]
        prefix = f"{kind.group}[{slot}]."
        values = {name: float(found[prefix + name] or 0) for name in kind.plain}
        curve = []
        if kind.axes is not None:
            for number in range(1, min(int(values["ActPt"]), POINTS) + 1):
                x, y = (found[f"{prefix}Pt[{number}].{axis}"] for axis in kind.axes)
                if isinstance(x, int | float) and isinstance(y, int | float):
                    curve.append((float(x), float(y)))
        return values, curve

    def regulate(self, limit_w: float | None, reactive_var: float | None) -> None:
        """Gives orders for the next step by what the grid is like.

        Args:
            limit_w: highest active power by other orders.
            reactive_var: reactive power by other orders; a function in force replaces it.
        """
        house, state = self.house, self.house.state
        elapsed_s, self._time_s = state.time_s - self._time_s, state.time_s
        for model_id in tuple(self._to_adopt):
            self._adopt(model_id)
            self._take(model_id, self.image.read(model_id))
        self._revert()
        limits = [] if limit_w is None else [limit_w]
        for model_id, active in self._active.items():
            target = self._target(model_id, active)
            if target is None:
                active.output = None
                continue
            response_s = active.values.get("RspTms", 0.0)
            share = 1 - 0.1 ** (elapsed_s / response_s) if response_s > 0 else 1.0
            start = self._present(model_id) if active.output is None else active.output
            active.output = start + (target - start) * share
            if model_id in (705, 712):
                reactive_var = active.output
            else:
                limits.append(active.output)
        house.orders.limit_w = min(limits) if limits else None
        house.orders.reactive_var = reactive_var

    def _present(self, model_id: int) -> float:
        return self.house.state.inverter_var if model_id in (705, 712) else self.house.ratings.inverter_w

    def _target(self, model_id: int, active: _Active) -> float | None:
        state, ratings = self.house.state, self.house.ratings
        if model_id == 711:
            over_hz = state.frequency_hz - NOMINAL_HZ - active.values["DbOf"]
            if over_hz <= 0 or not active.values["KOf"]:
                self._power_before_w = state.inverter_w
                return None
            drop_w = over_hz / (NOMINAL_HZ * active.values["KOf"]) * ratings.inverter_w
            return max(0.0, self._power_before_w - drop_w)
        if model_id == 712:
            share = _interpolate(active.curve, state.inverter_w / ratings.inverter_w * 100)
        else:
            reference = active.values.get("VRef") or 100.0
            share = _interpolate(active.curve, state.voltage_v / ratings.voltage_v * 1e4 / reference)
        if model_id == 706:
            return share / 100 * ratings.inverter_w
        meaning = active.values["DeptRef"]
        whole = ratings.inverter_w
        if meaning == _VAR_MAX:
            whole = ratings.inverter_var
        elif meaning == _VAR_AVAILABLE:
            whole = max(ratings.inverter_w**2 - state.inverter_w**2, 0.0) ** 0.5
        return min(max(share / 100 * whole, -ratings.inverter_var), ratings.inverter_var)

    def _revert(self) -> None:
        for model_id, end_s in tuple(self._ends_s.items()):
            left_s = end_s - self.house.state.time_s
            self.image.update(model_id, {"RvrtRem": max(0, round(left_s))})
            if left_s > 0:
                continue
            del self._ends_s[model_id]
            kind = _KINDS[model_id]
            slot = self.image.read(model_id)[kind.revert_to]
            if isinstance(slot, int) and 2 <= slot <= CURVES:
                self._to_adopt[model_id] = slot
                self._adopt(model_id)
            else:
                self.image.update(model_id, {"Ena": 0})
            self._take(model_id, self.image.read(model_id))


def _interpolate(curve: list[tuple[float, float]], x: float) -> float:
    """Returns y at x; beyond its ends a curve is flat."""
    if x <= curve[0][0]:
        return curve[0][1]
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return curve[-1][1]


def function_models() -> tuple[SimulatedModel, ...]:
    """Returns the models with the defaults that IEEE 1547 has for them (clause unverified), all off."""
    head: dict[str, Value] = {"Ena": 0, "RvrtTms": 0, "RvrtRem": 0}
    volt_var = ({"DeptRef": 3, "Pri": 1, "VRef": 100, "RspTms": 5}, [(92, 44), (98, 0), (102, 0), (108, -44)])
    volt_watt = ({"DeptRef": 0, "RspTms": 10}, [(106, 100), (110, 20)])
    watt_var = ({"DeptRef": 3, "Pri": 1}, [(20, 0), (50, 0), (100, -44)])
    scales: dict[str, Value] = {"V_SF": -2, "DeptRef_SF": -2, "RspTms_SF": -1}
    return (
        _curve_model(705, {**head, **scales}, *volt_var),
        _curve_model(706, {**head, **scales}, *volt_watt),
        _droop_model(head),
        _curve_model(712, {**head, "W_SF": -2, "DeptRef_SF": -2}, *watt_var),
    )


def _curve_model(
    model_id: int, values: dict[str, Value], plain: dict[str, int], curve: list[tuple[int, int]]
) -> SimulatedModel:
    kind = _KINDS[model_id]
    values = {**values, "NPt": POINTS, "NCrv": CURVES, kind.request: 0, kind.result: _COMPLETED, "RvrtCrv": 0}
    writable = ["Ena", kind.request, "RvrtTms", "RvrtCrv"]
    assert kind.axes is not None  # noqa: S101 - only 711 has none
    for slot in range(1, CURVES + 1):
        prefix = f"Crv[{slot}]."
        values |= {prefix + name: value for name, value in plain.items()}
        values |= {f"{prefix}ActPt": len(curve), f"{prefix}ReadOnly": int(slot == 1)}
        names = [*kind.plain, *(f"Pt[{n}].{axis}" for n in range(1, POINTS + 1) for axis in kind.axes)]
        for number, point in enumerate(curve, start=1):
            values |= {f"{prefix}Pt[{number}].{axis}": y for axis, y in zip(kind.axes, point, strict=True)}
        if slot > 1:
            writable += [prefix + name for name in names]
    counts = {"NPt": POINTS, "NCrv": CURVES}
    return SimulatedModel(model_id=model_id, values=values, counts=counts, writable=tuple(writable))


def _droop_model(head: dict[str, Value]) -> SimulatedModel:
    kind = _KINDS[711]
    values: dict[str, Value] = {
        **head, "NCtl": CURVES, kind.request: 0, kind.result: _COMPLETED, kind.revert_to: 0,
        "Db_SF": -3, "K_SF": -3, "RspTms_SF": -1,
    }  # fmt: skip
    writable = ["Ena", kind.request, "RvrtTms", kind.revert_to]
    for slot in range(1, CURVES + 1):
        droop = {
            "DbOf": 0.036,
            "DbUf": 0.036,
            "KOf": 0.05,
            "KUf": 0.05,
            "RspTms": 5,
            "ReadOnly": int(slot == 1),
        }
        values |= {f"Ctl[{slot}].{name}": value for name, value in droop.items()}
        if slot > 1:
            writable += [f"Ctl[{slot}].{name}" for name in kind.plain]
    return SimulatedModel(model_id=711, values=values, counts={"NCtl": CURVES}, writable=tuple(writable))
