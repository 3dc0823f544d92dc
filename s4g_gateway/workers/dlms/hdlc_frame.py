"""HDLC frames as DLMS uses them, type 3 with check sequences; no state and no I/O.

Source: IEC 62056-46 frame format and addresses (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s4g_gateway.errors import DecodeError, EncodeError

FLAG: Final = 0x7E
SNRM: Final = 0x83
UA: Final = 0x63
DISC: Final = 0x43
DM: Final = 0x0F
FRMR: Final = 0x87
UI: Final = 0x03
POLL_FINAL: Final = 0x10
MAX_FRAME_BYTES: Final = 2047
"""What the eleven bits of the length can say."""
_SEGMENTED: Final = 0x0800
_FORMAT_TYPE: Final = 0xA000


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ 0x8408 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def check_sequence(data: bytes) -> bytes:
    """Returns the two bytes of the frame check sequence (CRC-16 of HDLC), in their order on the line."""
    value = 0xFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return (value ^ 0xFFFF).to_bytes(2, "little")


def encode_address(logical: int, physical: int | None = None, *, size: int = 0) -> bytes:
    """Returns an address: seven bits a byte, the last one marked.

    Args:
        logical: upper part, or a client's address; 0 to 16383.
        physical: lower part of a server's address, 0 to 16383; None for none.
        size: length in bytes, 1, 2 or 4; 0 for the shortest that holds it.

    Raises:
        EncodeError: it does not fit.
    """
    if size == 0:
        size = 1 if physical is None and logical < 0x80 else 2
        if logical >= 0x80 or (physical or 0) >= 0x80:
            size = 4
    half = 7 if size < 4 else 14
    if size not in (1, 2, 4) or not (
        0 <= logical < (1 << half) and (physical is None or (0 <= physical < (1 << half) and size > 1))
    ):
        raise EncodeError(f"address {logical}, {physical} does not fit {size} bytes")
    parts = (logical,) if size == 1 else (logical, physical or 0)
    if size == 2 and physical is None:
        parts = (logical >> 7, logical & 0x7F)
    sevens = [bits for part in parts for bits in ((part >> 7, part & 0x7F) if size == 4 else (part,))]
    return bytes(bits << 1 | (position == len(sevens) - 1) for position, bits in enumerate(sevens))


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        destination: bytes of the address it goes to.
        source: bytes of the address it comes from.
        control: control field, poll/final bit included.
        information: what it carries.
        segmented: true where more of the same message follows.
    """

    destination: bytes
    source: bytes
    control: int
    information: bytes = b""
    segmented: bool = False

    @property
    def is_information(self) -> bool:
        """True for an I frame."""
        return self.control & 1 == 0

    @property
    def is_receive_ready(self) -> bool:
        """True for an RR frame."""
        return self.control & 0x0F == 0x01

    @property
    def send_number(self) -> int:
        """N(S) of an I frame."""
        return self.control >> 1 & 7

    @property
    def receive_number(self) -> int:
        """N(R) of an I or RR frame."""
        return self.control >> 5 & 7


def encode_frame(frame: Frame) -> bytes:
    """Returns the bytes of a frame, flags included.

    Raises:
        EncodeError: it is longer than a frame can be.
    """
    header = frame.destination + frame.source + bytes((frame.control,))
    length = 2 + len(header) + 2 + (len(frame.information) + 2 if frame.information else 0)
    if length > MAX_FRAME_BYTES:
        raise EncodeError(f"a frame of {length} bytes, at most {MAX_FRAME_BYTES} fit")
    head = (_FORMAT_TYPE | (_SEGMENTED if frame.segmented else 0) | length).to_bytes(2, "big") + header
    body = head + check_sequence(head)
    if frame.information:
        body += frame.information
        body += check_sequence(body)
    return bytes((FLAG,)) + body + bytes((FLAG,))


