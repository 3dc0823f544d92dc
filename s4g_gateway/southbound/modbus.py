"""The ``modbus`` connector: any Modbus device by its register table, SunSpec devices beside it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from s4g_gateway.errors import ConfigError, Problem, ProfileError
from s4g_gateway.model import AddCause, ControlPoint, Value, refused
from s4g_gateway.profiles.modbus import TableDevice, build_table_device, load_table, operate_table
from s4g_gateway.profiles.modbus.answers import Exchange
from s4g_gateway.profiles.modbus.decoder import ReportDecoder
from s4g_gateway.profiles.modbus.reads import Read
from s4g_gateway.profiles.sunspec import Reading
from s4g_gateway.runtime.contract import ConnectorType, SiteContext, SuppliedDataSet
from s4g_gateway.southbound.modbus_config import ModbusConfig, TableDeviceConfig
from s4g_gateway.southbound.modbus_connector import ModbusConnector
from s4g_gateway.southbound.modbus_device import ModbusDevice
from s4g_gateway.southbound.sunspec import build_sunspec_device, create_connector


@dataclass(frozen=True, slots=True)
class BoundTable:
    """A device with a register table; there is nothing to find out."""

    device: TableDevice
    decoders: tuple[ReportDecoder, ...]
    remarks: tuple[str, ...] = ()

    def operate(self, reference: str, value: Value, remaining_s: float | None) -> Exchange:  # noqa: ARG002
        """Carries out a Control; a plain register has no reversion timer."""
        return operate_table(self.device, reference, value)

    def read_function(self, reference: str, code: str) -> Reading:  # noqa: ARG002
        """Refuses: a table of registers knows no functions."""
        yield from ()
        return refused(AddCause.NOT_SUPPORTED, f"{reference} has no function")


@dataclass(frozen=True, slots=True)
class TableModbusDevice:
    """A device with a register table behind a Modbus connection.

    Attributes:
        config: its keys in site.toml.
        device: what its table makes of it.
    """

    config: TableDeviceConfig
    device: TableDevice

    @property
    def supplied(self) -> tuple[SuppliedDataSet, ...]:
        """Measurements and settings, each in its period."""
        return tuple(
            SuppliedDataSet(
                data_set=data_set,
                period_s=self.config.settings_period_s
                if data_set.name.endswith("-settings")
                else self.config.period_s,
            )
            for data_set in self.device.data_sets
        )

    @property
    def controls(self) -> tuple[ControlPoint, ...]:
        """The controllable points."""
        return self.device.controls

    def discover(self) -> Generator[Read, bytes | None, BoundTable]:
        """Returns the device as its table has it."""
        yield from ()
        return BoundTable(self.device, self.device.decoders())

    def nominal_reads(self) -> tuple[tuple[Read, ...], ...]:
        """The reads of each DataSet."""
        return tuple(decoder.reads for decoder in self.device.decoders())


def _create(name: str, config: ModbusConfig, context: SiteContext) -> ModbusConnector:
    problems: list[Problem] = []
    devices: list[ModbusDevice] = []
    keys: list[str] = []
    count = len(config.device) + len(config.sunspec)
    for position, entry in enumerate(config.device):
        key = f"device[{position}]"
        try:
            devices.append(_table_device(entry.name_in_site(name, count), entry, context, key))
            keys.append(key)
        except ConfigError as error:
            problems += error.problems
    for position, sunspec in enumerate(config.sunspec):
        key = f"sunspec[{position}]"
        try:
            device_name = sunspec.name_in_site(name, count)
            devices.append(build_sunspec_device(device_name, sunspec, config, context, key))
            keys.append(key)
        except ConfigError as error:
            problems += error.problems
    if not config.device and not config.sunspec:
        problems.append(Problem(file="", key="device", found="none", expected="at least one device"))
    return create_connector(config, devices, keys, problems, context)


def _table_device(name: str, config: TableDeviceConfig, context: SiteContext, key: str) -> TableModbusDevice:
    table = load_table(context.directory / config.registers)
    try:
        return TableModbusDevice(config, build_table_device(table, name, config.logical_devices))
    except ProfileError as error:
        raise ConfigError(
            [Problem(file="", key=f"{key}.registers", found=str(error), expected="a table that fits")]
        ) from error


MODBUS = ConnectorType(
    config=ModbusConfig, create=_create, summary="any Modbus device by its register table, TCP, TLS or RTU"
)
