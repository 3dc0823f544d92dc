"""What a meter demands of its clients, from a password or a file of keys."""

from __future__ import annotations

import tomllib
from pathlib import Path

from s4g_gateway.errors import ConfigError, Problem
from s4g_gateway.simulators.dlms_meter.application import MeterSecurity
from s4g_gateway.simulators.dlms_meter.security import Keys, Mechanism


def meter_security(
    *, password: str = "", key_file: Path | None = None, ciphered: bool = False
) -> MeterSecurity:
    """Returns a meter's demands: LLS with a password, HLS-GMAC with keys, else nothing.

    Args:
        password: of LLS; empty for none.
        key_file: TOML file with encryption_key and authentication_key in hexadecimal; None for none.
        ciphered: true to demand that every APDU is encrypted and authenticated.

    Raises:
        ConfigError: the file holds no such keys.
    """
    if key_file is not None:
        try:
            table = tomllib.loads(key_file.read_text(encoding="utf-8"))
            keys = Keys(
                encryption=bytes.fromhex(table["encryption_key"]),
                authentication=bytes.fromhex(table["authentication_key"]),
            )
            if {len(keys.encryption), len(keys.authentication)} != {16}:
                raise ValueError
        except (
            OSError,
            UnicodeDecodeError,
            tomllib.TOMLDecodeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            expected = "encryption_key and authentication_key, 32 hexadecimal digits each"
            problem = Problem(file=str(key_file), key="", found=type(error).__name__, expected=expected)
            raise ConfigError([problem]) from error
        return MeterSecurity(mechanism=Mechanism.HLS_GMAC, keys=keys, ciphered=ciphered)
    if password:
        return MeterSecurity(mechanism=Mechanism.LLS, password=password.encode())
    return MeterSecurity()
