"""IEC 62056-21 mode E: an ASCII greeting before the line turns to HDLC; sans-I/O.

Source: IEC 62056-21 mode E and annex (clause unverified, via the Gurux examples).
"""

from __future__ import annotations

from typing import Final

MAX_LINE_BYTES: Final = 64


class ModeE:
    """The greeting of a meter.

    Args:
        identification: what it calls itself: three letters, baud rate identifier, type.
    """

    def __init__(self, identification: bytes = b"LGZ5\\2ZMG310") -> None:
        self._identification = identification
        self._buffer = bytearray()
        self.is_done = False

    def receive(self, data: bytes) -> bytes:
        """Takes bytes until ``is_done``; returns what answers them.

        What came behind the acknowledgement is in ``rest``.
        """
        self._buffer += data
        answer = b""
        while not self.is_done and b"\n" in self._buffer:
            line, _, rest = bytes(self._buffer).partition(b"\n")
            self._buffer = bytearray(rest)
            line = line.rstrip(b"\r")
            if line.startswith(b"/?") and line.endswith(b"!"):
                answer += b"/" + self._identification + b"\r\n"
            elif len(line) == 4 and line[:2] == b"\x062" and line.endswith(b"2"):
                answer += line + b"\r\n"
                self.is_done = True
        if not self.is_done and len(self._buffer) > MAX_LINE_BYTES:
            self._buffer.clear()
        return answer

    @property
    def rest(self) -> bytes:
        """What came behind the greeting."""
        return bytes(self._buffer)
