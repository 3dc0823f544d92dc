"""One association with a meter: Gurux makes and reads AARQ and AARE; what travels afterwards is protected here.

Source: IEC 62056-5-3 application association (clauses unverified, via the Gurux source).
"""

from __future__ import annotations

import contextlib
import hmac
import time
from collections.abc import Sequence
from typing import Final

from gurux_dlms import GXByteBuffer
from gurux_dlms.enums import Authentication, InterfaceType, Security
from gurux_dlms.GXDLMSConfirmedServiceError import GXDLMSConfirmedServiceError
from gurux_dlms.GXDLMSException import GXDLMSException
from gurux_dlms.secure import GXDLMSSecureClient

from s4g_gateway.workers.dlms import axdr
from s4g_gateway.workers.dlms.counters import CounterFile
from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError, bad_answer
from s4g_gateway.workers.dlms.links import Link
from s4g_gateway.workers.dlms.plan import MeterPlan
from s4g_gateway.workers.dlms.protection import Keys
from s4g_gateway.workers.dlms.services import (
    Result,
    Target,
    action_request,
    action_result,
    check_refusal,
    get,
    length,
    read,
)

PUBLIC_CLIENT: Final = 16
MULTIPLE_REFERENCES: Final = 1 << 14  # Gurux counts the bits of the conformance block from the left
_HLS_GMAC: Final = 5
_ASSOCIATION_LN: Final = Target(class_id=15, logical_name=bytes((0, 0, 40, 0, 0, 255)), attribute=1)
# reply_to_HLS_authentication of Association SN is a method, read with parameters
_REPLY_TO_HLS_NAME: Final = 0xFA00 + 0x58
_GLO_REQUESTS: Final = {0x05: 0x25, 0xC0: 0xC8, 0xC3: 0xCB}
_GLO_RESPONSES: Final = {0x2C: 0x0C, 0xCC: 0xC4, 0xCF: 0xC7}
_GLO_INITIATE_RESPONSE: Final = 0x28
_MAX_REQUEST_OVERHEAD: Final = 64


