"""The other end of the control socket, for commands and the panel."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from ocap.daemon.place import NotRunningError, SocketError, check_folder, peer_of, socket_path, sockets
from ocap.daemon.protocol import (
    MAX_ANSWER,
    Answer,
    ControlError,
    Failure,
    Item,
    Lines,
    Reply,
    Request,
    RequestFailedError,
    read_reply,
    request_line,
)

RECEIVE = 65_536
"""Bytes taken from the socket at a time."""


def find_socket(database: Path | None) -> Path:
    """The socket to use: that of the daemon on `database`, or of the only one that runs.

    Raises:
        NotRunningError: there is none, or several and no database was named.
        SocketError: the private folder is not safe.
    """
    if database is not None:
        return socket_path(database)
    living = [path for path in sockets() if is_alive(path)]
    if not living:
        raise NotRunningError("no daemon is running; start one with `ocap start CLUSTER.toml --db FILE`")
    if len(living) > 1:
        raise NotRunningError(f"{len(living)} daemons are running; say which with --db FILE")
    return living[0]


def is_alive(path: Path) -> bool:
    """Whether somebody listens at a socket."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(1)
    try:
        probe.connect(str(path))
    except OSError:
        return False
    finally:
        probe.close()
    return True


class Client:
    """A connection to a daemon. Use it as `async with await Client.connect(path) as client`.

    Attributes:
        pid: the daemon's process.
    """

    def __init__(self, stream: trio.SocketStream, pid: int) -> None:
        self._stream = stream
        self._lines = Lines(MAX_ANSWER)
        self._replies: list[Reply] = []
        self._next = 1
        self.pid = pid

    @classmethod
    async def connect(cls, path: Path) -> Client:
        """Raises `NotRunningError` if nobody listens, `SocketError` if somebody else does."""
        _check_folder_of(path)
        plain = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await plain.connect(str(path))
            pid, uid = peer_of(plain)
            if uid != os.getuid():
                raise SocketError(f"{path}: belongs to a process of another user (uid {uid})")
        except (FileNotFoundError, ConnectionRefusedError):
            plain.close()
            raise NotRunningError("no daemon is running on that database; start one with `ocap start`") from None
        except BaseException:
            plain.close()
            raise
        return cls(trio.SocketStream(plain), pid)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._stream.aclose()

    async def call(self, command: str, /, **arguments: Any) -> Any:
        """Run a command; its result.

        Raises:
            RequestFailedError: it could not be done.
            NotRunningError: the daemon ended before it answered.
            ControlError: the request is too long.
        """
        async for _ in self._ask(command, arguments):
            pass
        return self._result

    def items(self, command: str, /, **arguments: Any) -> AsyncGenerator[Any, None]:
        """What a command tells as it goes on; `aclosing` it, and the connection after it, ends it. Raises as `call`."""
        return self._ask(command, arguments)

    _result: Any = None

    async def _ask(self, command: str, arguments: dict[str, Any]) -> AsyncGenerator[Any, None]:
        id_ = self._next
        self._next += 1
        try:
            await self._stream.send_all(request_line(Request(id_, command, arguments)))
            while True:
                match await self._reply():
                    case Item(number, value) if number == id_:
                        yield value
                    case Answer(number, value) if number == id_:
                        self._result = value
                        return
                    case Failure(number, name, message) if number in (0, id_):
                        raise RequestFailedError(name, message)
                    case other:
                        raise ControlError(f"an answer to request {other.id}, which is not waited for")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise NotRunningError("the daemon has gone before it answered") from None

    async def _reply(self) -> Reply:
        while not self._replies:
            data = await self._stream.receive_some(RECEIVE)
            if not data:
                raise NotRunningError("the daemon ended before it answered; its log says why")
            self._replies = [read_reply(line) for line in self._lines.feed(data)]
        return self._replies.pop(0)


def _check_folder_of(path: Path) -> None:
    if os.path.lexists(path.parent):
        check_folder(path.parent)


@asynccontextmanager
async def open_client(database: Path | None) -> AsyncIterator[Client]:
    """Connected to the daemon on `database`, or to the only one."""
    async with await Client.connect(find_socket(database)) as client:
        yield client
