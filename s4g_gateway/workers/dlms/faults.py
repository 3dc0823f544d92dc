"""What can go wrong between a worker and a meter, as kinds of which the log tells each change."""

from __future__ import annotations

from enum import StrEnum

from s4g_gateway.errors import AdapterError


class FaultKind(StrEnum):
    """Kinds of faults."""

    UNREACHABLE = "unreachable"
    NO_ANSWER = "no answer in time"
    BAD_ANSWER = "an answer that is not the meter's"
    REFUSED = "refused by the meter"
    LOCAL = "cannot be asked"


class MeterFaultError(AdapterError):
    """A meter cannot be read now.

    Args:
        kind: what kind of fault.
        reason: one line for people.
    """

    def __init__(self, kind: FaultKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind
        self.reason = reason


def bad_answer(reason: str) -> MeterFaultError:
    """Returns the fault of an answer that must not be used."""
    return MeterFaultError(FaultKind.BAD_ANSWER, reason)
