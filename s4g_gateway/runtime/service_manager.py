"""Tells systemd how the gateway is doing (``Type=notify``); silent where nobody asked.

Source: sd_notify(3).
"""

from __future__ import annotations

import os
import socket


def notify(**states: str) -> bool:
    """Sends states such as ``READY="1"`` or ``STATUS="..."``.

    Returns:
        True where a service manager listens and the message was sent.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    lines = "\n".join(f"{name}={' '.join(value.split())}" for name, value in states.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.connect(address)
            out.sendall(lines.encode())
    except OSError:
        return False  # the gateway runs on without its service manager
    return True
