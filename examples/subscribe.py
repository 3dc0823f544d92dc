"""Prints every point a site publishes over MQTT.

python examples/subscribe.py --port 1883 --site house-1
"""

import argparse
import asyncio
import time

import aiomqtt

from s4g_gateway.codecs.senml import Format, decode_pack, resolve


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--site", default="+", help="name of the site; all sites without")
    parser.add_argument("--count", type=int, default=0, help="stop after so many messages; 0 goes on")
    arguments = parser.parse_args()
    async with aiomqtt.Client(arguments.host, arguments.port) as client:
        await client.subscribe(f"s4g/v1/{arguments.site}/#", qos=1)
        seen = 0
        async for message in client.messages:
            print(message.topic)
            if not message.payload:
                print("  has ended")  # the site has no such DataSet any more
                continue
            for record in resolve(decode_pack(message.payload, Format.JSON), time.time()):
                found = (record.value, record.string_value, record.boolean_value)
                value = next((item for item in found if item is not None), "-")
                print(f"  {record.name:45} {value} {record.unit or ''}")
            seen += 1
            if seen == arguments.count:
                return


asyncio.run(main())
