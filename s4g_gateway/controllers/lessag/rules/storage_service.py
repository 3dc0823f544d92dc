"""Storage as a service: the site goes on by its own rule, its PCC shifted by what was ordered."""

from __future__ import annotations

from s4g_gateway.controllers.lessag.situation import Situation, curtailed_w


def storage_service(
    situation: Situation, own_w: float, order_w: float, *, export_limit_w: float | None
) -> float:
    """Returns the battery power that shifts the PCC by an order, + discharges.

    Args:
        situation: the site.
        own_w: battery power of the site's own rule.
        order_w: what the PCC is to give more than by that rule, + towards the grid.
        export_limit_w: under which the site's own rule curtails PV; None for none.

    Source: Storage4Grid D6.3 §4.1.2.1 and §4.1.2.2, there with absorbing counted positive.
    """
    own_pcc_w = situation.surplus_w - curtailed_w(situation, own_w, export_limit_w) + own_w
    return situation.held(own_pcc_w + order_w - situation.surplus_w)
