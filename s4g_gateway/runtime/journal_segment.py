"""The files of a Journal: segments of framed records, written once, read in order, deleted whole.

A segment is ``<first sequence>.journal``. It begins with a head of 32 bytes: the magic, the name of the stream and
the first sequence, padded. A frame is length of key and payload, CRC-32 of all that follows, kind, sequence,
time, length of the key, key, payload. Whatever does not fit this form ends the segment: after a power cut that is
its torn tail.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = b"S4GJRNL1"
HEAD: Final = struct.Struct(">8s8sQ8x")
FRAME: Final = struct.Struct(">IIBQqH")
SUFFIX: Final = ".journal"
RECORD: Final = 1
ACKNOWLEDGED: Final = 2
"""A frame that gives up every record up to its sequence."""

_LENGTHS: Final = struct.Struct(">II")
_REST: Final = struct.Struct(">BQqH")


class JournalRecord(NamedTuple):
    """One record.

    Attributes:
        stream: names the run of the program that appended it; (stream, sequence) is never used twice.
        sequence: rises from record to record, across restarts too.
        time_ns: when it was appended, ns since 1970 UTC.
        key: what it belongs to, such as a topic.
        payload: its bytes.
    """

    stream: str
    sequence: int
    time_ns: int
    key: str
    payload: bytes


@dataclass(slots=True, eq=False)
class Segment:
    """One file.

    Attributes:
        path: where it is.
        stream: names the run of the program that wrote it.
        first: its first sequence.
        last: its last sequence, ``first - 1`` while it holds none.
        size_bytes: its length, head included.
        records: how many it holds.
        newest_ns: time of its last record.
    """

    path: Path
    stream: str
    first: int
    last: int
    size_bytes: int = HEAD.size
    records: int = 0
    newest_ns: int = 0


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was found in a segment's file.

    Attributes:
        segment: the part that is whole; None where not even the head is.
        acknowledged: highest sequence given up in it, 0 for none.
        damage: where the whole part ends and why; None where all of it is whole.
    """

    segment: Segment | None
    acknowledged: int
    damage: str | None


def frame(kind: int, sequence: int, time_ns: int, key: bytes, payload: bytes) -> bytes:
    """Returns the bytes of a frame."""
    rest = _REST.pack(kind, sequence, time_ns, len(key)) + key
    return b"".join((_LENGTHS.pack(len(key) + len(payload), crc32(payload, crc32(rest))), rest, payload))


def create_segment(directory: Path, stream: str, first: int) -> tuple[Segment, int]:
    """Makes a new segment; returns it and its file descriptor.

    Raises:
        OSError: the disk refuses.
    """
    path = directory / f"{first:020d}{SUFFIX}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, HEAD.pack(MAGIC, stream.encode("ascii"), first))
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return Segment(path, stream, first, first - 1), descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of it.

    Raises:
        OSError: the disk took only a part, or none.
    """
    written = os.write(descriptor, data)
    while written < len(data):
        # A short write is the disk filling up: the next one says so.
        written += os.write(descriptor, data[written:])


def frames(data: bytes, start: int = HEAD.size) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Yields (kind, sequence, time, start of key, start of payload, end) of each whole frame from ``start``."""
    at, size = start, len(data)
    while at + FRAME.size <= size:
        length, checksum, kind, sequence, time_ns, key_length = FRAME.unpack_from(data, at)
        body = at + FRAME.size
        end = body + length
        if key_length > length or end > size or crc32(memoryview(data)[at + 8 : end]) != checksum:
            return
        yield kind, sequence, time_ns, body, body + key_length, end
        at = end


def scan(path: Path) -> Scanned:
    """Reads a segment's file and says how far it is whole.

    Raises:
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    if len(data) < HEAD.size or not data.startswith(MAGIC):
        return Scanned(None, 0, f"byte 0: no journal segment in {len(data)} bytes")
    _, stream, first = HEAD.unpack_from(data)
    segment = Segment(path, stream.decode("ascii", "replace"), first, first - 1)
    acknowledged = 0
    for kind, sequence, time_ns, _, _, end in frames(data):
        if kind == ACKNOWLEDGED:
            acknowledged = max(acknowledged, sequence)
        else:
            segment.last = sequence
            segment.records += 1
            segment.newest_ns = time_ns
        segment.size_bytes = end
    damage = None
    if segment.size_bytes != len(data):
        damage = f"byte {segment.size_bytes} of {len(data)}: no whole record"
    return Scanned(segment, acknowledged, damage)


def read_records(
    segment: Segment, after: int, offset: int, limit: int, max_bytes: int
) -> tuple[list[JournalRecord], int]:
    """Reads records of a segment in order.

    Args:
        segment: where; only its first ``size_bytes`` count.
        after: sequence beyond which to begin.
        offset: byte from which to look, at the beginning of a frame.
        limit: most records.
        max_bytes: bytes of payload after which to stop; at least one record is returned where there is one.

    Returns:
        The records and the offset behind the last one.

    Raises:
        OSError: the file cannot be read.
    """
    with segment.path.open("rb") as file:
        file.seek(offset)
        data = file.read(segment.size_bytes - offset)
    found: list[JournalRecord] = []
    for kind, sequence, time_ns, key, payload, end in frames(data, 0):
        if kind == RECORD and sequence > after:
            text = data[key:payload].decode("utf-8", "replace")
            found.append(JournalRecord(segment.stream, sequence, time_ns, text, data[payload:end]))
            max_bytes -= end - payload
            if len(found) >= limit or max_bytes <= 0:
                return found, offset + end
    return found, segment.size_bytes
