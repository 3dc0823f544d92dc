"""One IEC 60870-5-104 connection without its socket: frames, sequence numbers, windows and timers.

The link carries ASDU octets and knows nothing of their content. Feed what the socket received, take the
events, write what ``data_to_send`` returns, and call ``handle_deadline`` when ``next_deadline`` has come.
Every time is monotonic seconds, given by the caller.

Source: IEC 60870-5-104 §5 (clause unverified).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from s4g_gateway.codecs.iec104.apci import (
    APCI_BYTES,
    SEQUENCE_MODULUS,
    U_FRAMES,
    U_OCTETS,
    FrameReader,
    UFrame,
    encode_i_frame,
    encode_s_frame,
)
from s4g_gateway.codecs.iec104.identifiers import ASDU_HEADER_BYTES, MAX_ASDU_BYTES
from s4g_gateway.codecs.iec104.link_states import FRAME_INPUTS, TRANSITIONS, LinkInput, LinkState, Role
from s4g_gateway.errors import DecodeError, LocalProtocolError, RemoteProtocolError

_MAX_ANSWERS: Final = 1024
"""Most U-frame confirmations that wait for the socket; a peer that makes more does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkParameters:
    """Window sizes and time-outs of a connection; the defaults are the standard's.

    Attributes:
        k: most I-frames sent and not acknowledged, 1 to 32767.
        w: latest acknowledgement after this many received I-frames, 1 to 32767; at most 2/3 of the peer's k.
        t0_s: how long a master waits for the TCP connection, seconds; the adapter keeps it.
        t1_s: how long to wait for an acknowledgement of an I-frame or a confirmation of a U-frame, seconds.
        t2_s: latest acknowledgement of a received I-frame, seconds; shorter than t1_s.
        t3_s: silence after which the connection is tested, seconds.

    Source: IEC 60870-5-104 §9.6 (clause unverified).
    """

    k: int = 12
    w: int = 8
    t0_s: float = 30.0
    t1_s: float = 15.0
    t2_s: float = 10.0
    t3_s: float = 20.0

    def __post_init__(self) -> None:
        for name, window in (("k", self.k), ("w", self.w)):
            if not 1 <= window <= SEQUENCE_MODULUS - 1:
                raise LocalProtocolError(f"{name}: expected 1 to 32767, found {window}")
        for name, period in (("t0", self.t0_s), ("t1", self.t1_s), ("t2", self.t2_s), ("t3", self.t3_s)):
            if not 0 < period <= 172_800:
                raise LocalProtocolError(f"{name}: expected more than 0 and at most 172800 s, found {period}")
        if self.t2_s >= self.t1_s:
            raise LocalProtocolError(f"t2: expected less than t1 = {self.t1_s} s, found {self.t2_s}")


@dataclass(frozen=True, slots=True)
class AsduReceived:
    """An I-frame arrived in order; ``asdu`` has 6 to 249 octets, not looked at yet."""

    asdu: bytes


@dataclass(frozen=True, slots=True)
class TransferStarted:
    """STARTDT was confirmed: ASDUs may be sent."""


@dataclass(frozen=True, slots=True)
class TransferStopped:
    """STOPDT was confirmed, or the link was superseded: no ASDU may be sent."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over: write what is left to send, close the socket, forget the link.

    Attributes:
        reason: why, for people.
        fault: the rule that was broken; None where nobody broke one.
    """

    reason: str
    fault: RemoteProtocolError | DecodeError | None = None


LinkEvent = AsduReceived | TransferStarted | TransferStopped | Closed


