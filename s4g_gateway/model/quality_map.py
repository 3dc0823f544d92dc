"""Quality to and from the protocols: one table for all of them, ``data/quality_map.csv``.

Rules that hold for every peer: a round trip never improves the validity (good, questionable, reserved,
invalid), and nothing that is not good ever looks good. A detail bit beside validity good is taken as
questionable, as is operatorBlocked. A code that the table does not know is invalid; for OPC UA its severity
decides. What a protocol cannot express is sent as the next worse thing that it can.

The table's ``direction``: ``to`` and ``from`` seen from the model, ``both`` for the two; ``otherwise`` is
sent where no other row spoke against the value. A row without a validity word matches any. Where codes are
bits (iec104, dlms-profile) all rows that fit add up; elsewhere the first row that fits is sent, so the worst
stand first.

Source: IEC 60870-5-101 quality descriptor, OPC UA Part 4 and Part 8 status codes, DLMS data-access-result,
IDIS profile status, SunSpec models, OCPP 1.6 (clauses unverified; the table names the public source of each
row and says where the meaning is ours).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Final

from s4g_gateway.errors import ModelError
from s4g_gateway.model import quality as q
from s4g_gateway.model.tables import CERTAINTY, rows, table_text

IEC104_IV: Final = 0x80
IEC104_NT: Final = 0x40
IEC104_SB: Final = 0x20
IEC104_BL: Final = 0x10
IEC104_OV: Final = 0x01

QUALITIES: Final = q.ALL_BITS + 1
"""How many qualities there are: 13 bits."""

_COLUMNS = ("peer", "symbol", "code", "quality", "direction", "certainty", "source", "note")
_DIRECTIONS = ("both", "to", "from", "otherwise")
_NUMERIC = ("iec104", "opcua", "dlms", "dlms-profile")
_BITWISE = ("iec104", "dlms-profile")
_PEERS = (*_NUMERIC, "sunspec", "ocpp")
_VALIDITY = {"good": q.GOOD, "reserved": q.RESERVED, "invalid": q.INVALID, "questionable": q.QUESTIONABLE}
_DETAIL = {
    "overflow": q.OVERFLOW,
    "outOfRange": q.OUT_OF_RANGE,
    "badReference": q.BAD_REFERENCE,
    "oscillatory": q.OSCILLATORY,
    "failure": q.FAILURE,
    "oldData": q.OLD_DATA,
    "inconsistent": q.INCONSISTENT,
    "inaccurate": q.INACCURATE,
    "substituted": q.SUBSTITUTED,
    "test": q.TEST,
    "operatorBlocked": q.OPERATOR_BLOCKED,
}
_DOUBTS = q.ALL_BITS & ~q.VALIDITY_MASK & ~q.SUBSTITUTED & ~q.TEST
_HARMLESS = IEC104_SB  # the one bit of a QDS that says nothing against the value

NULL_DATA: Final = "null-data"
"""DLMS: the meter answered success without a value."""


class SunSpecState(StrEnum):
    """What a SunSpec point can be."""

    IMPLEMENTED = "implemented"
    NOT_IMPLEMENTED = "not-implemented"
    SCALE_FACTOR_INVALID = "scale-factor-invalid"


OCPP_ABSENT: Final = "absent"
"""OCPP: no SampledValue of the measurand."""
OCPP_NOT_A_NUMBER: Final = "not-a-number"
"""OCPP: a SampledValue whose text is no number."""
OCPP_SIGNED_DATA: Final = "SignedData"
"""OCPP: a SampledValue in this format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRow:
    """One row of the table.

    Attributes:
        peer: protocol, such as ``iec104``.
        symbol: the protocol's own word.
        code: the protocol's number, or its text where it has none.
        validity: validity the row is about; None for any.
        detail: detail bits the row is about.
        direction: both, to, from or otherwise.
        certainty: solid, medium or weak.
        source: where the row is from.
        note: what a reader must know.
    """

    peer: str
    symbol: str
    code: int | str
    validity: int | None
    detail: int
    direction: str
    certainty: str
    source: str
    note: str

    @property
    def mask(self) -> int:
        """The bits of a quality that this row looks at."""
        return self.detail | (0 if self.validity is None else q.VALIDITY_MASK)

    @property
    def quality(self) -> int:
        """The quality that this row's code means."""
        return self.detail | (self.validity or q.GOOD)


