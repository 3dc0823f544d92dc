"""APCI: the six octets that frame everything on an IEC 60870-5-104 connection.

Source: IEC 60870-5-104 §5 (clause unverified).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final

from s4g_gateway.errors import DecodeError

START: Final = 0x68
APCI_BYTES: Final = 6
MAX_FRAME_BYTES: Final = 255
SEQUENCE_MODULUS: Final = 32768
_CONTROL_BYTES: Final = 4
_I_FRAME: Final = Struct("<BBHH")


class UFrame(IntEnum):
    """The first control octet of the six unnumbered frames."""

    STARTDT_ACT = 0x07
    STARTDT_CON = 0x0B
    STOPDT_ACT = 0x13
    STOPDT_CON = 0x23
    TESTFR_ACT = 0x43
    TESTFR_CON = 0x83


U_FRAMES: Final = {int(frame): frame for frame in UFrame}
U_OCTETS: Final = {frame: bytes((START, _CONTROL_BYTES, frame, 0, 0, 0)) for frame in UFrame}


def encode_i_frame(asdu: bytes, send_number: int, receive_number: int) -> bytes:
    """Returns an I-frame; ``asdu`` has 6 to 249 octets, the numbers are 0 to 32767."""
    return _I_FRAME.pack(START, len(asdu) + _CONTROL_BYTES, send_number << 1, receive_number << 1) + asdu


def encode_s_frame(receive_number: int) -> bytes:
    """Returns an S-frame."""
    return _I_FRAME.pack(START, _CONTROL_BYTES, 1, receive_number << 1)


class FrameReader:
    """Cuts a byte stream into frames; keeps at most one incomplete frame (254 octets)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yields each complete frame, start octet included.

        Raises:
            DecodeError: after the frames before it, where the stream is not made of frames; the offset counts
                from the first octet not yet yielded before this call.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, end = 0, len(data)
        while end - at >= 2:
            if data[at] != START:
                raise DecodeError(f"APCI: expected start octet 68, found {data[at]:02x}", offset=at)
            length = data[at + 1]
            if not _CONTROL_BYTES <= length <= MAX_FRAME_BYTES - 2:
                raise DecodeError(f"APCI: expected length 4 to 253, found {length}", offset=at + 1)
            stop = at + 2 + length
            if stop > end:
                break
            yield data[at:stop]
            at = stop
        if end - at == 1 and data[at] != START:
            raise DecodeError(f"APCI: expected start octet 68, found {data[at]:02x}", offset=at)
        self._rest = data[at:]
