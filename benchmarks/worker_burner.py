"""The workers that ``benchmarks.workers`` runs: Reports as fast as they go, echoes, and a busy one."""

from __future__ import annotations

from s4g_gateway.workers.contract import CallFrame, Channel, StopFrame


def main(channel: Channel) -> None:
    channel.ready()
    kind = channel.start
    if kind == "reports":
        reports(channel)
    while True:
        frame = channel.receive(0 if kind == "burn" else None)
        if isinstance(frame, StopFrame):
            return
        if isinstance(frame, CallFrame):
            channel.reply(frame, frame.body)
        if kind == "burn":
            sum(range(100_000))


def reports(channel: Channel) -> None:
    size = len(channel.data_sets[0])
    number, quality = 0, (0,) * size
    while not channel.stopping:
        number += 1
        values = tuple(number + place / 7 for place in range(size))
        channel.send_report(0, values, quality, 1_700_000_000_000_000_000 + number)
