"""A radial: sites behind one feeder, its limits, and the voltage along it by the linear approximation.

Source: the usual linearised branch flow, dU = (R P + X Q) / U; losses are left out. Feeder data of Storage4Grid stand
in its deliverables D5.1 and D5.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from s4g_gateway.controllers.errors import ControllerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A piece of line from a node towards the transformer.

    Attributes:
        node: the far end; sites stand at nodes.
        parent: the near end; empty for the transformer.
        resistance_ohm: of one conductor, >= 0.
        reactance_ohm: likewise.
    """

    node: str
    parent: str
    resistance_ohm: float
    reactance_ohm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Radial:
    """A feeder.

    Attributes:
        radial_id: the DSO's name.
        import_limit_w: greatest power from the grid, > 0.
        export_limit_w: greatest power into the grid, >= 0.
        nominal_v: phase to neutral.
        branches: parents before their children.
        nodes: node of each site.

    Raises:
        ControllerError: a limit, a parent or a node does not fit.
    """

    radial_id: str
    import_limit_w: float
    export_limit_w: float
    nominal_v: float = 230.0
    branches: tuple[Branch, ...] = ()
    nodes: Mapping[str, str]

    def __post_init__(self) -> None:
        if not (self.import_limit_w > 0 and self.export_limit_w >= 0 and self.nominal_v > 0):
            raise ControllerError(f"radial {self.radial_id!r}: expected limits and a voltage above 0")
        known = {""}
        for branch in self.branches:
            if branch.parent not in known or branch.node in known:
                raise ControllerError(
                    f"radial {self.radial_id!r}: branch {branch.parent!r} to {branch.node!r}"
                )
            if not all(isfinite(v) and v >= 0 for v in (branch.resistance_ohm, branch.reactance_ohm)):
                raise ControllerError(f"radial {self.radial_id!r}: impedance of {branch.node!r}")
            known.add(branch.node)
        for site, node in self.nodes.items():
            if node not in known:
                raise ControllerError(
                    f"radial {self.radial_id!r}: {site!r} stands at {node!r}, which is none"
                )

    def voltages_v(
        self,
        power_w: Mapping[str, float],
        reactive_var: Mapping[str, float],
        *,
        source_v: float | None = None,
    ) -> dict[str, float]:
        """Returns the phase voltage at every node, loads taken as balanced over three phases.

        Args:
            power_w: three-phase power of each site, + towards the grid; sites without one count as 0.
            reactive_var: likewise, + injects.
            source_v: phase voltage at the transformer; nominal by default.
        """
        active = dict.fromkeys((branch.node for branch in self.branches), 0.0)
        active[""] = 0.0
        reactive = dict(active)
        for site, node in self.nodes.items():
            active[node] += power_w.get(site, 0.0)
            reactive[node] += reactive_var.get(site, 0.0)
        for branch in reversed(self.branches):
            active[branch.parent] += active[branch.node]
            reactive[branch.parent] += reactive[branch.node]
        voltage = {"": self.nominal_v if source_v is None else source_v}
        for branch in self.branches:
            rise = branch.resistance_ohm * active[branch.node] + branch.reactance_ohm * reactive[branch.node]
            voltage[branch.node] = voltage[branch.parent] + rise / (3 * self.nominal_v)
        return voltage
