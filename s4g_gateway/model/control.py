"""Control: select, operate, cancel, and the answer with its AddCause."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from s4g_gateway.model.data_set import Value, ValueType
from s4g_gateway.model.reference import ObjectReference


class ControlService(StrEnum):
    """What is asked."""

    SELECT = "select"
    OPERATE = "operate"
    CANCEL = "cancel"


class ControlModel(IntEnum):
    """CtlModelKind. Source: IEC 61850-7-2 (values from the IEC NSD code component, standards.md §1.9)."""

    STATUS_ONLY = 0
    DIRECT_NORMAL = 1
    SBO_NORMAL = 2
    DIRECT_ENHANCED = 3
    SBO_ENHANCED = 4


class OriginCategory(IntEnum):
    """OriginatorCategoryKind. Source: IEC 61850-7-3 (values from the IEC NSD code component)."""

    NOT_SUPPORTED = 0
    BAY_CONTROL = 1
    STATION_CONTROL = 2
    REMOTE_CONTROL = 3
    AUTOMATIC_BAY = 4
    AUTOMATIC_STATION = 5
    AUTOMATIC_REMOTE = 6
    MAINTENANCE = 7
    PROCESS = 8


class AddCause(IntEnum):
    """Why a Control was refused. Source: IEC 61850-7-2 AddCause (clause unverified, via libiec61850)."""

    UNKNOWN = 0
    NOT_SUPPORTED = 1
    BLOCKED_BY_SWITCHING_HIERARCHY = 2
    SELECT_FAILED = 3
    INVALID_POSITION = 4
    POSITION_REACHED = 5
    PARAMETER_CHANGE_IN_EXECUTION = 6
    STEP_LIMIT = 7
    BLOCKED_BY_MODE = 8
    BLOCKED_BY_PROCESS = 9
    BLOCKED_BY_INTERLOCKING = 10
    BLOCKED_BY_SYNCHROCHECK = 11
    COMMAND_ALREADY_IN_EXECUTION = 12
    BLOCKED_BY_HEALTH = 13
    ONE_OF_N_CONTROL = 14
    ABORTION_BY_CANCEL = 15
    TIME_LIMIT_OVER = 16
    ABORTION_BY_TRIP = 17
    OBJECT_NOT_SELECTED = 18
    OBJECT_ALREADY_SELECTED = 19
    NO_ACCESS_AUTHORITY = 20
    ENDED_WITH_OVERSHOOT = 21
    ABORTION_DUE_TO_DEVIATION = 22
    ABORTION_BY_COMMUNICATION_LOSS = 23
    BLOCKED_BY_COMMAND = 24
    NONE = 25
    INCONSISTENT_PARAMETERS = 26
    LOCKED_BY_OTHER_CLIENT = 27


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who asked.

    Attributes:
        category: kind of originator.
        identity: name of the originator, as authenticated.
    """

    category: OriginCategory
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPoint:
    """A point that accepts Controls, as its connector declares it.

    Attributes:
        reference: the controllable DO.
        value_type: kind of ctlVal.
        unit: canonical unit of ctlVal.
        model: control model the point asks for.
        minimum: smallest ctlVal accepted, None for no limit.
        maximum: greatest ctlVal accepted, None for no limit.
        expires: true for a set-point: when its validity ends the device is given back to its own rule by a
            Control with value None; false for a switching command, which stays.
        sbo_timeout_s: how long a selection lives.
        description: one line for people.
        functions: codes of the functions of TR 61850-90-7 that the point takes: then ctlVal may also be the text
            form of a function request (``s4g_gateway.profiles.iec61850_90_7``).
        device: name of the device in the site, for points with functions.
    """

    reference: ObjectReference
    value_type: ValueType = ValueType.FLOAT
    unit: str = ""
    model: ControlModel = ControlModel.DIRECT_ENHANCED
    minimum: float | None = None
    maximum: float | None = None
    expires: bool = True
    sbo_timeout_s: float = 30.0
    description: str = ""
    functions: tuple[str, ...] = ()
    device: str = ""

    @property
    def is_function(self) -> bool:
        """True where it takes nothing but function requests: they stay until the next, or end by their validity."""
        return bool(self.functions) and self.value_type is ValueType.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control request.

    Attributes:
        reference: the controllable DO, such as ``ESS1/DWGC1.WSpt``.
        service: select, operate or cancel.
        value: ctlVal in the point's canonical unit; None only for cancel, and for operate to mean "release":
            give the device back to its own rule.
        origin: who asked.
        ctl_num: 0 to 255, links select, operate and cancel.
        time_ns: T, when the request was made, ns since 1970 UTC.
        test: true for a test that must not reach the process.
        priority: 1 is the strongest; a weaker request never replaces a stronger one that still holds.
        not_before_ns: start of the validity window; 0 for now.
        not_after_ns: end of the validity window, when the set-point is released; None for no end.
        command_id: identity by which a repeat is known; empty for none.
    """

    reference: ObjectReference
    service: ControlService = ControlService.OPERATE
    value: Value = None
    origin: Origin
    ctl_num: int = 0
    time_ns: int
    test: bool = False
    priority: int = 8
    not_before_ns: int = 0
    not_after_ns: int | None = None
    command_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlAnswer:
    """What became of a Control.

    Attributes:
        accepted: true when the service was carried out; for operate: the device confirmed it.
        add_cause: why not; NONE when accepted.
        detail: one line for people.
    """

    accepted: bool
    add_cause: AddCause = AddCause.NONE
    detail: str = ""


def refused(add_cause: AddCause, detail: str) -> ControlAnswer:
    """Returns a negative answer."""
    return ControlAnswer(accepted=False, add_cause=add_cause, detail=detail)


ACCEPTED = ControlAnswer(accepted=True)
