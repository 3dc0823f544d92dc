"""What the outstation asks of the process image that the profile keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from s4g_gateway.codecs.iec104.identifiers import COMMAND_TYPES, TIMED_COMMAND_OFFSET, FreezeMode, TypeId
from s4g_gateway.errors import LocalProtocolError


class CommandMode(StrEnum):
    """How a command point is operated."""

    DIRECT = "direct"
    SELECT = "select before operate"
    BOTH = "direct or select before operate"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPoint:
    """What the outstation must know of a command address before it asks the application.

    Attributes:
        type_id: the untimed command type, 45 to 51; its timed twin (58 to 64) is accepted with it.
        mode: direct, with select, or both.
        select_timeout_s: how long a selection lives, seconds.
        minimum: smallest raw value accepted, None for no limit.
        maximum: greatest raw value accepted, None for no limit.
    """

    type_id: TypeId
    mode: CommandMode = CommandMode.DIRECT
    select_timeout_s: float = 30.0
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        if self.type_id not in COMMAND_TYPES or self.type_id + TIMED_COMMAND_OFFSET not in COMMAND_TYPES:
            raise LocalProtocolError(f"command point: expected type 45 to 51, found {self.type_id}")
        if self.type_id is TypeId.C_BO_NA_1 and self.mode != CommandMode.DIRECT:
            raise LocalProtocolError("command point: a bitstring command has no select bit")


class ProcessImage(Protocol):
    """The present values of a station, ready as ASDUs.

    ASDUs that it returns have at most 249 octets; the outstation writes their cause and originator octets
    itself, so an image may keep them encoded. Iterators are drawn only as fast as the link takes the data;
    they must stay usable while values change (a value changed meanwhile may be the old or the new one).
    """

    @property
    def common_addresses(self) -> Collection[int]:
        """The stations served, each 1 to 65534."""

    def interrogate(self, common_address: int, group: int) -> Iterator[bytes]:
        """Yields the points of a general interrogation (group 0) or of group 1 to 16, in untimed types."""

    def interrogate_counters(self, common_address: int, group: int) -> Iterator[bytes]:
        """Yields all counters (group 0) or group 1 to 4 in type 15 or 37, the frozen values if any."""

    def freeze_counters(self, common_address: int, group: int, mode: FreezeMode, utc_ns: int) -> bool:
        """Freezes or resets all counters (group 0) or those of group 1 to 4; false refuses."""

    def read(self, common_address: int, address: int) -> bytes | None:
        """Returns one monitored point in an untimed type; None where there is none."""

    def command_point(self, common_address: int, address: int) -> CommandPoint | None:
        """Returns the command point at an address; None where there is none."""
