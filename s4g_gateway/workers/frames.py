"""The messages between a gateway and its worker processes, and how they stand on the wire.

A frame is four bytes of length (big-endian) and one MessagePack array: a tag, then the fields in order. Nothing that
arrives is ever executed or unpickled; what is no frame of the list is a DecodeError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import compress
from operator import ne
from typing import Any, Final

import msgspec

from s4g_gateway.errors import DecodeError, EncodeError, ModelError
from s4g_gateway.model import Control, ControlAnswer, DataSet, Member, Reason, Report, TimeQuality, Value

MAX_FRAME_BYTES: Final = 16 << 20
LENGTH: Final = struct.Struct(">I")


class _Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


class DataSetFrame(_Frame, frozen=True):
    """A DataSet: name and members."""

    name: str
    members: tuple[Member, ...]


class StartFrame(_Frame, frozen=True, tag=1):
    """First frame to a worker: what it is to do.

    Attributes:
        start: plain builtins, as the connector gave them.
        data_sets: what Reports speak of; Reports name them by position.
    """

    start: Any
    data_sets: tuple[DataSetFrame, ...]


class StopFrame(_Frame, frozen=True, tag=2):
    """To a worker: release what you hold and return from ``main``."""


class PingFrame(_Frame, frozen=True, tag=3):
    """To a worker: answer with the same number."""

    number: int


class PongFrame(_Frame, frozen=True, tag=4):
    """From a worker.

    Attributes:
        number: of the ping.
        stalled_s: seconds since its main thread last gave a sign of life.
    """

    number: int
    stalled_s: float


class ReadyFrame(_Frame, frozen=True, tag=5):
    """From a worker: start-up is finished."""

    info: Any = None


class ReportFrame(_Frame, frozen=True, tag=6):
    """A Report, either way.

    Attributes:
        data_set_index: position of the DataSet in the list of the start.
        values: one value per member.
        quality: one per member, or one for all.
        time_ns: one per member, or one for all; ns since 1970 UTC.
        reason: why it was made.
        included: one byte per member; None includes all.
        time_quality: bits of TimeQuality.
    """

    data_set_index: int
    values: tuple[Value, ...]
    quality: int | tuple[int, ...]
    time_ns: int | tuple[int, ...]
    reason: Reason = Reason.INTEGRITY
    included: bytes | None = None
    time_quality: int = 0

    def qualities(self) -> tuple[int, ...]:
        """Returns one quality per member."""
        quality = self.quality
        return (quality,) * len(self.values) if isinstance(quality, int) else quality

    def positions(self) -> range | tuple[int, ...]:
        """Returns the positions of the included members, in order."""
        everything = range(len(self.values))
        return everything if self.included is None else tuple(compress(everything, self.included))


class ControlFrame(_Frame, frozen=True, tag=7):
    """A Control, either way; answered by an AnswerFrame of the same number."""

    number: int
    control: Control


class AnswerFrame(_Frame, frozen=True, tag=8):
    """What became of a Control."""

    number: int
    answer: ControlAnswer


class CallFrame(_Frame, frozen=True, tag=9):
    """A question, either way; answered by a ReplyFrame or RefusalFrame of the same number."""

    number: int
    name: str
    body: Any = None


class ReplyFrame(_Frame, frozen=True, tag=10):
    """The answer to a question."""

    number: int
    body: Any = None


class RefusalFrame(_Frame, frozen=True, tag=11):
    """Why a question has no answer.

    Attributes:
        number: of the question.
        message: one line for people.
        transient: whether another try may help.
    """

    number: int
    message: str
    transient: bool = False


class LogFrame(_Frame, frozen=True, tag=12):
    """From a worker: a line for the gateway's log."""

    level: str
    event: str
    fields: dict[str, Any] = {}


class CountFrame(_Frame, frozen=True, tag=13):
    """From a worker: adds to a counter of its connector."""

    name: str
    amount: float = 1


class GaugeFrame(_Frame, frozen=True, tag=14):
    """From a worker: sets a gauge of its connector."""

    name: str
    value: float


class FailureFrame(_Frame, frozen=True, tag=15):
    """From a worker, as its last: why it ends."""

    message: str


