"""Sends a set-point of battery power over MQTT and prints the answer.

    python examples/set_battery_power.py --port 1883 --site house-1 --watts 1500 --minutes 5

The site file must name the client: [northbound.clients] lessag = ["LESSAG"].
"""

import argparse
import asyncio
import json
import time
import uuid

import aiomqtt


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--site", required=True)
    parser.add_argument("--client", default="lessag", help="name under which the command is sent")
    parser.add_argument("--watts", type=float, required=True, help="+ discharges, - charges")
    parser.add_argument("--minutes", type=float, default=5.0, help="validity of the set-point")
    arguments = parser.parse_args()
    command_id = uuid.uuid4().hex
    command = [
        {"bn": f"{arguments.site}/", "n": "cmd.id", "vs": command_id},
        {"n": "cmd.ctlNum", "v": 1},
        {"n": "cmd.priority", "v": 5},
        {"n": "cmd.notAfter", "v": time.time() + 60 * arguments.minutes},
        {"n": "ESS1/DWGC1.WSpt", "u": "W", "v": arguments.watts},
    ]
    base = f"s4g/v1/{arguments.site}/smx/smx-eb"
    async with aiomqtt.Client(arguments.host, arguments.port) as client:
        await client.subscribe(f"{base}/command-answer/#", qos=1)
        await client.publish(f"{base}/command/{arguments.client}", json.dumps(command), qos=1)
        async with asyncio.timeout(15):
            async for message in client.messages:
                answer = {record["n"].rpartition("/")[2]: record for record in json.loads(message.payload)}
                if answer["cmd.id"]["vs"] == command_id:
                    accepted = answer["cmd.accepted"]["vb"]
                    print("accepted" if accepted else f"refused: {answer['cmd.addCause']['vs']}")
                    return


asyncio.run(main())
