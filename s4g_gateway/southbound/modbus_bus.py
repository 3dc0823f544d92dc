"""One Modbus connection, shared fairly by the units behind it.

pymodbus brings framing and transports. What a gateway needs beyond it is here: one request at a time with
Controls first, time-outs of our own, a connection that is given up when it has gone silent, back-off with
jitter that never ends, and raw answers (a register list per answer would cost more than decoding it).
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient, AsyncModbusTlsClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from s4g_gateway.errors import RemoteProtocolError, TransientError
from s4g_gateway.profiles.modbus.answers import Answer
from s4g_gateway.profiles.modbus.reads import Read, Write
from s4g_gateway.runtime.clock import Clock
from s4g_gateway.runtime.contract import Counters
from s4g_gateway.southbound.modbus_config import ConnectionConfig
from s4g_gateway.southbound.modbus_framing import (
    DECODER,
    READ_REQUESTS,
    CarefulFramer,
    RawAnswer,
    why_not,
    write_pdu,
)
from s4g_gateway.southbound.turns import Turns

# This many requests without any answer mean that the connection, not one unit, is dead (half-open TCP).
SILENCE_LIMIT = 3
# A late answer on a serial line carries no transaction id: it is waited out.
SERIAL_QUIET_S = 0.2
# Requests are made once and sent again and again; so many are kept.
_REQUESTS_LIMIT = 4096


class ModbusBus:
    """One connection.

    Args:
        config: how the devices are reached.
        clock: the clocks.
        counters: of the connector.
        log: of the connector.
        tls: context where ``config.tls`` asks for it.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        *,
        clock: Clock,
        counters: Counters,
        log: structlog.stdlib.BoundLogger,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.config = config
        self.generation = 0
        self._clock = clock
        self._counters = counters
        self._log = log
        self._tls = tls
        self._client: ModbusBaseClient | None = None
        self._turns = Turns()
        self._in_flight = False
        self._silent = 0
        self._failures = 0
        self._retry_at_s = 0.0
        self._is_lost = False
        self._requests: dict[tuple[int, Read], ModbusPDU] = {}

    @property
    def is_connected(self) -> bool:
        """True while the connection stands."""
        return self._client is not None

    def retry_in_s(self) -> float:
        """Returns how long no new connection will be tried; 0 while there is one or it may be tried."""
        return max(self._retry_at_s - self._clock.monotonic_s(), 0.0) if self._client is None else 0.0

    async def request(self, unit_id: int, step: Read | Write) -> Answer:
        """Carries out one request in its turn.

        Args:
            unit_id: whom it is for.
            step: what to do.

        Returns:
            The answer; an exception answer is an answer.

        Raises:
            TransientError: no connection, no answer in time.
            RemoteProtocolError: the answer is no answer to this request; the connection is closed.
        """
        await self._turns.take(urgent=False)
        try:
            return await self.request_now(unit_id, step)
        finally:
            self._turns.pass_on()

    @asynccontextmanager
    async def urgent_turn(self) -> AsyncIterator[None]:
        """Takes the next turn before every waiting poll and keeps it: a Control is not interrupted."""
        await self._turns.take(urgent=True)
        try:
            yield
        finally:
            self._turns.pass_on()

    async def request_now(self, unit_id: int, step: Read | Write) -> Answer:
        """As ``request``, for who has the turn."""
        client = await self._connected()
        pdu = self._pdu(unit_id, step)
        started_s = self._clock.monotonic_s()
        self._counters.add("requests_total")
        self._in_flight = True
        try:
            async with asyncio.timeout(self.config.timeout_s):
                response = await client.execute(False, pdu)
        except TimeoutError:
            await self._note_silence()
            raise TransientError(f"no answer within {self.config.timeout_s} s") from None
        except RemoteProtocolError as error:
            self._counters.add("errors_total")
            self._drop(str(error))
            raise
        except ModbusException as error:
            self._counters.add("errors_total")
            self._drop(str(error))
            raise TransientError(f"connection lost: {error}") from error
        finally:
            self._in_flight = False
        self._silent = 0
        self._counters.set("last_latency_s", self._clock.monotonic_s() - started_s)
        if response.isError():
            self._counters.add("exceptions_total")
            return Answer(exception=response.exception_code)
        return self._checked(response, step)

    def fail(self, reason: str) -> None:
        """Ends the request under way: the peer broke the protocol."""
        self._end_request(RemoteProtocolError(reason))

    async def close(self) -> None:
        """Closes the connection; the next request opens it again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # -- connection ------------------------------------------------------------------------------

    async def _connected(self) -> ModbusBaseClient:
        if self._client is not None and self._client.connected:
            return self._client
        if self._client is not None:
            self._drop("closed by the peer")
        wait_s = self.retry_in_s()
        if wait_s > 0:
            raise TransientError(f"no connection to {self.config.peer}; next attempt in {wait_s:.1f} s")
        client = self._new_client()
        why_not.set("")
        try:
            async with asyncio.timeout(self.config.connect_timeout_s):
                is_connected = await client.connect()
        except TimeoutError:
            is_connected = False
            why_not.set(f"no connection within {self.config.connect_timeout_s} s")
        if not is_connected:
            client.close()
            self._back_off(why_not.get())
            raise TransientError(f"cannot connect to {self.config.peer}: {why_not.get()}")
        self._client = client
        self._silent = self._failures = 0
        self.generation += 1
        if self.generation > 1:
            self._counters.add("reconnects_total")
        self._counters.set("connected", 1)
        if self._is_lost:
            self._is_lost = False
            self._log.info("connection is back", peer=self.config.peer)
        return client

    def _new_client(self) -> ModbusBaseClient:
        config = self.config
        # Our own time-out strikes first; pymodbus's would close the connection by rules of its own.
        spare_s = 2 * max(config.timeout_s, config.connect_timeout_s)
        client: ModbusBaseClient
        if config.serial is not None:
            serial = config.serial
            client = AsyncModbusSerialClient(
                serial.path,
                framer=FramerType.RTU,
                baudrate=serial.baud_rate,
                parity=serial.parity,
                stopbits=serial.stop_bits,
                timeout=spare_s,
                retries=0,
                reconnect_delay=0,
                trace_connect=self._on_connection,
            )
            client.ctx.framer.decoder = DECODER
            return client
        if self._tls is not None:
            client = AsyncModbusTlsClient(
                config.host,
                port=config.port,
                sslctx=self._tls,
                timeout=spare_s,
                retries=0,
                reconnect_delay=0,
                trace_connect=self._on_connection,
            )
        else:
            client = AsyncModbusTcpClient(
                config.host,
                port=config.port,
                timeout=spare_s,
                retries=0,
                reconnect_delay=0,
                trace_connect=self._on_connection,
            )
        client.ctx.framer = CarefulFramer(self.fail)
        return client

    def _on_connection(self, is_open: bool) -> None:
        if not is_open:
            self._end_request(ModbusException("the peer closed the connection"))

    def _end_request(self, error: Exception) -> None:
        if self._in_flight and self._client is not None:
            future = self._client.ctx.response_future
            if not future.done():
                future.set_exception(error)

    async def _note_silence(self) -> None:
        self._counters.add("timeouts_total")
        self._silent += 1
        if self._silent >= SILENCE_LIMIT:
            self._drop(f"{self._silent} requests without an answer")
        elif self.config.serial is not None:
            await asyncio.sleep(SERIAL_QUIET_S)

    def _drop(self, reason: str) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._back_off(reason)

    def _back_off(self, reason: str) -> None:
        config = self.config
        wait_s = min(config.retry_min_s * 2**self._failures, config.retry_max_s)
        self._failures = min(self._failures + 1, 16)
        self._retry_at_s = self._clock.monotonic_s() + wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        self._counters.set("connected", 0)
        if not self._is_lost:
            self._is_lost = True
            self._log.warning("connection lost", peer=config.peer, reason=reason)

    # -- requests --------------------------------------------------------------------------------

    def _pdu(self, unit_id: int, step: Read | Write) -> ModbusPDU:
        if isinstance(step, Write):
            return write_pdu(unit_id, step)
        key = (unit_id, step)
        pdu = self._requests.get(key)
        if pdu is None:
            if len(self._requests) >= _REQUESTS_LIMIT:
                self._requests.clear()
            request = READ_REQUESTS[step.function]
            pdu = self._requests[key] = request(address=step.address, count=step.count, dev_id=unit_id)
        return pdu

    def _checked(self, response: ModbusPDU, step: Read | Write) -> Answer:
        if isinstance(step, Write):
            return Answer()
        data = response.data if isinstance(response, RawAnswer) else b""
        if len(data) != step.byte_count:
            self._counters.add("errors_total")
            reason = f"{len(data)} bytes answered, {step.byte_count} asked for at {step.address}"
            self._drop(reason)
            raise RemoteProtocolError(reason)
        return Answer(data)
