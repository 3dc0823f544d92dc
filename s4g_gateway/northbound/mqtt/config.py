"""Keys of an ``mqtt`` connector in ``site.toml``."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from s4g_gateway.errors import Problem
from s4g_gateway.security.access import COMPONENT_ROLES, ROLES

NAME = "^[A-Za-z0-9][A-Za-z0-9-]{0,62}$"
_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTls:
    """Certificates for ``mqtts://``.

    Attributes:
        ca: PEM file of the authorities that issue the broker's certificate; empty for the system's.
        certificate: PEM file with the gateway's certificate and its chain; empty for none.
        key: PEM file with its private key.
    """

    ca: Annotated[str, Meta(description="PEM file: authorities of the broker's certificate")] = ""
    certificate: Annotated[str, Meta(description="PEM file: the gateway's certificate and chain")] = ""
    key: Annotated[str, Meta(description="PEM file: private key")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttConfig:
    """A connection to an MQTT broker.

    Attributes:
        url: broker, ``mqtt://host[:1883]`` or ``mqtts://host[:8883]``.
        node: the gateway's name in topics; with TLS the common name of its certificate.
        client_id: MQTT client identifier; empty for ``<site>-<node>``.
        insecure: true allows ``mqtt://`` to an address that is not loopback.
        tls: certificates of ``mqtts://``.
        protocol: MQTT version; auto takes 5 where the broker speaks it, else 3.1.1.
        keepalive_s: a silent connection is tested after this time and given up after twice of it.
        qos: 1 journals every Report and delivers it at least once; 0 does neither.
        format: representation of SenML.
        include: patterns of the names of DataSets to publish.
        publish: ``changes`` sends what changed, ``whole`` the whole DataSet whenever something changed,
            ``none`` no DataSets (measurement, status and requests remain).
        integrity_period_s: a DataSet is sent whole, and retained, at least this often.
        measurement_period_s: period of the EB#LESSAg measurement event.
        inflight: most messages sent and not yet acknowledged; the broker may ask for less.
        journal_max_bytes: most bytes of Reports kept while the broker is away, oldest discarded first.
        journal_max_age_s: oldest Report kept while the broker is away.
        journal_sync_s: longest time until a Report is safe from power loss too.
        clients: who may ask and command: name of the client -> its roles. Others have no rights.
        max_lease_s: longest subscription a client gets without renewal.
        max_lease_points: most points of all subscriptions of one client.
        max_message_bytes: largest message sent or taken in.
    """

    url: Annotated[str, Meta(pattern="^mqtts?://[^/]+/?$", description="mqtt://host:1883")]
    node: Annotated[str, Meta(pattern=NAME, description="name of the gateway in topics")] = "smx"
    client_id: Annotated[str, Meta(pattern="^[A-Za-z0-9-]{0,64}$")] = ""
    insecure: bool = False
    tls: MqttTls | None = None
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: Annotated[int, Meta(ge=1, le=3600)] = 15
    qos: Literal[0, 1] = 1
    format: Literal["json", "cbor", "xml"] = "json"
    include: tuple[str, ...] = ("*",)
    publish: Literal["changes", "whole", "none"] = "changes"
    integrity_period_s: Annotated[float, Meta(ge=1, le=86_400)] = 10.0
    measurement_period_s: Annotated[float, Meta(ge=1, le=10)] = 5.0
    inflight: Annotated[int, Meta(ge=1, le=1000)] = 100
    journal_max_bytes: Annotated[int, Meta(ge=100_000)] = 256 * 1024 * 1024
    journal_max_age_s: Annotated[float, Meta(gt=0)] = 7 * 86_400.0
    journal_sync_s: Annotated[float, Meta(gt=0, le=1)] = 1.0
    clients: dict[str, tuple[str, ...]] = field(default_factory=dict)
    max_lease_s: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    max_lease_points: Annotated[int, Meta(ge=1)] = 10_000
    max_message_bytes: Annotated[int, Meta(ge=1000, le=1 << 28)] = 1_000_000

    @property
    def host(self) -> str:
        """The broker's host."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port."""
        parts = urlsplit(self.url)
        return parts.port or _PORTS[parts.scheme]

    @property
    def secure(self) -> bool:
        """True for ``mqtts://``."""
        return self.url.startswith("mqtts:")


def tls_context(config: MqttConfig, directory: Path) -> ssl.SSLContext | None:
    """Loads the certificates anew, so that renewed ones count from the next connection on.

    Args:
        config: the connector's keys.
        directory: where relative paths start.

    Raises:
        OSError: a file cannot be read or holds no certificate or key (``ssl.SSLError`` is one).
    """
    if not config.secure:
        return None
    tls = config.tls or MqttTls()
    context = ssl.create_default_context(cafile=str(directory / tls.ca) if tls.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate:
        context.load_cert_chain(directory / tls.certificate, directory / tls.key if tls.key else None)
    return context


def check_config(config: MqttConfig, directory: Path) -> list[Problem]:
    """Returns what contradicts itself; keys are relative to the connector's table."""
    problems: list[Problem] = []

    def wrong(key: str, found: object, expected: str) -> None:
        problems.append(Problem(file="", key=key, found=str(found), expected=expected))

    try:
        host, _ = config.host, config.port
    except ValueError as error:
        wrong("url", f"{config.url} ({error})", "mqtt://host:port or mqtts://host:port")
        return problems
    if "@" in config.url:
        wrong("url", "a user in the URL", "mqtt://host:port; clients show certificates, no passwords")
    elif not host:
        wrong("url", config.url, "mqtt://host:port or mqtts://host:port")
    elif not config.secure and not config.insecure and not _is_loopback(host):
        wrong("url", config.url, "a loopback address, or mqtts://, or insecure = true")
    if config.tls is not None and not config.secure:
        wrong("tls", "certificates", f"none, as {config.url} does not use them, or an mqtts:// URL")
    if config.tls is not None and config.tls.key and not config.tls.certificate:
        wrong("tls.key", config.tls.key, "a certificate beside it")
    try:
        tls_context(config, directory)
    except OSError as error:
        files = config.tls or MqttTls()
        wrong(
            "tls",
            f"{files.ca} {files.certificate} {files.key}: {error}".strip(),
            "PEM files that belong together, the key without a password",
        )
    known = ROLES | COMPONENT_ROLES
    for name, roles in config.clients.items():
        for role in roles:
            if role not in known:
                wrong(f"clients.{name}", role, "one of " + ", ".join(sorted(known)))
    return problems


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
