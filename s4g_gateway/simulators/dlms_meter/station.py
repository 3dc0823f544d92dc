"""HDLC secondary station of the simulated meter: one connection, window of one frame; sans-I/O.

Source: IEC 62056-46 data link layer (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

from typing import Final

from s4g_gateway.errors import DecodeError
from s4g_gateway.simulators.dlms_meter.application import Application, LogicalDevice
from s4g_gateway.workers.dlms.hdlc_frame import (
    DISC,
    DM,
    FRMR,
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

LLC_REQUEST: Final = b"\xe6\xe6\x00"
LLC_RESPONSE: Final = b"\xe6\xe7\x00"
MAX_BUFFER_BYTES: Final = 64 * 1024
MAX_INFORMATION_BYTES: Final = 512


class HdlcStation:
    """Answers frames.

    Args:
        device: the meter.
        server_address: bytes of its address; frames to another one are not its own.
    """

    def __init__(self, device: LogicalDevice, server_address: bytes) -> None:
        self._device = device
        self._address = server_address
        self._buffer = bytearray()
        self._application: Application | None = None
        self._client = b""
        self._sent = self._received = 0
        self._information_bytes = 128
        self._request = b""
        self._segments: list[bytes] = []

    def receive(self, data: bytes) -> list[bytes]:
        """Takes bytes from the line and returns the frames that answer them."""
        self._buffer += data
        answers = []
        while (raw := take_frame(self._buffer)) is not None:
            try:
                frame = decode_frame(raw)
            except DecodeError:
                continue  # a damaged frame is not answered; the client asks again
            if frame.destination == self._address and len(frame.source) == 1:
                answer = self._answer(frame)
                if answer is not None:
                    answers.append(encode_frame(answer))
        if len(self._buffer) > MAX_BUFFER_BYTES:
            self._buffer.clear()
        return answers

    def _reply(
        self, frame: Frame, control: int, information: bytes = b"", *, segmented: bool = False
    ) -> Frame:
        return Frame(frame.source, self._address, control | POLL_FINAL, information, segmented)

    def _answer(self, frame: Frame) -> Frame | None:
        kind = frame.control & ~POLL_FINAL
        if kind == SNRM:
            return self._connect(frame)
        if self._application is None or frame.source != self._client:
            return self._reply(frame, DM)
        if kind == DISC:
            self._application = None
            return self._reply(frame, UA)
        if frame.is_information:
            return self._take_information(frame)
        if frame.is_receive_ready:
            return self._go_on(frame)
        return None

    def _connect(self, frame: Frame) -> Frame:
        try:
            asked = decode_parameters(frame.information)
        except DecodeError:
            return self._reply(frame, DM)
        self._information_bytes = min(asked.max_information_receive, MAX_INFORMATION_BYTES)
        agreed = LinkParameters(
            max_information_send=self._information_bytes,
            max_information_receive=min(asked.max_information_send, MAX_INFORMATION_BYTES),
        )
        self._client = frame.source
        self._application = Application(self._device, frame.source[0] >> 1)
        self._sent = self._received = 0
        self._request, self._segments = b"", []
        return self._reply(frame, UA, encode_parameters(agreed))

    def _take_information(self, frame: Frame) -> Frame | None:
        if self._application is None or len(self._request) > MAX_BUFFER_BYTES:
            return self._reply(frame, FRMR)
        if frame.send_number != self._received:
            return self._reply(frame, self._receive_ready())
        self._received = (self._received + 1) & 7
        self._request += frame.information
        if frame.segmented:
            return self._reply(frame, self._receive_ready())
        request, self._request = self._request, b""
        if not request.startswith(LLC_REQUEST):
            return self._reply(frame, self._receive_ready())
        answer = LLC_RESPONSE + self._application.receive(request[len(LLC_REQUEST) :])
        size = self._information_bytes
        self._segments = [answer[start : start + size] for start in range(0, len(answer), size)]
        return self._send_segment(frame)

    def _go_on(self, frame: Frame) -> Frame:
        if self._segments and frame.receive_number == self._sent:
            return self._send_segment(frame)
        return self._reply(frame, self._receive_ready())

    def _send_segment(self, frame: Frame) -> Frame:
        part = self._segments.pop(0)
        control = self._received << 5 | self._sent << 1
        self._sent = (self._sent + 1) & 7
        return self._reply(frame, control, part, segmented=bool(self._segments))

    def _receive_ready(self) -> int:
        return self._received << 5 | 1
