"""Topics under which a broker may keep a state of this gateway, so that none outlives what it told of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog


class RetainedTopics:
    """What is served, and what has been served and may still be retained.

    Args:
        path: file that remembers both over a restart, one topic a line.
        head: what topics of this gateway start with; others in the file are forgotten, as no right to them is left.
        log: of the connector.

    Attributes:
        ended: topics no longer served, of which no broker has confirmed yet that they are empty.
    """

    def __init__(self, path: Path, head: str, log: structlog.stdlib.BoundLogger) -> None:
        self._path = path
        self._log = log
        self._served: frozenset[str] = frozenset()
        self.ended: set[str] = set()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        except (OSError, UnicodeDecodeError) as error:
            self._fault(error)
            lines = []
        self.ended.update(line for line in lines if line.startswith(head))

    def serve(self, topics: Iterable[str]) -> list[str]:
        """Tells which topics are served from now on; returns those whose service ends with this call."""
        before, self._served = self._served, frozenset(topics)
        over = sorted(before - self._served)
        self.ended.update(over)
        self.ended -= self._served
        self._store()
        return over

    def emptied(self, topic: str) -> None:
        """Tells that the broker keeps nothing under a topic any more."""
        if topic in self.ended:
            self.ended.remove(topic)
            self._store()

    def _store(self) -> None:
        temporary = self._path.with_name(f"{self._path.name}.new")
        try:
            temporary.write_text(
                "".join(f"{topic}\n" for topic in sorted(self._served | self.ended)), "utf-8"
            )
            temporary.replace(self._path)
        except OSError as error:
            self._fault(error)

    def _fault(self, error: Exception) -> None:
        # Without it, a state that nobody updates may stay on the broker after the next restart; nothing else.
        self._log.warning("topics cannot be remembered", file=str(self._path), reason=str(error))
