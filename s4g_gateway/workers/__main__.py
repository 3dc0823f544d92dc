"""A worker process: ``python -m s4g_gateway.workers MODULE FD``, started by the gateway only."""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import io
import os
import signal
import socket
import sys
import time
import traceback

from s4g_gateway.errors import GatewayError
from s4g_gateway.workers.contract import Channel

_PR_SET_PDEATHSIG = 1
_NICE = 5
# How long a worker whose gateway is gone may take to return.
_ORPHAN_GRACE_S = 2.0


def _settle() -> None:
    """Gives way to the gateway's event loop, dies with it, and says where a crash happened."""
    os.nice(_NICE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _orphaned() -> None:
    # Whatever the main thread is stuck in: without a gateway this process has no reason to live.
    time.sleep(_ORPHAN_GRACE_S)
    os._exit(1)


def _main(module: str, descriptor: int) -> int:
    _settle()
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    try:
        channel = Channel(connection, on_gone=_orphaned)
    except (OSError, GatewayError) as error:
        sys.stderr.write(f"no start from the gateway: {error}\n")
        return 1
    try:
        importlib.import_module(module).main(channel)
    except Exception as error:  # noqa: BLE001 - the outermost frame of the process
        traceback.print_exc()
        channel.fail("".join(traceback.format_exception_only(error)).strip())
        return 1
    return 0


if __name__ == "__main__":
    code = _main(sys.argv[1], int(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads of a library, and finalisers that run while they do, must not keep or crash the process.
    os._exit(code)
