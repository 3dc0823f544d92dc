"""The consumers of the gateway benchmarks, a process of its own: an MQTT subscriber and an IEC 104 master.

Counts what arrives and notes when values of one watched point arrived, on the machine's monotonic clock. Both ends are
as small as they can be, so that they cost little beside the gateway: paho for MQTT, raw APCI for IEC 104.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import struct
import time

import paho.mqtt.client as paho

STARTDT_ACT = bytes.fromhex("680407000000")
TESTFR_CON = bytes.fromhex("680483000000")
# information objects per type: octets of one object without its address
SIZES = {1: 1, 9: 3, 11: 3, 13: 5, 15: 5, 30: 8, 34: 10, 35: 10, 36: 12, 37: 12}


class Subscriber:
    def __init__(self, port: int, topic: str, watched_topic: bytes) -> None:
        self.messages = 0
        self.octets = 0
        self.arrived: list[tuple[float, bytes]] = []
        self._watched = watched_topic.decode()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="bench-sink")
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.connect("127.0.0.1", port)
        self._client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.loop_start()

    def _take(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        self.messages += 1
        self.octets += len(message.payload)
        if self._watched and self._watched in message.topic and len(self.arrived) < 1000:
            self.arrived.append((time.monotonic(), message.payload))


class Master:
    def __init__(self, watched_ioa: int) -> None:
        self.objects = 0
        self.frames = 0
        self.arrived: list[tuple[float, float]] = []
        self._watched = watched_ioa.to_bytes(3, "little")

    async def run(self, port: int) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                await asyncio.sleep(0.2)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.write(STARTDT_ACT)
        received = acknowledged = 0
        buffer = b""
        while octets := await reader.read(1 << 16):
            buffer += octets
            position = 0
            while len(buffer) - position >= 2 and len(buffer) - position >= buffer[position + 1] + 2:
                length = buffer[position + 1]
                first = buffer[position + 2]
                if first & 1 == 0:
                    received += 1
                    self._count(buffer, position)
                elif first == 0x43:
                    writer.write(TESTFR_CON)
                position += length + 2
            buffer = buffer[position:]
            if received - acknowledged >= 8 or (received > acknowledged and not buffer):
                writer.write(b"\x68\x04\x01\x00" + struct.pack("<H", received % 32768 << 1))
                acknowledged = received

    def _count(self, buffer: bytes, position: int) -> None:
        kind, count = buffer[position + 6], buffer[position + 7]
        self.frames += 1
        self.objects += count & 0x7F
        if kind == 36 and not count & 0x80:
            for start in range(position + 12, position + 12 + 15 * count, 15):
                if buffer[start : start + 3] == self._watched:
                    self.arrived.append((time.monotonic(), struct.unpack_from("<f", buffer, start + 3)[0]))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mqtt", type=int, required=True)
    parser.add_argument("--topic", default="s4g/v1/#")
    parser.add_argument("--watched-topic", default="")
    parser.add_argument("--iec104", type=int, required=True)
    parser.add_argument("--watched-ioa", type=int, default=0)
    arguments = parser.parse_args()
    subscriber = Subscriber(arguments.mqtt, arguments.topic, arguments.watched_topic.encode())
    master = Master(arguments.watched_ioa)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, lambda: print(json.dumps(counts()), flush=True)
    )

    def counts() -> dict[str, object]:
        return {
            "at": time.monotonic(),
            "messages": subscriber.messages,
            "octets": subscriber.octets,
            "objects": master.objects,
            "frames": master.frames,
        }

    running = asyncio.create_task(master.run(arguments.iec104))
    print("ready", flush=True)
    await stop.wait()
    running.cancel()
    last = counts() | {
        "iec104_arrived": master.arrived,
        "mqtt_arrived": [(at, payload.decode("latin-1")) for at, payload in subscriber.arrived],
    }
    print(json.dumps(last), flush=True)


asyncio.run(main())
