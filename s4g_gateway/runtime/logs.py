"""Structured logging: readable lines on a terminal, one JSON object a line anywhere else, never a secret.

Log lines of the libraries go the same way as our own, so that every line of the process is redacted.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from s4g_gateway.errors import ConfigError, Problem

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
REDACTED: Final = "***"

_SENSITIVE = "password|passwd|passphrase|secret|token|key|psk|pin|credentials?|authorization|cookie"
_SECRET_KEY = re.compile(rf"(?:^|[_.\-])(?:api)?(?:{_SENSITIVE})$", re.IGNORECASE)
# user:password@, or user@ alone, which may be a token; stops at the last @ before path or blank.
_URL_CREDENTIALS = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]*://)[^\s/?#]+@")
_ASSIGNED = re.compile(
    rf"(?P<name>\b[A-Za-z0-9_.\-]*(?:{_SENSITIVE})\b[\"']?\s*[=:]\s*)"
    r"(?P<value>\"[^\"]*\"|'[^']*'|(?:Bearer\s+|Basic\s+)?[^\s,;&)}\]]+)",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DEPTH_LIMIT = 8


def redact_text(text: str) -> str:
    """Returns the text without credentials in URLs and without values assigned to secret names."""
    text = _URL_CREDENTIALS.sub(rf"\g<scheme>{REDACTED}@", text)
    return _ASSIGNED.sub(rf"\g<name>{REDACTED}", text)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replaces secrets in an event: values of secret keys at any depth, credentials inside any text."""
    return {key: _clean(key, value, 0) for key, value in event.items()}


def _clean(key: str, value: object, depth: int) -> object:
    if _SECRET_KEY.search(key) and value not in (None, ""):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if depth >= _DEPTH_LIMIT:
        return "..."
    if isinstance(value, Mapping):
        return {str(name): _clean(str(name), part, depth + 1) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", part, depth + 1) for part in value]
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    return redact_text(str(value))


def _visible(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Shows control characters of names and values, so that no device can forge a line or a colour."""
    return {
        key: _CONTROL.sub(lambda found: repr(found[0])[1:-1], value)
        if isinstance(value, str) and key not in ("exception", "stack")
        else value
        for key, value in event.items()
    }


def _text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    # The standard library's encoder: nothing a device sends (lone surrogates, huge integers) makes it fail.
    return json.dumps(event, separators=(",", ":"))


def parse_levels(words: Iterable[str]) -> dict[str, int]:
    """Reads log levels as the command line gives them.

    Args:
        words: ``LEVEL`` for everything, ``LOGGER=LEVEL`` for one logger, such as ``modbus=debug``; the later
            word wins.

    Returns:
        Level numbers by logger name; the name of everything is empty.

    Raises:
        ConfigError: a level is unknown.
    """
    levels = {"": logging.INFO}
    problems = []
    for word in words:
        name, equals, level = word.rpartition("=")
        if level.lower() not in LEVELS or (equals and not name):
            expected = "LEVEL or LOGGER=LEVEL with one of " + ", ".join(LEVELS)
            problems.append(Problem(file="--log-level", key=name, found=repr(word), expected=expected))
        else:
            levels[name] = logging.getLevelNamesMapping()[level.upper()]
    if problems:
        raise ConfigError(problems)
    return levels


def configure_logging(
    levels: Mapping[str, int] | None = None,
    *,
    stream: TextIO | None = None,
    human: bool | None = None,
) -> None:
    """Sends every log line of this process to one stream; replaces an earlier configuration.

    Args:
        levels: from ``parse_levels``; None is ``info`` for everything.
        stream: where the lines go; None is standard error.
        human: readable lines instead of JSON; None asks whether the stream is a terminal.
    """
    target = sys.stderr if stream is None else stream
    terminal = target.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        # Before redaction, and as plain text: structlog's rich tracebacks print local variables.
        structlog.processors.format_exc_info,
        redact,
    ]
    # Frozen loggers would keep the old configuration: the loggers of modules are made at import.
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if human or (human is None and terminal):
        last += [
            _visible,
            structlog.dev.ConsoleRenderer(
                colors=terminal,
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=0,
            ),
        ]
    else:
        last.append(_text)
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=last,
            foreign_pre_chain=shared,
        )
    )
    chosen = {"": logging.INFO, **(levels or {})}
    root = logging.getLogger()
    root.handlers[:] = [handler]
    for name in _configured - chosen.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    _configured.clear()
    for name, level in chosen.items():
        logging.getLogger(name or None).setLevel(level)
        if name:
            _configured.add(name)
    logging.captureWarnings(capture=True)


_configured: set[str] = set()
