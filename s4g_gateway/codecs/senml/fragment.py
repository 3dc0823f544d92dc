"""Fragment identifiers: ``rec=3-5,10,19-*`` selects records of a pack. Source: RFC 8428 §9."""

from __future__ import annotations

import re
from collections.abc import Sequence

from s4g_gateway.codecs.senml.dialect import STRICT, Dialect
from s4g_gateway.codecs.senml.errors import SenmlDecodeError
from s4g_gateway.codecs.senml.record import Record
from s4g_gateway.codecs.senml.resolution import Resolver

_RANGE = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}|\*))?\Z")


def selected_positions(fragment: str, count: int) -> tuple[int, ...]:
    """Returns the positions a fragment selects.

    Args:
        fragment: such as ``rec=3-5,10,19-*``, with or without the leading ``#``; positions count from 1.
        count: how many records the pack has; what lies beyond is not selected.

    Returns:
        Positions from 0, ascending, none twice.

    Raises:
        SenmlDecodeError: no fragment of this form.
    """
    scheme, _, ranges = fragment.removeprefix("#").partition("=")
    if scheme != "rec":
        raise SenmlDecodeError(f"fragment {fragment!r:.80}; expected rec=1 or the like")
    chosen: set[int] = set()
    for part in ranges.split(","):
        match = _RANGE.match(part)
        if match is None:
            raise SenmlDecodeError(f"fragment part {part!r:.40}; expected 3, 3-6 or 19-*")
        first = int(match[1])
        last = count if match[2] == "*" else int(match[2] or first)
        if match[2] not in (None, "*") and last < first:
            raise SenmlDecodeError(f"fragment part {part!r:.40}; expected an ascending range")
        chosen.update(range(first - 1, min(last, count)))
    return tuple(sorted(chosen))


def select(
    records: Sequence[Record], fragment: str, now_s: float, dialect: Dialect = STRICT
) -> tuple[Record, ...]:
    """Returns the selected records of a pack, resolved within it.

    Args:
        records: the whole pack, as decoded.
        fragment: see ``selected_positions``.
        now_s: what relative times count from, s since 1970 UTC.
        dialect: which rules hold.

    Returns:
        Resolved records in the order of the pack; selected records that only set base fields yield none.

    Raises:
        SenmlDecodeError: no such fragment, or the pack breaks a rule.
    """
    positions = set(selected_positions(fragment, len(records)))
    resolver = Resolver(dialect)
    resolved = [resolver.resolve(record, now_s) for record in records]
    return tuple(r for position, r in enumerate(resolved) if r is not None and position in positions)
