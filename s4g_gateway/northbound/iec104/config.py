"""Keys of an ``iec104`` connector in ``site.toml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Literal

from msgspec import Meta

from s4g_gateway.codecs.iec104 import EndOfInitialisation
from s4g_gateway.errors import Problem
from s4g_gateway.profiles.iec104.plan import PointOverride, SignalSettings
from s4g_gateway.security.access import COMPONENT_ROLES, ROLES

Seconds = Annotated[float, Meta(gt=0, le=172_800)]
Station = Annotated[int, Meta(ge=1, le=65534)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Certificates of the listener; masters must show one of their own.

    Attributes:
        certificate: PEM file with the outstation's certificate and its chain.
        key: PEM file with its private key.
        ca: PEM file with the authorities that issue the masters' certificates.
    """

    certificate: Annotated[str, Meta(min_length=1, description="PEM file: certificate and chain")]
    key: Annotated[str, Meta(min_length=1, description="PEM file: private key")]
    ca: Annotated[str, Meta(min_length=1, description="PEM file: authorities of the masters' certificates")]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """One redundancy group: the connections of one control centre, of which one at a time carries data.

    Attributes:
        name: unique among the groups.
        masters: who belongs to it: common names of certificates or, without TLS, IP addresses; shell-style
            patterns are allowed.
        roles: what its masters may read and control.
        event_capacity: most events kept while no master takes them.
        overflow_ioa: address of a single point that tells the master of lost events; 0 for none.
        max_connections: most connections of this group at a time.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    masters: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*",)
    roles: Annotated[tuple[str, ...], Meta(min_length=1)] = ("SCADA",)
    event_capacity: Annotated[int, Meta(ge=127, le=100_000_000)] = 100_000
    overflow_ioa: Annotated[int, Meta(ge=0, le=0xFFFFFF)] = 0
    max_connections: Annotated[int, Meta(ge=1, le=64)] = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Iec104Config:
    """An IEC 60870-5-104 outstation for control centres.

    Attributes:
        listen: host:port; anything but loopback needs ``tls`` or ``insecure = true``.
        insecure: true allows a listener without TLS on an address that is not loopback.
        tls: certificates; absent for plain TCP.
        common_address: station address of points that nothing else places.
        common_addresses: logical device name or pattern -> station address.
        include: patterns of the references to offer; a point that an override names in full is
            offered anyway.
        point: overrides per reference or pattern; later ones win key by key.
        ioa_file: file of automatic addresses, relative to site.toml; empty for ``<site>.ioa.csv``.
        group: redundancy groups; none stands for one that takes every master.
        max_connections: most connections at a time, all groups together.
        k: most I-frames sent and not acknowledged.
        w: latest acknowledgement after so many received I-frames.
        t1_s: how long to wait for an acknowledgement.
        t2_s: latest acknowledgement of a received I-frame.
        t3_s: silence after which a connection is tested.
        time_zone_offset_minutes: wall clock of time tags against UTC.
        end_of_initialisation: when M_EI_NA_1 is sent.
        background_period_s: every point again with cause background, 0 never.
        counter_time_tags: true answers counter interrogations with type 37, false with type 15.
        command_max_age_s: oldest time tag with which a command is carried out.
        select_timeout_s: how long a selection lives.
        command_priority: priority of this outstation's Controls, 1 is the strongest.
        setpoint_validity_s: how long its set-points hold; 0 for the site's default.
        terminate_commands: send ACTTERM when a command has been carried out.
        event_commit_s: latest time after which an event that no master has acknowledged is safe on the disk.
    """

    listen: Annotated[str, Meta(description="host:port")] = "127.0.0.1:2404"
    insecure: bool = False
    tls: TlsConfig | None = None
    common_address: Station = 1
    common_addresses: dict[str, Station] = field(default_factory=dict)
    include: tuple[str, ...] = ("*",)
    point: tuple[PointOverride, ...] = ()
    ioa_file: str = ""
    group: tuple[GroupTable, ...] = ()
    max_connections: Annotated[int, Meta(ge=1, le=1024)] = 32
    k: Annotated[int, Meta(ge=1, le=32767)] = 12
    w: Annotated[int, Meta(ge=1, le=32767)] = 8
    t1_s: Seconds = 15.0
    t2_s: Seconds = 10.0
    t3_s: Seconds = 20.0
    time_zone_offset_minutes: Annotated[int, Meta(ge=-840, le=840)] = 0
    end_of_initialisation: Literal["never", "once", "every start"] = "once"
    background_period_s: Annotated[float, Meta(ge=0)] = 0.0
    counter_time_tags: bool = False
    command_max_age_s: Seconds = 10.0
    select_timeout_s: Seconds = 30.0
    command_priority: Annotated[int, Meta(ge=1, le=255)] = 8
    setpoint_validity_s: Annotated[float, Meta(ge=0)] = 0.0
    terminate_commands: bool = True
    event_commit_s: Annotated[float, Meta(ge=0.05, le=60)] = 1.0

    @property
    def groups(self) -> tuple[GroupTable, ...]:
        """The redundancy groups, the default one included."""
        return self.group or (GroupTable(name="scada"),)

    @property
    def signal_settings(self) -> SignalSettings:
        """What decides about the signal list."""
        return SignalSettings(
            common_address=self.common_address,
            common_addresses=self.common_addresses,
            include=self.include,
            points=self.point,
        )

    @property
    def initialisation(self) -> EndOfInitialisation:
        """When M_EI_NA_1 is sent."""
        return EndOfInitialisation(self.end_of_initialisation)


def split_listen(text: str) -> tuple[str, int] | None:
    """Returns host and port of ``host:port`` or ``[host]:port``, None where it is neither."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        return None
    return host, int(port)


def is_loopback(host: str) -> bool:
    """True where the host can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_config(config: Iec104Config) -> list[Problem]:
    """Returns what contradicts itself in the configuration; keys are relative to the connector's table."""
    problems: list[Problem] = []

    def wrong(key: str, found: object, expected: str) -> None:
        problems.append(Problem(file="", key=key, found=str(found), expected=expected))

    where = split_listen(config.listen)
    if where is None:
        wrong("listen", config.listen, "host:port, such as 127.0.0.1:2404")
    elif not is_loopback(where[0]) and config.tls is None and not config.insecure:
        wrong("listen", config.listen, "a loopback address, or [northbound.tls], or insecure = true")
    if config.t2_s >= config.t1_s:
        wrong("t2_s", config.t2_s, f"less than t1_s = {config.t1_s}")
    names = [group.name for group in config.group]
    known = ROLES | COMPONENT_ROLES
    for position, group in enumerate(config.group):
        if names.index(group.name) != position:
            wrong(f"group[{position}].name", group.name, "a name that no other group has")
        for role in group.roles:
            if role not in known:
                wrong(f"group[{position}].roles", role, "one of " + ", ".join(sorted(known)))
    return problems