def parse_quality_map(text: str) -> tuple[QualityRow, ...]:
    """Reads ``quality_map.csv``.

    Raises:
        ModelError: unknown peer, direction, word or certainty, a malformed code, or one code with two
            meanings; the message names the line.
    """
    found: list[QualityRow] = []
    meanings: set[tuple[str, int | str]] = set()
    for row in rows("quality_map.csv", text, _COLUMNS):
        peer, direction = row.choice("peer", _PEERS), row.choice("direction", _DIRECTIONS)
        validity, detail = None, 0
        for word in row["quality"].split():
            if word in _VALIDITY and validity is None:
                validity = _VALIDITY[word]
            elif word in _DETAIL:
                detail |= _DETAIL[word]
            else:
                known = ", ".join((*_VALIDITY, *_DETAIL))
                raise row.fail(f"quality holds {word!r}, expected one validity and any of {known}")
        code: int | str = row["code"]
        if peer in _NUMERIC and code != NULL_DATA:
            try:
                code = int(row["code"], 0)
            except ValueError:
                raise row.fail(f"code is {code!r}, expected a number") from None
        if direction in ("both", "from"):
            if (peer, code) in meanings:
                raise row.fail(f"{peer} {row['symbol']} has two meanings")
            meanings.add((peer, code))
        found.append(
            QualityRow(
                peer=peer,
                symbol=row["symbol"],
                code=code,
                validity=validity,
                detail=detail,
                direction=direction,
                certainty=row.choice("certainty", CERTAINTY),
                source=row["source"],
                note=row["note"],
            )
        )
    return tuple(found)


@cache
def load_quality_map() -> tuple[QualityRow, ...]:
    """Returns the table; read once."""
    return parse_quality_map(table_text("quality_map.csv"))


def _of(peer: str, *directions: str) -> tuple[QualityRow, ...]:
    return tuple(row for row in load_quality_map() if row.peer == peer and row.direction in directions)


def _sober(quality: int) -> int:
    """Returns the quality with good turned to questionable where another bit speaks against it."""
    if quality & q.VALIDITY_MASK == q.GOOD and quality & _DOUBTS:
        return quality | q.QUESTIONABLE
    return quality


def _conditions(peer: str, *directions: str) -> list[tuple[int, int, int | str]]:
    """Returns mask, bits wanted under the mask, and code of the rows."""
    return [(row.mask, row.quality, row.code) for row in _of(peer, *directions)]


def _send_bits(peer: str, available: int) -> bytes:
    """Returns one octet for each quality: every row that fits adds its bit, if available."""
    plain = [(m, w, int(code)) for m, w, code in _conditions(peer, "both", "to") if int(code) & available]
    fallback = [(m, w, int(code)) for m, w, code in _conditions(peer, "otherwise")]
    table = bytearray(QUALITIES)
    for quality in range(QUALITIES):
        sober = _sober(quality)
        code = 0
        for mask, wanted, bit in plain:
            if sober & mask == wanted:
                code |= bit
        if not code & ~_HARMLESS:
            for mask, wanted, bit in fallback:
                if sober & mask == wanted:
                    code |= bit
        table[quality] = code
    return bytes(table)


@cache
def _sent_codes(peer: str) -> tuple[int | str, ...]:
    """Returns one code for each quality: that of the first row that fits."""
    conditions = _conditions(peer, "both", "to")
    return tuple(_first(peer, conditions, _sober(quality)) for quality in range(QUALITIES))


def _first(peer: str, conditions: list[tuple[int, int, int | str]], quality: int) -> int | str:
    for mask, wanted, code in conditions:
        if quality & mask == wanted:
            return code
    raise ModelError(f"quality_map.csv: no row of {peer} for {q.describe(quality)}")


@cache
def _received_codes(peer: str) -> Mapping[int | str, int]:
    return MappingProxyType({row.code: row.quality for row in _of(peer, "both", "from")})


@cache
def _received_bits(peer: str) -> tuple[int, ...]:
    parts = [(int(row.code), row.quality) for row in _of(peer, "both", "from")]
    table = []
    for code in range(256):
        quality = q.GOOD
        for bit, meaning in parts:
            if code & bit:
                quality = q.worst(quality, meaning)
        table.append(quality)
    return tuple(table)


