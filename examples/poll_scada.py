"""A SCADA master: general interrogation, then what changes.

python examples/poll_scada.py --port 2404 --seconds 10
"""

import argparse
import asyncio

from s4g_gateway.codecs.iec104 import DataReceived, MasterEvent
from s4g_gateway.simulators.iec104_master import Iec104Master


def show(event: MasterEvent) -> None:
    if isinstance(event, DataReceived) and event.columns.values is not None:
        columns = event.columns
        for address, value in zip(columns.addresses, columns.values, strict=True):
            print(f"{columns.type_id.name:12} cause {columns.header.cause:3}  IOA {address:6}  {value}")


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2404)
    parser.add_argument("--common-address", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    async with await Iec104Master.connect(arguments.host, arguments.port, on_event=show) as master:
        await master.start()
        answer = await master.interrogate(arguments.common_address)
        print(f"general interrogation: {answer.outcome.value}")
        await asyncio.sleep(arguments.seconds)


asyncio.run(main())
