"""Security suite 0: AES-128 in Galois/Counter Mode, HLS mechanism 5, and what stops a replay.

Source: IEC 62056-5-3 security suite 0 (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from s4g_gateway.errors import RemoteProtocolError

TAG_BYTES: Final = 12


class Mechanism(IntEnum):
    """How a client shows who it is."""

    NONE = 0
    LLS = 1
    HLS_GMAC = 5


class Protection(IntFlag):
    """Bits of the security control byte."""

    NONE = 0
    AUTHENTICATED = 0x10
    ENCRYPTED = 0x20


BOTH: Final = Protection.AUTHENTICATED | Protection.ENCRYPTED


class ReplayError(RemoteProtocolError):
    """An invocation counter that was used before."""


class DecipherError(RemoteProtocolError):
    """Bytes that these keys do not open."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Keys:
    """The keys of one association.

    Attributes:
        encryption: global unicast encryption key, 16 bytes.
        authentication: authentication key, 16 bytes.
    """

    encryption: bytes
    authentication: bytes


def _cipher(keys: Keys, title: bytes, counter: int, tag: bytes | None) -> Cipher[modes.GCM]:
    mode = modes.GCM(title + counter.to_bytes(4, "big"), tag, min_tag_length=TAG_BYTES)
    return Cipher(algorithms.AES(keys.encryption), mode)


def gmac(keys: Keys, title: bytes, counter: int, challenge: bytes) -> bytes:
    """Returns the answer to a challenge: control byte, counter, tag.

    Args:
        keys: the keys.
        title: system title of the one who answers, 8 bytes.
        counter: its invocation counter.
        challenge: what the other side sent.
    """
    encryptor = _cipher(keys, title, counter, None).encryptor()
    control = bytes((Protection.AUTHENTICATED,))
    encryptor.authenticate_additional_data(control + keys.authentication + challenge)
    encryptor.finalize()
    return control + counter.to_bytes(4, "big") + encryptor.tag[:TAG_BYTES]


def protect(keys: Keys, title: bytes, counter: int, protection: Protection, plain: bytes) -> bytes:
    """Returns a protected APDU: control byte, counter, contents, tag."""
    head = bytes((protection,)) + counter.to_bytes(4, "big")
    encryptor = _cipher(keys, title, counter, None).encryptor()
    if protection == Protection.AUTHENTICATED:
        encryptor.authenticate_additional_data(head[:1] + keys.authentication + plain)
        encryptor.finalize()
        return head + plain + encryptor.tag[:TAG_BYTES]
    if protection & Protection.AUTHENTICATED:
        encryptor.authenticate_additional_data(head[:1] + keys.authentication)
    body = encryptor.update(plain) + encryptor.finalize()
    return head + body + (encryptor.tag[:TAG_BYTES] if protection & Protection.AUTHENTICATED else b"")


def unprotect(keys: Keys, title: bytes, data: bytes) -> tuple[bytes, Protection, int]:
    """Opens a protected APDU.

    Returns:
        Its contents, how they were protected, and the counter they came with.

    Raises:
        DecipherError: too short, another suite, a wrong key or a changed byte.
    """
    if len(data) < 5 + TAG_BYTES or data[0] & 0x0F or not data[0] & Protection.AUTHENTICATED:
        raise DecipherError("no APDU of security suite 0 with authentication")
    protection, counter = Protection(data[0] & 0x30), int.from_bytes(data[1:5], "big")
    body, tag = data[5:-TAG_BYTES], data[-TAG_BYTES:]
    decryptor = _cipher(keys, title, counter, tag).decryptor()
    head = data[:1] + keys.authentication
    try:
        if protection == Protection.AUTHENTICATED:
            decryptor.authenticate_additional_data(head + body)
            decryptor.finalize()
            return body, protection, counter
        decryptor.authenticate_additional_data(head)
        return decryptor.update(body) + decryptor.finalize(), protection, counter
    except InvalidTag as error:
        raise DecipherError("the key is wrong or bytes were changed") from error


class CounterMemory:
    """The greatest counter of each client, kept over associations; a lower one is a replay."""

    def __init__(self) -> None:
        self.greatest: dict[bytes, int] = {}

    def check(self, title: bytes, counter: int) -> None:
        """Takes a counter.

        Raises:
            ReplayError: it is not greater than the last one of that client.
        """
        last = self.greatest.get(title, -1)
        if counter <= last:
            raise ReplayError(f"invocation counter {counter}, expected more than {last}")
        self.greatest[title] = counter
