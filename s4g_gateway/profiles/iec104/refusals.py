"""How a refused command is answered on the wire, and under which AddCause it is logged: ``data/refusals.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from s4g_gateway.codecs.iec104 import Cause, RefusalReason
from s4g_gateway.errors import ProfileError
from s4g_gateway.model import AddCause

_CAUSES: Final = frozenset(
    {
        Cause.ACTIVATION_CON,
        Cause.DEACTIVATION_CON,
        Cause.UNKNOWN_TYPE,
        Cause.UNKNOWN_CAUSE,
        Cause.UNKNOWN_COMMON_ADDRESS,
        Cause.UNKNOWN_OBJECT_ADDRESS,
    }
)
_CERTAINTIES: Final = ("high", "medium", "low")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One row.

    Attributes:
        cause: cause of transmission of the answer; its P/N bit is set.
        add_cause: what is logged.
        meaning: for people.
        certainty: high, medium or low.
        source: why so.
    """

    cause: Cause
    add_cause: AddCause
    meaning: str
    certainty: str
    source: str


@dataclass(frozen=True, slots=True)
class Refusals:
    """The table.

    Attributes:
        by_add_cause: for what devices and arbitration refuse.
        by_reason: for what the outstation refuses by itself.
    """

    by_add_cause: Mapping[AddCause, Refusal]
    by_reason: Mapping[RefusalReason, Refusal]


@cache
def load_refusals() -> Refusals:
    """Returns the table.

    Raises:
        ProfileError: the data file is not complete or names what does not exist.
    """
    text = files("s4g_gateway.profiles.iec104").joinpath("data/refusals.toml").read_text(encoding="utf-8")
    return parse_refusals(tomllib.loads(text))


def parse_refusals(document: Mapping[str, Any]) -> Refusals:
    """Builds the table from its parsed data file.

    Raises:
        ProfileError: it is not complete or names what does not exist.
    """
    default = document["add_cause"]
    meanings, others = default["meaning"], default["other"]
    _check_names("add_cause.meaning", meanings, AddCause.__members__)
    by_add_cause = {}
    for add_cause in AddCause:
        row = others.get(add_cause.name, {**default, "cause": default["default"]})
        by_add_cause[add_cause] = _refusal(
            f"add_cause.{add_cause.name}", row, add_cause, meanings[add_cause.name]
        )
    for name in others.keys() - AddCause.__members__.keys():
        raise ProfileError(f"refusals.toml: add_cause.other.{name}: expected an AddCause")
    reasons = document["reason"]
    _check_names("reason", reasons, RefusalReason.__members__)
    by_reason = {}
    for reason in RefusalReason:
        row = reasons[reason.name]
        if row["add_cause"] not in AddCause.__members__:
            raise ProfileError(f"refusals.toml: reason.{reason.name}.add_cause: found {row['add_cause']!r}")
        by_reason[reason] = _refusal(f"reason.{reason.name}", row, AddCause[row["add_cause"]], reason.value)
    return Refusals(MappingProxyType(by_add_cause), MappingProxyType(by_reason))


def _check_names(where: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    if found.keys() != expected.keys():
        different = ", ".join(sorted(found.keys() ^ expected.keys()))
        raise ProfileError(f"refusals.toml: {where}: expected one row for each, found otherwise: {different}")


def _refusal(where: str, row: Mapping[str, Any], add_cause: AddCause, meaning: str) -> Refusal:
    cause = Cause.__members__.get(row["cause"])
    if cause not in _CAUSES:
        names = ", ".join(sorted(item.name for item in _CAUSES))
        raise ProfileError(f"refusals.toml: {where}.cause: found {row['cause']!r}, expected one of {names}")
    if row["certainty"] not in _CERTAINTIES:
        raise ProfileError(f"refusals.toml: {where}.certainty: found {row['certainty']!r}")
    return Refusal(
        cause=cause, add_cause=add_cause, meaning=meaning, certainty=row["certainty"], source=row["source"]
    )
