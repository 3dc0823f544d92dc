"""Messages of the local socket: one JSON object a line, requests up, answers down.

A request names what to ``do`` and may carry an ``id``, which every line of its answer repeats. An answer has
``ok``; a negative one says ``error`` and of which ``kind``. A long answer comes in several lines, all but the
last with ``more``. The whole protocol is described in docs/operations.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from s4g_gateway.errors import DecodeError
from s4g_gateway.model import Value

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Longest request line, its newline included."""
CHUNK_POINTS: Final = 500
"""Most points in one line of an answer."""

Text = Annotated[str, Meta(max_length=256)]
Patterns = Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)]


class ErrorKind(StrEnum):
    """Why a request was not carried out."""

    MALFORMED = "malformed"
    UNKNOWN_POINT = "unknown-point"
    DENIED = "denied"
    CONFIGURATION = "configuration"
    FAILED = "failed"
    BUSY = "busy"


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """What every request has.

    Attributes:
        id: repeated in every line of the answer.
    """

    id: int | Text | None = None


class ListPoints(Request, frozen=True, tag="list"):
    """Lists points and controls.

    Attributes:
        match: shell-style patterns over references; a point that fits one is listed.
    """

    match: Patterns = ("*",)


class Read(Request, frozen=True, tag="read"):
    """Reads points.

    Attributes:
        references: the points.
    """

    references: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=500)]


class Watch(Request, frozen=True, tag="watch"):
    """Sends a snapshot, then what changed, until ``unwatch`` or the end of the connection.

    Attributes:
        match: shell-style patterns over references.
        interval_s: shortest time between two updates; changes in between are joined.
        status: true adds the site's status to every update.
    """

    match: Patterns = ("*",)
    interval_s: Annotated[float, Meta(ge=0.05, le=3600)] = 1.0
    status: bool = False


class Unwatch(Request, frozen=True, tag="unwatch"):
    """Ends the watch of this connection."""


class Operate(Request, frozen=True, tag="operate"):
    """Sends one Control down.

    Attributes:
        reference: the controllable point.
        service: select, operate, cancel, or release (give the device back to its own rule).
        value: ctlVal in the point's unit; for select and operate.
        priority: 1 is the strongest.
        for_s: validity of a set-point, seconds from now; None takes the site's.
        test: true for a test that does not reach the device.
        ctl_num: links select and operate.
        command_id: a repeat with the same identity is not carried out again.
    """

    reference: Text
    service: Literal["select", "operate", "cancel", "release"] = "operate"
    value: Value = None
    priority: Annotated[int, Meta(ge=1, le=255)] = 8
    for_s: Annotated[float, Meta(gt=0, le=366 * 86400)] | None = None
    test: bool = False
    ctl_num: Annotated[int, Meta(ge=0, le=255)] = 0
    command_id: Text = ""


class ReadFunction(Request, frozen=True, tag="function"):
    """Asks a device for the state of a function of TR 61850-90-7; it is set with ``operate`` and a text value.

    Attributes:
        reference: the point that takes the function's requests.
        code: which of the functions of that point; empty for the one that the device's settings stand for.
    """

    reference: Text
    code: Text = ""


class Ask(Request, frozen=True, tag="ask"):
    """Asks a device for what is no point, such as a meter's load profile.

    Attributes:
        device: its name in the site.
        question: what is asked for.
        body: particulars.
    """

    device: Text
    question: Text
    body: dict[str, Any] = {}


class Status(Request, frozen=True, tag="status"):
    """Asks what the site and its connectors are doing."""


class Reload(Request, frozen=True, tag="reload"):
    """Reads the site file again."""


AnyRequest = ListPoints | Read | Watch | Unwatch | Operate | ReadFunction | Ask | Status | Reload

_REQUESTS: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)


def decode_request(line: bytes) -> AnyRequest:
    """Reads one request line.

    Raises:
        DecodeError: it is no request; the message names the key.
    """
    try:
        return _REQUESTS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"no request: {error}") from error


def encode_answer(request_id: int | str | None, **fields: Any) -> bytes:
    """Returns one answer line; ``id`` only where the request had one."""
    head = {} if request_id is None else {"id": request_id}
    return msgspec.json.encode(head | fields) + b"\n"


def encode_error(request_id: int | str | None, kind: ErrorKind, error: str, **fields: Any) -> bytes:
    """Returns one negative answer line."""
    return encode_answer(request_id, ok=False, kind=kind.value, error=error, **fields)