def _checked(quality: int) -> int:
    if not 0 <= quality < QUALITIES:
        raise ModelError(f"{quality} is no quality; expected 0 to {q.ALL_BITS}")
    return quality


IEC104_QDS: Final = _send_bits("iec104", IEC104_IV | IEC104_NT | IEC104_SB | IEC104_BL | IEC104_OV)
"""QDS of measured values by quality: ``IEC104_QDS[quality]``.

Test counts as invalid, for a QDS has no bit for it. An outstation that sets the test bit of the cause of
transmission looks up ``quality & ~TEST`` instead.
"""
IEC104_SIQ: Final = _send_bits("iec104", IEC104_IV | IEC104_NT | IEC104_SB | IEC104_BL)
"""Quality bits of single and double points (SIQ, DIQ), which have no OV; the value's bits are 0."""
IEC104_BCR: Final = _send_bits("iec104", IEC104_IV)
"""Quality bit of integrated totals (BCR), which have only IV."""
IEC104_QUALITY: Final = _received_bits("iec104")
"""Quality by QDS, 256 entries; for SIQ and DIQ mask the value's bits: ``IEC104_QUALITY[siq & 0xF0]``."""


def to_iec104(quality: int) -> int:
    """Returns the QDS of a quality; ``IEC104_QDS`` is the same as a table.

    Raises:
        ModelError: not a 13-bit quality.
    """
    return IEC104_QDS[_checked(quality)]


def from_iec104(qds: int) -> int:
    """Returns the quality of a QDS octet; its reserved bits are ignored."""
    return IEC104_QUALITY[qds & 0xFF]


def to_opcua(quality: int) -> int:
    """Returns the OPC UA StatusCode of a quality, 32 bits.

    Raises:
        ModelError: not a 13-bit quality.
    """
    return int(_sent_codes("opcua")[_checked(quality)])


def from_opcua(status_code: int) -> int:
    """Returns the quality of an OPC UA StatusCode.

    Its info bits are ignored; unknown codes go by severity.
    """
    code = status_code & 0xFFFF_0000
    table = _received_codes("opcua")
    if code in table:
        return table[code]
    return table.get(code & 0xC000_0000, q.INVALID)


def to_dlms(quality: int) -> int:
    """Returns the data-access-result that stands for a quality; 0 means that the value is sent.

    Raises:
        ModelError: not a 13-bit quality.
    """
    return int(_sent_codes("dlms")[_checked(quality)])


def from_dlms(result: int | str) -> int:
    """Returns the quality of a data-access-result, or of ``NULL_DATA``; unknown results are invalid."""
    return _received_codes("dlms").get(result, q.INVALID)


def to_dlms_profile(quality: int) -> int:
    """Returns the status octet of a load profile's entry.

    Raises:
        ModelError: not a 13-bit quality.
    """
    return _sent_profile_bits()[_checked(quality)]


def from_dlms_profile(status: int) -> int:
    """Returns the quality of a load profile's entry by its status octet."""
    return _received_bits("dlms-profile")[status & 0xFF]


@cache
def _sent_profile_bits() -> bytes:
    return _send_bits("dlms-profile", 0xFF)


def to_sunspec(quality: int) -> SunSpecState:
    """Returns whether a value may stand in its registers or its type's sentinel must.

    Raises:
        ModelError: not a 13-bit quality.
    """
    return SunSpecState(str(_sent_codes("sunspec")[_checked(quality)]))


def from_sunspec(state: SunSpecState) -> int:
    """Returns the quality of a SunSpec point."""
    return _received_codes("sunspec")[state.value]


def to_ocpp(quality: int) -> str:
    """Returns the context of the SampledValue, or ``OCPP_ABSENT`` where none may be sent.

    Raises:
        ModelError: not a 13-bit quality.
    """
    return str(_sent_codes("ocpp")[_checked(quality)])


def from_ocpp(state: str) -> int:
    """Returns the quality of a SampledValue.

    Args:
        state: its context, or ``OCPP_ABSENT``, ``OCPP_NOT_A_NUMBER``, ``OCPP_SIGNED_DATA``. Anything else
            is invalid.
    """
    return _received_codes("ocpp").get(state, q.INVALID)
