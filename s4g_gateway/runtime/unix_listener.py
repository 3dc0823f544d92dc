"""A Unix socket that only one user can use: made safely, its peers known by the kernel's word."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from s4g_gateway.errors import PermanentError
from s4g_gateway.security import Principal

# sun_path of Linux holds 108 bytes with the closing zero.
MAX_PATH_BYTES: Final = 107


@contextlib.contextmanager
def bound_socket(path: Path, backlog: int) -> Iterator[socket.socket]:
    """Binds a Unix socket of mode 0600 for the ``with`` block.

    A lock file beside it tells a living gateway from a stale socket without a race.

    Raises:
        PermanentError: the socket cannot be made there, or another gateway serves it.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise PermanentError(
            f"{path}: a Unix socket's path has at most {MAX_PATH_BYTES} bytes; set site.socket"
        )
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PermanentError(f"{path}: another gateway serves this socket") from None
            _remove_stale(path)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            # Linux takes the mode of the new file from the socket's inode: no moment with a wider one.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(str(path))
            path.chmod(0o600)
            own = path.lstat().st_ino
            listener.listen(backlog)
            listener.setblocking(False)
        except OSError as error:
            raise PermanentError(
                f"{path}: cannot make the local socket: {error.strerror or error}"
            ) from error
        try:
            yield listener
        finally:
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_ino == own:
                    path.unlink()


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise PermanentError(f"{path}: expected nothing or a socket of this user; it is left alone")
    path.unlink()


def peer(writer: asyncio.StreamWriter) -> Principal | None:
    """Returns who is at the other end, None for a user who has no business here."""
    transport = writer.get_extra_info("socket")
    with socket.socket(fileno=os.dup(transport.fileno())) as peer:
        layout = struct.Struct("3i")
        _, uid, _ = layout.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    if uid not in (0, os.geteuid()):
        return None
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid-{uid}"
    return Principal(name=name, roles=frozenset({"ENGINEER"}))
