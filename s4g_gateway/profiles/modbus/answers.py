"""What recipes for Controls get to see of a device's answers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from types import MappingProxyType

from s4g_gateway.model import AddCause, ControlAnswer, refused
from s4g_gateway.profiles.modbus.reads import Step

ILLEGAL_DATA_ADDRESS = 2
GATEWAY_PATH_UNAVAILABLE = 10
GATEWAY_TARGET_FAILED = 11

# Source: Modbus Application Protocol V1.1b3 (clause unverified); the AddCause is ours.
_ADD_CAUSES = MappingProxyType(
    {
        1: AddCause.NOT_SUPPORTED,
        2: AddCause.NOT_SUPPORTED,
        3: AddCause.INCONSISTENT_PARAMETERS,
        4: AddCause.BLOCKED_BY_HEALTH,
        5: AddCause.COMMAND_ALREADY_IN_EXECUTION,
        6: AddCause.BLOCKED_BY_PROCESS,
        GATEWAY_PATH_UNAVAILABLE: AddCause.ABORTION_BY_COMMUNICATION_LOSS,
        GATEWAY_TARGET_FAILED: AddCause.ABORTION_BY_COMMUNICATION_LOSS,
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device answered.

    Attributes:
        data: the registers of a read, empty for a write.
        exception: Modbus exception code, 0 for none.
    """

    data: bytes = b""
    exception: int = 0


# A Wait is answered with an empty Answer.
Exchange = Generator[Step, Answer, ControlAnswer]


def refusal(exception: int, what: str) -> ControlAnswer:
    """Returns the refusal that a Modbus exception code stands for."""
    cause = _ADD_CAUSES.get(exception, AddCause.UNKNOWN)
    return refused(cause, f"{what}: the device answered Modbus exception {exception}")
