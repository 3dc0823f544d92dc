"""What a master may ask, and in which order a request is judged: type, cause, station, object, content.

Source: IEC 60870-5-101 §7.2.3 (causes 44 to 47) and §7.4 (application functions) (clauses unverified).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from s4g_gateway.codecs.iec104.columns import Columns, check_structure, decode_columns
from s4g_gateway.codecs.iec104.cp56time import TIME_BYTES, TimeCoder, TimeTag, tag_of_clock
from s4g_gateway.codecs.iec104.elements import ASDU_TYPES
from s4g_gateway.codecs.iec104.header import AsduHeader, answer_to, decode_header, with_cause
from s4g_gateway.codecs.iec104.identifiers import (
    BROADCAST_ADDRESS,
    COMMAND_TYPES,
    Cause,
    FreezeMode,
    ResetQualifier,
    TypeId,
)
from s4g_gateway.codecs.iec104.outstation.commands import Commands, fits, refuse
from s4g_gateway.codecs.iec104.outstation.config import OutstationConfig
from s4g_gateway.codecs.iec104.outstation.events import ClockSynchronised, OutstationEvent, RefusalReason
from s4g_gateway.codecs.iec104.outstation.group import RedundancyGroup
from s4g_gateway.codecs.iec104.outstation.process_image import ProcessImage
from s4g_gateway.codecs.iec104.outstation.session import Interrogation, Session
from s4g_gateway.errors import DecodeError

_ACTIVATE: Final = frozenset((Cause.ACTIVATION,))
_ACTIVATE_OR_CANCEL: Final = frozenset((Cause.ACTIVATION, Cause.DEACTIVATION))
CAUSES: Final[dict[TypeId, frozenset[Cause]]] = {
    **dict.fromkeys(COMMAND_TYPES, _ACTIVATE_OR_CANCEL),
    TypeId.C_IC_NA_1: _ACTIVATE_OR_CANCEL,
    TypeId.C_CI_NA_1: _ACTIVATE,
    TypeId.C_RD_NA_1: frozenset((Cause.REQUEST,)),
    TypeId.C_CS_NA_1: _ACTIVATE,
    TypeId.C_TS_NA_1: _ACTIVATE,
    TypeId.C_RP_NA_1: _ACTIVATE,
    TypeId.C_TS_TA_1: _ACTIVATE,
}
"""Every type accepted from a master, with the causes it may carry."""
_BROADCAST: Final = frozenset((TypeId.C_IC_NA_1, TypeId.C_CI_NA_1, TypeId.C_CS_NA_1, TypeId.C_RP_NA_1))
_STATION_QOI: Final = 20
_GROUPS: Final = 16
_COUNTER_GROUPS: Final = 4
_GENERAL_RQT: Final = 5
_TEST_PATTERN: Final = 0x55AA


class Requests:
    """Judges and answers what masters send.

    Args:
        config: behaviour.
        image: the process image.
        commands: takes the commands.
        coder: the zone of time tags.
        emit: takes the events for the application.
    """

    def __init__(
        self,
        config: OutstationConfig,
        image: ProcessImage,
        commands: Commands,
        *,
        coder: TimeCoder,
        emit: Callable[[OutstationEvent], None],
    ) -> None:
        self._config = config
        self._image = image
        self._commands = commands
        self._coder = coder
        self._emit = emit

    def handle(
        self, session: Session, group: RedundancyGroup, asdu: bytes, *, now: float, utc_ns: int
    ) -> None:
        """Answers one ASDU.

        Raises:
            DecodeError: an ASDU of an accepted type whose octets do not make one; nothing has been done.
        """
        header = decode_header(asdu)
        type_id = ASDU_TYPES[header.type_id].type_id if header.type_id in ASDU_TYPES else None
        if type_id is None or type_id not in CAUSES:
            session.reply(answer_to(asdu, Cause.UNKNOWN_TYPE, negative=True))
            return
        if header.cause not in CAUSES[type_id]:
            self._deny(session, asdu, Cause.UNKNOWN_CAUSE, RefusalReason.UNKNOWN_CAUSE)
            return
        stations = self._stations(header, type_id)
        if not stations:
            self._deny(session, asdu, Cause.UNKNOWN_COMMON_ADDRESS, RefusalReason.UNKNOWN_STATION)
            return
        check_structure(asdu, header)
        if header.negative:
            self._refuse(session, asdu)
            return
        try:
            columns = decode_columns(asdu, coder=self._coder, header=header)
        except DecodeError:
            # The octets are all there, but several objects, SQ=1 or a date that is none.
            self._refuse(session, asdu)
            return
        if type_id in COMMAND_TYPES:
            point = self._image.command_point(header.common_address, columns.addresses[0])
            if point is None or not fits(point, type_id):
                reason = RefusalReason.UNKNOWN_ADDRESS if point is None else RefusalReason.WRONG_TYPE
                self._deny(session, asdu, Cause.UNKNOWN_OBJECT_ADDRESS, reason)
                return
            self._commands.request(session, asdu, columns, point, now=now, utc_ns=utc_ns)
        elif type_id is TypeId.C_RD_NA_1:
            self._read(session, asdu, columns)
        elif columns.addresses[0]:
            session.reply(answer_to(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, negative=True))
        elif type_id is TypeId.C_IC_NA_1:
            self._interrogate(session, group, asdu, columns, stations)
        elif type_id is TypeId.C_CI_NA_1:
            self._interrogate_counters(session, asdu, columns, stations, utc_ns)
        elif type_id is TypeId.C_CS_NA_1:
            self._synchronise(session, asdu, columns, stations, utc_ns)
        elif type_id is TypeId.C_RP_NA_1:
            self._reset(session, asdu, columns, stations, now)
        else:
            fits_pattern = type_id is TypeId.C_TS_TA_1 or _octet(columns) == _TEST_PATTERN
            session.reply(answer_to(asdu, Cause.ACTIVATION_CON, negative=not fits_pattern))

    def _stations(self, header: AsduHeader, type_id: TypeId) -> list[int]:
        served = self._image.common_addresses
        if header.common_address == BROADCAST_ADDRESS:
            return sorted(served) if type_id in _BROADCAST else []
        return [header.common_address] if header.common_address in served else []

    def _deny(self, session: Session, asdu: bytes, cause: Cause, reason: RefusalReason) -> None:
        if asdu[0] in COMMAND_TYPES:
            self._commands.refuse(session, asdu, reason, cause)
        else:
            session.reply(answer_to(asdu, cause, negative=True))

    def _refuse(self, session: Session, asdu: bytes) -> None:
        if asdu[0] in COMMAND_TYPES:
            self._commands.refuse(session, asdu, RefusalReason.MALFORMED)
        elif asdu[2] & 0x3F == Cause.REQUEST:
            session.reply(answer_to(asdu, Cause.REQUEST, negative=True))
        else:
            refuse(session, asdu)

    def _read(self, session: Session, asdu: bytes, columns: Columns) -> None:
        header = columns.header
        found = self._image.read(header.common_address, columns.addresses[0])
        if found is None:
            session.reply(answer_to(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, negative=True))
        else:
            session.reply(with_cause(found, Cause.REQUEST, originator=header.originator, test=header.test))

    def _interrogate(
        self, session: Session, group: RedundancyGroup, asdu: bytes, columns: Columns, stations: list[int]
    ) -> None:
        qualifier = _octet(columns)
        number = qualifier - _STATION_QOI
        if not 0 <= number <= _GROUPS:
            self._refuse(session, asdu)
            return
        for station in stations:
            key = (TypeId.C_IC_NA_1, station, qualifier)
            if columns.header.cause == Cause.DEACTIVATION:
                stopped = session.stop_interrogation(key)
                session.reply(
                    answer_to(asdu, Cause.DEACTIVATION_CON, negative=not stopped, common_address=station)
                )
                continue
            session.reply(answer_to(asdu, Cause.ACTIVATION_CON, common_address=station))
            data = self._image.interrogate(station, number)
            extra = group.overflow_state(station) if number == 0 else []
            answers = _answers(asdu, station, Cause.INTERROGATED_BY_STATION + number, data, extra)
            session.interrogate(Interrogation(key, answers))

    def _interrogate_counters(
        self, session: Session, asdu: bytes, columns: Columns, stations: list[int], utc_ns: int
    ) -> None:
        qualifier = _octet(columns)
        request, freeze = qualifier & 0x3F, FreezeMode(qualifier >> 6)
        if not (1 <= request <= _COUNTER_GROUPS or request == _GENERAL_RQT):
            self._refuse(session, asdu)
            return
        number = 0 if request == _GENERAL_RQT else request
        for station in stations:
            if freeze is FreezeMode.READ:
                session.reply(answer_to(asdu, Cause.ACTIVATION_CON, common_address=station))
                data = self._image.interrogate_counters(station, number)
                answers = _answers(asdu, station, Cause.COUNTERS_GENERAL + number, data, [])
                session.interrogate(Interrogation((TypeId.C_CI_NA_1, station, qualifier), answers))
                continue
            done = self._image.freeze_counters(station, number, freeze, utc_ns)
            session.reply(answer_to(asdu, Cause.ACTIVATION_CON, negative=not done, common_address=station))
            if done:
                session.reply(answer_to(asdu, Cause.ACTIVATION_TERM, common_address=station))

    def _synchronise(
        self, session: Session, asdu: bytes, columns: Columns, stations: list[int], utc_ns: int
    ) -> None:
        tag = columns.times[0] if columns.times else TimeTag(0, True)
        if not self._config.accept_clock_synchronisation or tag.invalid:
            self._refuse(session, asdu)
            return
        # The confirmation carries our clock as it was before it may be set.
        ours = asdu[:-TIME_BYTES] + self._coder.encode(
            replace(tag_of_clock(utc_ns), summer_time=tag.summer_time)
        )
        for station in stations:
            session.reply(answer_to(ours, Cause.ACTIVATION_CON, common_address=station))
        self._emit(ClockSynchronised(session.number, columns.header.common_address, tag, utc_ns))

    def _reset(
        self, session: Session, asdu: bytes, columns: Columns, stations: list[int], now: float
    ) -> None:
        try:
            qualifier = ResetQualifier(_octet(columns))
        except ValueError:
            self._refuse(session, asdu)
            return
        self._commands.request_reset(session, asdu, stations, qualifier, now=now)


def _octet(columns: Columns) -> int:
    return int(columns.values[0]) if columns.values else 0


def _answers(
    request: bytes, station: int, cause: int, data: Iterator[bytes], extra: list[bytes]
) -> Iterator[bytes]:
    """Yields the data under its cause, then the termination; drawn as fast as the link takes it."""
    originator, test = request[3], bool(request[2] & 0x80)
    for asdu in data:
        yield with_cause(asdu, cause, originator=originator, test=test)
    for asdu in extra:
        yield with_cause(asdu, cause, originator=originator, test=test)
    yield answer_to(request, Cause.ACTIVATION_TERM, common_address=station)
