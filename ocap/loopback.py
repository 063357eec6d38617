"""A port that only this machine can reach."""

from __future__ import annotations

import socket

from ocap.protocol.errors import OcapError


class PortError(OcapError, OSError):
    """A port of the loopback cannot be had; the caller's fault: choose another, or 0 for a free one."""


def listen(port: int, what: str) -> socket.socket:
    """A socket that listens on a port of the loopback; from here on nobody who connects is refused.

    Args:
        port: 0 for one that is free.
        what: it is for, as the error says.

    Raises:
        PortError: it is in use, not ours to have, or none.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or "no such port: they go from 0 to 65535"
        raise PortError(f"{what}: port {port}: {reason.lower()}") from error
    return listener


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port
