"""The wrapper of DLMS over TCP: version, source, destination, length, APDU.

Source: IEC 62056-47 wrapper sublayer (clause unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from s4g_gateway.errors import DecodeError

_HEADER: Final = struct.Struct(">HHHH")
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class WrappedApdu:
    """One APDU with the ports it goes between.

    Attributes:
        source: wrapper port of the sender.
        destination: wrapper port of the receiver.
        apdu: what is carried.
    """

    source: int
    destination: int
    apdu: bytes


def encode_wrapped(message: WrappedApdu) -> bytes:
    """Returns the bytes on the wire."""
    return _HEADER.pack(_VERSION, message.source, message.destination, len(message.apdu)) + message.apdu


def take_wrapped(buffer: bytearray, max_apdu_bytes: int = 65_535) -> WrappedApdu | None:
    """Takes the next APDU out of what came.

    Args:
        buffer: received bytes; what is taken is removed.
        max_apdu_bytes: longest APDU that is waited for.

    Returns:
        It; None while it is not complete.

    Raises:
        DecodeError: no wrapper, after which the stream cannot be read on.
    """
    if len(buffer) < _HEADER.size:
        return None
    version, source, destination, length = _HEADER.unpack_from(buffer)
    if version != _VERSION:
        raise DecodeError(f"wrapper version {version}, expected {_VERSION}", offset=0)
    if not 0 < length <= max_apdu_bytes:
        raise DecodeError(f"APDU of {length} bytes, expected 1 to {max_apdu_bytes}", offset=6)
    end = _HEADER.size + length
    if len(buffer) < end:
        return None
    apdu = bytes(buffer[_HEADER.size : end])
    del buffer[:end]
    return WrappedApdu(source, destination, apdu)
