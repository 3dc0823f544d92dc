"""Finds the ends of CBOR items in a byte stream, without decoding them. Source: RFC 8949 §3."""

from __future__ import annotations

from typing import Final

from s4g_gateway.codecs.senml.errors import SenmlDecodeError

_INDEFINITE: Final = -1
_BREAK: Final = 0xFF
_FOLLOWING: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6


class ItemScanner:
    """Cuts the elements out of one outer array that arrives in portions.

    Each byte is looked at once, whatever the portions.

    Args:
        max_bytes: longest element.
        max_depth: deepest nesting, the outer array counted.
    """

    def __init__(self, *, max_bytes: int, max_depth: int) -> None:
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._buffer = bytearray()
        self._position = 0
        self._skip = 0
        self._open: list[int] = []
        self._left: int | None = None
        self.finished = False
        """True once the outer array is closed."""

    @property
    def unfinished(self) -> bool:
        """True within an element."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Takes the next bytes and returns the elements they complete.

        Raises:
            SenmlDecodeError: no array, bytes after its end, or an element beyond the limits.
        """
        self._buffer += data
        items: list[bytes] = []
        while not self.finished and self._step():
            if self._position and not self._open and not self._skip:
                items.append(bytes(self._buffer[: self._position]))
                self._forget()
                if self._left is not None and self._left != _INDEFINITE:
                    self._left -= 1
                    self.finished = self._left == 0
        if self.finished and self._buffer:
            raise SenmlDecodeError("bytes after the end of the stream")
        if len(self._buffer) > self._max_bytes:
            raise SenmlDecodeError(f"a record longer than {self._max_bytes} bytes")
        return items

    def _forget(self) -> None:
        del self._buffer[: self._position]
        self._position = 0

    def _step(self) -> bool:
        """Advances over one head or over string content; False where bytes are missing."""
        if self._skip:
            there = min(self._skip, len(self._buffer) - self._position)
            self._position += there
            self._skip -= there
            if self._skip:
                return False
            self._close_finished()
            return True
        if self._position >= len(self._buffer):
            return False
        first = self._buffer[self._position]
        if self._left is not None and first == _BREAK:
            return self._break()
        argument, size = self._argument(first)
        if size == 0:
            return False
        self._position += size
        if self._left is None:
            self._open_outer(first >> 5, argument)
        else:
            self._element(first >> 5, argument)
        return True

    def _argument(self, first: int) -> tuple[int, int]:
        """Returns argument and length of the head; length 0 where it is not all there."""
        additional = first & 0x1F
        if additional < 24:
            return additional, 1
        if additional == 31:
            return _INDEFINITE, 1
        following = _FOLLOWING.get(additional)
        if following is None:
            raise SenmlDecodeError(f"byte 0x{first:02x} opens no CBOR item")
        start = self._position + 1
        if start + following > len(self._buffer):
            return 0, 0
        return int.from_bytes(self._buffer[start : start + following]), 1 + following

    def _open_outer(self, major: int, argument: int) -> None:
        if major != _ARRAY:
            raise SenmlDecodeError("expected a CBOR array of records")
        self._left = argument
        self.finished = argument == 0
        self._forget()

    def _element(self, major: int, argument: int) -> None:
        if major in (_BYTES, _TEXT) and argument != _INDEFINITE:
            if argument > self._max_bytes:
                raise SenmlDecodeError(f"a record longer than {self._max_bytes} bytes")
            self._skip = argument
            if not argument:
                self._close_finished()
            return
        if major in (_BYTES, _TEXT, _ARRAY, _MAP, _TAG):
            if argument > self._max_bytes:
                raise SenmlDecodeError(f"a record longer than {self._max_bytes} bytes")
            if len(self._open) + 2 > self._max_depth:
                raise SenmlDecodeError("nested too deep")
            if major == _TAG and argument == _INDEFINITE:
                raise SenmlDecodeError("a tag without a number")
            if argument != 0 or major == _TAG:
                self._open.append(_INDEFINITE if argument == _INDEFINITE else self._count(major, argument))
                return
        elif argument == _INDEFINITE:
            raise SenmlDecodeError("an integer without a value")
        self._close_finished()

    @staticmethod
    def _count(major: int, argument: int) -> int:
        return 1 if major == _TAG else 2 * argument if major == _MAP else argument

    def _break(self) -> bool:
        self._position += 1
        if self._open:
            if self._open.pop() != _INDEFINITE:
                raise SenmlDecodeError("a break where an item was expected")
            self._close_finished()
        elif self._left == _INDEFINITE:
            self.finished = True
            self._forget()
        else:
            raise SenmlDecodeError("a break where an item was expected")
        return True

    def _close_finished(self) -> None:
        """Counts one finished item and closes the containers it completes."""
        while self._open and self._open[-1] != _INDEFINITE:
            self._open[-1] -= 1
            if self._open[-1]:
                return
            self._open.pop()
