"""PV-and-consumption-forecast-driven: the battery moves what was forecast, whatever the meters say."""

from __future__ import annotations

from s4g_gateway.controllers.lessag.situation import Situation


def pv_load_forecast(situation: Situation) -> float | None:
    """Returns the battery power, + discharges; None without both forecasts.

    Source: Storage4Grid D4.3 eq. 5.
    """
    if situation.forecast_pv_w is None or situation.forecast_load_w is None:
        return None
    return situation.held(-situation.forecast_load_w - situation.forecast_pv_w)
