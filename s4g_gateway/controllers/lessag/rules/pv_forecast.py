"""PV-forecast-driven: the battery makes the site look as if PV gave what was forecast."""

from __future__ import annotations

from s4g_gateway.controllers.lessag.situation import Situation


def pv_forecast(situation: Situation, *, base_load_w: float) -> float | None:
    """Returns the battery power, + discharges; None without a forecast.

    It trusts the forecast and not the meter, so limits of the PCC are to be applied to what it returns.

    Args:
        situation: the site.
        base_load_w: load that is not covered from the battery, >= 0.

    Source: Storage4Grid D4.3 eq. 3 and 4; 0 W where neither holds is decided by this project.
    """
    if situation.forecast_pv_w is None:
        return None
    difference_w = situation.forecast_pv_w + situation.load_w
    if difference_w > 0:
        return situation.held(-difference_w)
    if -situation.load_w > base_load_w:
        return situation.held(-situation.load_w - base_load_w)
    return 0.0
