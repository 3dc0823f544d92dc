"""What a control rule looks at, and what follows at the PCC from what it wants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A site at one moment; generator frame.

    Attributes:
        pv_w: what PV can give now, curtailed or not, >= 0.
        load_w: of the household, <= 0.
        charge_w: the strongest charge that battery, device and SoC window allow now, <= 0.
        discharge_w: likewise the strongest discharge, >= 0.
        forecast_pv_w: PV power forecast for this slot, >= 0; None where there is no forecast.
        forecast_load_w: likewise the load, <= 0.
    """

    pv_w: float
    load_w: float
    charge_w: float
    discharge_w: float
    forecast_pv_w: float | None = None
    forecast_load_w: float | None = None

    @property
    def surplus_w(self) -> float:
        """What the site has over without its battery; negative where it lacks."""
        return self.pv_w + self.load_w

    def held(self, battery_w: float) -> float:
        """Returns the battery power nearest to a wish that the battery can hold."""
        return min(max(battery_w, self.charge_w), self.discharge_w)


def curtailed_w(situation: Situation, battery_w: float, export_limit_w: float | None) -> float:
    """Returns the PV power to be given up so that the PCC stays within its export limit, >= 0.

    Args:
        situation: the site.
        battery_w: battery power, + discharges.
        export_limit_w: >= 0; None for no limit.
    """
    if export_limit_w is None:
        return 0.0
    return min(situation.pv_w, max(0.0, situation.surplus_w + battery_w - export_limit_w))


def within_pcc(
    situation: Situation,
    battery_w: float,
    *,
    import_limit_w: float | None = None,
    export_limit_w: float | None = None,
) -> float:
    """Returns the battery power nearest to a wish that keeps the PCC within its limits, as far as it can.

    PV is not given up for it: a battery that may not discharge into the grid discharges less first. Where both limits
    cannot be held by the battery, what it can hold of the one that is broken is returned.

    Args:
        situation: the site.
        battery_w: what a rule wants.
        import_limit_w: >= 0; None for no limit.
        export_limit_w: >= 0; None for no limit.
    """
    if import_limit_w is not None:
        battery_w = max(battery_w, -import_limit_w - situation.surplus_w)
    if export_limit_w is not None:
        battery_w = min(battery_w, export_limit_w - situation.surplus_w)
    return situation.held(battery_w)