class Link:
    """One end of one connection.

    Args:
        role: outstation or master.
        parameters: windows and time-outs.
        now: monotonic seconds.
    """

    def __init__(self, role: Role, parameters: LinkParameters, now: float) -> None:
        self.role = role
        self.parameters = parameters
        self._state = LinkState.STOPPED
        self._reader = FrameReader()
        self._events: list[LinkEvent] = []
        self._out: list[bytes] = []
        self._answers_waiting = 0
        self._sent: deque[tuple[bytes, object, float]] = deque()
        self._send_number = 0
        self._acknowledged = 0
        self._receive_number = 0
        self._unconfirmed = 0
        self._confirm_by: float | None = None
        self._u_reply_by: float | None = None
        self._u_awaited: UFrame | None = None
        self._test_by: float = now + parameters.t3_s
        self._ending = Closed("")
        self.acknowledged_tag: object = None
        """Tag of the latest ASDU with one that the peer has acknowledged."""

    @property
    def state(self) -> LinkState:
        """Where the connection stands."""
        return self._state

    @property
    def ending(self) -> Closed:
        """Why the connection is over; an empty reason while it is not."""
        return self._ending

    @property
    def window(self) -> int:
        """How many ASDUs may be sent now; 0 while the transfer is not started."""
        if self._state is not LinkState.STARTED:
            return 0
        return self.parameters.k - len(self._sent)

    def events(self) -> list[LinkEvent]:
        """Returns what happened since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def start(self, now: float) -> None:
        """Asks for STARTDT (master).

        Raises:
            LocalProtocolError: an outstation, or not stopped.
        """
        self._wish(LinkInput.START, now)

    def stop(self, now: float) -> None:
        """Asks for STOPDT (master).

        Raises:
            LocalProtocolError: an outstation, or not started.
        """
        self._wish(LinkInput.STOP, now)

    def supersede(self, now: float) -> None:
        """Stops the transfer because another link of the redundancy group was started (outstation).

        Raises:
            LocalProtocolError: a master, or closed.
        """
        self._wish(LinkInput.SUPERSEDE, now)

    def close(self, reason: str, fault: RemoteProtocolError | DecodeError | None = None) -> None:
        """Ends the connection; does nothing on one that is closed."""
        if self._state is not LinkState.CLOSED:
            self._state = LinkState.CLOSED
            self._ending = Closed(reason, fault)
            self._events.append(self._ending)

    def send(self, asdu: bytes, now: float, tag: object = None) -> None:
        """Puts one ASDU into an I-frame.

        Args:
            asdu: 6 to 249 octets.
            now: monotonic seconds.
            tag: comes back from ``take_unacknowledged``, or shows in ``acknowledged_tag``.

        Raises:
            LocalProtocolError: not started, window full, or a length that no frame holds.
        """
        if self.window <= 0:
            raise LocalProtocolError(f"cannot send: {self._state.name}, {len(self._sent)} not acknowledged")
        if not ASDU_HEADER_BYTES <= len(asdu) <= MAX_ASDU_BYTES:
            raise LocalProtocolError(f"ASDU: expected 6 to 249 octets, found {len(asdu)}")
        number = self._send_number
        self._out.append(encode_i_frame(asdu, number, self._receive_number))
        self._sent.append((asdu, tag, now + self.parameters.t1_s))
        self._send_number = (number + 1) % SEQUENCE_MODULUS
        self._unconfirmed = 0
        self._confirm_by = None

    def take_unacknowledged(self) -> list[tuple[bytes, object]]:
        """Returns (asdu, tag) of everything sent and not acknowledged, oldest first, and forgets it.

        Raises:
            LocalProtocolError: the transfer is still running.
        """
        if self._state in (LinkState.STARTED, LinkState.STOPPING):
            raise LocalProtocolError("the transfer is still running")
        taken = [(asdu, tag) for asdu, tag, _ in self._sent if asdu]
        # The numbers stay in flight: the peer of a superseded link still owes their acknowledgement.
        self._sent = deque((b"", None, by) for _, _, by in self._sent)
        return taken

    def receive_data(self, data: bytes, now: float) -> None:
        """Takes octets from the socket; what they mean comes out of ``events``."""
        if self._state is LinkState.CLOSED:
            return
        try:
            for frame in self._reader.feed(data):
                self._receive(frame, now)
        except (DecodeError, RemoteProtocolError) as error:
            self.close(str(error), error)

    def receive_eof(self) -> None:
        """Takes the end of the stream."""
        self.close("the peer closed the connection")

    def data_to_send(self) -> bytes:
        """Returns what the socket is to write, acknowledgements that are due included."""
        if self._unconfirmed >= self.parameters.w and self._state is not LinkState.CLOSED:
            self._confirm()
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        self._answers_waiting = 0
        return data

    def next_deadline(self) -> float | None:
        """Returns when ``handle_deadline`` is to be called at the latest, monotonic seconds."""
        if self._state is LinkState.CLOSED:
            return None
        deadline = self._test_by
        if self._sent:
            deadline = min(deadline, self._sent[0][2])
        if self._confirm_by is not None:
            deadline = min(deadline, self._confirm_by)
        if self._u_reply_by is not None:
            deadline = min(deadline, self._u_reply_by)
        return deadline

    def handle_deadline(self, now: float) -> None:
        """Does what is due: acknowledge (t2), test (t3), give up (t1)."""
        if self._state is LinkState.CLOSED:
            return
        if self._sent and now >= self._sent[0][2]:
            self._give_up("t1: an I-frame was not acknowledged")
        elif self._u_reply_by is not None and now >= self._u_reply_by:
            awaited = "a U-frame" if self._u_awaited is None else self._u_awaited.name
            self._give_up(f"t1: {awaited} did not come")
        else:
            if self._confirm_by is not None and now >= self._confirm_by:
                self._confirm()
            if now >= self._test_by:
                if self._u_awaited is None:
                    self._out.append(U_OCTETS[UFrame.TESTFR_ACT])
                    self._await(UFrame.TESTFR_CON, now)
                self._test_by = now + self.parameters.t3_s

    def _give_up(self, reason: str) -> None:
        self.close(reason, RemoteProtocolError(reason))

    def _await(self, frame: UFrame, now: float) -> None:
        self._u_awaited = frame
        self._u_reply_by = now + self.parameters.t1_s

    def _confirm(self) -> None:
        if self._unconfirmed:
            self._out.append(encode_s_frame(self._receive_number))
            self._unconfirmed = 0
            self._confirm_by = None

    def _wish(self, wish: LinkInput, now: float) -> None:
        if (self.role, self._state, wish) not in TRANSITIONS:
            raise LocalProtocolError(
                f"{wish.value}: not possible for a {self.role.value} in {self._state.name}"
            )
        self._move(wish, now)

    def _move(self, cause: LinkInput, now: float) -> None:
        before = self._state
        step = TRANSITIONS.get((self.role, before, cause))
        if step is None:
            raise RemoteProtocolError(f"{cause.name}: not allowed while {before.name}")
        self._state, answer = step
        if answer is UFrame.STOPDT_ACT:
            self._confirm()
        if answer is not None:
            self._answers_waiting += 1
            if self._answers_waiting > _MAX_ANSWERS:
                raise RemoteProtocolError(
                    f"{_MAX_ANSWERS} confirmations wait: the peer asks on without reading"
                )
            self._out.append(U_OCTETS[answer])
            if answer is UFrame.STARTDT_ACT:
                self._await(UFrame.STARTDT_CON, now)
            elif answer is UFrame.STOPDT_ACT:
                self._await(UFrame.STOPDT_CON, now)
        if self._state is not before:
            if self._state is LinkState.STARTED:
                self._events.append(TransferStarted())
            elif self._state is LinkState.STOPPED:
                self._events.append(TransferStopped())

    def _receive(self, frame: bytes, now: float) -> None:
        self._test_by = now + self.parameters.t3_s
        control = frame[2]
        if not control & 1:
            self._receive_i(frame, now)
        elif control & 3 == 1:
            if control != 1 or frame[3] or len(frame) != APCI_BYTES:
                raise DecodeError(f"S-frame: found {frame.hex(' ')}", offset=2)
            self._move(LinkInput.S_FRAME, now)
            self._acknowledge(frame, now)
        else:
            name = U_FRAMES.get(control)
            if name is None or frame[3:] != b"\0\0\0":
                raise DecodeError(f"U-frame: found {frame.hex(' ')}", offset=2)
            self._receive_u(name, now)

    def _receive_i(self, frame: bytes, now: float) -> None:
        if len(frame) < APCI_BYTES + ASDU_HEADER_BYTES:
            raise DecodeError(
                f"I-frame: expected an ASDU of 6 or more octets, found {len(frame) - 6}", offset=1
            )
        self._move(LinkInput.I_FRAME, now)
        number = (frame[2] | frame[3] << 8) >> 1
        if number != self._receive_number:
            raise RemoteProtocolError(f"N(S): expected {self._receive_number}, found {number}")
        self._acknowledge(frame, now)
        self._receive_number = (number + 1) % SEQUENCE_MODULUS
        self._unconfirmed += 1
        if self._state is LinkState.STOPPING:  # the outstation waits for this before it confirms STOPDT
            self._confirm()
        elif self._confirm_by is None:
            self._confirm_by = now + self.parameters.t2_s
        self._events.append(AsduReceived(frame[6:]))

    def _receive_u(self, name: UFrame, now: float) -> None:
        if name is UFrame.STOPDT_ACT:
            self._confirm()
        self._move(FRAME_INPUTS[name], now)
        if name is self._u_awaited:
            self._u_awaited = self._u_reply_by = None
        if self.role is Role.CONTROLLED and self._state is LinkState.STOPPING and not self._sent:
            self._move(LinkInput.DRAINED, now)

    def _acknowledge(self, frame: bytes, now: float) -> None:
        if frame[4] & 1:
            raise DecodeError("N(R): the lowest bit is set", offset=4)
        number = (frame[4] | frame[5] << 8) >> 1
        count = (number - self._acknowledged) % SEQUENCE_MODULUS
        outstanding = (self._send_number - self._acknowledged) % SEQUENCE_MODULUS
        if count > outstanding:
            raise RemoteProtocolError(
                f"N(R): expected {self._acknowledged} to {self._send_number}, found {number}"
            )
        self._acknowledged = number
        for _ in range(count):
            tag = self._sent.popleft()[1]
            if tag is not None:
                self.acknowledged_tag = tag
        if not self._sent and self.role is Role.CONTROLLED and self._state is LinkState.STOPPING:
            self._move(LinkInput.DRAINED, now)
