"""Outbox: messages on their way to the broker, in order, each journalled before it is published.

A message leaves the journal when the broker has acknowledged it and all before it. After a lost connection
everything not acknowledged is sent again (at least once), in the old order and never retained.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import aiomqtt
import structlog

from s4g_gateway.errors import TransientError
from s4g_gateway.northbound.mqtt.client import BrokerClient, PublishProperties
from s4g_gateway.runtime.contract import Counters
from s4g_gateway.runtime.journal import Journal

MEMORY_BYTES = 8 * 1024 * 1024
"""What is kept in memory for sending; the rest is read back from the journal."""
FAILING_MEMORY_BYTES = 32 * 1024 * 1024
_PEEK = 200
_FAILED = 0x80
# Reason codes of MQTT 5 that say "later": Unspecified error, Implementation specific error, Quota exceeded.
_LATER = frozenset({0x80, 0x83, 0x97})


@dataclass(slots=True, eq=False)
class Item:
    """One message on its way."""

    stream: str
    sequence: int
    topic: str
    payload: bytes
    retain: bool
    acknowledged: bool = False


class Outbox(Protocol):
    """Takes messages at any time, sends them while there is a connection."""

    def put(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Takes one message."""
        ...

    async def run(self, client: BrokerClient) -> None:
        """Sends until the connection is lost or the task is cancelled."""
        ...