class Association:
    """An open association.

    Args:
        plan: the meter.
        link: an open link to it.
        counter: our invocation counters; None where nothing is ciphered and no HLS is used.
        public: true for the public client, which has no security.

    Attributes:
        system_title: the meter's, empty where it did not say.
    """

    def __init__(
        self, plan: MeterPlan, link: Link, counter: CounterFile | None, *, public: bool = False
    ) -> None:
        self._plan, self._link, self._counter = plan, link, counter
        self._secured = not public
        self._ciphered = plan.ciphered and not public
        self._mechanism = 0 if public else plan.mechanism
        self._keys = Keys(encryption=plan.encryption_key, authentication=plan.authentication_key)
        self._invocation = 0
        self._meter_counter = -1
        self._list_size = 1
        self.system_title = b""
        # the link frames, so Gurux only makes PDUs
        self._client = GXDLMSSecureClient(
            not plan.short_names,
            PUBLIC_CLIENT if public else plan.client_address,
            plan.server_address,
            {0: Authentication.NONE, 1: Authentication.LOW, _HLS_GMAC: Authentication.HIGH_GMAC}[
                self._mechanism
            ],
            bytearray(plan.password) if self._mechanism == 1 else None,
            InterfaceType.PDU,
        )

    def open(self) -> None:
        """Associates and, for HLS, shows that both sides have the key.

        Raises:
            MeterFaultError: refused, or an answer that cannot be the meter's.
        """
        client, plan = self._client, self._plan
        client.ciphering.systemTitle = bytearray(plan.system_title)
        client.ciphering.blockCipherKey = bytearray(plan.encryption_key)
        client.ciphering.authenticationKey = bytearray(plan.authentication_key)
        if self._ciphered:
            client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
            client.ciphering.invocationCounter = self._next_counter()
        request = bytes(client.aarqRequest()[0])
        answer = self._link.exchange(request, self._deadline_s())
        check_refusal(answer)
        if answer[:1] != b"\x61":
            raise bad_answer(f"APDU {answer[:4].hex()}, expected AARE")
        elements = _elements(answer)
        try:
            client.parseAareResponse(GXByteBuffer(answer))
        except (GXDLMSException, GXDLMSConfirmedServiceError) as error:
            raise MeterFaultError(FaultKind.REFUSED, f"the association: {error}") from error
        except (ValueError, IndexError, TypeError) as error:
            raise bad_answer(f"no AARE: {error}") from error
        # from here on protection is done here, with the tag looked at
        client.ciphering.security = Security.NONE
        if 0xA4 in elements:
            self.system_title = elements[0xA4][2:]
        if self._ciphered:
            self._check_initiate(elements.get(0xBE, b""))
        needs_hls = bool(client.isAuthenticationRequired)
        if needs_hls != (self._mechanism == _HLS_GMAC):
            raise bad_answer("the meter wants another authentication than was agreed")
        if needs_hls:
            self._authenticate(bytes(client.settings.getStoCChallenge() or b""))
        if client.negotiatedConformance & MULTIPLE_REFERENCES:
            room = (client.settings.maxPduSize - _MAX_REQUEST_OVERHEAD) // 11
            self._list_size = max(1, min(plan.list_size, room))

    def read(self, targets: Sequence[Target]) -> list[Result]:
        """Reads attributes, as many at a time as the meter takes.

        Raises:
            MeterFaultError: refused as a whole, or no answer that can be used.
        """
        results: list[Result] = []
        for start in range(0, len(targets), self._list_size):
            part = targets[start : start + self._list_size]
            if self._plan.short_names:
                results += read(part, self._exchange, axdr.skip)
            else:
                results += get(part, self._next_invocation(), self._exchange, axdr.skip)
        return results

    def release(self) -> None:
        """Takes leave; an answer is not needed."""
        with contextlib.suppress(MeterFaultError):  # the connection is closed next
            self._link.exchange(b"\x62\x03\x80\x01\x00", self._deadline_s())

    # -- inside --

    def _check_initiate(self, element: bytes) -> None:
        if self._mechanism == _HLS_GMAC and len(self.system_title) != 8:
            raise bad_answer("the meter did not say its system title")
        inner = element[2:] if element[:1] == b"\x04" else b""
        if inner[:1] != bytes((_GLO_INITIATE_RESPONSE,)):
            raise bad_answer("the Initiate response is not protected")
        size, offset = length(inner, 1)
        if size != len(inner) - offset:
            raise bad_answer("the Initiate response is cut short")
        self._open(inner[offset:])

    def _authenticate(self, challenge: bytes) -> None:
        plan, own = self._plan, bytes(self._client.settings.ctoSChallenge)
        if not 8 <= len(challenge) <= 64 or challenge == own:
            raise bad_answer(f"a challenge of {len(challenge)} bytes")
        proof = self._keys.answer(plan.system_title, self._next_counter(), challenge)
        parameters = b"\x09" + bytes((len(proof),)) + proof
        if plan.short_names:
            name = _REPLY_TO_HLS_NAME.to_bytes(2, "big")
            target = Target(class_id=12, logical_name=b"", selection=b"\x00" + parameters, base_name=0)
            answer = self._exchange(b"\x05\x01\x04" + name + target.selection)
            result = _single_read(answer)
        else:
            invocation = self._next_invocation()
            answer = self._exchange(action_request(_ASSOCIATION_LN, invocation, parameters))
            result = action_result(answer, invocation)
        if result.error:
            raise MeterFaultError(FaultKind.REFUSED, "the meter does not accept the key")
        found = axdr.whole(result.data) if result.data else b""
        if not isinstance(found, bytes) or len(found) != 17:
            raise bad_answer("the meter did not answer the challenge")
        expected = self._keys.answer(self.system_title, int.from_bytes(found[1:5], "big"), own)
        if not hmac.compare_digest(found, expected):
            raise bad_answer("the meter does not have the key")

    def _exchange(self, apdu: bytes) -> bytes:
        if not self._ciphered:
            return self._link.exchange(apdu, self._deadline_s())
        body = self._keys.protect(self._plan.system_title, self._next_counter(), apdu)
        size = len(body)
        head = bytes((size,)) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
        tag = bytes((_GLO_REQUESTS[apdu[0]],))
        answer = self._link.exchange(tag + head + body, self._deadline_s())
        check_refusal(answer)
        plain_tag = _GLO_RESPONSES.get(answer[0])
        if plain_tag is None:
            raise bad_answer(f"APDU {answer[:4].hex()} is not protected")
        said, offset = length(answer, 1)
        if said != len(answer) - offset:
            raise bad_answer(f"{len(answer) - offset} protected bytes, expected {said}")
        plain = self._open(answer[offset:])
        if plain[:1] != bytes((plain_tag,)):
            raise bad_answer(f"APDU {plain[:4].hex()} within tag {answer[0]:#04x}")
        return plain

    def _open(self, data: bytes) -> bytes:
        plain, counter = self._keys.open(self.system_title, data)
        if counter <= self._meter_counter:
            raise bad_answer(f"the meter's invocation counter {counter} was used before: a replay")
        self._meter_counter = counter
        return plain

    def _next_counter(self) -> int:
        if self._counter is None:
            raise MeterFaultError(FaultKind.LOCAL, "no invocation counter is kept for it")
        return self._counter.take()

    def _next_invocation(self) -> int:
        self._invocation = (self._invocation + 1) & 0x0F
        return self._invocation

    def _deadline_s(self) -> float:
        return time.monotonic() + self._plan.timeout_s


def _single_read(apdu: bytes) -> Result:
    check_refusal(apdu)
    if apdu[:2] != b"\x0c\x01" or len(apdu) < 4:
        raise bad_answer(f"APDU {apdu[:4].hex()}, expected one Read result")
    return Result(apdu[3:]) if apdu[2] == 0 else Result(error=apdu[3])


def _elements(aare: bytes) -> dict[int, bytes]:
    size, offset = length(aare, 1)
    if size != len(aare) - offset:
        raise bad_answer(f"AARE of {len(aare) - offset} bytes that says {size}")
    found = {}
    while offset < len(aare):
        tag = aare[offset]
        size, offset = length(aare, offset + 1)
        if offset + size > len(aare):
            raise bad_answer("AARE is cut short")
        found[tag] = aare[offset : offset + size]
        offset += size
    return found
