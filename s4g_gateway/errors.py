"""The exception tree of the product.

::

    GatewayError
    ├── DecodeError            bytes that are no message of the format; knows the offset
    ├── EncodeError            an object that the format cannot carry
    ├── ProtocolError          a rule of a protocol was broken
    │   ├── LocalProtocolError     by us: the API was misused
    │   └── RemoteProtocolError    by the peer
    ├── ModelError             a reference, DataSet, Report or table that breaks the model's rules
    ├── ProfileError           mapping data or a profile that contradicts itself
    ├── ConfigError            a configuration file; carries every problem found
    ├── ControllerError        a plan, series or saved state that a controller cannot work with
    ├── AccessError            a principal without the right
    └── AdapterError           the outside world
        ├── TransientError         worth another try: time-out, refused connection
        └── PermanentError         not worth another try without a change by a person
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class GatewayError(Exception):
    """Root of every error this product raises on purpose."""


class DecodeError(GatewayError):
    """Bytes that do not form a message of the expected format.

    Args:
        message: what was expected and what was found.
        offset: position of the offending byte, from 0; None where a position has no meaning.
    """

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"byte {offset}: {message}")
        self.offset = offset


class EncodeError(GatewayError):
    """An object that the format cannot carry."""


class ProtocolError(GatewayError):
    """A rule of a protocol was broken."""


class LocalProtocolError(ProtocolError):
    """We broke the rule: the API was used in a state that does not allow it."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rule."""


class ModelError(GatewayError):
    """A reference, DataSet, Report or table that breaks the canonical model's rules."""


class ProfileError(GatewayError):
    """Mapping data or a profile that contradicts itself or its standard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding in a configuration.

    Attributes:
        file: the file's path as the user gave it.
        key: path of the key, such as ``southbound[2].unit_id``.
        found: what stands there.
        expected: what should stand there.
    """

    file: str
    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.file, self.key) if part)
        return f"{place}: found {self.found}, expected {self.expected}"


class ConfigError(GatewayError):
    """A configuration that cannot be used; ``problems`` holds every finding."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class AccessError(GatewayError):
    """The principal has no right to do this."""


class AdapterError(GatewayError):
    """The outside world (device, broker, disk) did not do what was asked."""


class TransientError(AdapterError):
    """Worth another try."""


class PermanentError(AdapterError):
    """Not worth another try until a person changes something."""
