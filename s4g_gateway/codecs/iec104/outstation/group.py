"""A redundancy group: the connections of one control centre and the events that wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from s4g_gateway.codecs.iec104.asdu import Asdu, InformationObject, encode_asdu
from s4g_gateway.codecs.iec104.buffer import EventBuffer
from s4g_gateway.codecs.iec104.columns import pack_asdus
from s4g_gateway.codecs.iec104.cp56time import TimeCoder, tag_of_clock
from s4g_gateway.codecs.iec104.identifiers import Cause, TypeId
from s4g_gateway.codecs.iec104.link_states import LinkState
from s4g_gateway.codecs.iec104.outstation.config import GroupConfig
from s4g_gateway.codecs.iec104.outstation.session import Session

_CYCLIC: Final = frozenset((Cause.PERIODIC, Cause.BACKGROUND))
_CYCLIC_ASDUS: Final = 1024
_TIME_TAGGED: Final = frozenset(range(TypeId.M_SP_TB_1, TypeId.M_IT_TB_1 + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatus:
    """How a redundancy group is doing.

    Attributes:
        name: which.
        active_link: the link in STARTDT, None while there is none.
        links: every open link.
        buffered: information objects that wait to be sent.
        dropped: information objects lost because the buffer was full, since the start.
        cyclic_skipped: cyclic or background ASDUs replaced by newer ones because the link was slow.
    """

    name: str
    active_link: int | None
    links: tuple[int, ...]
    buffered: int
    dropped: int
    cyclic_skipped: int


class RedundancyGroup:
    """State of one group; see ``GroupConfig``."""

    def __init__(self, config: GroupConfig, coder: TimeCoder) -> None:
        self.config = config
        self.sessions: dict[int, Session] = {}
        self.active: Session | None = None
        self.initialised = False
        self._coder = coder
        self._events = EventBuffer(config.event_capacity)
        self._cyclic: deque[bytes] = deque()
        self._cyclic_skipped = 0
        self._reported = 0
        self._overflow = False
        self._announce = False
        self._utc_ns = 0
        self._unsaved: deque[tuple[bytes, int]] = deque()

    @property
    def place(self) -> int:
        """Place in the stream of events of the latest one that was sent."""
        return self._events.taken

    @property
    def added(self) -> int:
        """How many events it has taken."""
        return self._events.added

    @property
    def settled(self) -> int:
        """Up to this place of the stream no event is needed any more."""
        return self._events.settled

    @property
    def status(self) -> GroupStatus:
        """A snapshot."""
        return GroupStatus(
            name=self.config.name,
            active_link=None if self.active is None else self.active.number,
            links=tuple(self.sessions),
            buffered=len(self._events),
            dropped=self._events.dropped,
            cyclic_skipped=self._cyclic_skipped,
        )

    def add(self, asdu: bytes) -> None:
        """Takes one ASDU that has objects; cyclic ones only while a master listens."""
        if asdu[2] & 0x3F in _CYCLIC:
            if self.active is None:
                return
            if len(self._cyclic) >= _CYCLIC_ASDUS:
                self._cyclic.popleft()
                self._cyclic_skipped += 1
            self._cyclic.append(asdu)
            return
        self._events.add(asdu)
        if self.config.keep_unsaved:
            self._unsaved.append((asdu, self._events.added))

    def take_unsaved(self) -> list[tuple[bytes, int]]:
        """Returns (asdu, place) of the events since the last call that are still needed; see ``GroupConfig``."""
        self._forget_settled()
        unsaved = list(self._unsaved)
        self._unsaved.clear()
        return unsaved

    def acknowledge(self, place: int) -> None:
        """Notes that the master has every event up to a place."""
        if place > self._events.settled:
            self._events.acknowledge(place)
            self._forget_settled()

    def restore_loss(self, count: int) -> None:
        """Takes word of events lost before this run: the master is told as of any loss."""
        self._events.dropped += count
        self._reported += count
        self._announce = self._overflow = True

    def settle(self, utc_ns: int) -> int:
        """Notes losses since the last call and returns their number."""
        self._utc_ns = utc_ns
        lost = self._events.dropped - self._reported
        if lost:
            self._reported = self._events.dropped
            self._announce = self._announce or not self._overflow
            self._overflow = True
        return lost

    def next_event(self) -> bytes:
        """Returns the next event or cyclic ASDU, b"" when nothing waits."""
        if self._overflow and self.config.overflow_point is not None:
            if self._announce:
                self._announce = False
                return self._overflow_asdu(1)
            if not len(self._events):
                self._overflow = False
                return self._overflow_asdu(0)
        asdu = self._events.take()
        if not asdu:
            self._overflow = False
            if self._cyclic:
                return self._cyclic.popleft()
        return asdu

    def give_back(self, asdus: Iterable[tuple[bytes, int]]) -> None:
        """Takes back (asdu, place) of what was sent but not acknowledged; cyclic ASDUs are old news and go."""
        self._events.give_back(entry for entry in asdus if entry[0][2] & 0x3F not in _CYCLIC)

    def clear_events(self) -> None:
        """Empties the buffer of events with time tag, on the master's wish."""
        cleared = self._events.clear()
        self._forget_settled()
        for asdu in cleared:
            if asdu[0] not in _TIME_TAGGED:
                self.add(asdu)

    def overflow_state(self, common_address: int) -> list[bytes]:
        """Returns the overflow point for an interrogation of that station, if it lies there."""
        point = self.config.overflow_point
        if point is None or point[0] != common_address:
            return []
        return pack_asdus(
            TypeId.M_SP_NA_1,
            common_address,
            Cause.INTERROGATED_BY_STATION,
            addresses=[point[1]],
            values=[int(self._overflow)],
        )

    def leave(self, session: Session) -> None:
        """Takes a session out of the transfer; its unacknowledged events wait for the next one."""
        unsent = [(asdu, self.place) for asdu in session.clear()]
        # A link that was stopped and started again in the same octets had everything acknowledged in between.
        running = session.link.state is LinkState.STARTED
        in_flight = [] if running else session.link.take_unacknowledged()
        self.give_back([(asdu, tag) for asdu, tag in in_flight if isinstance(tag, int)] + unsent)
        if self.active is session:
            self.active = None
            self._cyclic.clear()

    def _forget_settled(self) -> None:
        settled, unsaved = self._events.settled, self._unsaved
        while unsaved and unsaved[0][1] <= settled:
            unsaved.popleft()

    def _overflow_asdu(self, value: int) -> bytes:
        common_address, address = self.config.overflow_point or (0, 0)
        return encode_asdu(
            Asdu(
                type_id=TypeId.M_SP_TB_1,
                cause=Cause.SPONTANEOUS,
                common_address=common_address,
                objects=(InformationObject(address, value, time=tag_of_clock(self._utc_ns)),),
            ),
            coder=self._coder,
        )