class JournalledOutbox:
    """QoS 1.

    Args:
        journal: open; used by this outbox alone.
        counters: published_total, drained_total, refused_total.
        window: most messages sent and not yet acknowledged.
        max_bytes: largest payload; a larger one is refused and logged once per topic.
        content_type: media type, told where the broker speaks MQTT 5.
        log: of the connector.
    """

    def __init__(
        self,
        journal: Journal,
        counters: Counters,
        *,
        window: int,
        max_bytes: int,
        content_type: str,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._journal = journal
        self._counters = counters
        self._window = window
        self._max_bytes = max_bytes
        self._properties = PublishProperties(content_type)
        self._log = log
        # The newest messages without a hole between them; older ones are in the journal only.
        self._recent: deque[Item] = deque()
        self._recent_bytes = 0
        # Read back from the journal, in front of _recent.
        self._backlog: deque[Item] = deque()
        self._sent = 0
        self._live_after = 0
        self._unacknowledged: deque[Item] = deque()
        self._by_packet: dict[int, Item] = {}
        self._client: BrokerClient | None = None
        self._space = 0
        self._failure: Exception | None = None
        self._refused: set[str] = set()
        self._wake = asyncio.Event()

    def put(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Journals one message and sends it, or leaves it to ``run`` where others come first."""
        if len(payload) > self._max_bytes:
            # A broker that closes the connection on it would do so again after every reconnection.
            self._refuse(topic, f"{len(payload)} bytes, more than max_message_bytes = {self._max_bytes}")
            return
        sequence = self._journal.append(topic, payload)
        item = Item(self._journal.stream, sequence, topic, payload, retain)
        client = self._client
        if client is not None and self._sent == sequence - 1 and client.in_flight < self._space:
            try:
                self._send(client, item)
            except aiomqtt.MqttError as error:
                self._failure = error
                self._wake.set()
            return
        self._recent.append(item)
        self._recent_bytes += len(payload)
        if client is not None and client.in_flight < self._space:
            self._wake.set()
        # While the disk refuses, memory is all there is; the journal bounds it likewise.
        limit = FAILING_MEMORY_BYTES if self._journal.failing else MEMORY_BYTES
        while self._recent_bytes > limit and len(self._recent) > 1:
            self._recent_bytes -= len(self._recent.popleft().payload)

    async def run(self, client: BrokerClient) -> None:
        """Sends what is in the journal, then what comes.

        Raises:
            TransientError: the broker wants no more for now.
            MqttError: the connection is lost.
        """
        self._restart()
        self._space = min(self._window, client.receive_maximum)
        client.on_acknowledged = self._acknowledged
        try:
            self._client = client
            while True:
                self._wake.clear()
                if self._failure is not None:
                    raise self._failure
                while client.in_flight < self._space:
                    item = self._next()
                    if item is not None:
                        self._send(client, item)
                    elif not await self._read_back():
                        break
                # Woken by acknowledgements: what comes while there is space is sent by put.
                await self._wake.wait()
        finally:
            self._client = client.on_acknowledged = None

    def _restart(self) -> None:
        unacknowledged = [item for item in self._unacknowledged if not item.acknowledged]
        self._unacknowledged.clear()
        self._by_packet.clear()
        self._backlog.clear()
        self._failure = None
        following = self._recent[0].sequence if self._recent else self._journal.last_sequence + 1
        if unacknowledged and unacknowledged[-1].sequence + 1 == following:
            # They need not come from the journal, and while the disk fails they could not.
            self._recent.extendleft(reversed(unacknowledged))
            self._recent_bytes += sum(len(item.payload) for item in unacknowledged)
            self._sent = unacknowledged[0].sequence - 1
        else:
            self._sent = self._journal.first_unacknowledged - 1
        self._live_after = self._journal.last_sequence

    def _next(self) -> Item | None:
        """Returns the next message in order if it is at hand."""
        if self._backlog:
            return self._backlog.popleft()
        first_kept = self._journal.first_kept
        while self._recent and self._recent[0].sequence < first_kept:
            # The journal has discarded it, and counted it as lost.
            item = self._recent.popleft()
            self._recent_bytes -= len(item.payload)
            self._sent = max(self._sent, item.sequence)
        if not self._recent or self._recent[0].sequence > self._sent + 1:
            return None
        item = self._recent.popleft()
        self._recent_bytes -= len(item.payload)
        return item

    async def _read_back(self) -> bool:
        """Fetches older messages from the journal; false where nothing is to be had."""
        end = self._recent[0].sequence if self._recent else self._journal.last_sequence + 1
        if end <= self._sent + 1:
            return False
        records = await self._journal.peek(after=self._sent, limit=_PEEK)
        self._backlog.extend(
            Item(record.stream, record.sequence, record.key, record.payload, retain=False)
            for record in records
            if self._sent < record.sequence < end
        )
        if self._backlog:
            return True
        if self._recent and self._recent[0].sequence == end:
            # What lay between has been discarded.
            self._sent = max(self._sent, end - 1)
            return True
        return False

    def _send(self, client: BrokerClient, item: Item) -> None:
        drained = item.sequence <= self._live_after
        if drained:
            item.retain = False
            self._counters.add("drained_total")
        properties = None
        if client.is_version_5:
            properties = self._properties.with_sequence(f"{item.stream}-{item.sequence}")
        self._sent = item.sequence
        self._unacknowledged.append(item)
        limit = client.maximum_packet_bytes
        if limit and len(item.payload) + len(item.topic) + 200 > limit:
            self._refuse(item.topic, f"larger than the broker's limit of {limit} bytes")
            self._settle(item)
            return
        packet = client.send(item.topic, item.payload, retain=item.retain, properties=properties)
        self._by_packet[packet] = item

    def _acknowledged(self, packet: int, reason: int) -> None:
        item = self._by_packet.pop(packet, None)
        if item is None:
            return
        if self._sent < self._journal.last_sequence:
            self._wake.set()
        if reason in _LATER:
            self._failure = TransientError(f"the broker refused a message, reason code {reason:#04x}")
            self._wake.set()
            return
        if reason >= _FAILED:
            self._refuse(item.topic, f"reason code {reason:#04x}")
        else:
            self._counters.add("published_total")
        self._settle(item)

    def _settle(self, item: Item) -> None:
        item.acknowledged = True
        if self._failure is not None:
            return
        last = 0
        while self._unacknowledged and self._unacknowledged[0].acknowledged:
            last = self._unacknowledged.popleft().sequence
        if last:
            self._journal.acknowledge(last)

    def _refuse(self, topic: str, reason: str) -> None:
        self._counters.add("refused_total")
        if topic not in self._refused:
            self._refused.add(topic)
            self._log.error("message cannot be delivered", topic=topic, reason=reason)


class DirectOutbox:
    """QoS 0: sends while connected, forgets otherwise.

    Args:
        counters: published_total, dropped_total.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._send: Callable[[str, bytes, bool], None] | None = None

    def put(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Sends one message, or counts it as dropped."""
        if self._send is None:
            self._counters.add("dropped_total")
        else:
            self._send(topic, payload, retain)

    async def run(self, client: BrokerClient) -> None:
        """Lets messages through until the connection is lost.

        Raises:
            MqttError: the connection is lost.
        """

        def send(topic: str, payload: bytes, retain: bool) -> None:
            try:
                client.send(topic, payload, qos=0, retain=retain)
            except aiomqtt.MqttError:
                self._counters.add("dropped_total")
            else:
                self._counters.add("published_total")

        self._send = send
        try:
            await client.lost()
        finally:
            self._send = None
