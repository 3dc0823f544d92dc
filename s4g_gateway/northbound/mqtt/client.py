"""The connection to the broker: aiomqtt, with a way to publish that costs no task and no lock per message.

``aiomqtt.Client.publish`` waits for each PUBACK behind an Event and a time-out, and each message wakes the loop
through its self-pipe to be written. Here paho is called directly, PUBACKs are counted in its callback, and what
one turn of the loop has published is written at its end (figures: docs/mqtt.md).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import aiomqtt
from paho.mqtt.client import (
    MQTT_CLEAN_START_FIRST_ONLY,
    MQTT_ERR_SUCCESS,
    Client,
    ConnectFlags,
    DisconnectFlags,
)
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
_UNLIMITED = 65535
_POST_LIMIT = 10_000
_Posted = tuple[str, bytes, bool, Properties | None, Callable[[], None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to connect and as whom.

    Attributes:
        host: the broker.
        port: its port.
        client_id: MQTT client identifier.
        keepalive_s: keep-alive interval.
        will: published by the broker when the connection breaks.
        context: makes the TLS context of each connection; returns None for plain TCP.
    """

    host: str
    port: int
    client_id: str
    keepalive_s: int
    will: aiomqtt.Will
    context: Callable[[], ssl.SSLContext | None]


class PublishProperties:
    """Content type and user property ``seq`` of a message, packed: paho's own class takes 40 us a message.

    Args:
        content_type: media type.

    Source: MQTT 5.0 §2.2.2, §3.3.2.3 (clauses unverified).
    """

    def __init__(self, content_type: str) -> None:
        self._head = b"\x03" + _text(content_type) + b"\x26" + _text("seq")
        self._packed = b"\x00"

    def with_sequence(self, sequence: str) -> Properties:
        """Returns the properties for one message; the object is the same each time."""
        body = self._head + _text(sequence)
        # One byte of length holds up to 127.
        size = len(body)
        length = bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80, size >> 7))
        self._packed = length + body
        return cast("Properties", self)

    def pack(self) -> bytes:
        """Returns the bytes; paho asks for them while it takes the message."""
        return self._packed


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2) + data