Frame = (
    StartFrame
    | StopFrame
    | PingFrame
    | PongFrame
    | ReadyFrame
    | ReportFrame
    | ControlFrame
    | AnswerFrame
    | CallFrame
    | ReplyFrame
    | RefusalFrame
    | LogFrame
    | CountFrame
    | GaugeFrame
    | FailureFrame
)

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)
_TIME_QUALITY: Final = tuple(TimeQuality(bits) for bits in range(8))


def encode(frame: Frame) -> bytearray:
    """Returns the frame with its length before it.

    Raises:
        EncodeError: it holds what MessagePack cannot carry, or is longer than 16 MiB.
    """
    data = bytearray(LENGTH.size)
    try:
        _ENCODER.encode_into(frame, data, LENGTH.size)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise EncodeError(f"{type(frame).__name__} for a worker: {error}") from error
    size = len(data) - LENGTH.size
    if size > MAX_FRAME_BYTES:
        raise EncodeError(f"{type(frame).__name__} of {size} bytes; a frame holds {MAX_FRAME_BYTES}")
    LENGTH.pack_into(data, 0, size)
    return data


class FrameReader:
    """Cuts a stream of bytes into frames; holds at most one incomplete frame and what was fed last."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the stream."""
        if self._at:
            del self._data[: self._at]
            self._at = 0
        self._data += data

    def frames(self) -> Iterator[Frame]:
        """Yields the complete frames.

        Raises:
            DecodeError: the bytes are no frame; the stream is lost.
        """
        data = self._data
        while len(data) - self._at >= LENGTH.size:
            start = self._at + LENGTH.size
            (size,) = LENGTH.unpack_from(data, self._at)
            if size > MAX_FRAME_BYTES:
                raise DecodeError(f"frame of {size} bytes announced; at most {MAX_FRAME_BYTES}", offset=0)
            if len(data) - start < size:
                return
            try:
                frame = _DECODER.decode(data[start : start + size])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise DecodeError(f"no frame of a worker: {error}", offset=LENGTH.size) from error
            self._at = start + size
            yield frame


def data_set_frames(data_sets: tuple[DataSet, ...]) -> tuple[DataSetFrame, ...]:
    """Returns DataSets as frames."""
    return tuple(DataSetFrame(data_set.name, data_set.members) for data_set in data_sets)


def report_frame(data_set_index: int, report: Report) -> ReportFrame:
    """Returns a Report as a frame."""
    return ReportFrame(
        data_set_index,
        report.values,
        one_for_all(report.quality),
        report.time_ns,
        report.reason,
        report.included,
        int(report.time_quality),
    )


def one_for_all(quality: tuple[int, ...]) -> int | tuple[int, ...]:
    """Returns the quality that all members share, else the column."""
    first = quality[0] if quality else 0
    return first if quality.count(first) == len(quality) else quality


def report(frame: ReportFrame, data_sets: tuple[DataSet, ...]) -> Report:
    """Returns the Report of a frame.

    Raises:
        ModelError: there is no such DataSet, a column is not as long as it, or a value is NaN.
    """
    if not 0 <= frame.data_set_index < len(data_sets):
        raise ModelError(f"Report of DataSet {frame.data_set_index}; there are {len(data_sets)}")
    data_set = data_sets[frame.data_set_index]
    size = len(data_set.members)
    values, quality, time_ns, included = frame.values, frame.quality, frame.time_ns, frame.included
    if (
        len(values) != size
        or not (isinstance(quality, int) or len(quality) == size)
        or not (isinstance(time_ns, int) or len(time_ns) == size)
        or not (included is None or len(included) == size)
    ):
        raise ModelError(f"Report of {data_set.name!r}: a column is not {size} members long")
    if any(map(ne, values, values)):  # NaN is the one value unlike itself
        raise ModelError(f"Report of {data_set.name!r} holds NaN; expected None with a quality that says why")
    return Report(
        data_set,
        values,
        (quality,) * size if isinstance(quality, int) else quality,
        time_ns,
        frame.reason,
        included,
        _TIME_QUALITY[frame.time_quality & 7],
    )


def merge(older: ReportFrame, newer: ReportFrame) -> ReportFrame:
    """Returns the newer Report, including what either includes: its columns are full either way."""
    if older.included is None or newer.included is None:
        included = None
    else:
        included = bytes(a | b for a, b in zip(older.included, newer.included, strict=True))
    return msgspec.structs.replace(newer, included=included)
