"""An outstation in a process of its own, to be killed: counts, and tells which events its store holds.

Arguments: folder, first number, events per group at most. Prints the port, then the number up to which every event
is acknowledged or stored.
"""

import asyncio
import importlib.util
import sys
from pathlib import Path

import structlog

from s4g_gateway.northbound.iec104 import server
from s4g_gateway.northbound.iec104.event_store import EventStore

spec = importlib.util.spec_from_file_location("conftest", Path(__file__).with_name("conftest.py"))
conftest = importlib.util.module_from_spec(spec)
sys.modules["conftest"] = conftest
spec.loader.exec_module(conftest)

# Standard output is for what is stored.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


class TellingStore(EventStore):
    """Says up to which number everything is stored or acknowledged."""

    number = 0

    def save(self):
        before = TellingStore.number
        super().save()
        print(before, flush=True)


async def main(folder, first, capacity):
    server.EventStore = TellingStore
    group = conftest.GroupTable(name="centre", event_capacity=capacity, overflow_ioa=99)
    sets = [conftest.floats(1), conftest.floats(50, name="noise", device="PCC1")]
    async with conftest.serving(Path(folder), sets, group=(group,), event_commit_s=0.2) as bench:
        number = TellingStore.number = first
        print(f"port {bench.port}", flush=True)
        while True:
            for _ in range(5):
                number += 1
                bench.publish([float(number)], time_ns=conftest.time_of(number))
            TellingStore.number = number
            bench.publish(
                [float(number + i) for i in range(50)], data_set=1, time_ns=conftest.time_of(number)
            )
            await asyncio.sleep(0.002)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
