"""Addresses to listen on: what stands in a site file, checked without opening anything."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from s4g_gateway.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a listener stands.

    Attributes:
        host: address, or ``localhost``.
        port: 0 takes a free one.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True where only this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


def parse_listen(
    text: str, *, insecure: bool = False, file: str = "", key: str = "site.metrics_listen"
) -> Listen:
    """Reads ``host:port``, such as ``127.0.0.1:9464`` or ``[::1]:9464``.

    Args:
        text: the address.
        insecure: true allows an address that is not loopback.
        file: the file, for the Problem.
        key: where the text stands in it, for the Problem.

    Raises:
        ConfigError: it is no such address, or other machines could reach it and nobody allowed that.
    """
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host

    def problem(expected: str) -> ConfigError:
        return ConfigError([Problem(file=file, key=key, found=repr(text), expected=expected)])

    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise problem("host:port, such as 127.0.0.1:9464")
    listen = Listen(host=host, port=int(port))
    try:
        loopback = listen.is_loopback
    except ValueError as error:
        raise problem("an IP address or localhost before the port") from error
    if not loopback and not insecure:
        raise problem("a loopback address, or insecure = true for one that other machines reach unprotected")
    return listen
