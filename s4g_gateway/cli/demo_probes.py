"""What the demo measures: an MQTT subscriber and an IEC 60870-5-104 master that watch the gateway as users would."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

import aiomqtt

from s4g_gateway.cli.demo_site import Change
from s4g_gateway.codecs.iec104 import DataReceived, MasterEvent
from s4g_gateway.codecs.senml import Format, SenmlDecodeError, decode_pack, resolve
from s4g_gateway.errors import TransientError
from s4g_gateway.simulators.iec104_master import Iec104Master

RETRY_S = 0.5
_NODELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class Latency:
    """Time from a change at the grid meter until a consumer has it.

    Args:
        changes: the latest changes, newest last.

    Attributes:
        seconds: one entry per change that arrived, each change once.
    """

    def __init__(self, changes: list[Change]) -> None:
        self._changes = changes
        self._last: Change | None = None
        self.seconds: list[float] = []

    def arrived(self, export_w: float) -> None:
        """Notes that a consumer got a value of the grid meter's power."""
        now_s = time.monotonic()
        for change in reversed(self._changes):
            if change is self._last:
                return
            if change.export_w == export_w:
                self._last = change
                self.seconds.append(now_s - change.monotonic_s)
                return

    def percentile_ms(self, percent: float) -> float | None:
        """Returns a percentile in milliseconds; None before the first arrival."""
        ordered = sorted(self.seconds)
        if not ordered:
            return None
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class MqttProbe:
    """Subscribes to everything the site publishes.

    Args:
        port: of the broker, on loopback.
        site: name of the site.
        changes: the latest changes at the grid meter.

    Attributes:
        messages: messages received.
        records: SenML records in them.
        malformed: messages that were no SenML.
        latency: of the grid meter's power.
    """

    def __init__(self, port: int, site: str, changes: list[Change]) -> None:
        self._port = port
        self._site = site
        self._wanted = f"{site}/PCC1/MMXU1.TotW"
        self.latency = Latency(changes)
        self.messages = self.records = self.malformed = 0

    async def run(self) -> None:
        """Runs until cancelled; reconnects for ever."""
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", self._port, identifier="s4g-demo-probe", socket_options=_NODELAY
                ) as client:
                    await client.subscribe(f"s4g/v1/{self._site}/#", qos=1)
                    async for message in client.messages:
                        self._take(message)
            except aiomqtt.MqttError:
                await asyncio.sleep(RETRY_S)

    def _take(self, message: aiomqtt.Message) -> None:
        self.messages += 1
        if message.retain or not isinstance(message.payload, bytes):
            return
        try:
            records = resolve(decode_pack(message.payload, Format.JSON), time.time())
        except SenmlDecodeError:
            self.malformed += 1
            return
        self.records += len(records)
        for record in records:
            if record.name == self._wanted and record.value is not None:
                self.latency.arrived(float(record.value))


class Iec104Probe:
    """A SCADA master: general interrogation, then whatever comes spontaneously.

    Args:
        port: of the outstation, on loopback.
        common_address: of the site.
        is_wanted: tells the object address of the grid meter's power.
        changes: the latest changes at the grid meter.

    Attributes:
        objects: information objects received.
        latency: of the grid meter's power.
        links: connections made.
    """

    def __init__(
        self, port: int, common_address: int, is_wanted: Callable[[int], bool], changes: list[Change]
    ) -> None:
        self._port = port
        self._common_address = common_address
        self._is_wanted = is_wanted
        self.latency = Latency(changes)
        self.objects = self.links = 0

    async def run(self) -> None:
        """Runs until cancelled; reconnects for ever."""
        while True:
            with contextlib.suppress(TransientError):
                async with await Iec104Master.connect("127.0.0.1", self._port, on_event=self._take) as master:
                    self.links += 1
                    await master.start()
                    await master.interrogate(self._common_address)
                    await master.wait_closed()
            await asyncio.sleep(RETRY_S)

    def _take(self, event: MasterEvent) -> None:
        if not isinstance(event, DataReceived):
            return
        columns = event.columns
        self.objects += len(columns.addresses)
        if columns.values is None:
            return
        for address, value in zip(columns.addresses, columns.values, strict=True):
            if self._is_wanted(address) and isinstance(value, int | float):
                self.latency.arrived(float(value))