def take_frame(buffer: bytearray) -> bytes | None:
    """Takes the next frame out of what came, and drops what stands before it and is none.

    Args:
        buffer: received bytes; what is taken or dropped is removed from it.

    Returns:
        The frame between its flags; None while it is not complete.
    """
    while True:
        start = buffer.find(FLAG)
        if start < 0:
            buffer.clear()
            return None
        del buffer[:start]
        while len(buffer) > 1 and buffer[1] == FLAG:
            del buffer[0]
        if len(buffer) < 3:
            return None
        length = int.from_bytes(buffer[1:3], "big") & 0x7FF
        if buffer[1] & 0xF0 != _FORMAT_TYPE >> 8 or length < 7:
            del buffer[0]
            continue
        if len(buffer) < length + 2:
            return None
        if buffer[length + 1] != FLAG:
            del buffer[0]
            continue
        frame = bytes(buffer[1 : length + 1])
        del buffer[: length + 1]  # the closing flag may open the next frame
        return frame


def decode_frame(data: bytes) -> Frame:
    """Reads a frame.

    Args:
        data: what stands between the flags.

    Raises:
        DecodeError: a check sequence is wrong, or an address never ends.
    """
    destination, offset = _address(data, 2)
    source, offset = _address(data, offset)
    if offset + 3 > len(data):
        raise DecodeError("the frame ends within its header", offset=len(data))
    control = data[offset]
    offset += 1
    if data[offset : offset + 2] != check_sequence(data[:offset]):
        raise DecodeError("the header check sequence is wrong", offset=offset)
    offset += 2
    information = b""
    if offset < len(data):
        information = data[offset:-2]
        if len(data) - offset < 3 or data[-2:] != check_sequence(data[:-2]):
            raise DecodeError("the frame check sequence is wrong", offset=len(data) - 2)
    return Frame(destination, source, control, information, bool(data[0] & _SEGMENTED >> 8))


def _address(data: bytes, start: int) -> tuple[bytes, int]:
    for length in (1, 2, 4):
        end = start + length
        if end <= len(data) and data[end - 1] & 1:
            found = data[start:end]
            if all(byte & 1 == 0 for byte in found[:-1]):
                return found, end
    raise DecodeError("an address of 1, 2 or 4 bytes is missing", offset=start)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkParameters:
    """What two stations agree on with SNRM and UA.

    Attributes:
        max_information_send: longest information field the sender of these will send, bytes.
        max_information_receive: longest one it takes, bytes.
    """

    max_information_send: int = 128
    max_information_receive: int = 128


def encode_parameters(parameters: LinkParameters) -> bytes:
    """Returns the information field of SNRM or UA; the window is one frame each way."""

    def number(identifier: int, value: int) -> bytes:
        content = value.to_bytes(1 if value < 0x100 else 2, "big")
        return bytes((identifier, len(content))) + content

    body = number(5, parameters.max_information_send) + number(6, parameters.max_information_receive)
    body += b"\x07\x04\x00\x00\x00\x01\x08\x04\x00\x00\x00\x01"
    return bytes((0x81, 0x80, len(body))) + body


def decode_parameters(information: bytes) -> LinkParameters:
    """Reads the information field of SNRM or UA; what is missing has its default of 128.

    Raises:
        DecodeError: it is no list of parameters.
    """
    found = {5: 128, 6: 128}
    if information:
        if len(information) < 3 or information[:2] != b"\x81\x80":
            raise DecodeError("no list of HDLC parameters", offset=0)
        offset = 3
        while offset < len(information):
            if offset + 2 > len(information) or offset + 2 + information[offset + 1] > len(information):
                raise DecodeError("an HDLC parameter is cut short", offset=offset)
            end = offset + 2 + information[offset + 1]
            found[information[offset]] = int.from_bytes(information[offset + 2 : end], "big")
            offset = end
    if min(found[5], found[6]) < 32:
        raise DecodeError(f"information fields of {min(found[5], found[6])} bytes, expected 32 or more")
    return LinkParameters(
        max_information_send=min(found[5], MAX_FRAME_BYTES - 32),
        max_information_receive=min(found[6], MAX_FRAME_BYTES - 32),
    )
