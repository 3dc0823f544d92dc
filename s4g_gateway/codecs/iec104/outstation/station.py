"""The outstation: connections in, process image behind, events out."""

from __future__ import annotations

from collections.abc import Iterable

from s4g_gateway.codecs.iec104.asdu import Asdu, InformationObject, encode_asdu
from s4g_gateway.codecs.iec104.buffer import object_count
from s4g_gateway.codecs.iec104.cp56time import TimeCoder
from s4g_gateway.codecs.iec104.identifiers import Cause, ResetQualifier, TypeId
from s4g_gateway.codecs.iec104.link import AsduReceived, Closed, Link, TransferStarted
from s4g_gateway.codecs.iec104.link_states import LinkState, Role
from s4g_gateway.codecs.iec104.outstation.commands import Commands
from s4g_gateway.codecs.iec104.outstation.config import EndOfInitialisation, OutstationConfig
from s4g_gateway.codecs.iec104.outstation.events import (
    EventsDropped,
    LinkClosed,
    LinkStarted,
    LinkStopped,
    OutstationEvent,
    ReleaseReason,
    ResetRequested,
)
from s4g_gateway.codecs.iec104.outstation.group import GroupStatus, RedundancyGroup
from s4g_gateway.codecs.iec104.outstation.process_image import ProcessImage
from s4g_gateway.codecs.iec104.outstation.requests import Requests
from s4g_gateway.codecs.iec104.outstation.session import Session
from s4g_gateway.errors import DecodeError, LocalProtocolError, RemoteProtocolError

_REMOTE_RESET = 2


