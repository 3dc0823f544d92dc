"""Security suite 0 with Gurux' AES.

Gurux deciphers without looking at the tag (1.0.203, GXDLMSChippering.decryptAesGcm), so a changed byte would become a
changed value. Therefore what was deciphered is enciphered again here and must come out as it came in.

Source: IEC 62056-5-3 security suite 0 (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from gurux_dlms.AesGcmParameter import AesGcmParameter
from gurux_dlms.CountType import CountType
from gurux_dlms.enums import Security
from gurux_dlms.GXDLMSChippering import GXDLMSChippering

from s4g_gateway.workers.dlms.faults import bad_answer

TAG_BYTES: Final = 12
CONTROL: Final = 0x30
"""Security control byte: suite 0, authenticated and encrypted."""
_AUTHENTICATED: Final = 0x10


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Keys:
    """Keys of one meter, 16 bytes each.

    Attributes:
        encryption: global unicast encryption key.
        authentication: authentication key.
    """

    encryption: bytes
    authentication: bytes

    def protect(self, title: bytes, counter: int, plain: bytes) -> bytes:
        """Returns control byte, counter, ciphertext and tag.

        Args:
            title: system title of the sender, 8 bytes.
            counter: its invocation counter, never used before.
            plain: what is protected.
        """
        head = bytes((CONTROL,)) + counter.to_bytes(4, "big")
        return head + self._seal(title, counter, plain)

    def open(self, title: bytes, data: bytes) -> tuple[bytes, int]:
        """Opens what a meter protected.

        Returns:
            The contents and the meter's invocation counter.

        Raises:
            MeterFaultError: not both encrypted and authenticated, or by another key, title or meter.
        """
        if len(data) < 5 + TAG_BYTES or data[0] != CONTROL:
            raise bad_answer(f"security control {data[:1].hex()}, expected {CONTROL:02x}")
        counter, body = int.from_bytes(data[1:5], "big"), data[5:]
        # counter mode: enciphering the ciphertext gives the plaintext back
        plain = self._seal(title, counter, body[:-TAG_BYTES])[:-TAG_BYTES]
        if not hmac.compare_digest(self._seal(title, counter, plain), body):
            raise bad_answer("the authentication tag is wrong: another key, or bytes were changed")
        return plain, counter

    def answer(self, title: bytes, counter: int, challenge: bytes) -> bytes:
        """Returns the GMAC answer to a challenge of HLS mechanism 5."""
        parameter = self._parameter(title, counter, Security.AUTHENTICATION, CountType.TAG)
        tag = bytes(GXDLMSChippering.encryptAesGcm(parameter, bytearray(challenge)))
        return bytes((_AUTHENTICATED,)) + counter.to_bytes(4, "big") + tag

    def _seal(self, title: bytes, counter: int, data: bytes) -> bytes:
        kind = CountType.DATA | CountType.TAG
        parameter = self._parameter(title, counter, Security.AUTHENTICATION_ENCRYPTION, kind)
        return bytes(GXDLMSChippering.encryptAesGcm(parameter, bytearray(data)))

    def _parameter(self, title: bytes, counter: int, security: Security, kind: CountType) -> AesGcmParameter:
        parameter = AesGcmParameter(
            0, bytearray(title), bytearray(self.encryption), bytearray(self.authentication)
        )
        parameter.security = security
        parameter.invocationCounter = counter
        parameter.type_ = kind
        return parameter
