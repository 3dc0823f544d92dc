"""How a master behaves, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from s4g_gateway.codecs.iec104.columns import Columns
from s4g_gateway.codecs.iec104.link import Closed, LinkParameters, TransferStarted, TransferStopped
from s4g_gateway.errors import DecodeError


class Outcome(StrEnum):
    """What became of a request so far."""

    CONFIRMED = "confirmed"
    REFUSED = "refused"
    TERMINATED = "terminated"
    TERMINATED_NEGATIVELY = "terminated negatively"
    ANSWERED = "answered"
    UNKNOWN_TYPE = "type unknown to the outstation"
    UNKNOWN_CAUSE = "cause unknown to the outstation"
    UNKNOWN_COMMON_ADDRESS = "common address unknown to the outstation"
    UNKNOWN_OBJECT_ADDRESS = "object address unknown to the outstation"
    TIMED_OUT = "no answer in time"
    LINK_LOST = "the link was lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterConfig:
    """How a master behaves.

    Attributes:
        link: windows and time-outs.
        originator: originator address in every request, 0 to 255.
        zone_offset_minutes: the wall clock of time tags against UTC, -840 to 840.
        confirm_timeout_s: how long to wait for a confirmation, seconds.
        terminate_timeout_s: how long to wait for a termination after the confirmation, seconds.
        expect_termination: executed commands end with ACTTERM; false where the outstation sends none.
        max_waiting: most requests waiting for the window.
    """

    link: LinkParameters = field(default_factory=LinkParameters)
    originator: int = 0
    zone_offset_minutes: int = 0
    confirm_timeout_s: float = 30.0
    terminate_timeout_s: float = 300.0
    expect_termination: bool = True
    max_waiting: int = 1024


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Monitored objects of one ASDU."""

    columns: Columns


@dataclass(frozen=True, slots=True)
class StationInitialised:
    """M_EI_NA_1: a station has started.

    Attributes:
        common_address: which.
        cause: COI.
    """

    common_address: int
    cause: int


@dataclass(frozen=True, slots=True)
class RequestProgress:
    """A request got on.

    Attributes:
        request: its number; None for an answer to a request that is over or was never made.
        outcome: how far it is.
        done: nothing more comes for it.
        columns: the answer as it came; None for a time-out or a lost link.
    """

    request: int | None
    outcome: Outcome
    done: bool
    columns: Columns | None


@dataclass(frozen=True, slots=True)
class AsduIgnored:
    """An ASDU that this master cannot read; the link goes on."""

    asdu: bytes
    error: DecodeError


MasterEvent = (
    TransferStarted
    | TransferStopped
    | Closed
    | DataReceived
    | StationInitialised
    | RequestProgress
    | AsduIgnored
)
