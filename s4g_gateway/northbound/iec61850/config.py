"""Keys of an ``iec61850`` connector in ``site.toml``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from s4g_gateway.errors import Problem
from s4g_gateway.northbound.iec104.config import TlsConfig, is_loopback, split_listen
from s4g_gateway.profiles.iec61850 import PlanSettings
from s4g_gateway.security.access import COMPONENT_ROLES, ROLES

Seconds = Annotated[float, Meta(gt=0, le=604_800)]
_IED_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTable:
    """Clients with the same rights.

    Attributes:
        name: unique among the tables.
        identities: who belongs to it: common names of certificates or, without TLS, IP addresses;
            shell-style patterns are allowed.
        roles: what they may read and control.
        max_connections: most connections of one of them at a time.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    identities: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*",)
    roles: Annotated[tuple[str, ...], Meta(min_length=1)] = ("SCADA",)
    max_connections: Annotated[int, Meta(ge=1, le=64)] = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Iec61850Config:
    """An IEC 61850 server for control centres.

    Attributes:
        listen: host:port; anything but loopback needs ``tls`` or ``insecure = true``.
        insecure: true allows a listener without TLS on an address that is not loopback.
        tls: certificates; absent for plain TCP.
        ied_name: name of the IED in SCL; empty for one made of the site's name.
        icd: SCL file whose IED is the model instead of one made from the site; empty for none.
        include: patterns of the references to offer.
        client: who may connect; none stands for one table that takes everybody.
        max_connections: most connections at a time.
        association_timeout_s: how long a client may take from its connection to its association.
        idle_timeout_s: silence in both directions after which a connection is closed.
        buffered_clients: instances of each buffered report control block; 0 for none.
        unbuffered_clients: instances of each unbuffered report control block; 0 for none.
        report_buffer_bytes: buffer of each buffered report control block.
        integrity_period_s: period of integrity reports unless a client sets another; 0 for none.
        command_priority: priority of this server's Controls, 1 is the strongest.
        setpoint_validity_s: how long its set-points hold; 0 for the site's default.
    """

    listen: Annotated[str, Meta(description="host:port")] = "127.0.0.1:10102"
    insecure: bool = False
    tls: TlsConfig | None = None
    ied_name: str = ""
    icd: Annotated[str, Meta(description="SCL file with the model")] = ""
    include: tuple[str, ...] = ("*",)
    client: tuple[ClientTable, ...] = ()
    max_connections: Annotated[int, Meta(ge=1, le=100)] = 16
    association_timeout_s: Seconds = 10.0
    idle_timeout_s: Seconds = 3600.0
    buffered_clients: Annotated[int, Meta(ge=0, le=16)] = 2
    unbuffered_clients: Annotated[int, Meta(ge=0, le=16)] = 4
    report_buffer_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 65_536
    integrity_period_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    command_priority: Annotated[int, Meta(ge=1, le=255)] = 8
    setpoint_validity_s: Annotated[float, Meta(ge=0)] = 0.0

    @property
    def clients(self) -> tuple[ClientTable, ...]:
        """The client tables, the default one included."""
        return self.client or (ClientTable(name="scada"),)

    def plan_settings(self, site: str) -> PlanSettings:
        """Returns what decides about the model.

        Args:
            site: name of the site.
        """
        return PlanSettings(
            ied_name=self.ied_name or ied_name_of(site),
            include=self.include,
            buffered_clients=self.buffered_clients,
            unbuffered_clients=self.unbuffered_clients,
            integrity_ms=round(self.integrity_period_s * 1000),
        )


def ied_name_of(site: str) -> str:
    """Returns the site's name as an IED name, which has neither hyphens nor a leading digit."""
    name = site.replace("-", "_")[:64]
    return name if name[:1].isalpha() else f"S{name}"[:64]


def check_config(config: Iec61850Config) -> list[Problem]:
    """Returns what contradicts itself in the configuration; keys are relative to the connector's table."""
    problems: list[Problem] = []

    def wrong(key: str, found: object, expected: str) -> None:
        problems.append(Problem(file="", key=key, found=str(found), expected=expected))

    where = split_listen(config.listen)
    if where is None:
        wrong("listen", config.listen, "host:port, such as 127.0.0.1:10102")
    elif not is_loopback(where[0]) and config.tls is None and not config.insecure:
        wrong("listen", config.listen, "a loopback address, or [northbound.tls], or insecure = true")
    if config.ied_name and not _IED_NAME.match(config.ied_name):
        wrong("ied_name", config.ied_name, "a letter, then up to 63 letters, digits and underscores")
    names = [table.name for table in config.client]
    known = ROLES | COMPONENT_ROLES
    for position, table in enumerate(config.client):
        if names.index(table.name) != position:
            wrong(f"client[{position}].name", table.name, "a name that no other table has")
        for role in table.roles:
            if role not in known:
                wrong(f"client[{position}].roles", role, "one of " + ", ".join(sorted(known)))
    return problems
