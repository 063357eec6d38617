"""The daemon's end of the control socket: one task for each connection.

Invariant: whatever a client does, the kernel goes on. A bad request is answered; a client that is gone takes
only what it waited for with it.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import trio

from ocap.daemon.commands import Commands
from ocap.daemon.place import clear_stale, make_runtime_folder, peer_of, socket_path
from ocap.daemon.protocol import (
    MAX_REQUEST,
    Answer,
    ControlError,
    Failure,
    Item,
    Lines,
    Reply,
    Request,
    read_request,
    reply_line,
)
from ocap.daemon.silence import SilenceFile
from ocap.protocol.errors import OcapError

logger = logging.getLogger("ocap.daemon")

MAX_CONNECTIONS = 64
"""At a time; the next one is told so. A panel has a few, a command one."""

PATIENCE = 30.0
"""Seconds in which a line that has begun must end, and an answer be taken."""

RECEIVE = 65_536
"""Bytes taken from a socket at a time."""

WAITING = 8
"""Requests of one connection that wait while one is answered; a client that sends more waits itself."""


@asynccontextmanager
async def open_control(commands: Commands, database: Path) -> AsyncIterator[Path]:
    """Listen on the socket of `database`, whose lock is held; gives the socket's path.

    Raises:
        SocketError: there can be no safe socket.
    """
    make_runtime_folder()
    path = socket_path(database)
    clear_stale(path)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        mask = os.umask(0o077)
        try:
            await listener.bind(str(path))
        finally:
            os.umask(mask)
        try:
            listener.listen(socket.SOMAXCONN)  # while the kernel is held up nobody accepts, and each who asks adds one
            commands.watch(SilenceFile(path))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_serve, commands, listener, name="ocap control socket")
                yield path
                nursery.cancel_scope.cancel()
        finally:
            path.unlink(missing_ok=True)


async def _serve(commands: Commands, listener: trio.socket.SocketType) -> None:
    served = 0

    async def serve_one(connection: trio.SocketStream) -> None:
        nonlocal served
        try:
            async with connection:
                await _Connection(commands, connection).run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        except* Exception:
            logger.exception("a connection to the control socket failed")
        finally:
            served -= 1

    async with trio.open_nursery() as nursery:
        while True:
            try:
                accepted, _ = await listener.accept()
            except OSError as error:
                logger.warning("the control socket: %s", error)
                await trio.sleep(0.1)  # out of file descriptors, as a rule: others close theirs
                continue
            pid, uid = peer_of(accepted)
            if uid != os.getuid():
                logger.warning("refused process %d of user %d", pid, uid)
                accepted.close()
            elif served >= MAX_CONNECTIONS:
                await _refuse(accepted)
            else:
                served += 1
                nursery.start_soon(serve_one, trio.SocketStream(accepted))


async def _refuse(accepted: trio.socket.SocketType) -> None:
    failure = Failure(0, "ControlError", f"{MAX_CONNECTIONS} connections are open already; close one")
    with trio.move_on_after(0.1):
        with suppress(OSError):
            await accepted.send(reply_line(failure))
    accepted.close()


class _Connection:
    """One client. Its requests are answered one after the other."""

    def __init__(self, commands: Commands, stream: trio.SocketStream) -> None:
        self._commands = commands
        self._stream = stream

    async def run(self) -> None:
        send, receive = trio.open_memory_channel[bytes](WAITING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answer_all, receive)
            try:
                await self._read(send)
            except ControlError as error:
                await self._reply(Failure(0, "ControlError", str(error)))
            nursery.cancel_scope.cancel()  # nobody waits for the answer any more

    async def _read(self, send: trio.MemorySendChannel[bytes]) -> None:
        lines = Lines(MAX_REQUEST)
        while True:
            with trio.move_on_after(PATIENCE if lines.is_inside else float("inf")) as scope:
                data = await self._stream.receive_some(RECEIVE)
            if scope.cancelled_caught:
                raise ControlError(f"a line that did not end in {PATIENCE:g} seconds")
            if not data:
                return
            for line in lines.feed(data):
                await send.send(line)

    async def _answer_all(self, receive: trio.MemoryReceiveChannel[bytes]) -> None:
        async for line in receive:
            try:
                request = read_request(line)
            except ControlError as error:
                await self._reply(Failure(0, "ControlError", str(error)))
            else:
                await self._answer(request)

    async def _answer(self, request: Request) -> None:
        reply: Reply
        try:
            result = await self._commands.call(request.command, request.arguments)
            if isinstance(result, AsyncGenerator):
                async with aclosing(result):
                    async for it in result:
                        await self._reply(Item(request.id, it))
                result = None
            reply = Answer(request.id, result)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise  # the client has gone
        except (OcapError, LookupError, ValueError, TypeError, OSError) as error:
            reply = Failure(request.id, type(error).__name__, str(error))
        except Exception as error:
            # A mistake of ours; the kernel is not to stop for it.
            logger.exception("the command %r failed", request.command)
            reply = Failure(request.id, type(error).__name__, str(error))
        await self._reply(reply)

    async def _reply(self, reply: Reply) -> None:
        with trio.move_on_after(PATIENCE) as scope:
            await self._stream.send_all(reply_line(reply))
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the client takes no answers")
