"""The other end of the control socket, for commands and the panel."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio
from attrs import asdict

from ocap.daemon.place import (
    NotAnsweringError,
    NotRunningError,
    SocketError,
    check_folder,
    peer_of,
    read_info,
    socket_path,
    sockets,
)
from ocap.daemon.protocol import (
    MAX_ANSWER,
    VERSION,
    Answer,
    ControlError,
    Failure,
    Item,
    Lines,
    Reply,
    Request,
    RequestFailedError,
    VersionError,
    read_reply,
    request_line,
)
from ocap.daemon.silence import long_step, silence
from ocap.protocol.errors import StoreInUseError
from ocap.ring.watchdog import SlowStep

LOOK = 1.0
"""Seconds without an answer after which is looked for the reason; and between two looks."""

ANSWER_SECONDS = 5.0
"""Seconds that what needs no vat may take, where nothing says what the daemon is long in."""

QUICK = frozenset({"status", "stats", "spent", "subclusters", "show", "check", "panel_link", "dead_letters"})
"""Commands that need no vat, and so are answered at once or not soon."""

RECEIVE = 65_536
"""Bytes taken from the socket at a time."""


def find_socket(database: Path | None) -> Path:
    """The socket to use: that of the daemon on `database`, or of the only one that runs.

    Raises:
        NotRunningError: there is none, or several and no database was named.
        SocketError: the private folder is not safe.
    """
    if database is not None:
        path = socket_path(database)
        _check_folder_of(path)
        if not is_alive(path):
            there = "" if database.exists() else ", which does not exist"
            raise NotRunningError(f"no daemon is running on {database.resolve()}{there}; start one with `ocap start`")
        return path
    living = [path for path in sockets() if is_alive(path)]
    if not living:
        raise NotRunningError("no daemon is running; start one with `ocap start CLUSTER.toml --db FILE`")
    if len(living) > 1:
        databases = ", ".join(str(read_info(path).get("database", path)) for path in living)
        raise NotRunningError(f"{len(living)} daemons are running; say which with --db FILE: {databases}")
    return living[0]


def is_alive(path: Path) -> bool:
    """Whether somebody listens at a socket."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(1)
    try:
        probe.connect(str(path))
    except BlockingIOError:
        return True  # so many wait that there is no room for us
    except OSError:
        return False
    finally:
        probe.close()
    return True


@contextmanager
def naming_the_daemon(database: Path | None, instead: str = "") -> Iterator[None]:
    """Open `database` in this block: the `StoreInUseError`, if a daemon has it open, says which and how it is stopped.

    Args:
        database: None for one in memory.
        instead: what else may be done, in words.
    """
    try:
        yield
    except StoreInUseError:
        info = {}
        with suppress(SocketError):
            if database is not None and is_alive(path := socket_path(database)):
                info = read_info(path)
        if "pid" not in info:
            raise
        text = f"a daemon, process {info['pid']}, has this database open; `ocap stop --db {database}` ends it{instead}"
        raise StoreInUseError(f"{database}: {text}") from None


OnSilence = Callable[[str, float, SlowStep | None], None]


class Client:
    """A connection to a daemon. Use it as `async with await Client.connect(path) as client`.

    Attributes:
        path: the socket.
        pid: the daemon's process.
        on_silence: is told the command, for how long it has had no answer, and what the daemon is long in, if that
            is known: each second of waiting. It may raise, to give up.
    """

    def __init__(self, stream: trio.SocketStream, path: Path, pid: int) -> None:
        self.path = path
        self.on_silence: OnSilence = self.give_up
        self._stream = stream
        self._lines = Lines(MAX_ANSWER)
        self._replies: list[Reply] = []
        self._next = 1
        self.pid = pid
        self._is_known = False
        info = read_info(path)
        self._log, self._database = info.get("log"), info.get("database")

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
        except BlockingIOError:
            plain.close()
            raise NotAnsweringError("the daemon takes no more connections; end it with `ocap stop`") from None
        except BaseException:
            plain.close()
            raise
        return cls(trio.SocketStream(plain), path, pid)

    def give_up(self, command: str, seconds: float, step: SlowStep | None) -> None:
        """Raises `NotAnsweringError` for a command that would have its answer by now if the kernel got on."""
        if command in QUICK and (step is not None or seconds >= ANSWER_SECONDS):
            slow = None if step is None else asdict(step)
            raise NotAnsweringError(silence(self.path, self.pid, seconds, step), self.pid, slow)

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
            NotAnsweringError: the kernel is held up, and this needs no vat; another command waits.
            NotRunningError: the daemon ended before it answered.
            VersionError: it is of another version than this program; it was not asked.
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
        try:
            if not self._is_known and command != "stop":
                await self._greet(command)
            id_ = await self._send(command, arguments)
            while True:
                match await self._reply(command):
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

    async def _greet(self, command: str) -> None:
        """Learn, before the first command, whether both ends mean the same by it."""
        id_ = await self._send("hello", {})
        match await self._reply(command):
            case Answer(number, {"version": int(version)}) if number == id_:
                pass
            case Failure(number, "BadCommandError", _) if number == id_:
                version = 0  # it is from before there were versions
            case Failure(_, name, message):
                raise RequestFailedError(name, message)
            case other:
                raise ControlError(f"no answer to hello: {other}")
        if version != VERSION:
            its = "" if self._database is None else f" --db {self._database}"
            way = f"restart it: `ocap stop{its}`, then `ocap start` as it was started"
            age = "an older" if version < VERSION else "a newer"
            raise VersionError(f"the daemon, process {self.pid}, is of {age} version than this program; {way}")
        self._is_known = True

    async def _send(self, command: str, arguments: dict[str, Any]) -> int:
        id_ = self._next
        self._next += 1
        await self._stream.send_all(request_line(Request(id_, command, arguments)))
        return id_

    async def _reply(self, command: str) -> Reply:
        while not self._replies:
            data = await self._data(command)
            if not data:
                raise NotRunningError(f"the daemon ended before it answered; {self._log or 'its log'} says why")
            self._replies = [read_reply(line) for line in self._lines.feed(data)]
        return self._replies.pop(0)

    async def _data(self, command: str) -> bytes:
        for looks in count(1):
            with trio.move_on_after(LOOK):
                return bytes(await self._stream.receive_some(RECEIVE))
            self.on_silence(command, looks * LOOK, long_step(self.path, self.pid))
        raise AssertionError


def _check_folder_of(path: Path) -> None:
    if os.path.lexists(path.parent):
        check_folder(path.parent)


@asynccontextmanager
async def open_client(database: Path | None) -> AsyncIterator[Client]:
    """Connected to the daemon on `database`, or to the only one."""
    async with await Client.connect(find_socket(database)) as client:
        yield client
