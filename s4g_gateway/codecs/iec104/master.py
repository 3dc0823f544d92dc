"""The controlling station's end of one connection: requests out, data and answers in.

Source: IEC 60870-5-101 §7.4 and IEC 60870-5-104 §7 (clauses unverified).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from s4g_gateway.codecs.iec104.asdu import Asdu, InformationObject, encode_asdu
from s4g_gateway.codecs.iec104.columns import Columns, decode_columns
from s4g_gateway.codecs.iec104.cp56time import TimeCoder, TimeTag
from s4g_gateway.codecs.iec104.elements import ASDU_TYPES
from s4g_gateway.codecs.iec104.identifiers import (
    BROADCAST_ADDRESS,
    COMMAND_TYPES,
    Cause,
    FreezeMode,
    ResetQualifier,
    TypeId,
)
from s4g_gateway.codecs.iec104.link import (
    AsduReceived,
    Closed,
    Link,
    TransferStopped,
)
from s4g_gateway.codecs.iec104.link_states import LinkState, Role
from s4g_gateway.codecs.iec104.master_events import (
    AsduIgnored,
    DataReceived,
    MasterConfig,
    MasterEvent,
    Outcome,
    RequestProgress,
    StationInitialised,
)
from s4g_gateway.errors import DecodeError, LocalProtocolError

_TEST_PATTERN: Final = 0x55AA
_STATION_QOI: Final = 20
_GENERAL_RQT: Final = 5
_INTERROGATIONS: Final = frozenset((TypeId.C_IC_NA_1, TypeId.C_CI_NA_1))


_UNKNOWN: Final = {
    Cause.UNKNOWN_TYPE: Outcome.UNKNOWN_TYPE,
    Cause.UNKNOWN_CAUSE: Outcome.UNKNOWN_CAUSE,
    Cause.UNKNOWN_COMMON_ADDRESS: Outcome.UNKNOWN_COMMON_ADDRESS,
    Cause.UNKNOWN_OBJECT_ADDRESS: Outcome.UNKNOWN_OBJECT_ADDRESS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    number: int
    type_id: TypeId
    cause: int
    common_address: int
    address: int
    qualifier: int | None
    terminates: bool
    confirmed: bool = False
    deadline: float

    def answers_to(self, columns: Columns) -> bool:
        header = columns.header
        return (
            columns.type_id is self.type_id
            and columns.addresses[0] == self.address
            and self.common_address in (header.common_address, BROADCAST_ADDRESS)
            and (
                self.qualifier is None or (columns.values is not None and columns.values[0] == self.qualifier)
            )
        )


class Master:
    """One connection to an outstation.

    Args:
        config: behaviour.
        now: monotonic seconds.
    """

    def __init__(self, config: MasterConfig, now: float) -> None:
        self.config = config
        self._link = Link(Role.CONTROLLING, config.link, now)
        self._coder = TimeCoder(config.zone_offset_minutes)
        self._events: list[MasterEvent] = []
        self._waiting: deque[bytes] = deque()
        self._running: dict[int, _Running] = {}
        self._number = 0

    @property
    def state(self) -> LinkState:
        """Where the connection stands."""
        return self._link.state

    def start(self, now: float) -> None:
        """Asks for STARTDT. Raises LocalProtocolError unless stopped."""
        self._link.start(now)

    def stop(self, now: float) -> None:
        """Asks for STOPDT. Raises LocalProtocolError unless started."""
        self._link.stop(now)
        self._follow(now)

    def close(self, reason: str, now: float) -> None:
        """Ends the connection for a reason of our own."""
        self._link.close(reason)
        self._follow(now)

    def receive_data(self, data: bytes, now: float) -> None:
        """Takes octets from the socket."""
        self._link.receive_data(data, now)
        self._follow(now)

    def receive_eof(self, now: float) -> None:
        """Takes the end of the stream, or the loss of the socket."""
        self._link.receive_eof()
        self._follow(now)

    def data_to_send(self, now: float) -> bytes:
        """Returns what the socket is to write now, b"" for nothing."""
        window = self._link.window
        while window and self._waiting:
            self._link.send(self._waiting.popleft(), now)
            window -= 1
        return self._link.data_to_send()

    def events(self) -> list[MasterEvent]:
        """Returns what happened since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> float | None:
        """Returns when ``handle_deadline`` is due at the latest, monotonic seconds."""
        times = [running.deadline for running in self._running.values()]
        link = self._link.next_deadline()
        return min(times if link is None else [*times, link], default=None)

    def handle_deadline(self, now: float) -> None:
        """Does what is due: tests, acknowledgements, requests that nobody answered."""
        for number in [number for number, item in self._running.items() if now >= item.deadline]:
            del self._running[number]
            self._events.append(RequestProgress(number, Outcome.TIMED_OUT, True, None))
        self._link.handle_deadline(now)
        self._follow(now)

    def interrogate(self, common_address: int, now: float, *, group: int = 0) -> int:
        """Asks for a general interrogation (group 0) or group 1 to 16; returns the request's number."""
        if not 0 <= group <= 16:
            raise LocalProtocolError(f"interrogation group: expected 0 to 16, found {group}")
        item = InformationObject(0, _STATION_QOI + group)
        return self._ask(TypeId.C_IC_NA_1, common_address, item, now, terminates=True)

    def interrogate_counters(
        self, common_address: int, now: float, *, group: int = 0, freeze: FreezeMode = FreezeMode.READ
    ) -> int:
        """Asks for all counters (group 0) or group 1 to 4, or freezes them; returns the request's number."""
        if not 0 <= group <= 4:
            raise LocalProtocolError(f"counter group: expected 0 to 4, found {group}")
        item = InformationObject(0, (group or _GENERAL_RQT) | freeze << 6)
        return self._ask(TypeId.C_CI_NA_1, common_address, item, now, terminates=freeze is FreezeMode.READ)

    def synchronise_clock(self, common_address: int, utc_ns: int, now: float) -> int:
        """Sends the time, ns since 1970 UTC; returns the request's number."""
        return self._ask(TypeId.C_CS_NA_1, common_address, InformationObject(0, time=TimeTag(utc_ns)), now)

    def read(self, common_address: int, address: int, now: float) -> int:
        """Asks for one object; returns the request's number."""
        item = InformationObject(address)
        return self._ask(TypeId.C_RD_NA_1, common_address, item, now, cause=Cause.REQUEST)

    def test(self, common_address: int, counter: int, utc_ns: int, now: float) -> int:
        """Sends a test command with time tag; ``counter`` is 0 to 65535; returns the request's number."""
        item = InformationObject(0, counter, time=TimeTag(utc_ns))
        return self._ask(TypeId.C_TS_TA_1, common_address, item, now)

    def test_untimed(self, common_address: int, now: float) -> int:
        """Sends a test command without time tag; returns the request's number."""
        return self._ask(TypeId.C_TS_NA_1, common_address, InformationObject(0, _TEST_PATTERN), now)

    def reset_process(self, common_address: int, qualifier: ResetQualifier, now: float) -> int:
        """Asks for a reset of the process; returns the request's number."""
        return self._ask(TypeId.C_RP_NA_1, common_address, InformationObject(0, int(qualifier)), now)

    def command(
        self,
        common_address: int,
        type_id: TypeId,
        item: InformationObject,
        now: float,
        *,
        cancel: bool = False,
        test: bool = False,
    ) -> int:
        """Sends a command.

        Args:
            common_address: the station.
            type_id: 45 to 51 or 58 to 64.
            item: address, value, qualifier, select bit, and a time tag for the timed types.
            now: monotonic seconds.
            cancel: take a selection back (deactivation).
            test: the T bit.

        Returns:
            The request's number.

        Raises:
            LocalProtocolError: no command type, or not started.
            EncodeError: a value that the type cannot carry, NaN or infinity.
        """
        if type_id not in COMMAND_TYPES:
            raise LocalProtocolError(f"command: expected type 45 to 51 or 58 to 64, found {type_id}")
        cause = Cause.DEACTIVATION if cancel else Cause.ACTIVATION
        terminates = self.config.expect_termination and not item.select and not cancel
        return self._ask(type_id, common_address, item, now, cause=cause, terminates=terminates, test=test)

    def _ask(
        self,
        type_id: TypeId,
        common_address: int,
        item: InformationObject,
        now: float,
        *,
        cause: Cause = Cause.ACTIVATION,
        terminates: bool = False,
        test: bool = False,
    ) -> int:
        if self._link.state is not LinkState.STARTED:
            raise LocalProtocolError(f"{type_id.name}: the link is {self._link.state.name}, expected STARTED")
        if len(self._waiting) >= self.config.max_waiting:
            raise LocalProtocolError(
                f"{type_id.name}: {len(self._waiting)} requests wait for the window already"
            )
        asdu = Asdu(
            type_id=type_id,
            cause=cause,
            common_address=common_address,
            objects=(item,),
            originator=self.config.originator,
            test=test,
        )
        self._waiting.append(encode_asdu(asdu, coder=self._coder))
        self._number += 1
        self._running[self._number] = _Running(
            number=self._number,
            type_id=type_id,
            cause=cause,
            common_address=common_address,
            address=item.address,
            qualifier=int(item.value or 0) if type_id in _INTERROGATIONS else None,
            terminates=terminates,
            deadline=now + self.config.confirm_timeout_s,
        )
        return self._number

    def _follow(self, now: float) -> None:
        for event in self._link.events():
            if isinstance(event, AsduReceived):
                try:
                    columns = decode_columns(event.asdu, coder=self._coder)
                except DecodeError as error:
                    self._events.append(AsduIgnored(event.asdu, error))
                else:
                    self._receive(event.asdu, columns, now)
                continue
            self._events.append(event)
            if isinstance(event, (Closed, TransferStopped)):
                self._waiting.clear()
                lost, self._running = self._running, {}
                self._events.extend(RequestProgress(number, Outcome.LINK_LOST, True, None) for number in lost)

    def _receive(self, asdu: bytes, columns: Columns, now: float) -> None:
        header = columns.header
        if columns.type_id is TypeId.M_EI_NA_1:
            coi = int(columns.values[0]) if columns.values else 0
            self._events.append(StationInitialised(header.common_address, coi))
        elif ASDU_TYPES[columns.type_id].control:
            self._progress(asdu, columns, now)
        else:
            self._events.append(DataReceived(columns))
            if header.cause == Cause.REQUEST:
                self._answer_read(columns)

    def _answer_read(self, columns: Columns) -> None:
        for number, running in self._running.items():
            if (
                running.type_id is TypeId.C_RD_NA_1
                and running.common_address == columns.header.common_address
                and running.address in columns.addresses
            ):
                del self._running[number]
                self._events.append(RequestProgress(number, Outcome.ANSWERED, True, columns))
                return

    def _progress(self, asdu: bytes, columns: Columns, now: float) -> None:
        header = columns.header
        running = next((item for item in self._running.values() if self._matches(item, columns)), None)
        outcome = _outcome(columns)
        if outcome is None:
            error = DecodeError(f"cause {header.cause}: expected that of an answer", offset=2)
            self._events.append(AsduIgnored(asdu, error))
            return
        if running is None:
            self._events.append(RequestProgress(None, outcome, True, columns))
            return
        if outcome is Outcome.CONFIRMED and running.terminates:
            self._running[running.number] = replace(
                running, confirmed=True, deadline=now + self.config.terminate_timeout_s
            )
            self._events.append(RequestProgress(running.number, outcome, False, columns))
            return
        del self._running[running.number]
        self._events.append(RequestProgress(running.number, outcome, True, columns))

    @staticmethod
    def _matches(item: _Running, columns: Columns) -> bool:
        """True where an answer belongs to a request: one that waits for just this kind of answer."""
        if not item.answers_to(columns):
            return False
        cause = columns.header.cause
        if cause == Cause.ACTIVATION_TERM:
            return item.confirmed
        if cause == Cause.ACTIVATION_CON:
            return item.cause == Cause.ACTIVATION and not item.confirmed
        if cause == Cause.DEACTIVATION_CON:
            return item.cause == Cause.DEACTIVATION
        return not item.confirmed


def _outcome(columns: Columns) -> Outcome | None:
    header = columns.header
    if header.cause in (Cause.ACTIVATION_CON, Cause.DEACTIVATION_CON):
        return Outcome.REFUSED if header.negative else Outcome.CONFIRMED
    if header.cause == Cause.ACTIVATION_TERM:
        return Outcome.TERMINATED_NEGATIVELY if header.negative else Outcome.TERMINATED
    if header.cause == Cause.REQUEST and header.negative:
        return Outcome.REFUSED
    try:
        return _UNKNOWN.get(Cause(header.cause))
    except ValueError:
        return None
