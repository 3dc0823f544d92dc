"""D3.1 Table 15 as data: what the SMX sends the energy router, for the client and for the simulated router.

Source: Storage4Grid D3.1 §4.1.18, Table 15.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from s4g_gateway.errors import ModelError, ProfileError
from s4g_gateway.model import ObjectReference
from s4g_gateway.model.logical_nodes import check_against_table


class RouterSetPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bound of a window that the router keeps at its grid connection.

    Attributes:
        name: such as ``grid_power_min``.
        data_object: LN and DO, such as ``DWMN1.WMinSpt``.
        cdc: its common data class.
        unit: unit of the model.
        d31_unit: unit on D3.1's interface.
        bound: ``min`` or ``max``.
    """

    name: str
    data_object: str
    cdc: str
    unit: Literal["W", "var"]
    d31_unit: Literal["kW", "kvar"]
    bound: Literal["min", "max"]


class OperationMode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the five modes.

    Attributes:
        number: as in Table 15.
        name: short name.
        title: Table 15 in few words.
        grid: active power at the grid: within the window of the set-points (``window``), none
            (``reactive-only``), all there is (``all``), or no connection (``disconnected``).
        pv_to_grid: true where PV may feed the grid.
        battery_to_grid: true where the battery may feed the grid.
        disconnect_without_power: true where the router disconnects when it cannot give what is asked.
    """

    number: Annotated[int, Meta(ge=1, le=5)]
    name: str
    title: str
    grid: Literal["window", "reactive-only", "all", "disconnected"]
    pv_to_grid: bool
    battery_to_grid: bool
    disconnect_without_power: bool


class _Mode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    data_object: str
    cdc: str
    value: tuple[OperationMode, ...]


class EnergyRouterTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table 15.

    Attributes:
        period_s: how often set-points are sent without a change.
        logical_device: conventional logical device of the router.
        set_point: the four bounds.
        mode: where the operation mode stands, and its values.
    """

    period_s: int
    logical_device: str
    set_point: tuple[RouterSetPoint, ...]
    mode: _Mode

    def reference(self, name: str, logical_device: str = "") -> ObjectReference:
        """Returns the ObjectReference of a bound or of ``operation_mode``.

        Args:
            name: name of the bound.
            logical_device: the router's logical device; empty for the conventional one.

        Raises:
            ProfileError: there is nothing of that name.
        """
        entries: tuple[RouterSetPoint | _Mode, ...] = (*self.set_point, self.mode)
        for entry in entries:
            if entry.name == name:
                return ObjectReference(f"{logical_device or self.logical_device}/{entry.data_object}")
        names = ", ".join(entry.name for entry in entries)
        raise ProfileError(f"Table 15 has no {name!r}; expected one of {names}")

    def operation_mode(self, number: int) -> OperationMode:
        """Returns a mode by its number.

        Raises:
            ProfileError: there is none of that number.
        """
        for mode in self.mode.value:
            if mode.number == number:
                return mode
        raise ProfileError(f"operation mode {number}, expected 1 to {len(self.mode.value)}")


@cache
def energy_router_table() -> EnergyRouterTable:
    """Returns Table 15.

    Raises:
        ProfileError: the file breaks the rules or names a data object that does not exist.
    """
    data = files("s4g_gateway.profiles.iec61850_90_7") / "data" / "energy_router.toml"
    try:
        table = msgspec.toml.decode(data.read_bytes(), type=EnergyRouterTable)
        entries: tuple[RouterSetPoint | _Mode, ...] = (*table.set_point, table.mode)
        for entry in entries:
            found = check_against_table(table.reference(entry.name))
            if found.cdc != entry.cdc:
                raise ProfileError(f"energy_router.toml: {entry.data_object} is {found.cdc}, not {entry.cdc}")
    except (msgspec.MsgspecError, ModelError) as error:
        raise ProfileError(f"energy_router.toml: {error}") from error
    return table
