"""Where a daemon's socket lies, and who may use it.

Every user has one private folder (mode 0700) for the sockets of all their daemons: `OCAP_RUNTIME_DIR` if it
is set, else `ocap` in `XDG_RUNTIME_DIR`, else `/tmp/ocap-UID`. A socket is named after its database, so that
whoever has the database's lock owns the socket too: it is never taken from a daemon that lives.

Invariants:

1. Nothing is used in a folder that is not ours alone: others could put a socket of theirs there.
2. Both ends ask the system who the other is; only the same user may control a kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any

import trio

from ocap.protocol.errors import OcapError
from ocap.reasons import reason as os_reason

MAX_SOCKET_PATH = 107
"""Bytes of a socket's path, by the system's own limit."""

SUFFIX = ".sock"


class SocketError(OcapError, OSError):
    """The control socket, or the folder it lies in, cannot be used safely. Says what to mend."""


class NotRunningError(OcapError, ConnectionError):
    """No daemon answers. Start one with `ocap start`."""


class NotAnsweringError(OcapError, TimeoutError):
    """A daemon runs, and does not answer: something holds its kernel up. Says what, where that is known.

    Attributes:
        pid: the daemon's process, if it is known.
        slow: the fields of the `SlowStep` that its kernel is in, if that is known.
    """

    def __init__(self, message: str, pid: int | None = None, slow: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.pid = pid
        self.slow = slow


def runtime_folder() -> Path:
    """The folder that all daemons of this user have their sockets in; it may not be there yet."""
    if own := os.environ.get("OCAP_RUNTIME_DIR"):
        return Path(own).absolute()
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session, "ocap").absolute()
    return Path(f"/tmp/ocap-{os.getuid()}")  # noqa: S108 - checked to be ours alone before it is used


def make_runtime_folder() -> Path:
    """The same, made if need be, and checked.

    Raises:
        SocketError: it cannot be made, or is not ours alone.
    """
    folder = runtime_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SocketError(f"{folder}: {os_reason(error)}; {_ELSEWHERE}") from error
    check_folder(folder)
    return folder


_ELSEWHERE = "set OCAP_RUNTIME_DIR to a folder of your own"


def check_folder(folder: Path) -> None:
    """Raises `SocketError` unless the folder is a real one, ours, and closed to others."""
    try:
        status = folder.lstat()
    except OSError as error:
        raise SocketError(f"{folder}: {os_reason(error)}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise SocketError(f"{folder}: is not a folder, or is a link to one; {_ELSEWHERE}")
    if status.st_uid != os.getuid():
        raise SocketError(f"{folder}: belongs to another user (uid {status.st_uid}); {_ELSEWHERE}")
    if status.st_mode & 0o077:
        raise SocketError(f"{folder}: is open to other users; chmod 700 it, or {_ELSEWHERE}")


def socket_path(database: Path) -> Path:
    """The socket of the daemon that runs on a database.

    Raises:
        SocketError: its path is too long for the system.
    """
    real = database.resolve()
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:12]
    name = "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in real.stem)
    path = runtime_folder() / f"{name[:24]}-{digest}{SUFFIX}"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise SocketError(f"{path}: longer than the {MAX_SOCKET_PATH} bytes a socket's path may have; {_ELSEWHERE}")
    return path


def info_path(path: Path) -> Path:
    """Beside a socket: which database its daemon runs on, and where its log is, as JSON."""
    return path.with_suffix(".json")


def read_info(path: Path) -> dict[str, Any]:
    """What the daemon at a socket, or the last one there that was killed, wrote beside it; empty if none did."""
    try:
        info = json.loads(info_path(path).read_text())
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}


def sockets() -> list[Path]:
    """The sockets in the private folder, of daemons that live or lived."""
    folder = runtime_folder()
    if not os.path.lexists(folder):
        return []
    check_folder(folder)
    return sorted(folder.glob(f"*{SUFFIX}"))


def clear_stale(path: Path) -> None:
    """Remove a socket that nobody listens at. Call it with the database's lock held.

    Raises:
        SocketError: somebody listens there, or it is no socket, or another's.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise SocketError(f"{path}: is in the way, and is no socket; remove it")
    if status.st_uid != os.getuid():
        raise SocketError(f"{path}: belongs to another user (uid {status.st_uid}); {_ELSEWHERE}")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        probe.connect(str(path))
    except BlockingIOError:
        pass  # so many wait that there is no room for us: somebody listens
    except OSError:
        path.unlink(missing_ok=True)
        return
    finally:
        probe.close()
    raise SocketError(f"{path}: another daemon listens here; stop it first")


def peer_of(connection: socket.socket | trio.socket.SocketType) -> tuple[int, int]:
    """The process and user at the other end, as the system saw them when it connected or began to listen."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid
