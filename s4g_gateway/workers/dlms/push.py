"""Takes DataNotifications that meters send of their own accord, over TCP with the wrapper.

Source: IEC 62056-5-3 DataNotification and general-glo-ciphering (clauses unverified, via the Gurux source).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from s4g_gateway.model import Reason, Value
from s4g_gateway.model import quality as q
from s4g_gateway.workers.contract import Channel
from s4g_gateway.workers.dlms import axdr
from s4g_gateway.workers.dlms.counters import keep_counter, seen_counter
from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError, bad_answer
from s4g_gateway.workers.dlms.plan import MeterPlan
from s4g_gateway.workers.dlms.protection import Keys
from s4g_gateway.workers.dlms.reader import MeterReader
from s4g_gateway.workers.dlms.services import length

MAX_CONNECTIONS: Final = 16
IDLE_S: Final = 60.0
MAX_APDU_BYTES: Final = 16_384
_HEADER: Final = struct.Struct(">HHHH")
_DATA_NOTIFICATION, _GENERAL_GLO = 0x0F, 0xDB


class PushListener(threading.Thread):
    """Listens for meters.

    Args:
        host: address to listen on.
        port: its port; 0 takes a free one.
        readers: the meters that may send.
        channel: to the gateway.

    Attributes:
        port: where it listens.
    """

    def __init__(self, host: str, port: int, readers: Sequence[MeterReader], channel: Channel) -> None:
        super().__init__(name="push", daemon=True)
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self._readers = readers
        self._channel = channel
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        self._refused: set[str] = set()
        self._counters: dict[str, int] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Accepts connections for ever."""
        while True:
            try:
                connection, (host, *_) = self._listener.accept()
            except OSError as error:
                self._channel.log("warning", "push listener", reason=str(error))
                time.sleep(1.0)  # out of descriptors: others may give some back
                continue
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection, host), daemon=True).start()

    def _serve(self, connection: socket.socket, host: str) -> None:
        try:
            connection.settimeout(IDLE_S)
            with connection:
                self._receive(connection, host)
        except OSError:
            pass  # the meter's end of the matter
        finally:
            self._free.release()

    def _receive(self, connection: socket.socket, host: str) -> None:
        buffer = bytearray()
        while data := connection.recv(4096):
            buffer += data
            while len(buffer) >= _HEADER.size:
                version, source, _, size = _HEADER.unpack_from(buffer)
                if version != 1 or not 0 < size <= MAX_APDU_BYTES:
                    return
                end = _HEADER.size + size
                if len(buffer) < end:
                    break
                self._take(bytes(buffer[_HEADER.size : end]), host, source)
                del buffer[:end]

    def _take(self, apdu: bytes, host: str, source: int) -> None:
        peer = f"{host}/{source}"
        try:
            reader, plain = self._identify(apdu, host, source)
            self._publish(reader, plain)
        except MeterFaultError as fault:
            self._channel.count("push_refused_total")
            with self._lock:
                known = peer in self._refused
                if len(self._refused) < 1_000:
                    self._refused.add(peer)
            if not known:
                self._channel.log("warning", "pushed message refused", peer=peer, reason=fault.reason)
            return
        self._channel.count("push_total")
        with self._lock:
            self._refused.discard(peer)

    def _identify(self, apdu: bytes, host: str, source: int) -> tuple[MeterReader, bytes]:
        if apdu[0] == _GENERAL_GLO:
            size, offset = length(apdu, 1)
            title, offset = apdu[offset : offset + size], offset + size
            size, offset = length(apdu, offset)
            if size != len(apdu) - offset:
                raise bad_answer("a protected message with another length than it says")
            for reader in self._readers:
                plan = reader.plan
                if plan.push_objects and plan.ciphered and plan.meter_system_title == title:
                    keys = Keys(encryption=plan.encryption_key, authentication=plan.authentication_key)
                    plain, counter = keys.open(title, apdu[offset:])
                    self._check_counter(plan, counter)
                    return reader, plain
            raise bad_answer(f"system title {title.hex()} is not that of a meter that may push")
        for reader in self._readers:
            plan = reader.plan
            may_push = plan.push_objects and not plan.ciphered and plan.server_address == source
            if may_push and host == _address(plan.host):
                return reader, apdu
        raise bad_answer("no meter that may push unprotected has this address")

    def _check_counter(self, plan: MeterPlan, counter: int) -> None:
        # kept over restarts: what was recorded before must not be played back after one
        path = Path(plan.counter_file).with_suffix(".pushed")
        with self._lock:
            last = self._counters.get(plan.name)
            if last is None:
                last = seen_counter(path)
            if counter <= last:
                raise bad_answer(f"invocation counter {counter} was used before: a replay")
            self._counters[plan.name] = counter
            keep_counter(path, counter)

    def _publish(self, reader: MeterReader, apdu: bytes) -> None:
        if apdu[:1] != bytes((_DATA_NOTIFICATION,)) or len(apdu) < 7:
            raise bad_answer(f"APDU {apdu[:4].hex()}, expected a DataNotification")
        body = axdr.whole(apdu[6 + apdu[5] :])
        plan = reader.plan
        if not isinstance(body, list) or len(body) != len(plan.push_objects):
            count = len(body) if isinstance(body, list) else 1
            raise bad_answer(f"{count} values, expected those of {len(plan.push_objects)} push_objects")
        points = {point.obis: point for point in plan.points}
        size = len(plan.points)
        values: list[Value] = [None] * size
        quality, included = [q.INVALID] * size, bytearray(size)
        for obis, raw in zip(plan.push_objects, body, strict=True):
            point = points.get(obis)
            if point is None:
                continue
            if point.scaler is None and point.logical_name not in reader.scaler_units:
                raise MeterFaultError(FaultKind.LOCAL, f"the scaler of {obis} is not known yet")
            values[point.position], quality[point.position] = reader.judge(point, raw)
            included[point.position] = 1
        self._channel.send_report(
            plan.data_set_index,
            values,
            quality,
            time.time_ns(),
            reason=Reason.DATA_CHANGE,
            included=bytes(included),
        )


def _address(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host
