"""IEC 61850 quality as one integer.

Bit n of the IEC 61850 bit string counts 2**n, so the value is also what a SenML ``.q`` record carries:
good 0, reserved 1, invalid 2, questionable 3; then the detail bits.

Source: IEC 61850-7-3 Quality and IEC 61850-8-1 bit string order (clauses unverified).
"""

from __future__ import annotations

from typing import Final

GOOD: Final = 0
RESERVED: Final = 1
INVALID: Final = 2
QUESTIONABLE: Final = 3
VALIDITY_MASK: Final = 3

OVERFLOW: Final = 1 << 2
OUT_OF_RANGE: Final = 1 << 3
BAD_REFERENCE: Final = 1 << 4
OSCILLATORY: Final = 1 << 5
FAILURE: Final = 1 << 6
OLD_DATA: Final = 1 << 7
INCONSISTENT: Final = 1 << 8
INACCURATE: Final = 1 << 9
SUBSTITUTED: Final = 1 << 10
TEST: Final = 1 << 11
OPERATOR_BLOCKED: Final = 1 << 12

ALL_BITS: Final = (1 << 13) - 1

_NAMES: Final = (
    (OVERFLOW, "overflow"),
    (OUT_OF_RANGE, "outOfRange"),
    (BAD_REFERENCE, "badReference"),
    (OSCILLATORY, "oscillatory"),
    (FAILURE, "failure"),
    (OLD_DATA, "oldData"),
    (INCONSISTENT, "inconsistent"),
    (INACCURATE, "inaccurate"),
    (SUBSTITUTED, "substituted"),
    (TEST, "test"),
    (OPERATOR_BLOCKED, "operatorBlocked"),
)
_VALIDITY: Final = ("good", "reserved", "invalid", "questionable")


def validity(quality: int) -> int:
    """Returns GOOD, RESERVED, INVALID or QUESTIONABLE."""
    return quality & VALIDITY_MASK


def is_usable(quality: int) -> bool:
    """True where the value may be used: good or questionable."""
    return quality & VALIDITY_MASK in (GOOD, QUESTIONABLE)


def worst(first: int, second: int) -> int:
    """Joins two qualities: the worse validity and every detail bit of both.

    Order of validity from best to worst: good, questionable, reserved, invalid.
    """
    rank = (0, 2, 3, 1)
    a, b = first & VALIDITY_MASK, second & VALIDITY_MASK
    return (first | second) & ~VALIDITY_MASK | (a if rank[a] >= rank[b] else b)


def describe(quality: int) -> str:
    """Returns the quality in words, such as ``questionable, oldData``."""
    words = [_VALIDITY[quality & VALIDITY_MASK]]
    words += [name for bit, name in _NAMES if quality & bit]
    return ", ".join(words)
