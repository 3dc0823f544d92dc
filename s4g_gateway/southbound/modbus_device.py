"""What the pollers need of a device, whatever its registers mean."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Protocol

from s4g_gateway.errors import Problem
from s4g_gateway.model import ControlPoint, Value
from s4g_gateway.profiles.modbus.answers import Exchange
from s4g_gateway.profiles.modbus.decoder import ReportDecoder
from s4g_gateway.profiles.modbus.reads import Read
from s4g_gateway.profiles.sunspec import Reading
from s4g_gateway.runtime.contract import SuppliedDataSet
from s4g_gateway.southbound.modbus_config import ConnectionConfig, DeviceConfig


class BoundDevice(Protocol):
    """A device as found behind the present connection."""

    @property
    def decoders(self) -> tuple[ReportDecoder, ...]:
        """One per supplied DataSet, in the same order."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of it, one line each."""
        ...

    def operate(self, reference: str, value: Value, remaining_s: float | None) -> Exchange:
        """Carries out a Control; value None releases."""
        ...

    def read_function(self, reference: str, code: str) -> Reading:
        """Reads the state of a function."""
        ...


class ModbusDevice(Protocol):
    """A device as configured."""

    @property
    def config(self) -> DeviceConfig:
        """Its keys in site.toml."""
        ...

    @property
    def supplied(self) -> tuple[SuppliedDataSet, ...]:
        """Its DataSets."""
        ...

    @property
    def controls(self) -> tuple[ControlPoint, ...]:
        """Its controllable points."""
        ...

    def discover(self) -> Generator[Read, bytes | None, BoundDevice]:
        """Finds out what the device really has; yields reads, is sent their data (None for an exception)."""
        ...

    def nominal_reads(self) -> tuple[tuple[Read, ...], ...]:
        """The reads of each DataSet as far as they can be foreseen."""
        ...


def connection_problems(config: ConnectionConfig) -> list[Problem]:
    """Returns what is wrong with the way to the devices."""
    problems = []
    if bool(config.host) == (config.serial is not None):
        found = "both" if config.host else "neither"
        problems.append(Problem(file="", key="host", found=found, expected="either host or serial"))
    if config.tls is not None and config.serial is not None:
        problems.append(
            Problem(file="", key="tls", found="tls on a serial line", expected="tls only with host")
        )
    if config.retry_min_s > config.retry_max_s:
        problems.append(
            Problem(
                file="",
                key="retry_min_s",
                found=str(config.retry_min_s),
                expected=f"at most retry_max_s ({config.retry_max_s})",
            )
        )
    return problems


def device_problems(devices: tuple[ModbusDevice, ...], keys: tuple[str, ...]) -> list[Problem]:
    """Returns devices that share a unit id or a name."""
    problems = []
    for attribute, key in (("unit_id", "unit_id"), ("label", "name")):
        seen: dict[object, str] = {}
        for device, where in zip(devices, keys, strict=True):
            value = getattr(device.config, attribute)
            if value in seen:
                problems.append(
                    Problem(
                        file="",
                        key=f"{where}.{key}",
                        found=f"{value!r}, as at {seen[value]}",
                        expected="one that no other device of this connection has",
                    )
                )
            seen[value] = where
    return problems


_BITS_PER_CHARACTER = 11
# Address, function, byte count and checksum of an answer; address to checksum of a request.
_REQUEST_CHARACTERS, _ANSWER_CHARACTERS = 8, 5
# Two silent intervals of 3.5 characters, and what devices need to think.
_SILENT_CHARACTERS, _TURNAROUND_S = 7, 0.005


def line_load(config: ConnectionConfig, devices: tuple[ModbusDevice, ...]) -> float:
    """Returns the share of its time that a serial line is busy; 0 for a network."""
    if config.serial is None:
        return 0.0
    character_s = _BITS_PER_CHARACTER / config.serial.baud_rate
    load = 0.0
    for device in devices:
        for supplied, reads in zip(device.supplied, device.nominal_reads(), strict=True):
            characters = sum(
                _REQUEST_CHARACTERS + _ANSWER_CHARACTERS + _SILENT_CHARACTERS + read.byte_count
                for read in reads
            )
            load += (characters * character_s + len(reads) * _TURNAROUND_S) / supplied.period_s
    return load


def line_problems(config: ConnectionConfig, devices: tuple[ModbusDevice, ...]) -> list[Problem]:
    """Returns a poll plan that does not fit on the serial line."""
    load = line_load(config, devices)
    if load <= 1.0:
        return []
    found = f"polls that need {load:.2f} s of every second of the line"
    expected = "less than 1 s: longer period_s, fewer points or a higher baud_rate"
    return [Problem(file="", key="serial.baud_rate", found=found, expected=expected)]


def tls_context(config: ConnectionConfig, directory: Path) -> ssl.SSLContext | None:
    """Returns the TLS client context of a connection, None for plain TCP.

    Args:
        config: the connection.
        directory: where relative paths start.

    Raises:
        OSError: a file is missing or is no PEM file of its kind (ssl.SSLError is one).
    """
    if config.tls is None:
        return None
    context = ssl.create_default_context(cafile=str(directory / config.tls.ca))
    if config.tls.certificate:
        key = str(directory / config.tls.key) if config.tls.key else None
        context.load_cert_chain(str(directory / config.tls.certificate), key)
    return context