class Outstation:
    """A controlled station with any number of masters.

    After every call, write ``data_to_send`` of each open link and take ``events``.

    Args:
        config: groups, windows, behaviour.
        image: the present values.
    """

    def __init__(self, config: OutstationConfig, image: ProcessImage) -> None:
        self.config = config
        self._image = image
        self._coder = TimeCoder(config.zone_offset_minutes)
        self._events: list[OutstationEvent] = []
        self._groups = {group.name: RedundancyGroup(group, self._coder) for group in config.groups}
        self._sessions: dict[int, Session] = {}
        self._last_link = 0
        self._initialisation_cause = config.initialisation_cause
        self._commands = Commands(config, self._emit)
        self._requests = Requests(config, image, self._commands, coder=self._coder, emit=self._emit)

    def open_link(self, group: str, now: float, *, peer: str = "") -> int:
        """Takes a new connection into a redundancy group.

        Args:
            group: name of one of the configuration's groups.
            now: monotonic seconds.
            peer: what to call it in events, such as its authenticated name.

        Returns:
            The number that names the link in every other call.

        Raises:
            LocalProtocolError: there is no such group.
            RemoteProtocolError: the group has its ``max_links`` connections; close this one.
        """
        joined = self._group(group)
        if len(joined.sessions) >= joined.config.max_links:
            raise RemoteProtocolError(
                f"group {group}: {peer or 'a peer'}: {len(joined.sessions)} connections are open already"
            )
        self._last_link += 1
        link = Link(Role.CONTROLLED, self.config.link, now)
        session = Session(self._last_link, group, peer, link=link, max_replies=self.config.max_replies)
        self._sessions[session.number] = joined.sessions[session.number] = session
        return session.number

    def receive_data(self, link: int, data: bytes, now: float, utc_ns: int) -> None:
        """Takes octets from a link's socket; ignored once the link is closed.

        Args:
            link: as returned by ``open_link``.
            data: any number of octets.
            now: monotonic seconds.
            utc_ns: ns since 1970 UTC.
        """
        session = self._sessions.get(link)
        if session is not None:
            session.link.receive_data(data, now)
            self._follow(session, now, utc_ns)

    def receive_eof(self, link: int, now: float, utc_ns: int) -> None:
        """Takes the end of a link's stream, or the loss of its socket."""
        self.close_link(link, "the peer closed the connection", now, utc_ns)

    def close_link(self, link: int, reason: str, now: float, utc_ns: int) -> None:
        """Ends a link for a reason of our own; ``LinkClosed`` follows."""
        session = self._sessions.get(link)
        if session is not None:
            session.link.close(reason)
            self._follow(session, now, utc_ns)

    def data_to_send(self, link: int, now: float) -> bytes:
        """Returns what a link's socket is to write now, b"" for nothing.

        New ASDUs are drawn only while the window is open; call again when data came in.
        """
        session = self._sessions.get(link)
        if session is None:
            return b""
        group = self._groups[session.group]
        protocol = session.link
        window = protocol.window
        if window:
            next_event = group.next_event if group.active is session and not session.is_ending else None
            while window:
                asdu, is_event = session.next_asdu(next_event)
                if not asdu:
                    break
                protocol.send(asdu, now, group.place if is_event else None)
                window -= 1
        data = protocol.data_to_send()
        if session.is_ending and not session.replies:
            protocol.close("the process was reset")
        return data

    def events(self) -> list[OutstationEvent]:
        """Returns what happened since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    @property
    def unanswered_commands(self) -> int:
        """How many requests the application has yet to answer."""
        return self._commands.unanswered

    def next_deadline(self) -> float | None:
        """Returns when ``handle_deadline`` is due at the latest, monotonic seconds."""
        earliest = self._commands.next_deadline()
        for session in self._sessions.values():
            due = session.link.next_deadline()
            if due is None:
                return 0.0  # closed, and its last octets have been handed out: see it off
            if earliest is None or due < earliest:
                earliest = due
        return earliest

    def handle_deadline(self, now: float, utc_ns: int) -> None:
        """Does what is due: tests, acknowledgements, expired selections, dead peers."""
        self._commands.expire(now)
        for session in list(self._sessions.values()):
            session.link.handle_deadline(now)
            self._follow(session, now, utc_ns)

    def publish(self, asdus: Iterable[bytes], utc_ns: int, *, groups: Iterable[str] | None = None) -> None:
        """Takes monitored ASDUs of any cause for every group, or for some.

        Periodic and background causes go only to masters that listen; everything else waits for its master,
        in order, within the group's capacity. They leave at the next ``data_to_send``.

        Args:
            asdus: each 6 to 249 octets, as ``pack_asdus`` makes them.
            utc_ns: ns since 1970 UTC.
            groups: names of redundancy groups, None for all.

        Raises:
            LocalProtocolError: no such group, or octets that are no ASDU; nothing has been taken then.
        """
        targets = list(self._groups.values()) if groups is None else [self._group(name) for name in groups]
        batch = list(asdus)
        for asdu in batch:
            object_count(asdu)
        for asdu in batch:
            for group in targets:
                group.add(asdu)
        for group in targets:
            self._settle(group, utc_ns)

    def answer_command(
        self, token: int, accepted: bool, now: float, utc_ns: int, *, cause: Cause = Cause.ACTIVATION_CON
    ) -> bool:
        """Answers a ``CommandRequested`` or ``ResetRequested``.

        Args:
            token: of the request.
            accepted: true only when the device has accepted: it becomes the positive confirmation.
            now: monotonic seconds.
            utc_ns: ns since 1970 UTC.
            cause: of a negative answer: ``ACTIVATION_CON``, or one of the causes 44 to 47.

        Returns:
            False where nobody waits for the answer any more: the link was lost, or it came too late.
        """
        asked = self._commands.answer(token, accepted, now, Cause.ACTIVATION_CON if accepted else cause)
        if asked is None:
            return False
        if accepted and isinstance(asked.request, ResetRequested):
            if asked.request.qualifier is ResetQualifier.EVENT_BUFFER:
                self._groups[asked.session.group].clear_events()
            else:
                self.reset_process()
        self._follow(asked.session, now, utc_ns)
        return True

    def reset_process(self) -> None:
        """Begins anew as after a reset by a master: selections and links go, values and waiting events stay.

        Every link is closed as soon as the answers that wait for it have been handed to its socket. The next
        STARTDT of each group gets M_EI_NA_1 with COI 2, remote reset.

        Source: IEC 60870-5-5 §6.1 station initialisation (clause unverified).
        """
        self._commands.release_selections(ReleaseReason.RESET)
        self._initialisation_cause = _REMOTE_RESET
        for group in self._groups.values():
            group.initialised = False
        for session in self._sessions.values():
            session.is_ending = True
            session.interrogations.clear()

    def terminate_command(
        self, token: int, now: float, utc_ns: int, *, accepted: bool = True, returned: Iterable[bytes] = ()
    ) -> bool:
        """Reports that an accepted execution has ended.

        Args:
            token: of the ``CommandRequested``.
            now: monotonic seconds.
            utc_ns: ns since 1970 UTC.
            accepted: false where the execution failed after its confirmation.
            returned: return information (cause 11); it goes to the asking master before the termination, and
                into the other groups' buffers, or all groups' where the asking link is gone.

        Returns:
            False where no termination was sent: link gone, too late, or switched off.
        """
        info = tuple(returned)
        session = self._commands.terminate(token, accepted, info)
        if info:
            others = [name for name in self._groups if session is None or name != session.group]
            self.publish(info, utc_ns, groups=others)
        if session is not None:
            self._follow(session, now, utc_ns)
        return session is not None

    def group_status(self, name: str) -> GroupStatus:
        """Returns how a redundancy group is doing.

        Raises:
            LocalProtocolError: there is no such group.
        """
        return self._group(name).status

    def take_unsaved_events(self, name: str) -> list[tuple[bytes, int]]:
        """Returns the events of a group since the last call that its master has not acknowledged yet.

        They are for a store that outlives this object. Each ASDU comes with its place: how many objects the
        group had taken by then. Store it until ``settled_place`` has come that far; hand it to ``publish`` after
        a restart.

        Raises:
            LocalProtocolError: there is no such group, or it has no ``keep_unsaved``.
        """
        group = self._group(name)
        if not group.config.keep_unsaved:
            raise LocalProtocolError(f"group {name}: keep_unsaved is not set")
        return group.take_unsaved()

    def added_place(self, name: str) -> int:
        """Returns how many objects a group has taken as events.

        Raises:
            LocalProtocolError: there is no such group.
        """
        return self._group(name).added

    def settled_place(self, name: str) -> int:
        """Returns up to which place the events of a group are not needed any more.

        Raises:
            LocalProtocolError: there is no such group.
        """
        return self._group(name).settled

    def has_master(self, name: str) -> bool:
        """True while a link of the group carries data.

        Raises:
            LocalProtocolError: there is no such group.
        """
        return self._group(name).active is not None

    def report_loss(self, name: str, count: int) -> None:
        """Takes word of events of a group that were lost before this object was made.

        Raises:
            LocalProtocolError: there is no such group.
        """
        self._group(name).restore_loss(count)

    def _group(self, name: str) -> RedundancyGroup:
        try:
            return self._groups[name]
        except KeyError:
            raise LocalProtocolError(
                f"redundancy group {name!r}: expected one of {', '.join(self._groups)}"
            ) from None

    def _emit(self, event: OutstationEvent) -> None:
        self._events.append(event)

    def _settle(self, group: RedundancyGroup, utc_ns: int) -> None:
        lost = group.settle(utc_ns)
        if lost:
            self._emit(EventsDropped(group.config.name, lost, group.status.dropped))

    def _follow(self, session: Session, now: float, utc_ns: int) -> None:
        """Turns what happened on a link into what it means for its group."""
        link = session.link
        group = self._groups[session.group]
        tag = link.acknowledged_tag
        if isinstance(tag, int):
            group.acknowledge(tag)
        for event in link.events():
            if isinstance(event, AsduReceived):
                # After a fault or a stop in the same octets no answer is possible, so nothing is done.
                if link.state is LinkState.STARTED and group.active is session and not session.is_ending:
                    try:
                        self._requests.handle(session, group, event.asdu, now=now, utc_ns=utc_ns)
                    except DecodeError as error:
                        link.close(str(error), error)
            elif isinstance(event, TransferStarted):
                if link.state is LinkState.STARTED:
                    self._activate(group, session, now, utc_ns)
            elif not isinstance(event, Closed):
                self._deactivate(group, session)
        if link.state is LinkState.CLOSED:
            self._close(group, session, utc_ns)
        else:
            self._settle(group, utc_ns)

    def _activate(self, group: RedundancyGroup, session: Session, now: float, utc_ns: int) -> None:
        previous = group.active
        if previous is not None and previous is not session:
            previous.link.supersede(now)
            self._follow(previous, now, utc_ns)
        group.active = session
        self._emit(LinkStarted(session.number, session.group, session.peer))
        self._initialise(group, session)

    def _deactivate(self, group: RedundancyGroup, session: Session) -> None:
        was_active = group.active is session
        self._commands.release_link(session)
        group.leave(session)
        if was_active:
            self._emit(LinkStopped(session.number, session.group, session.peer))

    def _close(self, group: RedundancyGroup, session: Session, utc_ns: int) -> None:
        del self._sessions[session.number], group.sessions[session.number]
        self._commands.release_link(session)
        group.leave(session)
        self._settle(group, utc_ns)
        ending = session.link.ending
        self._emit(LinkClosed(session.number, session.group, session.peer, ending.reason, ending.fault))

    def _initialise(self, group: RedundancyGroup, session: Session) -> None:
        when = self.config.end_of_initialisation
        if when == EndOfInitialisation.NEVER or (when == EndOfInitialisation.ONCE and group.initialised):
            return
        group.initialised = True
        for common_address in sorted(self._image.common_addresses):
            session.reply(
                encode_asdu(
                    Asdu(
                        type_id=TypeId.M_EI_NA_1,
                        cause=Cause.INITIALIZED,
                        common_address=common_address,
                        objects=(InformationObject(0, self._initialisation_cause),),
                    )
                )
            )
