"""How APDUs travel to a meter: by wrapper or by HDLC; one request at a time.

Whatever is not exactly the answer to the request is a fault, after which the link is closed: so nothing that comes
late can ever be taken for a later answer.

Source: IEC 62056-47 and IEC 62056-46 (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

from s4g_gateway.errors import DecodeError
from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError, bad_answer
from s4g_gateway.workers.dlms.hdlc_frame import (
    DISC,
    DM,
    POLL_FINAL,
    SNRM,
    UA,
    Frame,
    LinkParameters,
    decode_frame,
    decode_parameters,
    encode_frame,
    encode_parameters,
    take_frame,
)
from s4g_gateway.workers.dlms.streams import SerialStream, Stream

MAX_APDU_BYTES: Final = 65_535
_WRAPPER: Final = struct.Struct(">HHHH")
_LLC_REQUEST: Final = b"\xe6\xe6\x00"
_LLC_RESPONSE: Final = b"\xe6\xe7\x00"
_BAUD_IDENTIFIERS: Final = {
    b"0": 300, b"1": 600, b"2": 1200, b"3": 2400, b"4": 4800, b"5": 9600, b"6": 19200,
}  # fmt: skip
_MAX_GREETING_BYTES: Final = 128


class Link(Protocol):
    """Carries APDUs."""

    def open(self, deadline_s: float) -> None:
        """Makes the link ready."""
        ...

    def exchange(self, apdu: bytes, deadline_s: float) -> bytes:
        """Sends an APDU and returns the answer.

        Raises:
            MeterFaultError: there is none that can be used; the link is to be closed.
        """
        ...

    def close(self, deadline_s: float) -> None:
        """Takes leave as far as that is possible, and closes the stream."""
        ...


class WrapperLink:
    """The wrapper over TCP.

    Args:
        stream: the connection.
        client: our wrapper port.
        server: the meter's wrapper port.
    """

    def __init__(self, stream: Stream, client: int, server: int) -> None:
        self._stream, self._client, self._server = stream, client, server

    def open(self, deadline_s: float) -> None:
        """There is nothing to do."""

    def exchange(self, apdu: bytes, deadline_s: float) -> bytes:
        """Sends an APDU and returns the answer."""
        self._stream.discard()
        self._stream.send(_WRAPPER.pack(1, self._client, self._server, len(apdu)) + apdu, deadline_s)
        buffer = bytearray()
        while len(buffer) < _WRAPPER.size:
            buffer += self._stream.receive(deadline_s)
        version, source, destination, length = _WRAPPER.unpack_from(buffer)
        if version != 1 or length == 0:
            raise bad_answer(f"no wrapper: {bytes(buffer[:8]).hex()}")
        if (source, destination) != (self._server, self._client):
            raise bad_answer(
                f"from {source} to {destination}, expected from {self._server} to {self._client}"
            )
        while len(buffer) < _WRAPPER.size + length:
            buffer += self._stream.receive(deadline_s)
        if len(buffer) > _WRAPPER.size + length:
            raise bad_answer(f"{len(buffer) - _WRAPPER.size - length} bytes too many")
        return bytes(buffer[_WRAPPER.size :])

    def close(self, deadline_s: float) -> None:  # noqa: ARG002 - the wrapper has no farewell
        """Closes the connection."""
        self._stream.close()


class HdlcLink:
    """HDLC, over TCP or a serial line.

    Args:
        stream: the connection or line.
        client: bytes of our address.
        server: bytes of the meter's address.
        mode_e: true to begin with the greeting of IEC 62056-21.
    """

    def __init__(self, stream: Stream, client: bytes, server: bytes, *, mode_e: bool = False) -> None:
        self._stream, self._client, self._server = stream, client, server
        self._mode_e = mode_e
        self._buffer = bytearray()
        self._sent = self._received = 0
        self._information_bytes = 128

    def open(self, deadline_s: float) -> None:
        """Greets, where asked for, and connects the data link."""
        if self._mode_e:
            start_mode_e(self._stream, deadline_s)
        asked = LinkParameters(max_information_send=512, max_information_receive=512)
        answer = self._ask(SNRM, encode_parameters(asked), deadline_s)
        kind = answer.control & ~POLL_FINAL
        if kind != UA:
            word = "disconnected mode" if kind == DM else f"control {answer.control:#04x}"
            raise MeterFaultError(FaultKind.REFUSED, f"the data link: {word}")
        try:
            agreed = decode_parameters(answer.information)
        except DecodeError as error:
            raise bad_answer(str(error)) from error
        self._information_bytes = min(agreed.max_information_receive, 512)
        self._sent = self._received = 0

    def exchange(self, apdu: bytes, deadline_s: float) -> bytes:
        """Sends an APDU, in segments where it is long, and returns the answer."""
        request, size = _LLC_REQUEST + apdu, self._information_bytes
        parts = [request[start : start + size] for start in range(0, len(request), size)]
        for part in parts[:-1]:
            answer = self._send_information(part, deadline_s, segmented=True)
            if not answer.is_receive_ready or answer.receive_number != self._sent:
                raise bad_answer(f"control {answer.control:#04x}, expected receive ready")
        answer = self._send_information(parts[-1], deadline_s, segmented=False)
        found = b""
        while True:
            if not answer.is_information:
                raise bad_answer(f"control {answer.control:#04x}, expected information")
            if answer.send_number != self._received or answer.receive_number != self._sent:
                raise bad_answer(f"numbers {answer.send_number}, {answer.receive_number} out of order")
            self._received = (self._received + 1) & 7
            found += answer.information
            if len(found) > MAX_APDU_BYTES + len(_LLC_RESPONSE):
                raise bad_answer(f"more than {MAX_APDU_BYTES} bytes")
            if not answer.segmented:
                break
            answer = self._ask(self._received << 5 | 1, b"", deadline_s)
        if not found.startswith(_LLC_RESPONSE):
            raise bad_answer(f"LLC header {found[:3].hex()}, expected {_LLC_RESPONSE.hex()}")
        return found[len(_LLC_RESPONSE) :]

    def close(self, deadline_s: float) -> None:
        """Disconnects the data link as far as possible and closes the stream."""
        try:
            self._ask(DISC, b"", deadline_s)
        except MeterFaultError:
            pass  # it will find out by its own time-out
        finally:
            self._stream.close()

    def _send_information(self, part: bytes, deadline_s: float, *, segmented: bool) -> Frame:
        control = self._received << 5 | self._sent << 1
        self._sent = (self._sent + 1) & 7
        return self._ask(control, part, deadline_s, segmented=segmented)

    def _ask(self, control: int, information: bytes, deadline_s: float, *, segmented: bool = False) -> Frame:
        self._stream.discard()
        self._buffer.clear()
        frame = Frame(self._server, self._client, control | POLL_FINAL, information, segmented)
        self._stream.send(encode_frame(frame), deadline_s)
        while (raw := take_frame(self._buffer)) is None:
            self._buffer += self._stream.receive(deadline_s)
            if len(self._buffer) > MAX_APDU_BYTES:
                raise bad_answer("no HDLC frame in 64 KiB")
        try:
            answer = decode_frame(raw)
        except DecodeError as error:
            raise bad_answer(str(error)) from error
        if (answer.source, answer.destination) != (self._server, self._client):
            raise bad_answer(
                f"from {answer.source.hex()} to {answer.destination.hex()}, "
                f"expected from {self._server.hex()} to {self._client.hex()}"
            )
        return answer


def start_mode_e(stream: Stream, deadline_s: float) -> None:
    """Turns a meter from IEC 62056-21 to HDLC; on a serial line with its changes of speed.

    Raises:
        MeterFaultError: it did not answer, or does not know mode E.

    Source: IEC 62056-21 mode E (clause unverified, via the Gurux examples).
    """
    serial = stream if isinstance(stream, SerialStream) else None
    if serial is not None:
        serial.set_line(300, seven_bits_even=True)
    stream.send(b"/?!\r\n", deadline_s)
    greeting = _line(stream, deadline_s)
    baud_identifier = greeting[4:5]
    baud_rate = _BAUD_IDENTIFIERS.get(baud_identifier)
    if not greeting.startswith(b"/") or baud_rate is None or b"\\2" not in greeting:
        raise MeterFaultError(FaultKind.REFUSED, f"no mode E: it calls itself {greeting!r}")
    acknowledgement = b"\x062" + baud_identifier + b"2"
    stream.send(acknowledgement + b"\r\n", deadline_s)
    if serial is not None:
        serial.set_line(baud_rate, seven_bits_even=True)
    if _line(stream, deadline_s) != acknowledgement:
        raise bad_answer("mode E was not acknowledged")
    if serial is not None:
        serial.set_line(baud_rate, seven_bits_even=False)


def _line(stream: Stream, deadline_s: float) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        found += stream.receive(deadline_s)
        if len(found) > _MAX_GREETING_BYTES:
            raise bad_answer("a greeting without end")
    return found.rstrip(b"\r\n")
