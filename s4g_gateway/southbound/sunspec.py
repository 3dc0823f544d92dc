"""The ``sunspec`` connector: SunSpec devices over Modbus TCP, TLS or RTU."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from s4g_gateway.errors import ConfigError, Problem, ProfileError
from s4g_gateway.model import ControlPoint, Value
from s4g_gateway.profiles.modbus.answers import Exchange
from s4g_gateway.profiles.modbus.decoder import ReportDecoder
from s4g_gateway.profiles.modbus.reads import MAX_READ_REGISTERS, Read
from s4g_gateway.profiles.sunspec import (
    ControlMemory,
    DeviceOptions,
    Reading,
    SunspecBinding,
    SunspecDevice,
    bind,
    build_device,
    carry_out,
    discover,
    load_template,
    read_function,
)
from s4g_gateway.profiles.sunspec.nominal import nominal_chain
from s4g_gateway.runtime.contract import ConnectorType, SiteContext, SuppliedDataSet
from s4g_gateway.southbound.modbus_config import ConnectionConfig, SunspecConfig, SunspecDeviceConfig
from s4g_gateway.southbound.modbus_connector import ModbusConnector
from s4g_gateway.southbound.modbus_device import (
    ModbusDevice,
    connection_problems,
    device_problems,
    line_problems,
    tls_context,
)

# On a slow line sixteen registers cost about as much as asking again.
_SERIAL_GAP_REGISTERS = 16


@dataclass(frozen=True, slots=True)
class BoundSunspec:
    """A SunSpec device as found."""

    binding: SunspecBinding
    memory: ControlMemory

    @property
    def decoders(self) -> tuple[ReportDecoder, ...]:
        """One per DataSet."""
        return self.binding.decoders

    @property
    def remarks(self) -> tuple[str, ...]:
        """Models that are missing or unknown."""
        chain, remarks = self.binding.chain, []
        if self.binding.missing:
            remarks.append("the device lacks the models of: " + "; ".join(self.binding.missing))
        if chain.unknown:
            remarks.append("models without a definition are skipped: " + ", ".join(map(str, chain.unknown)))
        if not chain.has_end:
            remarks.append("the chain of models has no end model")
        return tuple(remarks)

    def operate(self, reference: str, value: Value, remaining_s: float | None) -> Exchange:
        """Carries out a Control."""
        return carry_out(self.binding, reference, value, memory=self.memory, remaining_s=remaining_s)

    def read_function(self, reference: str, code: str) -> Reading:
        """Reads the state of a function."""
        return read_function(self.binding, reference, code)


@dataclass(frozen=True, slots=True)
class SunspecModbusDevice:
    """A SunSpec device behind a Modbus connection.

    Attributes:
        config: its keys in site.toml.
        device: what its template makes of it.
        gap_limit: as in ``plan_reads``.
        memory: what Controls leave behind, over reconnections.
    """

    config: SunspecDeviceConfig
    device: SunspecDevice
    gap_limit: int
    memory: ControlMemory = field(default_factory=ControlMemory)

    @property
    def supplied(self) -> tuple[SuppliedDataSet, ...]:
        """Measurements and settings, each in its period."""
        periods_s = {"measurement": self.config.period_s, "setting": self.config.settings_period_s}
        return tuple(
            SuppliedDataSet(data_set=section.data_set, period_s=periods_s[section.rate])
            for section in self.device.sections
        )

    @property
    def controls(self) -> tuple[ControlPoint, ...]:
        """The controllable points."""
        return self.device.controls

    def discover(self) -> Generator[Read, bytes | None, BoundSunspec]:
        """Walks the chain and binds the template to it."""
        chain = yield from discover()
        binding = bind(self.device, chain, max_registers=self.config.max_registers, gap_limit=self.gap_limit)
        return BoundSunspec(binding, self.memory)

    def nominal_reads(self) -> tuple[tuple[Read, ...], ...]:
        """The reads of each DataSet if the device has every model in full."""
        binding = bind(
            self.device,
            nominal_chain(self.device.template),
            max_registers=self.config.max_registers,
            gap_limit=self.gap_limit,
        )
        return tuple(decoder.reads for decoder in binding.decoders)


def build_sunspec_device(
    name: str, config: SunspecDeviceConfig, connection: ConnectionConfig, context: SiteContext, prefix: str
) -> SunspecModbusDevice:
    """Builds a configured SunSpec device.

    Args:
        name: its name in the site.
        config: its keys.
        connection: the connection's keys.
        context: the site.
        prefix: key of its table, such as ``device[0]``.

    Raises:
        ConfigError: the template or the options do not fit; keys are relative to the connector's table.
    """
    try:
        template = load_template(config.template, context.directory)
        options = DeviceOptions(
            logical_devices=config.logical_devices,
            meter_sign=config.meter_sign,
            battery_sign=config.battery_sign,
            rated_power_w=config.rated_power_w,
            grid_charging=config.grid_charging,
        )
        device = build_device(template, name, options)
    except ConfigError as error:
        problem = error.problems[0]
        raise ConfigError(
            [Problem(file="", key=f"{prefix}.template", found=problem.found, expected=problem.expected)]
        ) from error
    except ProfileError as error:
        raise ConfigError(
            [Problem(file="", key=prefix, found=str(error), expected="a device that fits its template")]
        ) from error
    gap_limit = config.gap_limit_registers
    if gap_limit is None:
        gap_limit = MAX_READ_REGISTERS if connection.serial is None else _SERIAL_GAP_REGISTERS
    return SunspecModbusDevice(config, device, gap_limit)


def create_connector(
    config: ConnectionConfig,
    devices: list[ModbusDevice],
    keys: list[str],
    problems: list[Problem],
    context: SiteContext,
) -> ModbusConnector:
    """Joins devices and connection into a connector.

    Raises:
        ConfigError: everything that is wrong, ``problems`` included.
    """
    problems += connection_problems(config)
    problems += device_problems(tuple(devices), tuple(keys))
    problems += line_problems(config, tuple(devices))
    tls = None
    try:
        tls = tls_context(config, context.directory)
    except OSError as error:
        problems.append(Problem(file="", key="tls", found=str(error), expected="PEM files that can be read"))
    if problems:
        raise ConfigError(problems)
    return ModbusConnector(config, tuple(devices), tls)


def _create(name: str, config: SunspecConfig, context: SiteContext) -> ModbusConnector:
    problems: list[Problem] = []
    devices: list[ModbusDevice] = []
    keys: list[str] = []
    for position, entry in enumerate(config.device):
        key = f"device[{position}]"
        device_name = entry.name_in_site(name, len(config.device))
        try:
            devices.append(build_sunspec_device(device_name, entry, config, context, key))
            keys.append(key)
        except ConfigError as error:
            problems += error.problems
    return create_connector(config, devices, keys, problems, context)


SUNSPEC = ConnectorType(
    config=SunspecConfig, create=_create, summary="SunSpec devices over Modbus TCP, TLS or RTU"
)
