"""HTTP on a port of the loopback: hypercorn's protocol, behind limits that it does not have.

Every local user can connect to the loopback, and every page in a browser can. Hypercorn by itself lets each take as
many connections as there are files, ask and never take the answer, and speak HTTP/2. Here:

1. There are so many connections at most. For a new one the one that has been idle for longest goes, so a crowd of
   idle ones keeps nobody out.
2. An answer is taken within `SEND_SECONDS`, a request comes within `IDLE_SECONDS`, or the connection ends.
3. HTTP/1.1 and nothing else: what would switch to another protocol never reaches hypercorn.
4. Where only one user may come, the system is asked who opened the connection. So whoever else on this machine gets
   hold of a link or a cookie (which browsers send to every port of a host) can do nothing with it.
5. No request, however odd, ends more than its own connection.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio
from attrs import define, field, frozen
from hypercorn.config import Config
from hypercorn.events import Event, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

logger = logging.getLogger("ocap.http_server")

MAX_HEADERS = 16_384
"""Bytes of a request's headers."""

IDLE_SECONDS = 15.0
"""For which a connection may stay without a request, or in the middle of one's headers."""

SEND_SECONDS = 10.0
"""In which a piece of an answer must be taken."""

_OTHER_PROTOCOL = re.compile(rb"\nupgrade:|PRI \* HTTP/2", re.IGNORECASE)
"""A header, or the first line of HTTP/2. Bodies here are JSON made by our own pages, which has neither."""

_TAIL = 12
"""Bytes that are looked at again with those that follow: one less than the longest of these."""

_ESTABLISHED = b"01"
_ROOT = 0

App = Callable[..., Awaitable[None]]


@frozen
class Limits:
    """What one server lets its clients do.

    Attributes:
        connections: at a time.
        is_private: only this process's user, and root, may connect.
        pause: seconds between two connections that are accepted, where each costs somebody else's time.
    """

    connections: int
    is_private: bool
    pause: float = 0.0


async def serve_http(app: App, listener: socket.socket, limits: Limits) -> None:
    """Serve an ASGI app until cancelled.

    Args:
        app: is called for HTTP only: neither WebSockets nor the start of the server are told to it.
        listener: listens on the loopback.
        limits: for its clients.
    """
    server = _Server(wrap_app(app, 0, "asgi"), limits, _config(), {})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.end_all_when_cancelled)
        await trio.serve_listeners(server.serve, [_Listener(listener, limits.pause)], handler_nursery=nursery)


def _config() -> Config:
    config = Config()
    config.loglevel = "ERROR"
    config.accesslog = None  # requests are nobody's business
    config.h11_max_incomplete_size = MAX_HEADERS
    config.keep_alive_timeout = IDLE_SECONDS
    config.include_server_header = False
    return config


class _Listener(trio.abc.Listener[trio.SocketStream]):
    def __init__(self, listener: socket.socket, pause: float) -> None:
        self._inner = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        self._pause = pause

    async def accept(self) -> trio.SocketStream:
        await trio.sleep(self._pause)
        return await self._inner.accept()

    async def aclose(self) -> None:
        await self._inner.aclose()


@define(eq=False)
class _Server:
    _app: Any
    _limits: Limits
    _config: Config
    _connections: dict[_Connection, None]
    """Those that have been idle for longest come first."""
    _context: WorkerContext = field(factory=lambda: WorkerContext(None))

    async def serve(self, stream: trio.SocketStream) -> None:
        if not self._has_room():
            await stream.aclose()
            return
        if self._limits.is_private and not is_of_this_user(stream.socket):
            await _refuse(stream, b"this belongs to another user")
            return
        connection = _Connection(stream, self)
        self._connections[connection] = None
        try:
            await _Http(self._app, self._config, self._context, ConnectionState({}), connection)  # type: ignore[arg-type]
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        except* Exception:
            logger.exception("a connection failed")
        finally:
            connection.end()

    def _has_room(self) -> bool:
        if len(self._connections) < self._limits.connections:
            return True
        idle = next((it for it in self._connections if it.is_idle), None)
        if idle is not None:
            idle.end()
        return idle is not None

    def set_idle(self, connection: _Connection, *, is_idle: bool) -> None:
        if connection in self._connections:
            connection.is_idle = is_idle
            del self._connections[connection]
            self._connections[connection] = None

    def forget(self, connection: _Connection) -> None:
        self._connections.pop(connection, None)

    async def end_all_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            for connection in [*self._connections]:
                connection.end()  # hypercorn shields what it sends: it would be waited for


class _Connection:
    """The stream that hypercorn reads from and writes to."""

    def __init__(self, stream: trio.SocketStream, server: _Server) -> None:
        self._stream = stream
        self.socket = stream.socket
        self.server = server
        self.is_idle = True
        self._tail = b""

    def end(self) -> None:
        self.server.forget(self)
        self.socket.close()

    async def receive_some(self, count: int) -> bytes:
        data = bytes(await self._stream.receive_some(count))
        seen = self._tail + data
        self._tail = seen[-_TAIL:]
        if not _OTHER_PROTOCOL.search(seen):
            return data
        if self.is_idle:
            await _refuse(self._stream, b"HTTP/1.1 only")
        return b""

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(SEND_SECONDS) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            self.end()
            raise trio.BrokenResourceError("the client does not take what it asked for")

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Http(TCPServer):
    """One connection, which tells when it is idle."""

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Updated):
            connection: Any = self.stream
            connection.server.set_idle(connection, is_idle=event.idle)
        await super().protocol_send(event)


async def _refuse(stream: trio.SocketStream, reason: bytes) -> None:
    head = b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    with trio.move_on_after(SEND_SECONDS):
        with suppress(trio.BrokenResourceError):
            await stream.send_all(head + b"content-length: %d\r\n\r\n%s\n" % (len(reason) + 1, reason))
    await trio.aclose_forcefully(stream)


# ---- who is at the other end ------------------------------------------------------------------------


def is_of_this_user(connection: socket.socket | trio.socket.SocketType) -> bool:
    """Whether this process's user, or root, opened a connection over the loopback.

    A system that does not tell lets everybody through, to where secrets are asked for. A client that has let go of
    its end already is nobody's.
    """
    try:
        client, server = (_address(it) for it in (connection.getpeername(), connection.getsockname()))
        tables = [Path("/proc/net", name).read_bytes() for name in ("tcp", "tcp6")]
    except OSError:
        return True
    for prefix, table in zip((b"", b"0000000000000000FFFF0000"), tables, strict=True):
        found = re.search(rb"\d: %s%s %s%s (.*)" % (prefix, client, prefix, server), table)
        if found:
            state, _, _, _, uid, _, inode, *_ = found[1].split()
            return state == _ESTABLISHED and inode != b"0" and int(uid) in (os.getuid(), _ROOT)
    return False


def _address(pair: tuple[str, int]) -> bytes:
    (packed,) = struct.unpack("=I", socket.inet_aton(pair[0]))
    return b"%08X:%04X" % (packed, pair[1])
