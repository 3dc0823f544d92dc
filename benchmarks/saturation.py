"""How far a gateway goes: 1,000 devices x 100 points, faster and faster, until polls are missed or values lost.

Gateway, simulator, broker and both consumers share the machine; ``machine_percent`` tells how busy all its cores are,
so that a step which only the machine fails is not taken for the gateway's limit.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gateway import measure_gateway

DEVICES, POINTS = 1000, 100
FACTORS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
# A busy machine is late once in a while; more than one poll in a thousand is a limit.
MISSED_SHARE = 0.001
SHORTFALL = 0.98


def shortcomings(step: dict[str, Any]) -> list[str]:
    """Returns what a step did not hold."""
    wanted = step["wanted_points_per_s"]
    polls = wanted / POINTS * step["seconds"]
    checks = {
        f"{step['missed_polls']:.0f} polls missed": step["missed_polls"] > MISSED_SHARE * polls,
        f"{step['events_dropped']:.0f} IEC 104 events dropped": step["events_dropped"] > 0,
        f"{step['journal_discarded']:.0f} MQTT messages discarded": step["journal_discarded"] > 0,
        f"{step['points_per_s']:.0f} points/s read": step["points_per_s"] < SHORTFALL * wanted,
        f"{step['iec104_objects_per_s']:.0f} IEC 104 objects/s arrived": (
            step["iec104_objects_per_s"] < SHORTFALL * step["changes_per_s"]
        ),
        f"{step['mqtt_messages_per_s']:.0f} MQTT messages/s arrived": (
            step["mqtt_messages_per_s"] < SHORTFALL * wanted / POINTS
        ),
    }
    return [text for text, is_true in checks.items() if is_true]


def search(seconds: float) -> dict[str, Any]:
    """Raises the rate step by step; at most ``len(FACTORS)`` steps of about 30 s + ``seconds`` each."""
    steps: list[dict[str, Any]] = []
    held = 0.0
    for factor in FACTORS:
        step = measure_gateway("registers", DEVICES, POINTS, "cbor", seconds, period_s=1.0 / factor)
        step["wanted_points_per_s"] = factor * DEVICES * POINTS
        step["not_held"] = shortcomings(step)
        steps.append(step)
        told = "; ".join(step["not_held"]) or "held"
        print(
            f"  {step['wanted_points_per_s']:9,.0f} points/s wanted: gateway {step['cpu_percent']:.0f} % of a core, "
            f"machine {step['machine_percent']:.0f} %, {step['rss_mb']:.0f} MB: {told}",
            flush=True,
        )
        if step["not_held"]:
            break
        held = step["wanted_points_per_s"]
    return {"held_points_per_s": held, "steps": steps}
