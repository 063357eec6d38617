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
from typing import Any

import h11
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

_ROOT = 0

_CLIENTS_DOING = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, h11.ProtocolError)
"""It has gone, or has said what is no HTTP, perhaps while its answer was being sent."""

App = Callable[..., Awaitable[None]]


@frozen
class Limits:
    """What one server lets its clients do.

    Attributes:
        connections: at a time.
        is_private: only this process's user, and root, may connect.
        waiting: connections that wait to be accepted, at most.
        pause: seconds between two that are accepted, where each costs somebody else's time.
    """

    connections: int
    is_private: bool
    waiting: int = 1_000
    pause: float = 0.0


async def serve_http(app: App, listener: socket.socket, limits: Limits) -> None:
    """Serve an ASGI app until cancelled.

    Args:
        app: is called for HTTP only: neither WebSockets nor the start of the server are told to it.
        listener: listens on the loopback.
        limits: for its clients.
    """
    server = _Server(wrap_app(app, 0, "asgi"), limits, _config(), {})
    listener.listen(limits.waiting)
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
        connection = _Connection(stream, self)
        self._connections[connection] = None
        try:
            await self._serve(connection)
        except* _CLIENTS_DOING:
            pass
        except* Exception:
            logger.exception("a connection failed")
        finally:
            connection.end()

    async def _serve(self, connection: _Connection) -> None:
        with trio.move_on_after(IDLE_SECONDS) as scope:
            await trio.lowlevel.wait_readable(connection.socket)  # until then it has cost next to nothing
        if scope.cancelled_caught:
            return
        if self._limits.is_private and not is_of_this_user(connection.socket):
            await connection.refuse(b"this belongs to another user")
            return
        await _Http(self._app, self._config, self._context, ConnectionState({}), connection)  # type: ignore[arg-type]  # a stream by shape

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
            await self.refuse(b"HTTP/1.1 only")
        return b""

    async def refuse(self, reason: bytes) -> None:
        head = b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nconnection: close\r\n"
        with suppress(trio.BrokenResourceError):
            await self.send_all(head + b"content-length: %d\r\n\r\n%s\n" % (len(reason) + 1, reason))
            await self._stream.send_eof()

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(SEND_SECONDS) as scope:
            try:
                await self._stream.send_all(data)
            except trio.BusyResourceError:  # it is being closed for what the client said meanwhile
                raise trio.BrokenResourceError("the connection is at its end") from None
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


# ---- who is at the other end ------------------------------------------------------------------------


def is_of_this_user(connection: socket.socket | trio.socket.SocketType) -> bool:
    """Whether this process's user, or root, opened a connection over the loopback.

    A system that does not tell (`sock_diag` is a part of Linux that can be left out) lets everybody through, to where
    secrets are asked for. A client that has let go of its end already is nobody's.
    """
    try:
        client, server = connection.getpeername(), connection.getsockname()
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as system:
            if _owner(system, server, client) is None:
                return True  # it does not even know our end
            owner = _owner(system, client, server)
    except OSError:
        return True
    return owner is not None and owner.inode != 0 and owner.uid in (os.getuid(), _ROOT)


_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")
_FOUND = struct.Struct("=4x48x3I2I")
_ANY = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
"""Whatever its interface and cookie."""


@frozen
class _Owner:
    uid: int
    inode: int
    """Of its file; 0 if nobody has it open any more."""


def _owner(system: socket.socket, near: tuple[str, int], far: tuple[str, int]) -> _Owner | None:
    """Whose the end at `near` of the connection to `far` is, as the system has it; None if there is none."""
    ends = struct.pack("!HH16s16s", near[1], far[1], socket.inet_aton(near[0]), socket.inet_aton(far[0]))
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ends + _ANY
    system.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 1, 0) + question)
    answer = system.recv(4096)
    if _HEADER.unpack_from(answer)[1] == _ERROR:
        return None
    *_, uid, inode = _FOUND.unpack_from(answer, _HEADER.size)
    return _Owner(uid, inode)
