"""Keys of the ``dlms`` connector in ``site.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
LogicalDevice = Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
HexTitle = Annotated[str, Meta(pattern="^([0-9A-Fa-f]{16})?$", description="8 bytes in hexadecimal")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialLine:
    """A serial line, 8N1; meters may share it.

    Attributes:
        path: the serial device, such as /dev/ttyUSB0.
        baud_rate: bits per second; mode-e begins with 300 and takes what the meter offers.
    """

    path: Annotated[str, Meta(min_length=1, description="the serial device, such as /dev/ttyUSB0")]
    baud_rate: Literal[300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = 9600


@dataclass(frozen=True, slots=True, kw_only=True)
class DlmsSecurity:
    """How the gateway shows itself to a meter. Secrets stand in files, which only their owner may read.

    Attributes:
        authentication: none, lls (password) or hls-gmac (mechanism 5, security suite 0).
        password_file: of lls: the password, as text.
        ciphered: with hls-gmac: every APDU is encrypted and authenticated.
        key_file: of hls-gmac: a TOML file with encryption_key and authentication_key, 32 hexadecimal digits each.
        system_title: of hls-gmac: the gateway's, 8 bytes in hexadecimal.
        meter_system_title: the meter's; empty takes the first one it tells.
        counter_obis: where the public client (16) reads the last invocation counter that the meter saw of us, such
            as 0.0.43.1.1.255; empty to trust our own file alone.
    """

    authentication: Literal["none", "lls", "hls-gmac"] = "none"
    password_file: str = ""
    ciphered: bool = False
    key_file: str = ""
    system_title: HexTitle = ""
    meter_system_title: HexTitle = ""
    counter_obis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DlmsMeterConfig:
    """One meter.

    Attributes:
        meter: kind of meter: landis-gyr-zmg310, iskra-mt831, or one's own object map ending in .toml.
        name: unique within the connector; empty where it has one meter.
        host: name or address; empty with ``serial``.
        port: TCP port; 4059 is that of DLMS.
        serial: the serial line; absent with ``host``.
        link: wrapper (TCP), hdlc (TCP or serial) or mode-e (hdlc after the greeting of IEC 62056-21).
        client_address: the gateway's: 16 is the public client, 1 often management.
        server_address: the meter's: wrapper port or upper HDLC address.
        physical_address: lower HDLC address; absent for none.
        address_bytes: length of its HDLC address; 0 for the shortest.
        referencing: logical or short names.
        security: how the gateway shows itself.
        logical_device: name of the points' logical device.
        meter_sign: -1 where the meter counts power taken from the grid as positive, 1 where power fed in.
        device_name: the meter's logical device name; empty takes the first one it tells.
        period_s: how often it is read.
        list_size: most objects in one request, where the meter takes lists.
        profile_obis: of its load profile; empty for none.
        profile_base_name: short name of the load profile.
        push_objects: OBIS codes in the order in which the meter pushes them; empty where it does not push.
    """

    meter: Annotated[str, Meta(min_length=1, description="kind of meter, such as landis-gyr-zmg310")]
    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{0,64}$")] = ""
    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 4059
    serial: SerialLine | None = None
    link: Literal["wrapper", "hdlc", "mode-e"] = "wrapper"
    client_address: Annotated[int, Meta(ge=1, le=0x7F)] = 1
    server_address: Annotated[int, Meta(ge=0, le=0x3FFF)] = 1
    physical_address: Annotated[int, Meta(ge=0, le=0x3FFF)] | None = None
    address_bytes: Literal[0, 1, 2, 4] = 0
    referencing: Literal["logical-names", "short-names"] = "logical-names"
    security: DlmsSecurity = DlmsSecurity()
    logical_device: LogicalDevice = "PCC1"
    meter_sign: Literal[-1, 1] = -1
    device_name: str = ""
    period_s: Seconds = 5.0
    list_size: Annotated[int, Meta(ge=1, le=60)] = 10
    profile_obis: str = "1.0.99.1.0.255"
    profile_base_name: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    push_objects: tuple[str, ...] = ()

    def name_in_site(self, connector: str, meters: int) -> str:
        """Returns the meter's name in the site, which its DataSet and topics carry.

        Args:
            connector: name of the connector.
            meters: how many meters the connector has.
        """
        return connector if meters == 1 and not self.name else f"{connector}-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DlmsConfig:
    """DLMS/COSEM meters, all read by one worker process.

    Attributes:
        device: the meters.
        timeout_s: how long one answer may take.
        retry_min_s: wait before the first new attempt; doubles with every failure.
        retry_max_s: longest wait between attempts.
        listen: host:port where pushed messages are taken; empty for nowhere.
        insecure: true allows ``listen`` on an address that is not loopback: pushed messages without ciphering are
            then believed by their sender's address.
    """

    device: Annotated[tuple[DlmsMeterConfig, ...], Meta(min_length=1)]
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    retry_min_s: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    retry_max_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    listen: str = ""
    insecure: bool = False
