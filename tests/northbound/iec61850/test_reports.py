"""Report control blocks of the served model, as libiec61850's own client sees them."""

import asyncio
import threading

from s4g_gateway.model import quality as q
from s4g_gateway.workers.libiec61850.reports import Inclusion, ReportControl


class Inbox:
    def __init__(self):
        self._lock = threading.Lock()
        self._reports = []

    def take(self, report):
        with self._lock:
            self._reports.append(report)

    @property
    def reports(self):
        with self._lock:
            return list(self._reports)

    def values(self):
        """Every value of the second member (PCC1 has one device object), in order."""
        return [report.values[0][0][0] for report in self.reports if report.values[0] is not None]


def subscribed(peer, reference, inbox, **more):
    block = ReportControl(peer, reference)
    state = block.read()
    block.subscribe(inbox.take, rpt_id=state.rpt_id)
    block.enable(**more)
    return block


async def test_a_change_is_reported_with_its_quality_and_time(bench_tools, tmp_path):
    serving, client, until = bench_tools
    inbox = Inbox()
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        bench.publish([1.0, 2.0])
        await asyncio.to_thread(subscribed, peer, "PCC1/LLN0.RP.urcbMX0101", inbox, interrogate=True)
        await until(lambda: inbox.reports)
        bench.publish([1.0, 77.0], time_ns=1_732_400_000_000_000_000)
        await until(lambda: 77.0 in inbox.values())
        bench.publish([1.0, 77.0], quality=(0, q.INVALID | q.OLD_DATA))
        await until(lambda: any(r.values[0][1].bits == q.INVALID | q.OLD_DATA for r in inbox.reports))
    changed = next(report for report in inbox.reports if report.values[0][0] == (77.0,))
    assert changed.reasons == (Inclusion.DATA_CHANGE,)
    assert changed.values[0][2].time_ns == 1_732_400_000_000_000_000
    assert changed.data_set == "PCC1/LLN0$MX01"


async def test_a_buffered_block_delivers_what_happened_while_nobody_listened(bench_tools, tmp_path):
    serving, client, until = bench_tools
    reference = "PCC1/LLN0.BR.brcbMX0101"
    before, after = Inbox(), Inbox()
    async with serving(tmp_path) as bench:
        async with client(bench.port) as peer:
            await asyncio.to_thread(subscribed, peer, reference, before, purge=True, interrogate=True)
            bench.publish([1.0, 10.0])
            await until(lambda: 10.0 in before.values())
            last = before.reports[-1].entry_id
        seen = Inbox()
        async with client(bench.port) as watcher:
            await asyncio.to_thread(subscribed, watcher, "PCC1/LLN0.RP.urcbMX0101", seen)
            for value in (20.0, 30.0, 40.0):
                bench.publish([1.0, value])
                await until(lambda value=value: value in seen.values())
        async with client(bench.port) as peer:
            await asyncio.to_thread(subscribed, peer, reference, after, entry_id=last)
            await until(lambda: 40.0 in after.values())
    assert after.values() == [20.0, 30.0, 40.0]


async def test_two_clients_have_instances_of_their_own(bench_tools, tmp_path):
    serving, client, until = bench_tools
    inboxes = (Inbox(), Inbox())
    async with serving(tmp_path) as bench, client(bench.port) as first, client(bench.port) as second:
        await asyncio.to_thread(subscribed, first, "PCC1/LLN0.RP.urcbMX0101", inboxes[0])
        await asyncio.to_thread(subscribed, second, "PCC1/LLN0.RP.urcbMX0102", inboxes[1])
        bench.publish([1.0, 5.0])
        await until(lambda: all(5.0 in inbox.values() for inbox in inboxes))
