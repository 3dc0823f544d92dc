"""xDLMS services of the simulated meter: GET, ACTION, Read and Write of one open association.

Source: IEC 62056-5-3 GET, ACTION, Read, Write, block transfer (clauses unverified, via Gurux and dlms-cosem).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from s4g_gateway.errors import DecodeError
from s4g_gateway.simulators.dlms_meter.axdr import Data, decode, decode_length, encode, encode_length, octets
from s4g_gateway.simulators.dlms_meter.objects import (
    ASSOCIATION_LN,
    ASSOCIATION_LN_CLASS,
    REPLY_TO_HLS_BASE_NAME,
    AccessRefusedError,
    AccessResult,
    CosemObject,
    ObjectTable,
)

MAX_LIST: Final = 64
"""Most attributes in one request."""
# invocation header, block header and the bytes of protection that an APDU loses
_BLOCK_OVERHEAD: Final = 40
ReplyToHls = Callable[[bytes], bytes | None]


class Service(IntEnum):
    """First byte of an APDU."""

    READ_REQUEST = 0x05
    WRITE_REQUEST = 0x06
    READ_RESPONSE = 0x0C
    WRITE_RESPONSE = 0x0D
    GET_REQUEST = 0xC0
    ACTION_REQUEST = 0xC3
    GET_RESPONSE = 0xC4
    ACTION_RESPONSE = 0xC7
    EXCEPTION = 0xD8
    DATA_NOTIFICATION = 0x0F


class ServiceNotSupportedError(Exception):
    """A service that this meter does not have."""


class _Reader:
    """Reads fields one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.offset = data, 0

    def take(self, size: int) -> bytes:
        end = self.offset + size
        if end > len(self.data):
            raise DecodeError("the APDU is cut short", offset=len(self.data))
        found = self.data[self.offset : end]
        self.offset = end
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def count(self) -> int:
        found, self.offset = decode_length(self.data, self.offset)
        if not 1 <= found <= MAX_LIST:
            raise DecodeError(f"a list of {found}, expected 1 to {MAX_LIST}", offset=self.offset)
        return found

    def value(self) -> Data:
        found, self.offset = decode(self.data, self.offset)
        return found

    def end(self) -> None:
        if self.offset != len(self.data):
            raise DecodeError(f"{len(self.data) - self.offset} bytes too many", offset=self.offset)


