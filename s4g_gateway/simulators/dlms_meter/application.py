"""Application layer of the simulated meter: association, authentication, protection; sans-I/O.

Source: IEC 62056-5-3 (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from s4g_gateway.errors import DecodeError
from s4g_gateway.simulators.dlms_meter.acse import (
    AARQ,
    GLO_INITIATE_REQUEST,
    GLO_INITIATE_RESPONSE,
    RLRQ,
    AssociationRequest,
    AssociationResponse,
    Conformance,
    Diagnostic,
    Initiate,
    decode_aarq,
    decode_initiate,
    encode_aare,
    encode_initiate_response,
    encode_rlre,
)
from s4g_gateway.simulators.dlms_meter.axdr import decode_length, encode_length
from s4g_gateway.simulators.dlms_meter.objects import CosemObject, ObjectTable
from s4g_gateway.simulators.dlms_meter.security import (
    BOTH,
    CounterMemory,
    DecipherError,
    Keys,
    Mechanism,
    ReplayError,
    gmac,
    protect,
    unprotect,
)
from s4g_gateway.simulators.dlms_meter.services import Service, ServiceNotSupportedError, Services

PUBLIC_CLIENT: Final = 16
GENERAL_GLO: Final = 0xDB
# protected service -> plain one, and plain answer -> protected one
_GLO_REQUESTS: Final = {
    0x25: Service.READ_REQUEST,
    0x26: Service.WRITE_REQUEST,
    0xC8: Service.GET_REQUEST,
    0xCB: Service.ACTION_REQUEST,
}
_GLO_RESPONSES: Final = {
    Service.READ_RESPONSE: 0x2C,
    Service.WRITE_RESPONSE: 0x2D,
    Service.GET_RESPONSE: 0xCC,
    Service.ACTION_RESPONSE: 0xCF,
}
_LN_SERVICES: Final = Conformance.GET | Conformance.SELECTIVE_ACCESS | Conformance.ACTION
_SN_SERVICES: Final = Conformance.READ | Conformance.WRITE | Conformance.PARAMETERIZED_ACCESS
_NOT_ALLOWED: Final = bytes((Service.EXCEPTION, 1, 1))
_UNKNOWN: Final = bytes((Service.EXCEPTION, 2, 2))
_OTHER_REASON: Final = bytes((Service.EXCEPTION, 2, 3))
_DECIPHERING_ERROR: Final = bytes((Service.EXCEPTION, 1, 5))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterSecurity:
    """How a client but the public one must show itself.

    Attributes:
        mechanism: of authentication.
        password: of LLS.
        keys: of HLS-GMAC and of ciphering; None without either.
        ciphered: true where every APDU must be encrypted and authenticated.
        title: the meter's system title, 8 bytes.
    """

    mechanism: Mechanism = Mechanism.NONE
    password: bytes = field(default=b"", repr=False)
    keys: Keys | None = None
    ciphered: bool = False
    title: bytes = b"SIM\x00\x00\x00\x00\x01"


@dataclass(slots=True)
class LogicalDevice:
    """A meter as every association sees it.

    Attributes:
        objects: its COSEM objects.
        security: what it demands.
        max_pdu_bytes: longest APDU it takes and sends.
        multiple_references: true for GET-with-list and Read of several names.
        counter: its own invocation counter, the next one to use.
        counters: those of its clients.
        replays_total: requests refused for a used counter.
        refusals_total: associations and APDUs refused for a wrong key, password or address.
    """

    objects: tuple[CosemObject, ...]
    security: MeterSecurity = field(default_factory=MeterSecurity)
    max_pdu_bytes: int = 1024
    multiple_references: bool = True
    counter: int = 1
    counters: CounterMemory = field(default_factory=CounterMemory)
    replays_total: int = 0
    refusals_total: int = 0

    def next_counter(self) -> int:
        """Returns a counter that was never used."""
        self.counter += 1
        return self.counter - 1

    def visible(self, *, public: bool) -> Iterable[CosemObject]:
        """Returns what a client sees."""
        return tuple(item for item in self.objects if item.public or not public)


class Application:
    """Answers the APDUs of one client on one connection.

    Args:
        device: the meter.
        client: the client's address.
    """

    def __init__(self, device: LogicalDevice, client: int) -> None:
        self._device = device
        self._client = client
        self._request: AssociationRequest | None = None
        self._services: Services | None = None
        self._challenge = b""

    def receive(self, apdu: bytes) -> bytes:
        """Takes one APDU and returns the answer; whatever comes gets one."""
        try:
            if apdu[:1] == bytes((AARQ,)):
                return self._associate(apdu)
            if apdu[:1] == bytes((RLRQ,)):
                self._services = self._request = None
                return encode_rlre()
            if self._services is None or self._request is None:
                return _NOT_ALLOWED
            if self._request.context.is_ciphered:
                return self._protected(apdu, self._services, self._request)
            return self._services.answer(apdu)
        except ServiceNotSupportedError:
            return _UNKNOWN
        except DecodeError:
            return _OTHER_REASON

    # -- association --

    def _associate(self, apdu: bytes) -> bytes:
        self._services = self._request = None
        request = decode_aarq(apdu)
        diagnostic = self._judge(request)
        plain = request.user_information
        if (
            diagnostic in (Diagnostic.NONE, Diagnostic.AUTHENTICATION_REQUIRED)
            and request.context.is_ciphered
        ):
            try:
                plain = self._open(request.title, plain, GLO_INITIATE_REQUEST)
            except ReplayError:
                self._device.replays_total += 1
                diagnostic = Diagnostic.AUTHENTICATION_FAILURE
            except DecipherError:
                diagnostic = Diagnostic.AUTHENTICATION_FAILURE
        if diagnostic not in (Diagnostic.NONE, Diagnostic.AUTHENTICATION_REQUIRED):
            self._device.refusals_total += 1
            return encode_aare(AssociationResponse(context=request.context, diagnostic=diagnostic))
        return self._accept(request, diagnostic, decode_initiate(plain))

    def _judge(self, request: AssociationRequest) -> Diagnostic:
        security = self._device.security
        if self._client == PUBLIC_CLIENT or security.mechanism is Mechanism.NONE:
            if request.mechanism != Mechanism.NONE or request.context.is_ciphered:
                return Diagnostic.MECHANISM_NOT_RECOGNISED
            return Diagnostic.NONE
        if request.mechanism != security.mechanism:
            return Diagnostic.MECHANISM_REQUIRED
        if security.ciphered != request.context.is_ciphered:
            return Diagnostic.CONTEXT_NOT_SUPPORTED
        if security.mechanism is Mechanism.LLS:
            right = secrets.compare_digest(request.secret, security.password)
            return Diagnostic.NONE if right else Diagnostic.AUTHENTICATION_FAILURE
        if len(request.title) != 8 or not 8 <= len(request.secret) <= 64:
            return Diagnostic.AUTHENTICATION_FAILURE
        return Diagnostic.AUTHENTICATION_REQUIRED

    def _accept(self, request: AssociationRequest, diagnostic: Diagnostic, wish: Initiate) -> bytes:
        device, short = self._device, request.context.is_short_name
        offered = (_SN_SERVICES if short else _LN_SERVICES) | Conformance.BLOCK_TRANSFER
        if device.multiple_references:
            offered |= Conformance.MULTIPLE_REFERENCES
        size = min(wish.max_pdu_bytes or device.max_pdu_bytes, device.max_pdu_bytes)
        agreed = Initiate(wish.conformance & offered, max(64, size))
        answer = encode_initiate_response(agreed, short_name=short)
        if request.context.is_ciphered:
            answer = self._close(answer, GLO_INITIATE_RESPONSE)
        hls = diagnostic is Diagnostic.AUTHENTICATION_REQUIRED
        self._challenge = secrets.token_bytes(16) if hls else b""
        self._request = request
        public = self._client == PUBLIC_CLIENT and device.security.mechanism is not Mechanism.NONE
        self._services = Services(
            ObjectTable(device.visible(public=public)),
            max_pdu_bytes=agreed.max_pdu_bytes,
            reply_to_hls=self._reply_to_hls,
            multiple=Conformance.MULTIPLE_REFERENCES in agreed.conformance,
            authenticated=not hls,
        )
        return encode_aare(
            AssociationResponse(
                context=request.context,
                diagnostic=diagnostic,
                title=device.security.title if hls or request.context.is_ciphered else b"",
                mechanism=Mechanism.HLS_GMAC if hls else 0,
                challenge=self._challenge,
                user_information=answer,
            )
        )

    def _reply_to_hls(self, answer: bytes) -> bytes | None:
        request, security = self._request, self._device.security
        if request is None or security.keys is None or len(answer) != 17 or not self._challenge:
            return None
        counter = int.from_bytes(answer[1:5], "big")
        expected = gmac(security.keys, request.title, counter, self._challenge)
        self._challenge = b""
        if not secrets.compare_digest(answer, expected):
            self._device.refusals_total += 1
            return None
        return gmac(security.keys, security.title, self._device.next_counter(), request.secret)

    # -- protection --

    def _protected(self, apdu: bytes, services: Services, request: AssociationRequest) -> bytes:
        general = apdu[0] == GENERAL_GLO
        expected = None
        if general:
            size = apdu[1] if len(apdu) > 1 else 0
            if apdu[2 : 2 + size] not in (request.title, b""):
                return _DECIPHERING_ERROR
            apdu = apdu[:1] + apdu[2 + size :]
        else:
            expected = _GLO_REQUESTS.get(apdu[0])
            if expected is None:
                return _NOT_ALLOWED  # what is not protected is not served
        try:
            plain = self._open(request.title, apdu, apdu[0])
        except ReplayError:
            self._device.replays_total += 1
            last = self._device.counters.greatest[request.title]
            return bytes((Service.EXCEPTION, 1, 6)) + (last + 1).to_bytes(4, "big")
        except DecipherError:
            self._device.refusals_total += 1
            return _DECIPHERING_ERROR
        if expected is not None and plain[:1] != bytes((expected,)):
            return _DECIPHERING_ERROR
        answer = services.answer(plain)
        if general:
            title = self._device.security.title
            return bytes((GENERAL_GLO, len(title))) + title + self._close(answer, None)
        tag = _GLO_RESPONSES.get(Service(answer[0]))
        return answer if tag is None else self._close(answer, tag)

    def _open(self, title: bytes, data: bytes, tag: int) -> bytes:
        keys = self._device.security.keys
        if keys is None or data[:1] != bytes((tag,)) or len(title) != 8:
            raise DecipherError("not protected as agreed")
        size, offset = decode_length(data, 1)
        if size != len(data) - offset:
            raise DecodeError("the protected APDU has another length than it says", offset=1)
        plain, protection, counter = unprotect(keys, title, data[offset:])
        if protection != BOTH:
            raise DecipherError("not both encrypted and authenticated")
        self._device.counters.check(title, counter)
        return plain

    def _close(self, plain: bytes, tag: int | None) -> bytes:
        security = self._device.security
        if security.keys is None:
            raise DecipherError("no keys")
        body = protect(security.keys, security.title, self._device.next_counter(), BOTH, plain)
        return (b"" if tag is None else bytes((tag,))) + encode_length(len(body)) + body