class BrokerClient(aiomqtt.Client):
    """One connection.

    Args:
        endpoint: where to.
        version: MQTT version.
        max_incoming: most messages waiting to be handled; more are dropped with a line in the log.

    Attributes:
        on_acknowledged: called with packet id and reason code of each PUBACK.
        is_version_5: true where the broker speaks MQTT 5.
        receive_maximum: most messages the broker takes unacknowledged.
        maximum_packet_bytes: largest packet the broker takes, 0 where it names no limit.
        in_flight: messages of QoS 1 sent and not yet acknowledged.
        dropped_total: posted messages that found the queue full.
    """

    def __init__(self, endpoint: Endpoint, version: aiomqtt.ProtocolVersion, max_incoming: int) -> None:
        is_version_5 = version is aiomqtt.ProtocolVersion.V5
        super().__init__(
            endpoint.host,
            endpoint.port,
            identifier=endpoint.client_id,
            protocol=version,
            will=endpoint.will,
            # Commands that waited for us would be stale: no session outlives its connection.
            clean_session=None if is_version_5 else True,
            clean_start=True if is_version_5 else MQTT_CLEAN_START_FIRST_ONLY,
            keepalive=endpoint.keepalive_s,
            timeout=CONNECT_TIMEOUT_S,
            max_queued_incoming_messages=max_incoming,
            # Unlimited: the outbox keeps the window, and paho would walk through all of it on each PUBACK.
            max_inflight_messages=0,
            tls_context=endpoint.context(),
            socket_options=(_NO_DELAY,),
            logger=_quiet(),
        )
        self.is_version_5 = is_version_5
        self.on_acknowledged: Callable[[int, int], None] | None = None
        self.receive_maximum = _UNLIMITED
        self.maximum_packet_bytes = 0
        self._loop_thread = threading.get_ident()
        self.in_flight = 0
        self.dropped_total = 0
        self._expected: dict[int, Callable[[], None] | None] = {}
        self._posted: deque[_Posted] = deque()
        self._client.connect_timeout = CONNECT_TIMEOUT_S

    def send(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
        done: Callable[[], None] | None = None,
    ) -> int:
        """Hands a message to the connection and returns its packet id.

        Args:
            topic: where to.
            payload: what.
            qos: 0 or 1.
            retain: whether the broker is to keep it.
            properties: of MQTT 5.
            done: called when the broker has acknowledged it or refused it for good; QoS 1 only.

        Raises:
            MqttError: the connection is gone.
        """
        message = self._client.publish(topic, payload, qos, retain, properties)
        if message.rc != MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(message.rc, "Could not publish message")
        if qos:
            self.in_flight += 1
            self._expected[message.mid] = done
        return message.mid

    def post(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: Properties | None = None,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Sends a message of QoS 1 as soon as the broker's window lets it; drops it where too many wait."""
        if len(self._posted) >= _POST_LIMIT:
            self.dropped_total += 1
            return
        self._posted.append((topic, payload, retain, properties, done))
        self._flush()

    def _flush(self) -> None:
        while self._posted and self.in_flight < self.receive_maximum:
            topic, payload, retain, properties, done = self._posted.popleft()
            try:
                self.send(topic, payload, retain=retain, properties=properties, done=done)
            except aiomqtt.MqttError:
                self._posted.clear()

    async def close(self) -> None:
        """Ends the connection, politely where the broker still answers; idempotent."""
        self.timeout = CLOSE_TIMEOUT_S
        try:
            if self._connected.done() and self._connected.exception() is None:
                await self.__aexit__(None, None, None)
        except (aiomqtt.MqttError, OSError):
            pass  # it is gone already
        finally:
            self._abandon()

    def _abandon(self) -> None:
        """Takes the socket off the loop and closes it, whatever state aiomqtt has left it in."""
        sock = self._client.socket()
        if sock is not None and sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()
        if self._misc_task is not None:
            self._misc_task.cancel()

    async def lost(self) -> None:
        """Returns never.

        Raises:
            MqttError: the connection is gone.
        """
        # Whoever waits here may be gone first; then nobody needs to hear of it.
        self._disconnected.add_done_callback(_retrieve)
        try:
            await asyncio.shield(self._disconnected)
        except OSError as error:
            raise aiomqtt.MqttError(str(error)) from error
        raise aiomqtt.MqttError("disconnected")

    def _on_socket_register_write(
        self,
        client: Client,
        userdata: Any,
        sock: SocketLike,
    ) -> None:
        if threading.get_ident() == self._loop_thread:
            self._loop.call_soon(self._write)
        else:
            # connect() runs in a thread of the executor
            super()._on_socket_register_write(client, userdata, sock)

    async def _misc_loop(self) -> None:
        # paho tests the keep-alive only when asked; brokers close after one and a half of it.
        while self._client.loop_misc() == MQTT_ERR_SUCCESS:  # noqa: ASYNC110 - paho knows no event to wait for
            await asyncio.sleep(min(1.0, self._keepalive / 4))

    def _write(self) -> None:
        try:
            self._client.loop_write()
            sock = self._client.socket()
            if sock is not None and self._client.want_write():
                # The kernel's buffer is full: wait until there is room.
                self._loop.add_writer(sock.fileno(), self._write)
        except OSError as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    def _on_connect(
        self,
        client: Client,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.receive_maximum = getattr(properties, "ReceiveMaximum", _UNLIMITED)
        self.maximum_packet_bytes = getattr(properties, "MaximumPacketSize", 0)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: Client,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():
            # aiomqtt would wait for the whole time-out for an answer that cannot come any more.
            self._connected.set_exception(aiomqtt.MqttError("connection closed before it was accepted"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self,
        client: Client,
        userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        # Called for messages of QoS 0 too, as soon as they are written.
        if mid in self._expected:
            done = self._expected.pop(mid)
            self.in_flight -= 1
            if done is not None:
                done()
            self._flush()
        if self.on_acknowledged is not None:
            self.on_acknowledged(mid, reason_code.value)
        super()._on_publish(client, userdata, mid, reason_code, properties)


def _retrieve(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


def _quiet() -> logging.Logger:
    # What paho and aiomqtt have to say about a lost connection the connector says itself, once.
    logger = logging.getLogger("s4g_gateway.mqtt.library")
    logger.setLevel(logging.CRITICAL)
    return logger


def refuses_version(error: Exception) -> bool:
    """True where the broker answered that it does not speak this version of MQTT."""
    code = getattr(error, "rc", None)
    return getattr(code, "value", code) in (1, 0x84)
