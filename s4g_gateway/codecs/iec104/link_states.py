"""The one table of the connection's states: what each frame and each local wish does, for both ends.

A pair that is not in the table is illegal: from the peer it closes the connection, from our own side it
raises and changes nothing. Superseded means that another connection of the same redundancy group was
started.

Source: IEC 60870-5-104 §5.3 start and stop of data transfer, §10 redundancy (clauses unverified).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from s4g_gateway.codecs.iec104.apci import UFrame


class Role(Enum):
    """Which end of the connection this is."""

    CONTROLLED = "outstation"
    CONTROLLING = "master"


class LinkState(Enum):
    """Where the connection stands."""

    STOPPED = auto()
    STARTING = auto()
    STARTED = auto()
    STOPPING = auto()
    CLOSED = auto()


class LinkInput(Enum):
    """What can happen to the state: frames of the peer, then wishes of our own."""

    I_FRAME = auto()
    S_FRAME = auto()
    STARTDT_ACT = UFrame.STARTDT_ACT
    STARTDT_CON = UFrame.STARTDT_CON
    STOPDT_ACT = UFrame.STOPDT_ACT
    STOPDT_CON = UFrame.STOPDT_CON
    TESTFR_ACT = UFrame.TESTFR_ACT
    TESTFR_CON = UFrame.TESTFR_CON
    START = "start"
    STOP = "stop"
    DRAINED = "everything sent is acknowledged"
    SUPERSEDE = "superseded"


_OUT, _MASTER = Role.CONTROLLED, Role.CONTROLLING
_STOPPED, _STARTING, _STARTED, _STOPPING = (
    LinkState.STOPPED,
    LinkState.STARTING,
    LinkState.STARTED,
    LinkState.STOPPING,
)
_In = LinkInput

TRANSITIONS: Final[dict[tuple[Role, LinkState, LinkInput], tuple[LinkState, UFrame | None]]] = {
    # Outstation.
    (_OUT, _STOPPED, _In.STARTDT_ACT): (_STARTED, UFrame.STARTDT_CON),
    (_OUT, _STOPPED, _In.STOPDT_ACT): (_STOPPED, UFrame.STOPDT_CON),
    (_OUT, _STOPPED, _In.S_FRAME): (_STOPPED, None),  # late acknowledgement after being superseded
    (_OUT, _STOPPED, _In.SUPERSEDE): (_STOPPED, None),
    (_OUT, _STARTED, _In.STARTDT_ACT): (_STARTED, UFrame.STARTDT_CON),
    (_OUT, _STARTED, _In.I_FRAME): (_STARTED, None),
    (_OUT, _STARTED, _In.S_FRAME): (_STARTED, None),
    (_OUT, _STARTED, _In.STOPDT_ACT): (_STOPPING, None),
    (_OUT, _STARTED, _In.SUPERSEDE): (_STOPPED, None),
    (_OUT, _STOPPING, _In.S_FRAME): (_STOPPING, None),
    (_OUT, _STOPPING, _In.STOPDT_ACT): (_STOPPING, None),
    (_OUT, _STOPPING, _In.DRAINED): (_STOPPED, UFrame.STOPDT_CON),
    (_OUT, _STOPPING, _In.SUPERSEDE): (_STOPPED, UFrame.STOPDT_CON),
    # Master.
    (_MASTER, _STOPPED, _In.START): (_STARTING, UFrame.STARTDT_ACT),
    (_MASTER, _STARTING, _In.STARTDT_CON): (_STARTED, None),
    (_MASTER, _STARTED, _In.I_FRAME): (_STARTED, None),
    (_MASTER, _STARTED, _In.S_FRAME): (_STARTED, None),
    (_MASTER, _STARTED, _In.STOP): (_STOPPING, UFrame.STOPDT_ACT),
    (_MASTER, _STOPPING, _In.I_FRAME): (_STOPPING, None),
    (_MASTER, _STOPPING, _In.S_FRAME): (_STOPPING, None),
    (_MASTER, _STOPPING, _In.STOPDT_CON): (_STOPPED, None),
}
for _role in Role:
    for _state in (_STOPPED, _STARTING, _STARTED, _STOPPING):
        TRANSITIONS[_role, _state, _In.TESTFR_ACT] = (_state, UFrame.TESTFR_CON)
        TRANSITIONS[_role, _state, _In.TESTFR_CON] = (_state, None)

FRAME_INPUTS: Final = {frame: LinkInput(frame) for frame in UFrame}
