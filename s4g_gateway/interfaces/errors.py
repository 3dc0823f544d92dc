"""Errors of the interface catalogue.

::

    ProfileError
    └── CatalogueError     a data file of the catalogue that cannot be used
    DecodeError
    ├── MessageError       values that do not fit a message
    ├── CommandError       a command or answer that does not fit
    └── TopicError         a topic that is none of the catalogue's
"""

from __future__ import annotations

from s4g_gateway.errors import DecodeError, ProfileError


class CatalogueError(ProfileError):
    """A data file of the catalogue that cannot be used; knows the file and the key.

    Args:
        file: name of the data file.
        key: path of the key in it, such as ``message[0].variable[2].unit``.
        detail: what was expected and what was found.
    """

    def __init__(self, file: str, key: str, detail: str) -> None:
        super().__init__(f"{file}: {key}: {detail}")
        self.file = file
        self.key = key


class MessageError(DecodeError):
    """Values, roles or a Report that do not fit a message of the catalogue."""


class CommandError(DecodeError):
    """A command or its answer with a missing, repeated, unknown or wrong member."""


class TopicError(DecodeError):
    """A topic, or a part of one, that the catalogue does not know."""
