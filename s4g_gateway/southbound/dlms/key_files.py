"""Reads passwords and keys from files; never shows them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from s4g_gateway.errors import ConfigError, Problem
from s4g_gateway.southbound.dlms.config import DlmsSecurity

_KEY_BYTES = 16
_KEY_NAMES = ("encryption_key", "authentication_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What a meter's security needs; empty where it does not."""

    password: bytes = field(default=b"", repr=False)
    encryption_key: bytes = field(default=b"", repr=False)
    authentication_key: bytes = field(default=b"", repr=False)


def load_secrets(security: DlmsSecurity, directory: Path) -> Secrets:
    """Reads the files that a security table names.

    Args:
        security: the table.
        directory: where relative paths start.

    Raises:
        ConfigError: contradictions, missing files, files that others may read, or no keys; keys of the problems are
            relative to the table.
    """
    problems = _contradictions(security)
    password = encryption = authentication = b""
    if security.authentication == "lls" and security.password_file:
        password = _read(directory / security.password_file, "password_file", problems).strip(b"\r\n")
        if not password and not problems:
            problems.append(_problem("password_file", "an empty file", "a password"))
    if security.authentication == "hls-gmac" and security.key_file:
        data = _read(directory / security.key_file, "key_file", problems)
        if data:
            encryption, authentication = _keys(data, problems)
    if problems:
        raise ConfigError(problems)
    return Secrets(password=password, encryption_key=encryption, authentication_key=authentication)


def _problem(key: str, found: str, expected: str) -> Problem:
    return Problem(file="", key=key, found=found, expected=expected)


def _contradictions(security: DlmsSecurity) -> list[Problem]:
    kind, problems = security.authentication, []
    needs = {"none": (), "lls": ("password_file",), "hls-gmac": ("key_file", "system_title")}[kind]
    for key in ("password_file", "key_file", "system_title", "meter_system_title", "counter_obis"):
        value = getattr(security, key)
        if key in needs and not value:
            problems.append(_problem(key, "nothing", f"a value, for authentication {kind!r}"))
        allowed = kind == "hls-gmac" and key != "password_file"
        if value and key not in needs and not allowed:
            problems.append(_problem(key, "a value", f"none, for authentication {kind!r}"))
    if security.ciphered and kind != "hls-gmac":
        problems.append(_problem("ciphered", "true", "authentication 'hls-gmac' with it"))
    return problems


def _read(path: Path, key: str, problems: list[Problem]) -> bytes:
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        problems.append(_problem(key, f"{path}: {error.strerror}", "a file that can be read"))
        return b""
    if mode & 0o077:
        problems.append(
            _problem(key, f"{path} with mode {mode & 0o777:o}", "a file only its owner can read (mode 600)")
        )
    return data


def _keys(data: bytes, problems: list[Problem]) -> tuple[bytes, bytes]:
    # nothing of what is found is shown: it may be a key
    expected = "a TOML file with encryption_key and authentication_key, 32 hexadecimal digits each"
    try:
        table = tomllib.loads(data.decode("utf-8"))
        if table.keys() != set(_KEY_NAMES):
            raise ValueError
        encryption, authentication = (bytes.fromhex(table[name]) for name in _KEY_NAMES)
        if {len(encryption), len(authentication)} != {_KEY_BYTES}:
            raise ValueError
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, TypeError):
        problems.append(_problem("key_file", "something else", expected))
        return b"", b""
    return encryption, authentication
