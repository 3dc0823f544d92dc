"""Byte streams to a meter: TCP or a serial line, with a deadline for everything."""

from __future__ import annotations

import os
import select
import socket
import termios
import time
import tty
from typing import Final, Protocol

from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError

_READ_BYTES: Final = 4096
_BAUD_RATES: Final = {
    rate: getattr(termios, f"B{rate}")
    for rate in (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}


class Stream(Protocol):
    """Bytes to and from a meter."""

    def send(self, data: bytes, deadline_s: float) -> None:
        """Sends everything before the deadline (monotonic).

        Raises:
            MeterFaultError: it could not.
        """
        ...

    def receive(self, deadline_s: float) -> bytes:
        """Waits for some bytes until the deadline (monotonic).

        Raises:
            MeterFaultError: none came, or the stream ended.
        """
        ...

    def discard(self) -> None:
        """Drops what came and was not asked for."""
        ...

    def close(self) -> None:
        """Ends the stream; idempotent."""
        ...


def no_answer() -> MeterFaultError:
    """Returns the fault of a deadline that passed."""
    return MeterFaultError(FaultKind.NO_ANSWER, "the answer did not come in time")


class TcpStream:
    """A TCP connection.

    Args:
        host: where to.
        port: where to.
        timeout_s: how long connecting may take.

    Raises:
        MeterFaultError: nobody is there.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
        except OSError as error:
            raise MeterFaultError(FaultKind.UNREACHABLE, error.strerror or str(error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes, deadline_s: float) -> None:
        """Sends everything."""
        try:
            self._socket.settimeout(max(0.001, deadline_s - time.monotonic()))
            self._socket.sendall(data)
        except TimeoutError as error:
            raise no_answer() from error
        except OSError as error:
            raise MeterFaultError(FaultKind.UNREACHABLE, error.strerror or str(error)) from error

    def receive(self, deadline_s: float) -> bytes:
        """Waits for some bytes."""
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise no_answer()
        try:
            self._socket.settimeout(remaining_s)
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError as error:
            raise no_answer() from error
        except OSError as error:
            raise MeterFaultError(FaultKind.UNREACHABLE, error.strerror or str(error)) from error
        if not data:
            raise MeterFaultError(FaultKind.UNREACHABLE, "the meter closed the connection")
        return data

    def discard(self) -> None:
        """Drops what came and was not asked for."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(_READ_BYTES):
                pass
        except OSError:
            pass  # nothing more, or the next request will say what is wrong

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()


class SerialStream:
    """A serial line, 8 data bits, no parity unless told otherwise, 1 stop bit.

    Args:
        path: the device.
        baud_rate: bits per second, one of the usual ones from 300 to 115200.

    Raises:
        MeterFaultError: it cannot be opened.
    """

    def __init__(self, path: str, baud_rate: int) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise MeterFaultError(FaultKind.UNREACHABLE, f"{path}: {error.strerror}") from error
        try:
            tty.setraw(self._descriptor)
            self.set_line(baud_rate, seven_bits_even=False)
        except (OSError, termios.error) as error:
            os.close(self._descriptor)
            raise MeterFaultError(FaultKind.UNREACHABLE, f"{path} is no serial line: {error}") from error

    def set_line(self, baud_rate: int, *, seven_bits_even: bool) -> None:
        """Sets speed and characters, after what was sent has left."""
        attributes = termios.tcgetattr(self._descriptor)
        attributes[2] &= ~(termios.CSIZE | termios.PARENB | termios.CSTOPB)
        attributes[2] |= (termios.CS7 | termios.PARENB) if seven_bits_even else termios.CS8
        attributes[2] |= termios.CLOCAL | termios.CREAD
        attributes[4] = attributes[5] = _BAUD_RATES[baud_rate]
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, attributes)

    def send(self, data: bytes, deadline_s: float) -> None:
        """Sends everything."""
        while data:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0 or not select.select([], [self._descriptor], [], remaining_s)[1]:
                raise no_answer()
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                raise MeterFaultError(FaultKind.UNREACHABLE, error.strerror or str(error)) from error

    def receive(self, deadline_s: float) -> bytes:
        """Waits for some bytes."""
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0 or not select.select([self._descriptor], [], [], remaining_s)[0]:
            raise no_answer()
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except OSError as error:
            raise MeterFaultError(FaultKind.UNREACHABLE, error.strerror or str(error)) from error
        if not data:
            raise MeterFaultError(FaultKind.UNREACHABLE, "the line ended")
        return data

    def discard(self) -> None:
        """Drops what came and was not asked for."""
        termios.tcflush(self._descriptor, termios.TCIFLUSH)

    def close(self) -> None:
        """Leaves the line."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
