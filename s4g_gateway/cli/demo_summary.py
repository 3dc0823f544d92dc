"""What the demo says at its end and shows meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s4g_gateway.cli.demo_probes import Iec104Probe, Latency, MqttProbe
from s4g_gateway.model import NS_PER_S
from s4g_gateway.model.quality import describe

# Counters that mean a loss wherever they are not 0.
_LOSSES = ("missed_polls_total", "events_dropped_total", "discarded_total", "events_overflow_total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of a demo run; times in ms, None where nothing arrived.

    Attributes:
        seconds: how long was measured.
        points: points of the site.
        updates_per_s: point updates into the RealTimeDatabase per second.
        changes_per_s: of these, changes per second.
        mqtt_messages: messages at the subscriber.
        mqtt_malformed: of these, no SenML.
        iec104_objects: information objects at the master.
        mqtt_p50_ms, mqtt_p99_ms: device change to subscriber, the poll wait included.
        iec104_p50_ms, iec104_p99_ms: device change to master, the poll wait included.
        losses: counters of lost polls, events and messages that are not 0.
        gateway_rss_mb: resident memory of the gateway.
        gateway_cpu_percent: of one core.
    """

    seconds: float
    points: int
    updates_per_s: float
    changes_per_s: float
    mqtt_messages: int
    mqtt_malformed: int
    iec104_objects: int
    mqtt_p50_ms: float | None
    mqtt_p99_ms: float | None
    iec104_p50_ms: float | None
    iec104_p99_ms: float | None
    losses: dict[str, float]
    gateway_rss_mb: float
    gateway_cpu_percent: float

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary as JSON types, numbers rounded."""
        return {
            key: round(value, 1) if isinstance(value, float) else value for key, value in asdict(self).items()
        }

    def as_text(self) -> str:
        """Returns the summary for people."""
        losses = ", ".join(f"{name} {count:.0f}" for name, count in self.losses.items()) or "none"
        return "\n".join(
            (
                (
                    f"{self.points} points, {self.updates_per_s:.0f} updates/s, {self.changes_per_s:.0f} changes/s "
                    f"over {self.seconds:.0f} s"
                ),
                (
                    f"MQTT      {self.mqtt_messages} messages, {self.mqtt_malformed} malformed; "
                    f"device change to subscriber p50 {_ms(self.mqtt_p50_ms)}, p99 {_ms(self.mqtt_p99_ms)}"
                ),
                (
                    f"IEC 104   {self.iec104_objects} objects; "
                    f"device change to master p50 {_ms(self.iec104_p50_ms)}, p99 {_ms(self.iec104_p99_ms)}"
                ),
                "          (devices are polled every second; the wait for the poll is included)",
                f"losses    {losses}",
                f"gateway   {self.gateway_rss_mb:.0f} MB resident, {self.gateway_cpu_percent:.1f} % of one core",
            )
        )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


class Meter:
    """Reads what a process has used, from /proc.

    Args:
        process_id: of the process.
    """

    def __init__(self, process_id: int) -> None:
        self._directory = Path("/proc") / str(process_id)
        self._started = (time.monotonic(), self._cpu_s())

    def cpu_percent(self) -> float:
        """Returns the share of one core since the meter was made."""
        seconds, used_s = self._started
        share: float = (self._cpu_s() - used_s) / max(time.monotonic() - seconds, 1e-9)
        return 100 * share

    def rss_mb(self) -> float:
        """Returns resident memory in MB."""
        pages = int((self._directory / "statm").read_text().split()[1])
        return pages * 4096 / 1e6

    def _cpu_s(self) -> float:
        fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def losses(status: Mapping[str, Any]) -> dict[str, float]:
    """Returns the loss counters of a status that are not 0, as ``connector.counter``."""
    return {
        f"{connector['name']}.{name}": count
        for connector in status["connectors"]
        for name, count in connector["counters"].items()
        if name in _LOSSES and count
    }


def summarise(
    first: Mapping[str, Any], last: Mapping[str, Any], mqtt: MqttProbe, iec104: Iec104Probe, meter: Meter
) -> Summary:
    """Makes the summary of what lies between two statuses of the gateway."""
    seconds: float = max(last["uptime_s"] - first["uptime_s"], 1e-9)

    def rate(name: str) -> float:
        return float(last["database"][name] - first["database"][name]) / seconds

    def both(latency: Latency) -> tuple[float | None, float | None]:
        return latency.percentile_ms(50), latency.percentile_ms(99)

    mqtt_p50_ms, mqtt_p99_ms = both(mqtt.latency)
    iec104_p50_ms, iec104_p99_ms = both(iec104.latency)
    return Summary(
        seconds=seconds,
        points=int(last["database"]["points"]),
        updates_per_s=rate("updates_total"),
        changes_per_s=rate("changes_total"),
        mqtt_messages=mqtt.messages,
        mqtt_malformed=mqtt.malformed,
        iec104_objects=iec104.objects,
        mqtt_p50_ms=mqtt_p50_ms,
        mqtt_p99_ms=mqtt_p99_ms,
        iec104_p50_ms=iec104_p50_ms,
        iec104_p99_ms=iec104_p99_ms,
        losses=losses(last),
        gateway_rss_mb=meter.rss_mb(),
        gateway_cpu_percent=meter.cpu_percent(),
    )


def point_rows(points: list[dict[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """Returns points as rows of text: reference, value, unit, quality, age."""
    now_ns = time.time_ns()
    rows = []
    for point in points:
        value = point["value"]
        text = f"{value:.2f}" if isinstance(value, float) else "-" if value is None else str(value)
        age_s = (now_ns - point["time_ns"]) / NS_PER_S
        rows.append((point["reference"], text, point["unit"], describe(point["quality"]), f"{age_s:.1f} s"))
    return rows
