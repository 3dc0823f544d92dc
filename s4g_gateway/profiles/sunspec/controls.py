"""Controls to register writes with read-back, as data says (``ControlMapping``).

Sans-I/O: a recipe is a generator that yields Reads and Writes, is sent an Answer to each, and returns the
ControlAnswer. A refused write ends it with the AddCause that fits the exception code.

Source: the window of model 124 follows Fronius' register map (standards.md §4.2); models 123, 703 and 704
their definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from s4g_gateway.errors import EncodeError
from s4g_gateway.model import ACCEPTED, AddCause, refused
from s4g_gateway.model import Value as CanonicalValue
from s4g_gateway.profiles.modbus.answers import Exchange
from s4g_gateway.profiles.sunspec.binding import BoundControl, SunspecBinding
from s4g_gateway.profiles.sunspec.layout import scaled, unscaled
from s4g_gateway.profiles.sunspec.mapping import ControlMapping
from s4g_gateway.profiles.sunspec.model_access import ModelAccess, RefusedError, Steps
from s4g_gateway.profiles.sunspec.point_types import Value

_STORAGE_LIMITS_ON = 3
_OVER_EXCITED, _UNDER_EXCITED = 0, 1
_GRID_CHARGING = 1
_FULL_WINDOW_PCT = 100.0


@dataclass(slots=True)
class ControlMemory:
    """What must be remembered between the Controls of one device.

    Attributes:
        is_over_excited: by reference of the power factor: the excitation chosen for it.
        charge_source: ChaGriSet as found before the gateway first changed it.
        functions: by reference of a function: the raw values to go back to when a request for a time ends.
    """

    is_over_excited: dict[str, bool] = field(default_factory=dict)
    charge_source: int | None = None
    functions: dict[str, Mapping[str, Value]] = field(default_factory=dict)


def operate(
    binding: SunspecBinding,
    reference: str,
    value: CanonicalValue,
    *,
    memory: ControlMemory,
    remaining_s: float | None = None,
    extra: Mapping[str, Value] | None = None,
) -> Exchange:
    """Carries out a set-point or command.

    Args:
        binding: the device.
        reference: the controllable point.
        value: ctlVal; None gives the device back to its own rule.
        memory: what earlier Controls left.
        remaining_s: how long the set-point holds; written to the device's reversion timer where it has one.
        extra: raw values of other points of the model, written and confirmed along with a set-point.

    Yields:
        Reads and Writes; to be sent an Answer to each.

    Returns:
        Accepted only after the registers read back as written.
    """
    control = binding.controls.get(reference)
    if control is None:
        return refused(AddCause.NOT_SUPPORTED, f"{reference} is not controllable")
    if control.model is None or control.model.layout is None:
        return refused(
            AddCause.NOT_SUPPORTED, f"the device lacks the model for {control.mapped.file.title.lower()}"
        )
    access = ModelAccess(control.model.layout, control.model.address, binding.max_registers)
    recipe = _Recipe(binding, control, access, memory, remaining_s=remaining_s, extra=extra or {})
    try:
        yield from recipe.run(value)
    except RefusedError as error:
        return error.answer
    except EncodeError as error:
        return refused(AddCause.NOT_SUPPORTED, str(error))
    return ACCEPTED


class _Recipe:
    def __init__(
        self,
        binding: SunspecBinding,
        control: BoundControl,
        access: ModelAccess,
        memory: ControlMemory,
        *,
        remaining_s: float | None,
        extra: Mapping[str, Value],
    ) -> None:
        self._binding = binding
        self._mapped = control.mapped
        self._row: ControlMapping = control.mapped.row
        self._access = access
        self._layout = access.layout
        self._base = control.model.address if control.model is not None else 0
        self._memory = memory
        self._remaining_s = remaining_s
        self._extra = extra

    @property
    def _found(self) -> Mapping[str, Value]:
        return self._access.found

    def _write(self, wanted: Mapping[str, Value]) -> Steps:
        return self._access.write(wanted)

    def _confirm(self, wanted: Mapping[str, Value]) -> Steps:
        return self._access.confirm(wanted, ignore=(self._row.reversion,))

    def run(self, value: CanonicalValue) -> Steps:
        yield from self._access.read()
        if self._mapped.is_excitation:
            yield from self._choose_excitation(bool(value))
        elif self._row.recipe == "storage-window":
            yield from self._storage_window(value)
        elif self._row.recipe == "command":
            yield from self._command(value)
        else:
            yield from self._set_and_enable(value)

    # -- recipes ---------------------------------------------------------------------------------

    def _storage_window(self, value: CanonicalValue) -> Steps:
        """Closes the window -InWRte <= P <= OutWRte (percent of WChaMax) on the set-point.

        Both rates go out in one write before the limits are switched on, so that the device never sees half
        a window.
        """
        if value is None:
            yield from self._write({"StorCtl_Mod": 0})
            yield from self._write(self._rates(_FULL_WINDOW_PCT, _FULL_WINDOW_PCT))
            if self._memory.charge_source is not None:
                yield from self._write({"ChaGriSet": self._memory.charge_source})
                self._memory.charge_source = None
            yield from self._confirm({"StorCtl_Mod": 0})
            return
        power_w = _number(value)
        limit_w = scaled(self._layout, "WChaMax", self._found)
        if not isinstance(limit_w, int | float) or limit_w <= 0:
            raise RefusedError(refused(AddCause.BLOCKED_BY_PROCESS, "the device gives no WChaMax"))
        if abs(power_w) > limit_w:
            raise RefusedError(
                refused(
                    AddCause.INCONSISTENT_PARAMETERS,
                    f"{power_w} W is outside -{limit_w} to {limit_w} W (WChaMax)",
                )
            )
        wanted = dict(self._rates(power_w / limit_w * 100, -power_w / limit_w * 100))
        wanted.update(self._reversion())
        wanted.update(self._extra)
        if self._binding.device.options.grid_charging and power_w < 0:
            yield from self._charge_from_grid()
        yield from self._write(wanted)
        wanted["StorCtl_Mod"] = _STORAGE_LIMITS_ON
        yield from self._write({"StorCtl_Mod": _STORAGE_LIMITS_ON})
        yield from self._confirm(wanted)

    def _charge_from_grid(self) -> Steps:
        source = self._found.get("ChaGriSet")
        if isinstance(source, int) and source != _GRID_CHARGING:
            if self._memory.charge_source is None:
                self._memory.charge_source = source
            yield from self._write({"ChaGriSet": _GRID_CHARGING})

    def _rates(self, out_pct: float, in_pct: float) -> dict[str, Value]:
        # One rounding for both, so that the window is a point and not turned inside out.
        out_raw = unscaled(self._layout, "OutWRte", out_pct, self._found)
        in_raw = unscaled(self._layout, "InWRte", in_pct, self._found)
        if out_pct == -in_pct and isinstance(out_raw, int):
            in_raw = -out_raw
        return {"OutWRte": out_raw, "InWRte": in_raw}

    def _set_and_enable(self, value: CanonicalValue) -> Steps:
        row = self._row
        if value is None:
            yield from self._write({row.enable: row.released})
            yield from self._confirm({row.enable: row.released})
            return
        wanted: dict[str, Value] = dict(row.preset)
        wanted.update(self._reversion())
        wanted.update(self._extra)
        wanted.update(self._value_registers(_number(value)))
        yield from self._write(wanted)
        yield from self._write({row.enable: row.enabled})
        wanted[row.enable] = row.enabled
        yield from self._confirm(wanted)

    def _value_registers(self, number: float) -> dict[str, Value]:
        row = self._row
        is_over = self._memory.is_over_excited.get(self._power_factor, True)
        if row.excitation == "sign" and not is_over:
            number = -number
        registers = {row.value: unscaled(self._layout, row.value, number / row.factor, self._found)}
        if row.excitation not in ("", "sign"):
            registers[row.excitation] = _OVER_EXCITED if is_over else _UNDER_EXCITED
        return registers

    @property
    def _power_factor(self) -> str:
        return f"{self._row.value}@{self._base}"

    def _choose_excitation(self, is_over: bool) -> Steps:
        """Notes the excitation for the next power factor and turns the one in force."""
        row = self._row
        self._memory.is_over_excited[self._power_factor] = is_over
        if self._found.get(row.enable) != row.enabled:
            return
        present = scaled(self._layout, row.value, self._found)
        if not isinstance(present, int | float):
            raise RefusedError(refused(AddCause.BLOCKED_BY_PROCESS, "the device gives no power factor"))
        wanted = self._value_registers(abs(present) * row.factor)
        yield from self._write(wanted)
        yield from self._write({row.enable: row.enabled})
        yield from self._confirm(wanted)

    def _command(self, value: CanonicalValue) -> Steps:
        raw = self._row.commands.get(str(value))
        if value is None or raw is None:
            raise RefusedError(
                refused(
                    AddCause.NOT_SUPPORTED,
                    f"{value!r} is no command here, expected one of {', '.join(self._row.commands)}",
                )
            )
        if self._extra:
            # A window or time-out holds for the command that follows it.
            yield from self._write(self._extra)
        yield from self._write({self._row.value: raw})
        yield from self._confirm({self._row.value: raw})

    def _reversion(self) -> dict[str, Value]:
        """The device's own timer, a second net below the gateway's, where it has one."""
        name = self._row.reversion
        if not name or self._remaining_s is None or self._found.get(name) is None:
            return {}
        most = 0xFFFE if self._layout.index[name].definition.registers == 1 else 0xFFFF_FFFE
        return {name: min(max(round(self._remaining_s), 1), most)}


def _number(value: CanonicalValue) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedError(refused(AddCause.INCONSISTENT_PARAMETERS, f"{value!r} is no number"))
    return float(value)
