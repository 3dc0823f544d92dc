"""Where pushed messages are taken."""

from __future__ import annotations

import ipaddress

from s4g_gateway.errors import ProfileError


def listen_address(text: str, *, insecure: bool = True) -> tuple[str, int]:
    """Returns host and port.

    Args:
        text: such as ``127.0.0.1:4059``.
        insecure: true allows addresses that are not loopback.

    Raises:
        ProfileError: it is no address, or not loopback without leave; the message says what was expected.
    """
    host, _, port = text.rpartition(":")
    try:
        address, number = ipaddress.ip_address(host.strip("[]")), int(port)
    except ValueError as error:
        raise ProfileError("an IP address and a port, such as 127.0.0.1:4059") from error
    if not 0 <= number <= 65535:
        raise ProfileError("a port from 0 to 65535")
    if not address.is_loopback and not insecure:
        raise ProfileError("a loopback address, or insecure = true")
    return str(address), number
