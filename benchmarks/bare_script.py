"""What a good engineer would write in an afternoon: pymodbus, struct, MQTT and IEC 104 in one script.

No scaling, no quality, no journal, no configuration, no recovery: the yardstick for the gateway's cost per point.
Reads the registers of each inverter in three requests a second, unpacks fifty values, publishes them as JSON with QoS 1
and sends them as short floats with time tags to the IEC 104 master.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from typing import ClassVar

import aiomqtt
import orjson
import uvloop
from pymodbus.client import AsyncModbusTcpClient

POINTS = 50
READS = ((40_070, 50), (40_230, 100), (40_330, 40))
UNPACK = struct.Struct(">50h")
OBJECT = struct.Struct("<HBfB7s")


class Outstation(asyncio.Protocol):
    connected: ClassVar[set[Outstation]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.sent = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self.connected.discard(self)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"\x68\x04\x07"):
            self.transport.write(bytes.fromhex("68040b000000"))
            self.connected.add(self)

    def send(self, first_ioa: int, values: tuple[int, ...], stamp: bytes) -> None:
        frames = []
        for start in range(0, len(values), 16):
            part = values[start : start + 16]
            body = b"".join(
                OBJECT.pack((first_ioa + start + place) & 0xFFFF, 0, value, 0, stamp)
                for place, value in enumerate(part)
            )
            header = struct.pack(
                "<BBHHBBBBH", 0x68, 10 + len(body), self.sent << 1, 0, 36, len(part), 3, 0, 1
            )
            frames.append(header + body)
            self.sent = (self.sent + 1) % 32768
        self.transport.write(b"".join(frames))


async def poll(number: int, port: int, mqtt: aiomqtt.Client) -> None:
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=3, retries=0)
    await client.connect()
    names = [f"point{place}" for place in range(POINTS)]
    await asyncio.sleep(number / 100)
    due = time.monotonic()
    while True:
        registers: list[int] = []
        for address, count in READS:
            registers += (await client.read_holding_registers(address, count=count, device_id=1)).registers
        values = UNPACK.unpack(struct.pack(">50H", *registers[:POINTS]))
        payload = orjson.dumps(dict(zip(names, values, strict=True)))
        await mqtt.publish(f"bare/{number}", payload, qos=1)
        now = time.gmtime()
        milliseconds = int(time.time() * 1000) % 60_000
        stamp = struct.pack(
            "<HBBBBB", milliseconds, now.tm_min, now.tm_hour, now.tm_mday, now.tm_mon, now.tm_year % 100
        )
        for outstation in Outstation.connected:
            outstation.send(1 + number * POINTS, values, stamp)
        due += 1.0
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def main() -> None:
    mqtt_port, ports = int(sys.argv[1]), json.loads(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(Outstation, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with aiomqtt.Client("127.0.0.1", mqtt_port, identifier="bare", max_inflight_messages=100) as mqtt:
        await asyncio.gather(*(poll(number, port, mqtt) for number, port in enumerate(ports)))


uvloop.install()
asyncio.run(main())
