"""What the outstation keeps for one connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from s4g_gateway.codecs.iec104.link import Link

_EVENTS_PER_INTERROGATED: Final = 8
"""How many event ASDUs go before one of an interrogation, so that neither starves the other."""


@dataclass(frozen=True, slots=True)
class Interrogation:
    """A running interrogation: its key (type, station, qualifier) and the ASDUs still to come."""

    key: tuple[int, int, int]
    asdus: Iterator[bytes]


class Session:
    """One connection of a redundancy group.

    Args:
        number: names the link.
        group: name of its redundancy group.
        peer: as the adapter calls it.
        link: its protocol state.
        max_replies: most ASDUs in ``replies`` before the link is closed.
    """

    def __init__(self, number: int, group: str, peer: str, *, link: Link, max_replies: int) -> None:
        self.number = number
        self.group = group
        self.peer = peer
        self.link = link
        self.max_replies = max_replies
        self.replies: deque[tuple[bytes, bool]] = deque()
        self.interrogations: deque[Interrogation] = deque()
        self.is_ending = False
        """True once the link is to be closed behind the answers that wait for it."""
        self._events_in_a_row = 0

    def reply(self, asdu: bytes, *, is_event: bool = False) -> None:
        """Queues an ASDU for this link before everything else; closes a link that never takes them.

        Args:
            asdu: the answer.
            is_event: true where it must reach another link of the group if this one is lost.
        """
        if len(self.replies) >= self.max_replies:
            self.link.close(f"{len(self.replies)} answers wait: the master asks on without acknowledging")
            return
        self.replies.append((asdu, is_event))

    def interrogate(self, interrogation: Interrogation) -> None:
        """Starts an interrogation; one with the same key begins anew."""
        self.stop_interrogation(interrogation.key)
        self.interrogations.append(interrogation)

    def stop_interrogation(self, key: tuple[int, int, int]) -> bool:
        """Ends a running interrogation; false where there is none."""
        for running in self.interrogations:
            if running.key == key:
                self.interrogations.remove(running)
                return True
        return False

    def next_asdu(self, next_event: Callable[[], bytes] | None) -> tuple[bytes, bool]:
        """Returns the next ASDU to send and whether it is an event; (b"", False) when there is none.

        Args:
            next_event: draws from the group's buffer, None where another link of the group does.
        """
        if self.replies:
            return self.replies.popleft()
        if next_event is not None and (
            self._events_in_a_row < _EVENTS_PER_INTERROGATED or not self.interrogations
        ):
            asdu = next_event()
            if asdu:
                self._events_in_a_row += 1
                return asdu, True
        self._events_in_a_row = 0
        while self.interrogations:
            asdu = next(self.interrogations[0].asdus, b"")
            if asdu:
                return asdu, False
            self.interrogations.popleft()
        return b"", False

    def clear(self) -> list[bytes]:
        """Forgets what waits for this link; returns the events among it, oldest first."""
        events = [asdu for asdu, is_event in self.replies if is_event]
        self.replies.clear()
        self.interrogations.clear()
        return events
