"""Self-consumption: the battery takes the surplus and covers what the site lacks."""

from __future__ import annotations

from s4g_gateway.controllers.lessag.situation import Situation


def self_consumption(situation: Situation) -> float:
    """Returns the battery power that brings the PCC to zero, + discharges.

    Source: the published LESSAg code with a peak set-point of 0 W (reference of controllers §1.2).
    """
    return situation.held(-situation.surplus_w)
