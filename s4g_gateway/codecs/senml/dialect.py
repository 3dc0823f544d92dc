"""Dialects: the standard's rules, and the one named exception for Storage4Grid's historic payloads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

MILLISECOND_THRESHOLD: Final = 1e11
"""A time beyond this many "seconds" (year 5138) is one in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a decoder lets pass.

    Attributes:
        name: for messages and for configuration.
        any_name: names may hold any printable character, not only those of RFC 8428 §4.5.1.
        default_name: name of records whose own name is empty; None refuses them.
        milliseconds: times beyond 1e11 count milliseconds.
        secondary_units: secondary units (kW, kWh) may stand without ``bver`` 26.
        indefinite_pack: a CBOR pack may be an array of indefinite length.
    """

    name: str
    any_name: bool = False
    default_name: str | None = None
    milliseconds: bool = False
    secondary_units: bool = False
    indefinite_pack: bool = False

    def named(self, default_name: str) -> Dialect:
        """Returns the dialect with a name for nameless records, such as one made from the MQTT topic."""
        return replace(self, default_name=default_name)


STRICT: Final = Dialect(name="strict")
HISTORIC_S4G: Final = Dialect(
    name="s4g-historic",
    any_name=True,
    milliseconds=True,
    secondary_units=True,
    indefinite_pack=True,
)
"""Payloads of the Storage4Grid pilots (D4.5, D4.9, D4.10): milliseconds, empty names, names with blanks,
``kW`` without ``bver``. Records without a name take the one given to ``named``. Relative times (``t`` 0 for
"now") and ``bver`` below 10 need no exception: RFC 8428 allows the first and refuses only greater versions.
"""
DIALECTS: Final = {dialect.name: dialect for dialect in (STRICT, HISTORIC_S4G)}


def name_from_topic(topic: str) -> str:
    """Returns a SenML name for a nameless record: the topic without slashes at its ends.

    Args:
        topic: MQTT topic, such as ``/Fronius/SMX/W_Grid``.
    """
    return topic.strip("/")
