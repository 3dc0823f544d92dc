import io
import json
import logging
import re

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import ConfigError
from s4g_gateway.runtime.logs import REDACTED, configure_logging, parse_levels, redact, redact_text


@pytest.fixture(autouse=True)
def restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_not_a_terminal_gives_one_json_object_a_line():
    stream = io.StringIO()
    configure_logging(stream=stream)
    structlog.get_logger("database").info("point lost", reference="ESS1/MMXU1.TotW", age_s=2.5)
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("time"))
    assert line == {
        "logger": "database",
        "level": "info",
        "event": "point lost",
        "reference": "ESS1/MMXU1.TotW",
        "age_s": 2.5,
    }


def test_terminal_gives_readable_lines():
    stream = Terminal()
    configure_logging(stream=stream)
    structlog.get_logger("database").info("point lost", reference="ESS1/MMXU1.TotW")
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert "point lost" in text
    assert "reference=ESS1/MMXU1.TotW" in text
    assert not text.startswith("{")


def test_a_module_logger_made_before_configuration_follows_it():
    log = structlog.get_logger("early")
    stream = io.StringIO()
    configure_logging(stream=stream)
    log.warning("hello")
    assert [line["event"] for line in lines(stream)] == ["hello"]


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "mqtt_password", "client_secret", "token", "api_key", "apikey", "key", "psk"],
)
def test_values_of_secret_keys_are_redacted_at_any_depth(key):
    event = {"event": "x", key: "hunter2", "config": {"broker": [{key: "hunter2"}]}}
    assert "hunter2" not in json.dumps(redact(None, "info", event))


def test_names_that_only_look_alike_are_kept():
    event = {"event": "x", "monkey": "chimp", "key_file": "/etc/s4g/site.pem", "keyboard": "qwerty"}
    assert redact(None, "info", event) == event


@pytest.mark.parametrize(
    "text",
    [
        "mqtts://user:hunter2@broker:8883/x",
        "cannot reach mqtt://hunter2@broker",
        "postgresql://u:p@hunter2@db/s4g",
        "login with password=hunter2 failed",
        'got {"token": "hunter2", "a": 1}',
        "Authorization: Bearer hunter2",
        "secret='hunter2 hunter2'",
    ],
)
def test_secrets_inside_text_are_redacted(text):
    assert "hunter2" not in redact_text(text)
    assert REDACTED in redact_text(text)


@given(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#"), min_size=1)
)
def test_no_password_survives_in_a_url(password):
    shown = redact_text(f"mqtt://user:{password}@broker.example:1883/topic")
    assert shown == f"mqtt://{REDACTED}@broker.example:1883/topic"


@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
def test_tracebacks_and_library_lines_are_redacted_and_show_no_locals(stream_type):
    stream = stream_type()
    configure_logging(stream=stream)
    local_variable = "hunter2"
    try:
        raise RuntimeError("cannot reach mqtt://u:hunter2@broker")
    except RuntimeError:
        structlog.get_logger("site").exception("failed", password=local_variable)
        logging.getLogger("paho").exception("login password=%s", local_variable)
    text = stream.getvalue()
    assert "hunter2" not in text
    assert text.count("Traceback") == 2


def test_a_device_cannot_forge_lines_on_a_terminal():
    stream = Terminal()
    configure_logging(stream=stream)
    structlog.get_logger("modbus").info("identified", model="X\n2026 [error] forged\x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b[2J" not in stream.getvalue()


def test_levels_for_everything_and_for_one_logger():
    stream = io.StringIO()
    configure_logging(parse_levels(["warning", "modbus=debug"]), stream=stream)
    for name in ("modbus", "site"):
        for level in ("debug", "warning"):
            getattr(structlog.get_logger(name), level)(f"{name} {level}")
    assert [line["event"] for line in lines(stream)] == ["modbus debug", "modbus warning", "site warning"]
    configure_logging(parse_levels(["error"]), stream=stream)
    structlog.get_logger("modbus").warning("quiet again")
    assert len(lines(stream)) == 3


def test_every_unknown_level_is_named():
    with pytest.raises(ConfigError) as caught:
        parse_levels(["loud", "info", "modbus=very", "=debug"])
    assert [problem.found for problem in caught.value.problems] == ["'loud'", "'modbus=very'", "'=debug'"]


def test_values_json_does_not_know_are_written_as_text():
    stream = io.StringIO()
    configure_logging(stream=stream)
    structlog.get_logger("x").info(
        "frame", data=b"\x68\x04", error=ValueError("token=abc"), big=2**70, nan=float("nan"), odd="\udc80"
    )
    (line,) = lines(stream)
    assert (line["data"], line["big"], line["nan"], line["odd"]) == ("6804", 2**70, "nan", "\udc80")
    assert line["error"] == f"token={REDACTED}"
