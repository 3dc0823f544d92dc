"""How much of a peer's data is accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what a decoder takes in; memory stays within a small multiple of ``max_bytes``.

    Attributes:
        max_bytes: longest pack, in bytes; the default holds about 20,000 records in JSON.
        max_records: most records in a pack.
        max_depth: deepest nesting; a pack of plain records is 2 deep, decimal fractions make it 3.
        max_record_bytes: longest single record of a stream, in bytes.
    """

    max_bytes: int = 1 << 20
    max_records: int = 20_000
    max_depth: int = 8
    max_record_bytes: int = 1 << 16


DEFAULT_LIMITS: Final = Limits()
