"""UniRCon: nothing is exported; storage first, curtailment last; and the peak support of the published code."""

from __future__ import annotations

from s4g_gateway.controllers.lessag.situation import Situation


def no_export(situation: Situation, *, peak_w: float | None = None) -> float:
    """Returns the battery power of UniRCon, + discharges.

    Args:
        situation: the site.
        peak_w: import above this is covered from the battery, >= 0; None as Storage4Grid's text has it, which never
            discharges.

    Source: Storage4Grid D4.3 eq. 1 and 2; the peak from the published code.
    """
    surplus_w = situation.surplus_w
    if surplus_w > 0:
        return situation.held(-surplus_w)
    if peak_w is not None and -surplus_w > peak_w:
        return situation.held(-surplus_w - peak_w)
    return 0.0
