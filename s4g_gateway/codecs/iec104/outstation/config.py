"""What an outstation is told before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from s4g_gateway.codecs.iec104.identifiers import MAX_OBJECT_ADDRESS
from s4g_gateway.codecs.iec104.link import LinkParameters
from s4g_gateway.errors import LocalProtocolError


class EndOfInitialisation(StrEnum):
    """When M_EI_NA_1 is sent, once for every common address."""

    NEVER = "never"
    ONCE = "once"
    """At the first STARTDT of each redundancy group after the start or a reset of the process."""
    EVERY_START = "every start"
    """At every STARTDT, for masters that interrogate only after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfig:
    """One redundancy group: the connections of one control centre, of which one at a time carries data.

    Attributes:
        name: unique among the groups.
        event_capacity: most information objects kept while no connection takes them; then the oldest go.
        overflow_point: (common address, object address) of a single point that is 1 from the loss of an event
            until the buffer has been emptied; None for no such point. The event carries type 30, an
            interrogation type 1.
        max_links: most connections of this group at a time.
        keep_unsaved: the application stores events: it asks for new ones with ``take_unsaved_events``.
    """

    name: str
    event_capacity: int = 100_000
    overflow_point: tuple[int, int] | None = None
    max_links: int = 8
    keep_unsaved: bool = False

    def __post_init__(self) -> None:
        if not 127 <= self.event_capacity <= 100_000_000:
            raise LocalProtocolError(
                f"group {self.name}: event_capacity: expected 127 to 100000000, found {self.event_capacity}"
            )
        if self.max_links < 1:
            raise LocalProtocolError(
                f"group {self.name}: max_links: expected 1 or more, found {self.max_links}"
            )
        if self.overflow_point is not None:
            common_address, address = self.overflow_point
            if not 1 <= common_address <= 65534 or not 1 <= address <= MAX_OBJECT_ADDRESS:
                raise LocalProtocolError(f"group {self.name}: overflow_point: found {self.overflow_point}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutstationConfig:
    """How an outstation behaves.

    Attributes:
        groups: one or more redundancy groups.
        link: windows and time-outs of every connection.
        zone_offset_minutes: the wall clock of time tags against UTC, -840 to 840.
        end_of_initialisation: when M_EI_NA_1 is sent.
        initialisation_cause: COI that M_EI_NA_1 carries at the start: 0 local power switch on, 1 local manual
            reset; 2 (remote reset) is set by itself after a reset process command.
        accept_clock_synchronisation: true confirms C_CS_NA_1 and reports it; false refuses it, for a
            station that takes its time from elsewhere.
        command_max_age_s: oldest time tag with which a command is carried out, seconds.
        command_max_ahead_s: how far a command's time tag may lie in the future, seconds.
        terminate_commands: send ACTTERM when a command has been carried out.
        answer_timeout_s: a command that the application has not answered after this time is refused, seconds.
        max_commands: most unanswered commands and selections of one link.
        max_replies: most ASDUs waiting for one link's window, beside events and interrogations; a master that
            asks on without acknowledging is disconnected there.
    """

    groups: tuple[GroupConfig, ...]
    link: LinkParameters = field(default_factory=LinkParameters)
    zone_offset_minutes: int = 0
    end_of_initialisation: EndOfInitialisation = EndOfInitialisation.ONCE
    initialisation_cause: int = 0
    accept_clock_synchronisation: bool = True
    command_max_age_s: float = 10.0
    command_max_ahead_s: float = 10.0
    terminate_commands: bool = True
    answer_timeout_s: float = 60.0
    max_commands: int = 64
    max_replies: int = 1024

    def __post_init__(self) -> None:
        names = [group.name for group in self.groups]
        if not names or len(set(names)) != len(names):
            raise LocalProtocolError(f"groups: expected one or more unique names, found {names}")
        if not 0 <= self.initialisation_cause <= 0x7F:
            raise LocalProtocolError(
                f"initialisation_cause: expected 0 to 127, found {self.initialisation_cause}"
            )
        for name, period in (
            ("command_max_age_s", self.command_max_age_s),
            ("command_max_ahead_s", self.command_max_ahead_s),
            ("answer_timeout_s", self.answer_timeout_s),
        ):
            if not period > 0:
                raise LocalProtocolError(f"{name}: expected more than 0, found {period}")
        for name, count in (("max_commands", self.max_commands), ("max_replies", self.max_replies)):
            if count < 1:
                raise LocalProtocolError(f"{name}: expected 1 or more, found {count}")
