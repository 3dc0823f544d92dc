"""One protocol object with its links, for all masters that have the same rights."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from s4g_gateway.codecs.iec104 import Cause, Outstation, OutstationEvent
from s4g_gateway.model import Report
from s4g_gateway.northbound.iec104.event_store import EventStore
from s4g_gateway.northbound.iec104.image import DatabaseImage, ImagePart
from s4g_gateway.runtime.clock import Clock
from s4g_gateway.runtime.contract import Counters

_I_FRAME = 1


class Wire(Protocol):
    """What a station needs of a connection."""

    @property
    def is_writable(self) -> bool:
        """False while the socket has more to send than it should."""
        ...

    def write(self, data: bytes) -> None:
        """Hands octets to the socket."""
        ...

    def close(self) -> None:
        """Writes what is left, then closes."""
        ...


class Station:
    """Moves octets and time between connections and the protocol object; decides nothing.

    Args:
        outstation: the protocol object.
        image: its process image.
        clock: the clocks.
        counters: the connector's counters.
        on_event: called with every event of the protocol object.
    """

    def __init__(
        self,
        outstation: Outstation,
        image: DatabaseImage,
        *,
        clock: Clock,
        counters: Counters,
        on_event: Callable[[Station, OutstationEvent], None],
    ) -> None:
        self.outstation = outstation
        self.image = image
        self.stores: list[EventStore] = []
        self._clock = clock
        self._counters = counters
        self._on_event = on_event
        self._wires: dict[int, Wire] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = float("inf")
        self._is_flush_due = False

    @property
    def links(self) -> tuple[int, ...]:
        """Every open link."""
        return tuple(self._wires)

    def open(self, group: str, peer: str, wire: Wire) -> int:
        """Takes in a connection and returns its link.

        Raises:
            RemoteProtocolError: the group is full.
        """
        link = self.outstation.open_link(group, self._clock.monotonic_s(), peer=peer)
        self._wires[link] = wire
        self._settle()
        return link

    def received(self, link: int, data: bytes) -> None:
        """Takes octets of a link."""
        self.outstation.receive_data(link, data, self._clock.monotonic_s(), self._clock.wall_ns())
        self._settle()

    def lost(self, link: int) -> None:
        """Takes the loss of a link's socket."""
        self.outstation.receive_eof(link, self._clock.monotonic_s(), self._clock.wall_ns())
        self._settle()

    def close(self, link: int, reason: str) -> None:
        """Ends a link."""
        self.outstation.close_link(link, reason, self._clock.monotonic_s(), self._clock.wall_ns())
        self._settle()

    def forget(self, link: int) -> Wire | None:
        """Lets go of a link that the protocol object has closed; returns its connection."""
        return self._wires.pop(link, None)

    def deliver(self, part: ImagePart, report: Report) -> None:
        """Takes a data-change Report; quick, since it runs inside ``publish`` of the database."""
        asdus = part.encoder.spontaneous(report)
        if asdus:
            self.publish(asdus)

    def publish(self, asdus: Iterable[bytes]) -> None:
        """Gives ASDUs to every group; they leave together at the end of this turn of the loop."""
        self.outstation.publish(asdus, self._clock.wall_ns())
        self._settle_soon()

    def answer(
        self, token: int, *, accepted: bool, ended: bool = False, cause: Cause = Cause.ACTIVATION_CON
    ) -> bool:
        """Answers a command; see ``Outstation.answer_command``.

        Args:
            token: of the request.
            accepted: true only when the device has accepted.
            ended: true where the accepted command has also been carried out, so that the termination follows.
            cause: of a negative answer.
        """
        now_s, utc_ns = self._clock.monotonic_s(), self._clock.wall_ns()
        heard = self.outstation.answer_command(token, accepted, now_s, utc_ns, cause=cause)
        if heard and accepted and ended:
            self.outstation.terminate_command(token, now_s, utc_ns)
        # Answers of one turn leave together: the system call costs more than everything else of a command.
        if self.outstation.unanswered_commands:
            self._settle_soon()
        else:
            self._settle()
        return heard

    def reset(self) -> None:
        """Begins anew towards every master."""
        self.outstation.reset_process()
        self._settle()

    def resume(self, link: int) -> None:
        """Takes word that a link's socket takes data again."""
        self._flush(link)

    def stop(self) -> None:
        """Ends the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _settle_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._is_flush_due = False
        for store in self.stores:
            store.save_alone()
        self._settle()

    def _settle(self) -> None:
        """Writes what is due, hands out events, sets the timer; the rule after every call."""
        for link in tuple(self._wires):
            self._flush(link)
        for event in self.outstation.events():
            self._on_event(self, event)
        for store in self.stores:
            store.settle()
        self._arm()

    def _flush(self, link: int) -> None:
        wire = self._wires.get(link)
        if wire is None or not wire.is_writable:
            return
        data = self.outstation.data_to_send(link, self._clock.monotonic_s())
        if data:
            wire.write(data)
            self._counters.add("octets_sent_total", len(data))
            self._counters.add("asdus_sent_total", _i_frames(data))

    def _arm(self) -> None:
        due_s = self.outstation.next_deadline()
        if due_s is None:
            return
        # A timer that comes too early finds nothing to do and sets itself anew: cheaper than moving it.
        if self._timer is None or due_s < self._timer_due_s:
            self.stop()
            self._timer_due_s = due_s
            self._timer = self._loop.call_later(max(0.0, due_s - self._clock.monotonic_s()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._timer_due_s = float("inf")
        self.outstation.handle_deadline(self._clock.monotonic_s(), self._clock.wall_ns())
        self._settle()


def _i_frames(data: bytes) -> int:
    count, at, end = 0, 0, len(data)
    while at < end:
        count += not data[at + 2] & _I_FRAME
        at += data[at + 1] + 2
    return count
