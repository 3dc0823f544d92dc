"""JSON text with limits: what comes in is bounded, what goes out is JSON indeed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import orjson

from s4g_gateway.errors import DecodeError, EncodeError
from s4g_gateway.model.sensorthings import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a decoder takes before it refuses.

    Attributes:
        max_bytes: length of the text; the default holds some 5,000 Observations.
        max_depth: nesting of objects and arrays; SWE Common needs about ten.
        max_observations: rows of one dataArray body; a row of three bytes becomes an object of hundreds.
    """

    max_bytes: int = 1 << 20
    max_depth: int = 32
    max_observations: int = 20_000


DEFAULT_LIMITS = Limits()


def read_json(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Json:
    """Returns the value of a JSON text.

    Raises:
        DecodeError: too long, too deep, or no JSON (RFC 8259, UTF-8).
    """
    if len(data) > limits.max_bytes:
        raise DecodeError(f"{len(data)} bytes, expected at most {limits.max_bytes}")
    try:
        value: Json = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode("utf-8", "surrogatepass")) if error.doc else None
        raise DecodeError(f"no JSON: {error.msg}", offset=offset) from error
    _check_depth(value, limits.max_depth)
    return value


def write_json(value: Json | orjson.Fragment) -> bytes:
    """Returns a value as JSON text.

    Raises:
        EncodeError: a value that JSON has not (NaN, infinite), an integer beyond 64 bits, text that is no
            Unicode, or nesting beyond 250 levels.
    """
    try:
        _check_finite(value)
        return orjson.dumps(value, default=_plain)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise EncodeError(f"no JSON can hold this: {error}") from error


def shown(value: Json) -> str:
    """Returns a value in few words, for messages."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    if isinstance(value, int | float):
        return str(value)
    return "an object" if isinstance(value, Mapping) else "an array"


def as_object(value: Json, path: str) -> Mapping[str, Json]:
    """Returns a value that must be an object.

    Raises:
        DecodeError: it is none.
    """
    if not isinstance(value, Mapping):
        raise DecodeError(f"{path}: found {shown(value)}, expected an object")
    return value


def as_array(value: Json, path: str) -> Sequence[Json]:
    """Returns a value that must be an array.

    Raises:
        DecodeError: it is none.
    """
    if not isinstance(value, list):
        raise DecodeError(f"{path}: found {shown(value)}, expected an array")
    return cast("Sequence[Json]", value)


def as_text(value: Json, path: str) -> str:
    """Returns a value that must be text.

    Raises:
        DecodeError: it is none.
    """
    if not isinstance(value, str):
        raise DecodeError(f"{path}: found {shown(value)}, expected text")
    return value


def _check_depth(value: Json, max_depth: int) -> None:
    level: list[Json] = [value]
    for _ in range(max_depth):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    if any(isinstance(item, list | dict) for item in level):
        raise DecodeError(f"nested deeper than {max_depth} levels")


def _children(value: Json) -> Sequence[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _check_finite(value: Json | orjson.Fragment) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EncodeError(f"{value} is no JSON number; expected None with a quality that says why")
    elif isinstance(value, Mapping):
        for member in value.values():
            _check_finite(member)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for member in value:
            _check_finite(member)


def _plain(value: object) -> Json:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
