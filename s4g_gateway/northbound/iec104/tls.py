"""TLS of the listener: version 1.2 or later, and every master shows a certificate of a known authority."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s4g_gateway.errors import ConfigError, Problem
from s4g_gateway.northbound.iec104.config import TlsConfig


def server_context(config: TlsConfig, directory: Path) -> ssl.SSLContext:
    """Loads the certificates.

    Args:
        config: the ``tls`` table.
        directory: where relative paths start.

    Raises:
        ConfigError: a file that cannot be read or holds no certificate or key.

    Source: IEC 62351-3 (clause unverified): mutual authentication, TLS 1.2 or later.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    problems: list[Problem] = []
    try:
        context.load_verify_locations(cafile=directory / config.ca)
    except OSError as error:  # ssl.SSLError is one
        problems.append(_problem("ca", config.ca, error, "a PEM file with certificates"))
    try:
        context.load_cert_chain(directory / config.certificate, directory / config.key)
    except OSError as error:
        expected = f"PEM files that belong together, the key {config.key} without a password"
        problems.append(_problem("certificate", config.certificate, error, expected))
    if problems:
        raise ConfigError(problems)
    return context


def _problem(key: str, file: str, error: OSError, expected: str) -> Problem:
    return Problem(file="", key=f"tls.{key}", found=f"{file}: {error}", expected=expected)


def common_name(certificate: Mapping[str, Any]) -> str | None:
    """Returns the common name of a peer certificate as ``ssl`` shows it, None where there is none."""
    subject: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())
    for names in subject:
        for key, value in names:
            if key == "commonName":
                return value
    return None
