"""What an outstation reports to the application."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from s4g_gateway.codecs.iec104.cp56time import TimeTag
from s4g_gateway.codecs.iec104.identifiers import ResetQualifier, TypeId
from s4g_gateway.errors import DecodeError, RemoteProtocolError


@dataclass(frozen=True, slots=True)
class LinkStarted:
    """A master started the data transfer; its group's events now go to this link."""

    link: int
    group: str
    peer: str


@dataclass(frozen=True, slots=True)
class LinkStopped:
    """The data transfer ended while the connection stays: STOPDT, or another link of the group took over."""

    link: int
    group: str
    peer: str


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The connection is over: write what is left, close the socket.

    Attributes:
        link: which; the number is not used again.
        group: its redundancy group.
        peer: as given to ``open_link``.
        reason: why, for people.
        fault: the rule that the peer broke, None where nobody broke one.
    """

    link: int
    group: str
    peer: str
    reason: str
    fault: RemoteProtocolError | DecodeError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequested:
    """A master wants something done; answer with ``answer_command``, then ``terminate_command``.

    Nothing has been confirmed yet. A selection asks whether the device could; it lives from the positive
    answer until it is executed or released.

    Attributes:
        token: names this request in the answer.
        link: who asks.
        group: redundancy group of that link.
        peer: as given to ``open_link``.
        originator: originator address of the master.
        common_address: the station.
        address: information object address.
        type_id: 45 to 51 or 58 to 64, as received.
        value: raw value, as ``InformationObject.value`` of that type.
        qualifier: QU or QL.
        select: true for a selection, false to execute.
        selection: token of the selection that this execution uses up, None for a direct command.
        test: the T bit: answer, but do not touch the process.
        time: the command's time tag, already found to be fresh; None for an untimed type.
        received_ns: when it came, ns since 1970 UTC.
    """

    token: int
    link: int
    group: str
    peer: str
    originator: int
    common_address: int
    address: int
    type_id: TypeId
    value: int | float
    qualifier: int
    select: bool
    selection: int | None
    test: bool
    time: TimeTag | None
    received_ns: int


class ReleaseReason(StrEnum):
    """Why a selection or an unanswered request is over."""

    CANCELLED = "cancelled by the master"
    EXPIRED = "timed out"
    RESELECTED = "selected anew"
    MISMATCHED = "execute with another value, qualifier or type"
    LINK_LOST = "the link was lost or stopped"
    RESET = "the process was reset"


class RefusalReason(StrEnum):
    """Why the outstation refused a command by itself."""

    UNKNOWN_CAUSE = "a cause that a command does not have"
    UNKNOWN_STATION = "no such station"
    UNKNOWN_ADDRESS = "no command at this address"
    WRONG_TYPE = "a command of another type stands at this address"
    MALFORMED = "P/N bit, several objects, SQ = 1, or a date that is none"
    VALUE = "no number, no permitted state, or beyond the limits"
    TIME_TAG = "time tag too old, too far ahead, or invalid"
    NO_SELECT = "the point cannot be selected"
    NOT_SELECTED = "the point has not been selected"
    MISMATCH = "execute differs from select"
    SELECTED_ELSEWHERE = "another link has selected the point"
    BUSY = "the point or the link waits for an earlier command"
    NO_ANSWER = "the application did not answer in time"
    NOTHING_TO_CANCEL = "no selection to cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused:
    """A command was answered negatively without the application; nothing is to be done.

    Attributes:
        link: who asked.
        group: redundancy group of that link.
        peer: as given to ``open_link``.
        common_address: the station addressed.
        address: information object address, 0 where the octets have none.
        type_id: 45 to 51 or 58 to 64.
        reason: why.
    """

    link: int
    group: str
    peer: str
    common_address: int
    address: int
    type_id: TypeId
    reason: RefusalReason


@dataclass(frozen=True, slots=True)
class CommandReleased:
    """A selection ended without execution, or a request will not be answered any more.

    Attributes:
        token: of the ``CommandRequested`` concerned.
        selected: true where it had been answered positively and stood as a selection.
        reason: why.
    """

    token: int
    selected: bool
    reason: ReleaseReason


@dataclass(frozen=True, slots=True)
class ClockSynchronised:
    """A master sent the time; it has been confirmed.

    Attributes:
        link: who.
        common_address: the station; 65535 for all.
        time: what the master's clock showed.
        received_ns: what our clock showed, ns since 1970 UTC.
    """

    link: int
    common_address: int
    time: TimeTag
    received_ns: int


@dataclass(frozen=True, slots=True)
class ResetRequested:
    """A master asks to reset the process; answer with ``answer_command``.

    Accepting EVENT_BUFFER empties the event buffer of the link's group; accepting GENERAL is followed by
    ``Outstation.reset_process``. The application does the rest.
    """

    token: int
    link: int
    common_address: int
    qualifier: ResetQualifier


@dataclass(frozen=True, slots=True)
class EventsDropped:
    """A group's buffer was full; the oldest objects went.

    Attributes:
        group: which.
        count: how many objects since the last such report.
        total: how many since the start.
    """

    group: str
    count: int
    total: int


OutstationEvent = (
    LinkStarted
    | LinkStopped
    | LinkClosed
    | CommandRequested
    | CommandRefused
    | CommandReleased
    | ClockSynchronised
    | ResetRequested
    | EventsDropped
)