class Services:
    """Answers the requests of one association.

    Args:
        objects: what it sees.
        max_pdu_bytes: longest APDU the client takes.
        reply_to_hls: checks the client's answer to the challenge; returns ours, or None if it is wrong.
        multiple: true where several attributes may be asked for at a time.
        authenticated: true once everything may be read.
    """

    def __init__(
        self,
        objects: ObjectTable,
        *,
        max_pdu_bytes: int,
        reply_to_hls: ReplyToHls,
        multiple: bool,
        authenticated: bool,
    ) -> None:
        self.authenticated = authenticated
        self._objects = objects
        self._block_bytes = max(16, max_pdu_bytes - _BLOCK_OVERHEAD)
        self._reply_to_hls = reply_to_hls
        self._multiple = multiple
        self._rest = b""
        self._block = 0

    def answer(self, apdu: bytes) -> bytes:
        """Returns the answer to a request.

        Raises:
            DecodeError: the APDU is malformed.
            ServiceNotSupportedError: the meter does not have this service.
        """
        if not apdu:
            raise DecodeError("an empty APDU", offset=0)
        reader = _Reader(apdu)
        match reader.number(1):
            case Service.GET_REQUEST:
                return self._get(reader)
            case Service.ACTION_REQUEST:
                return self._action(reader)
            case Service.READ_REQUEST:
                return self._read(reader)
            case Service.WRITE_REQUEST:
                return self._write(reader)
        raise ServiceNotSupportedError

    # -- logical names --

    def _get(self, reader: _Reader) -> bytes:
        kind, invocation = reader.number(1), reader.take(1)
        if kind == 2:
            number = reader.number(4)
            reader.end()
            if not self._rest or number != self._block:
                self._rest = b""
                return bytes((Service.GET_RESPONSE, 1)) + invocation + b"\x01\x13"  # long get aborted
            return self._next_block(invocation)
        if kind not in (1, 3) or (kind == 3 and not self._multiple):
            raise ServiceNotSupportedError
        count = 1 if kind == 1 else reader.count()
        results = [self._get_one(reader) for _ in range(count)]
        reader.end()
        body = b"".join(results) if kind == 1 else encode_length(count) + b"".join(results)
        if len(body) <= self._block_bytes:
            return bytes((Service.GET_RESPONSE, kind)) + invocation + body
        # a long result goes in blocks; that of GET normal without its choice byte
        self._rest, self._block = (body[1:] if kind == 1 else body), 0
        return self._next_block(invocation)

    def _next_block(self, invocation: bytes) -> bytes:
        part, self._rest = self._rest[: self._block_bytes], self._rest[self._block_bytes :]
        self._block += 1
        head = bytes((Service.GET_RESPONSE, 2)) + invocation
        last = bytes((not self._rest,))
        return head + last + self._block.to_bytes(4, "big") + b"\x00" + encode_length(len(part)) + part

    def _get_one(self, reader: _Reader) -> bytes:
        class_id, name, attribute = reader.number(2), reader.take(6), reader.number(1)
        selector, parameters = 0, None
        if reader.number(1):
            selector, parameters = reader.number(1), reader.value()
        try:
            self._check_rights()
            found = self._objects.named(class_id, name)
            return b"\x00" + encode(_value(found, attribute, selector, parameters))
        except AccessRefusedError as refusal:
            return bytes((1, refusal.result))

    def _check_rights(self) -> None:
        if not self.authenticated:
            raise AccessRefusedError(AccessResult.READ_WRITE_DENIED)

    def _action(self, reader: _Reader) -> bytes:
        if reader.number(1) != 1:
            raise ServiceNotSupportedError
        invocation, class_id, name, method = (
            reader.take(1),
            reader.number(2),
            reader.take(6),
            reader.number(1),
        )
        parameters = reader.value() if reader.number(1) else None
        reader.end()
        head = bytes((Service.ACTION_RESPONSE, 1)) + invocation
        if (class_id, name, method) != (ASSOCIATION_LN_CLASS, ASSOCIATION_LN, 1):
            return head + bytes((AccessResult.OBJECT_UNDEFINED, 0))
        reply = self._hls(parameters)
        if reply is None:
            return head + bytes((AccessResult.READ_WRITE_DENIED, 0))
        return head + b"\x00\x01\x00" + encode(octets(reply))

    def _hls(self, parameters: Data | None) -> bytes | None:
        if parameters is None or not isinstance(parameters.value, bytes):
            return None
        reply = self._reply_to_hls(parameters.value)
        self.authenticated = self.authenticated or reply is not None
        return reply

    # -- short names --

    def _read(self, reader: _Reader) -> bytes:
        count = reader.count()
        if count > 1 and not self._multiple:
            raise ServiceNotSupportedError
        if count == 1 and reader.data[reader.offset : reader.offset + 1] == b"\x05":
            reader.take(1)
            number = reader.number(2)
            reader.end()
            if not self._rest or number != self._block:
                self._rest = b""
                return bytes((Service.READ_RESPONSE, 1, 1, AccessResult.OTHER))
            return self._next_read_block()
        results = [self._read_one(reader) for _ in range(count)]
        reader.end()
        body = encode_length(count) + b"".join(results)
        if len(body) <= self._block_bytes:
            return bytes((Service.READ_RESPONSE,)) + body
        self._rest, self._block = body, 0
        return self._next_read_block()

    def _next_read_block(self) -> bytes:
        part, self._rest = self._rest[: self._block_bytes], self._rest[self._block_bytes :]
        self._block += 1
        head = bytes((Service.READ_RESPONSE, 1, 2, not self._rest))
        return head + self._block.to_bytes(2, "big") + encode_length(len(part)) + part

    def _read_one(self, reader: _Reader) -> bytes:
        kind = reader.number(1)
        if kind not in (2, 4):
            raise ServiceNotSupportedError
        name, selector, parameters = reader.number(2), 0, None
        if kind == 4:
            selector, parameters = reader.number(1), reader.value()
        try:
            if name == REPLY_TO_HLS_BASE_NAME:
                reply = self._hls(parameters)
                if reply is None:
                    raise AccessRefusedError(AccessResult.READ_WRITE_DENIED)
                return b"\x00" + encode(octets(reply))
            self._check_rights()
            found, attribute = self._objects.at(name)
            return b"\x00" + encode(_value(found, attribute, selector, parameters))
        except AccessRefusedError as refusal:
            return bytes((1, refusal.result))

    def _write(self, reader: _Reader) -> bytes:
        count = reader.count()
        return bytes((Service.WRITE_RESPONSE,)) + encode_length(count) + b"\x01\x03" * count  # denied


def _value(found: CosemObject, attribute: int, selector: int, parameters: Data | None) -> Data:
    if parameters is None:
        return found.read(attribute)
    return found.read_selected(attribute, selector, parameters)
