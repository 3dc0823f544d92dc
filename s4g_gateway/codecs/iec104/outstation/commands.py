"""Commands: select, execute, cancel, and the answers that come when the device has spoken.

A point is free, asked (the application has not answered yet) or selected. Only the link that selected a point
executes or cancels it, with the same type, value and qualifier, before the selection expires. A request that
breaks a rule is answered negatively and never reaches the application.

Source: IEC 60870-5-101 §7.4.7 command transmission (clause unverified).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Final

from s4g_gateway.codecs.iec104.columns import Columns
from s4g_gateway.codecs.iec104.header import answer_to
from s4g_gateway.codecs.iec104.identifiers import (
    TIMED_COMMAND_OFFSET,
    Cause,
    ResetQualifier,
    TypeId,
)
from s4g_gateway.codecs.iec104.outstation.config import OutstationConfig
from s4g_gateway.codecs.iec104.outstation.events import (
    CommandRefused,
    CommandReleased,
    CommandRequested,
    OutstationEvent,
    RefusalReason,
    ReleaseReason,
    ResetRequested,
)
from s4g_gateway.codecs.iec104.outstation.process_image import CommandMode, CommandPoint
from s4g_gateway.codecs.iec104.outstation.session import Session

_NS_PER_S: Final = 1_000_000_000
_TWO_STATE: Final = frozenset((TypeId.C_DC_NA_1, TypeId.C_RC_NA_1))
_REGULAR_STATES: Final = (1, 2)


@dataclass(frozen=True, slots=True)
class Asked:
    """The application has not answered yet, or, once it has, the execution has not ended yet."""

    session: Session
    request: CommandRequested | ResetRequested
    asdu: bytes
    deadline: float
    select_timeout_s: float = 0.0
    stations: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Selection:
    """A selection that stands."""

    session: Session
    request: CommandRequested
    deadline: float

    def fits(self, columns: Columns) -> bool:
        """True where an execution is what was selected."""
        request = self.request
        asked = columns.type_id, _value(columns), _qualifier(columns), columns.header.test
        return asked == (request.type_id, request.value, request.qualifier, request.test)


class Commands:
    """Every command between its arrival and its termination.

    Args:
        config: time-outs and limits.
        emit: takes the events for the application.
    """

    def __init__(self, config: OutstationConfig, emit: Callable[[OutstationEvent], None]) -> None:
        self._config = config
        self._emit = emit
        self._token = 0
        self._asked: dict[int, Asked] = {}
        self._executing: dict[int, Asked] = {}
        self._selected: dict[tuple[int, int], _Selection] = {}

    def request(
        self, session: Session, asdu: bytes, columns: Columns, point: CommandPoint, *, now: float, utc_ns: int
    ) -> None:
        """Handles an activation or a deactivation of a command point that exists."""
        key = columns.header.common_address, columns.addresses[0]
        if columns.header.cause == Cause.DEACTIVATION:
            self._cancel(session, asdu, key, now)
            return
        selection = self._selected.get(key)
        if selection is not None and now >= selection.deadline:
            self._release(key, ReleaseReason.EXPIRED)
            selection = None
        select = bool(columns.selects and columns.selects[0])
        reason = self._refusal(session, columns, point, select=select, utc_ns=utc_ns)
        if reason is None and self._is_asked(key):
            reason = RefusalReason.BUSY
        if reason is not None:
            self.refuse(session, asdu, reason)
            return
        used: int | None = None
        if select:
            if selection is not None and session is not selection.session:
                self.refuse(session, asdu, RefusalReason.SELECTED_ELSEWHERE)
                return
            if selection is not None:
                self._release(key, ReleaseReason.RESELECTED)
        elif selection is not None:
            if session is not selection.session:
                self.refuse(session, asdu, RefusalReason.SELECTED_ELSEWHERE)
                return
            if not selection.fits(columns):
                self._release(key, ReleaseReason.MISMATCHED)
                self.refuse(session, asdu, RefusalReason.MISMATCH)
                return
            used = selection.request.token
            del self._selected[key]
        elif point.mode == CommandMode.SELECT:
            self.refuse(session, asdu, RefusalReason.NOT_SELECTED)
            return
        self._token += 1
        header = columns.header
        request = CommandRequested(
            token=self._token,
            link=session.number,
            group=session.group,
            peer=session.peer,
            originator=header.originator,
            common_address=key[0],
            address=key[1],
            type_id=columns.type_id,
            value=_value(columns),
            qualifier=_qualifier(columns),
            select=select,
            selection=used,
            test=header.test,
            time=columns.times[0] if columns.times else None,
            received_ns=utc_ns,
        )
        deadline = now + self._config.answer_timeout_s
        self._asked[request.token] = Asked(session, request, asdu, deadline, point.select_timeout_s)
        self._emit(request)

    def request_reset(
        self, session: Session, asdu: bytes, stations: list[int], qualifier: ResetQualifier, *, now: float
    ) -> None:
        """Asks the application for a reset of the process of every station that was addressed."""
        if self._load(session) >= self._config.max_commands:
            refuse(session, asdu)
            return
        self._token += 1
        common_address = int.from_bytes(asdu[4:6], "little")
        request = ResetRequested(self._token, session.number, common_address, qualifier)
        self._asked[request.token] = Asked(
            session, request, asdu, now + self._config.answer_timeout_s, stations=tuple(stations)
        )
        self._emit(request)

    def refuse(
        self, session: Session, asdu: bytes, reason: RefusalReason, cause: Cause | None = None
    ) -> None:
        """Answers a command negatively, with a cause of its own where there is one, and reports it."""
        if cause is None:
            refuse(session, asdu)
        else:
            session.reply(answer_to(asdu, cause, negative=True))
        self._emit(
            CommandRefused(
                link=session.number,
                group=session.group,
                peer=session.peer,
                common_address=int.from_bytes(asdu[4:6], "little"),
                address=int.from_bytes(asdu[6:9], "little"),
                type_id=TypeId(asdu[0]),
                reason=reason,
            )
        )

    def answer(
        self, token: int, accepted: bool, now: float, cause: Cause = Cause.ACTIVATION_CON
    ) -> Asked | None:
        """Confirms or refuses; returns what was asked, None where nobody waits for it any more."""
        asked = self._asked.pop(token, None)
        if asked is None:
            return None
        request = asked.request
        for station in asked.stations or (request.common_address,):
            asked.session.reply(answer_to(asked.asdu, cause, negative=not accepted, common_address=station))
        if accepted and isinstance(request, CommandRequested):
            if request.select:
                key = request.common_address, request.address
                self._selected[key] = _Selection(asked.session, request, now + asked.select_timeout_s)
            elif self._config.terminate_commands:
                self._executing[token] = Asked(
                    asked.session, request, asked.asdu, now + self._config.answer_timeout_s
                )
        return asked

    def terminate(self, token: int, accepted: bool, returned: tuple[bytes, ...]) -> Session | None:
        """Sends what the command changed, then its termination; returns the link that got it."""
        asked = self._executing.pop(token, None)
        if asked is None:
            return None
        for asdu in returned:
            asked.session.reply(asdu, is_event=True)
        asked.session.reply(answer_to(asked.asdu, Cause.ACTIVATION_TERM, negative=not accepted))
        return asked.session

    def release_link(self, session: Session, reason: ReleaseReason = ReleaseReason.LINK_LOST) -> None:
        """Forgets everything of a link that no longer carries data."""
        for key in [key for key, item in self._selected.items() if item.session is session]:
            self._release(key, reason)
        for token in [token for token, item in self._asked.items() if item.session is session]:
            del self._asked[token]
            self._emit(CommandReleased(token, False, reason))
        for token in [token for token, item in self._executing.items() if item.session is session]:
            del self._executing[token]

    def release_selections(self, reason: ReleaseReason) -> None:
        """Forgets every selection."""
        for key in list(self._selected):
            self._release(key, reason)

    @property
    def unanswered(self) -> int:
        """How many requests wait for the application."""
        return len(self._asked)

    def next_deadline(self) -> float | None:
        """Returns when ``expire`` is due."""
        if not (self._asked or self._executing or self._selected):
            return None
        return min(item.deadline for item in self._items())

    def expire(self, now: float) -> None:
        """Ends selections that were not executed and refuses requests that the application did not answer."""
        for key in [key for key, item in self._selected.items() if now >= item.deadline]:
            self._release(key, ReleaseReason.EXPIRED)
        for token in [token for token, item in self._asked.items() if now >= item.deadline]:
            asked = self._asked.pop(token)
            if isinstance(asked.request, CommandRequested):
                self.refuse(asked.session, asked.asdu, RefusalReason.NO_ANSWER)
            else:
                refuse(asked.session, asked.asdu)
            self._emit(CommandReleased(token, False, ReleaseReason.EXPIRED))
        for token in [token for token, item in self._executing.items() if now >= item.deadline]:
            del self._executing[token]

    def _items(self) -> Iterator[Asked | _Selection]:
        yield from self._asked.values()
        yield from self._executing.values()
        yield from self._selected.values()

    def _load(self, session: Session) -> int:
        return sum(item.session is session for item in self._items())

    def _asked_selections(self, session: Session, key: tuple[int, int]) -> list[int]:
        return [
            token
            for token, item in self._asked.items()
            if isinstance(item.request, CommandRequested)
            and item.request.select
            and item.session is session
            and (item.request.common_address, item.request.address) == key
        ]

    def _is_asked(self, key: tuple[int, int]) -> bool:
        return any(
            isinstance(item.request, CommandRequested)
            and (item.request.common_address, item.request.address) == key
            for item in self._asked.values()
        )

    def _release(self, key: tuple[int, int], reason: ReleaseReason) -> None:
        self._emit(CommandReleased(self._selected.pop(key).request.token, True, reason))

    def _cancel(self, session: Session, asdu: bytes, key: tuple[int, int], now: float) -> None:
        selection = self._selected.get(key)
        found = selection is not None and selection.session is session and now < selection.deadline
        if found:
            self._release(key, ReleaseReason.CANCELLED)
        for token in self._asked_selections(session, key):
            refuse(session, self._asked.pop(token).asdu)
            self._emit(CommandReleased(token, False, ReleaseReason.CANCELLED))
            found = True
        if found:
            session.reply(answer_to(asdu, Cause.DEACTIVATION_CON))
        else:
            self.refuse(session, asdu, RefusalReason.NOTHING_TO_CANCEL)

    def _refusal(
        self, session: Session, columns: Columns, point: CommandPoint, *, select: bool, utc_ns: int
    ) -> RefusalReason | None:
        if self._load(session) >= self._config.max_commands:
            return RefusalReason.BUSY
        if select and point.mode == CommandMode.DIRECT:
            return RefusalReason.NO_SELECT
        value = _value(columns)
        if (
            not isfinite(value)
            or (point.type_id in _TWO_STATE and value not in _REGULAR_STATES)
            or (point.minimum is not None and value < point.minimum)
            or (point.maximum is not None and value > point.maximum)
        ):
            return RefusalReason.VALUE
        if columns.times:
            tag = columns.times[0]
            age_ns = utc_ns - tag.time_ns
            if (
                tag.invalid
                or age_ns > self._config.command_max_age_s * _NS_PER_S
                or -age_ns > self._config.command_max_ahead_s * _NS_PER_S
            ):
                return RefusalReason.TIME_TAG
        return None


def fits(point: CommandPoint, type_id: TypeId) -> bool:
    """True where a command of that type, timed or not, is meant for this point."""
    return type_id in (point.type_id, point.type_id + TIMED_COMMAND_OFFSET)


def refuse(session: Session, asdu: bytes) -> None:
    """Answers an activation or deactivation negatively."""
    cause = Cause.DEACTIVATION_CON if asdu[2] & 0x3F == Cause.DEACTIVATION else Cause.ACTIVATION_CON
    session.reply(answer_to(asdu, cause, negative=True))


def _value(columns: Columns) -> float:
    return columns.values[0] if columns.values else 0


def _qualifier(columns: Columns) -> int:
    return columns.qualifiers[0] if columns.qualifiers else 0
