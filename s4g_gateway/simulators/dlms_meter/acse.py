"""Association: AARQ, AARE, RLRQ and RLRE, and the Initiate request and response inside.

Source: IEC 62056-5-3 ACSE services and xDLMS Initiate (clauses unverified, via Gurux and dlms-cosem sources).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from s4g_gateway.errors import DecodeError

AARQ: Final = 0x60
AARE: Final = 0x61
RLRQ: Final = 0x62
RLRE: Final = 0x63
INITIATE_REQUEST: Final = 0x01
INITIATE_RESPONSE: Final = 0x08
GLO_INITIATE_REQUEST: Final = 0x21
GLO_INITIATE_RESPONSE: Final = 0x28
_OID_PREFIX: Final = bytes.fromhex("6085740508")
LN_VAA: Final = 0x0007
SN_VAA: Final = 0xFA00


class Context(IntEnum):
    """Application contexts."""

    LN = 1
    SN = 2
    LN_CIPHERED = 3
    SN_CIPHERED = 4

    @property
    def is_ciphered(self) -> bool:
        """True where APDUs are protected."""
        return self >= Context.LN_CIPHERED

    @property
    def is_short_name(self) -> bool:
        """True for short-name referencing."""
        return self in (Context.SN, Context.SN_CIPHERED)


class Diagnostic(IntEnum):
    """Why an association was refused (acse-service-user)."""

    NONE = 0
    NO_REASON = 1
    CONTEXT_NOT_SUPPORTED = 2
    MECHANISM_NOT_RECOGNISED = 11
    MECHANISM_REQUIRED = 12
    AUTHENTICATION_FAILURE = 13
    AUTHENTICATION_REQUIRED = 14


class Conformance(IntFlag):
    """Services, as bits of the 24-bit conformance block, bit 0 the most significant on the wire."""

    READ = 1 << (23 - 3)
    WRITE = 1 << (23 - 4)
    BLOCK_TRANSFER = 1 << (23 - 11)
    MULTIPLE_REFERENCES = 1 << (23 - 14)
    DATA_NOTIFICATION = 1 << (23 - 16)
    PARAMETERIZED_ACCESS = 1 << (23 - 18)
    GET = 1 << (23 - 19)
    SELECTIVE_ACCESS = 1 << (23 - 21)
    ACTION = 1 << (23 - 23)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRequest:
    """What an AARQ asks for.

    Attributes:
        context: application context.
        mechanism: authentication mechanism number.
        title: the client's system title, empty without.
        secret: password of LLS or challenge of HLS.
        user_information: the Initiate request, perhaps protected.
    """

    context: Context
    mechanism: int = 0
    title: bytes = b""
    secret: bytes = b""
    user_information: bytes = b""


def _elements(data: bytes) -> dict[int, bytes]:
    found, offset = {}, 0
    while offset < len(data):
        if offset + 2 > len(data):
            raise DecodeError("an element is cut short", offset=offset)
        tag, length = data[offset], data[offset + 1]
        offset += 2
        if length > 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[offset : offset + size], "big")
            offset += size
        if offset + length > len(data):
            raise DecodeError(f"element {tag:#04x} is cut short", offset=offset)
        found[tag] = data[offset : offset + length]
        offset += length
    return found


def decode_aarq(apdu: bytes) -> AssociationRequest:
    """Reads an AARQ.

    Raises:
        DecodeError: it is none, or its context is unknown.
    """
    elements = _elements(apdu)
    if set(elements) != {AARQ}:
        raise DecodeError("no AARQ")
    elements = _elements(elements[AARQ])
    name = _inner(elements.get(0xA1, b""), 0x06)
    if name[:-1] != _OID_PREFIX + b"\x01" or not 1 <= name[-1] <= 4:
        raise DecodeError(f"unknown application context {name.hex()!r}")
    mechanism = elements.get(0x8B, b"\0" * 7)
    if len(mechanism) != 7:
        raise DecodeError(f"a mechanism name of {len(mechanism)} bytes, expected 7")
    return AssociationRequest(
        context=Context(name[-1]),
        mechanism=mechanism[-1],
        title=_inner(elements[0xA6], 0x04) if 0xA6 in elements else b"",
        secret=_inner(elements[0xAC], 0x80) if 0xAC in elements else b"",
        user_information=_inner(elements.get(0xBE, b""), 0x04),
    )


def _inner(data: bytes, tag: int) -> bytes:
    found = _elements(data).get(tag)
    if found is None:
        raise DecodeError(f"element {tag:#04x} is missing")
    return found


def _element(tag: int, data: bytes) -> bytes:
    length = bytes((len(data),)) if len(data) < 0x80 else bytes((0x81, len(data)))
    return bytes((tag,)) + length + data


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationResponse:
    """What an AARE says.

    Attributes:
        context: application context.
        diagnostic: why it was refused; authentication required is not yet a refusal.
        title: the meter's system title, empty without.
        mechanism: of HLS, 0 without.
        challenge: of HLS.
        user_information: the Initiate response or a confirmed service error.
    """

    context: Context
    diagnostic: Diagnostic
    title: bytes = b""
    mechanism: int = 0
    challenge: bytes = b""
    user_information: bytes = b""


def encode_aare(response: AssociationResponse) -> bytes:
    """Returns the bytes of an AARE."""
    refused = response.diagnostic not in (Diagnostic.NONE, Diagnostic.AUTHENTICATION_REQUIRED)
    context = _OID_PREFIX + bytes((1, response.context))
    body = _element(0xA1, _element(0x06, context))
    body += _element(0xA2, _element(0x02, bytes((1 if refused else 0,))))
    body += _element(0xA3, _element(0xA1, _element(0x02, bytes((response.diagnostic,)))))
    if response.title:
        body += _element(0xA4, _element(0x04, response.title))
    if response.challenge:
        body += _element(0x88, b"\x07\x80")
        body += _element(0x89, _OID_PREFIX + bytes((2, response.mechanism)))
        body += _element(0xAA, _element(0x80, response.challenge))
    if response.user_information:
        body += _element(0xBE, _element(0x04, response.user_information))
    return _element(AARE, body)


@dataclass(frozen=True, slots=True)
class Initiate:
    """What is negotiated.

    Attributes:
        conformance: services.
        max_pdu_bytes: longest APDU the client takes; 0 for any.
    """

    conformance: Conformance
    max_pdu_bytes: int


def decode_initiate(data: bytes) -> Initiate:
    """Reads an Initiate request.

    Raises:
        DecodeError: it is none, or of another DLMS version than 6.
    """
    offset = 1
    if not data or data[0] != INITIATE_REQUEST:
        raise DecodeError("no Initiate request", offset=0)
    try:
        if data[offset]:
            offset += 1 + data[offset + 1]
        offset += 1
        for _ in range(2):  # response-allowed, quality of service: a flag, then a byte where it is set
            offset += 2 if data[offset] else 1
        version, tag = data[offset], data[offset + 1 : offset + 5]
        conformance = data[offset + 5 : offset + 8]
        size = data[offset + 8 : offset + 10]
    except IndexError:
        raise DecodeError("the Initiate request is cut short", offset=len(data)) from None
    if version != 6 or tag != b"\x5f\x1f\x04\x00" or len(size) != 2:
        raise DecodeError("no Initiate request of DLMS version 6", offset=offset)
    return Initiate(Conformance(int.from_bytes(conformance, "big")), int.from_bytes(size, "big"))


def encode_initiate_response(agreed: Initiate, *, short_name: bool) -> bytes:
    """Returns the bytes of an Initiate response."""
    return (
        bytes((INITIATE_RESPONSE, 0, 6))
        + b"\x5f\x1f\x04\x00"
        + int(agreed.conformance).to_bytes(3, "big")
        + agreed.max_pdu_bytes.to_bytes(2, "big")
        + (SN_VAA if short_name else LN_VAA).to_bytes(2, "big")
    )


def encode_rlre() -> bytes:
    """Returns the bytes of a normal RLRE."""
    return bytes((RLRE, 3, 0x80, 1, 0))
