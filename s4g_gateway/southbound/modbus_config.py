"""Keys of the ``sunspec`` and ``modbus`` connectors in ``site.toml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
LogicalDevice = Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_-]{0,63}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Modbus/TCP Security: the device is known by its certificate, the gateway perhaps by its own.

    Attributes:
        ca: PEM file with the authorities of the device's certificate, relative to site.toml.
        certificate: PEM file with the gateway's certificate and chain; empty for none.
        key: PEM file with its private key; empty for none.
    """

    ca: Annotated[str, Meta(min_length=1, description="PEM file: authorities of the device's certificate")]
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialConfig:
    """A serial line with Modbus RTU.

    Attributes:
        path: the serial device, such as /dev/ttyUSB0.
        baud_rate: bits per second.
        parity: N, E or O.
        stop_bits: 1 or 2.
    """

    path: Annotated[str, Meta(min_length=1, description="the serial device, such as /dev/ttyUSB0")]
    baud_rate: Annotated[int, Meta(ge=300, le=4_000_000)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """One device behind a connection.

    Attributes:
        unit_id: its Modbus unit id.
        name: unique within the connector; empty for ``unit-<unit_id>``. DataSets and topics are named
            ``<connector>-<name>``, after the connector alone where it has one device without a name.
        period_s: how often the measurements are read.
        settings_period_s: how often ratings and settings are read.
        logical_devices: role -> logical device name, in place of the template's or table's.
    """

    unit_id: Annotated[int, Meta(ge=0, le=255, description="Modbus unit id")] = 1
    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{0,64}$")] = ""
    period_s: Seconds = 1.0
    settings_period_s: Seconds = 60.0
    logical_devices: dict[str, LogicalDevice] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name."""
        return self.name or f"unit-{self.unit_id}"

    def name_in_site(self, connector: str, devices: int) -> str:
        """Returns the device's name in the site, which its DataSets and topics carry.

        Args:
            connector: name of the connector.
            devices: how many devices the connector has; a single one without a name needs no more than that.
        """
        return connector if devices == 1 and not self.name else f"{connector}-{self.label}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SunspecDeviceConfig(DeviceConfig):
    """A SunSpec device.

    Attributes:
        template: kind of device: name of a template, or path of one's own file ending in .toml.
        meter_sign: -1 where a meter counts power taken from the grid as positive, 1 where power fed in.
        battery_sign: 1 where a battery bank counts discharging as positive, -1 where charging.
        rated_power_w: rated power; gives powers their range and set-points their limits.
        grid_charging: true lets a charging set-point switch the battery to charging from the grid.
        max_registers: longest read the device allows.
        gap_limit_registers: greatest run of unwanted registers to read along; absent for 125 on a network,
            16 on a serial line.
    """

    template: Annotated[str, Meta(min_length=1, description="kind of device, such as generic-meter")]
    meter_sign: Literal[-1, 1] = -1
    battery_sign: Literal[-1, 1] = 1
    rated_power_w: Annotated[float, Meta(gt=0)] | None = None
    grid_charging: bool = False
    max_registers: Annotated[int, Meta(ge=16, le=125)] = 125
    gap_limit_registers: Annotated[int, Meta(ge=0, le=125)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDeviceConfig(DeviceConfig):
    """A device described by a register table.

    Attributes:
        registers: the table, a TOML file relative to site.toml.
    """

    registers: Annotated[str, Meta(min_length=1, description="TOML file with the register table")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionConfig:
    """How the devices are reached: by network (host) or by serial line.

    Attributes:
        host: name or address of the device or of the gateway before it; empty with ``serial``.
        port: TCP port.
        tls: certificates; absent for plain TCP.
        serial: the serial line; absent with ``host``.
        timeout_s: how long an answer may take.
        connect_timeout_s: how long connecting may take.
        retry_min_s: wait before the first new attempt; doubles with every failure.
        retry_max_s: longest wait between attempts.
        set_point_timeout_s: a set-point without an end of its own is released after this time.
    """

    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 502
    tls: TlsConfig | None = None
    serial: SerialConfig | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    connect_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    retry_min_s: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    retry_max_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    set_point_timeout_s: Seconds = 1800.0

    @property
    def peer(self) -> str:
        """Where the devices are, for people."""
        return self.serial.path if self.serial is not None else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SunspecConfig(ConnectionConfig):
    """SunSpec devices behind one connection.

    Attributes:
        device: the devices.
    """

    device: Annotated[tuple[SunspecDeviceConfig, ...], Meta(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusConfig(ConnectionConfig):
    """Devices with register tables behind one connection, SunSpec devices among them where they share it.

    Attributes:
        device: devices with a register table.
        sunspec: SunSpec devices on the same connection.
    """

    device: tuple[TableDeviceConfig, ...] = ()
    sunspec: tuple[SunspecDeviceConfig, ...] = ()
