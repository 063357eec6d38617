"""What a client of a port on the loopback can do is bounded, whoever it is."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from ocap import http_server
from ocap.http_server import Limits, is_of_this_user, serve_http
from tests.daemon.serving import until
from tests.strangers import as_stranger, root

__all__ = ["root"]

GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = b"x" * 20_000


@define
class Port:
    """A server of a test.

    Attributes:
        asked: the paths that reached the app.
    """

    number: int
    asked: list[str] = field(factory=list)

    async def open(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.number)

    async def ask(self, data: bytes, seconds: float = 5) -> bytes:
        found = b""
        async with await self.open() as stream:
            with trio.move_on_after(seconds):
                try:
                    await stream.send_all(data)
                    while more := await stream.receive_some():
                        found += more
                except trio.BrokenResourceError:
                    pass
        return found


@asynccontextmanager
async def port(connections: int = 10, *, is_private: bool = False, pause: float = 0) -> AsyncIterator[Port]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    it = Port(listener.getsockname()[1])

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        it.asked.append(scope["path"])
        if scope["path"] == "/wait":
            await trio.sleep_forever()
        if scope["path"] == "/fails":
            raise RuntimeError("as it was told to")
        if scope["method"] == "CONNECT":
            await send({"type": "http.response.start", "status": 405, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [(b"content-length", str(len(BIG)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BIG})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, app, listener, Limits(connections, is_private=is_private, pause=pause))
        yield it
        nursery.cancel_scope.cancel()


async def receive(stream: trio.SocketStream, size: int) -> bytes:
    found = b""
    with trio.fail_after(5):
        while len(found) < size and (more := await stream.receive_some()):
            found += more
    return found


async def has_ended(stream: trio.SocketStream) -> bool:
    with trio.fail_after(5):
        try:
            return await stream.receive_some() == b""
        except trio.BrokenResourceError:
            return True


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# ---- how many -----------------------------------------------------------------------------------------


async def test_idlest_connection_goes_for_a_new_one() -> None:
    async with port(3) as it:
        old = [await it.open() for _ in range(3)]
        for stream in old:
            await stream.send_all(GET % b"a")
            await receive(stream, len(BIG))
        await old[0].send_all(GET % b"b")  # now the second is idle for longest
        await receive(old[0], len(BIG))
        async with await it.open() as new:
            await new.send_all(GET % b"c")
            assert (await receive(new, len(BIG))).startswith(b"HTTP/1.1 200 ")
            assert await has_ended(old[1])
            await old[0].send_all(GET % b"d")
            assert (await receive(old[0], len(BIG))).startswith(b"HTTP/1.1 200 ")
        for stream in old:
            await stream.aclose()


async def test_connection_at_work_is_kept_and_the_new_one_refused() -> None:
    async with port(2) as it:
        busy = [await it.open() for _ in range(2)]
        for stream in busy:
            await stream.send_all(GET % b"wait")
        await until(lambda: len(it.asked) == 2)
        async with await it.open() as new:
            assert await has_ended(new)
        for stream in busy:
            await stream.aclose()


async def test_pause_bounds_how_often_a_port_is_asked() -> None:
    async with port(pause=0.1) as it:
        began = trio.current_time()
        for _ in range(5):
            async with await it.open() as stream:
                await stream.send_all(GET % b"a")
                await receive(stream, len(BIG))
        assert trio.current_time() - began > 0.35


# ---- how long -----------------------------------------------------------------------------------------


async def test_client_that_does_not_take_its_answers_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "SEND_SECONDS", 0.3)
    async with port() as it:
        before = files()
        with closing(socket.socket()) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
            deaf.connect(("127.0.0.1", it.number))
            deaf.settimeout(5)
            deaf.sendall((GET % b"a") * 500)
            await until(lambda: it.asked and files() <= before + 1)
            assert len(it.asked) < 500


async def test_server_ends_at_once_though_a_client_takes_nothing() -> None:
    """Hypercorn shields its sending: without more, a panel could not be stopped, nor the kernel that serves metrics."""
    with trio.fail_after(5), closing(socket.socket()) as deaf:
        async with port() as it:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
            deaf.connect(("127.0.0.1", it.number))
            deaf.settimeout(2)
            deaf.sendall((GET % b"a") * 500)
            await until(lambda: it.asked)
            await trio.sleep(0.3)


async def test_head_that_dribbles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "IDLE_SECONDS", 0.5)
    async with port() as it, await it.open() as stream:
        began = trio.current_time()
        try:
            for byte in b"GET /" + b"a" * 200:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.05)
        except trio.BrokenResourceError:
            pass
        assert trio.current_time() - began < 5
        assert [] == it.asked


# ---- what -----------------------------------------------------------------------------------------------

H2C = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n%s: %s\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@pytest.mark.parametrize(
    "data",
    [
        PREFACE,
        H2C % (b"Upgrade", b"h2c"),
        H2C % (b"uPGRADE", b"H2C"),
        H2C % (b"Upgrade", b"websocket"),
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" + PREFACE,
        (GET % b"a") + H2C % (b"Upgrade", b"h2c"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_no_other_protocol_is_spoken_however_it_is_asked_for(data: bytes, piece: int) -> None:
    async with port() as it, await it.open() as stream:
        found = b""
        try:
            for start in range(0, len(data), piece):
                await stream.send_all(data[start : start + piece])
                await trio.lowlevel.checkpoint()
            with trio.move_on_after(3):
                while more := await stream.receive_some():
                    found += more
        except trio.BrokenResourceError:
            pass
        assert b" 101 " not in found
        assert b"\0\0*\4" not in found  # the settings of HTTP/2
        assert it.asked in ([], ["/a"])


async def test_failure_ends_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async with port() as it:
        assert b" 500 " in await it.ask(GET % b"fails", 1)
        assert b" 200 " in await it.ask(GET % b"a", 1)


def test_library_has_the_mended_framing() -> None:
    """Before 0.16 h11 took a chunk for ended wherever two bytes were (CVE-2025-43859)."""
    assert (0, 16) <= tuple(map(int, version("h11").split(".")[:2]))


# ---- who ------------------------------------------------------------------------------------------------


async def test_stranger_is_refused_where_only_one_user_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated: the system is asked, and we are taken for somebody else."""
    async with port(is_private=True) as it:
        assert (await it.ask(GET % b"a", 1)).startswith(b"HTTP/1.1 200 ")
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        monkeypatch.setattr(http_server, "_ROOT", 4712)
        assert (await it.ask(GET % b"a")).startswith(b"HTTP/1.1 403 ")
        assert ["/a"] == it.asked


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("leaves", [False, True])
async def test_another_user_is_refused_by_who_they_are(family: socket.AddressFamily, leaves: bool) -> None:
    async with port(is_private=True) as it:

        def ask() -> bytes:
            with socket.socket(family) as stream:
                stream.settimeout(5)
                stream.connect(("127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1", it.number))
                stream.sendall(GET % b"a")
                return b"" if leaves else stream.recv(1000)

        for _ in range(5):
            found = await trio.to_thread.run_sync(as_stranger, ask)
            assert found == b"" if leaves else found.startswith(b"HTTP/1.1 403 ")
        await trio.sleep(0.1)
        assert [] == it.asked


async def test_both_families_of_addresses_are_ours() -> None:
    async with port(is_private=True) as it:
        with closing(trio.socket.socket(socket.AF_INET6)) as mapped:
            await mapped.connect(("::ffff:127.0.0.1", it.number))
            await mapped.send(GET % b"a")
            with trio.fail_after(5):
                assert (await mapped.recv(100)).startswith(b"HTTP/1.1 200 ")


def test_client_that_has_left_is_nobodys() -> None:
    """The system counts what nobody holds any more as root's."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with closing(accepted):
            assert is_of_this_user(accepted)
            client.sendall(b"x")
            client.close()
            assert not is_of_this_user(accepted)


def test_system_that_does_not_tell_lets_through_to_where_secrets_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()), closing(listener.accept()[0]) as accepted:
            monkeypatch.setattr(os, "getuid", lambda: 4711)
            monkeypatch.setattr(http_server, "_ROOT", 4712)
            assert not is_of_this_user(accepted)
            monkeypatch.setattr(http_server, "_BY_FAMILY", 9999)
            assert is_of_this_user(accepted)


# ---- anything at all --------------------------------------------------------------------------------------

SEEDS = [
    GET % b"a",
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
    H2C % (b"Upgrade", b"websocket"),
    PREFACE,
    b"GET http://evil.example/a HTTP/1.1\r\nHost: x\r\nX: \xff\xfe\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(1500)) + b"\r\n",
]
PIECES = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b" ",
    b"\t",
    b":",
    b"%00",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
]


def mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randrange(6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at:at] = chance.choice(PIECES)
            case 1:
                del data[at : at + chance.randrange(1, 20)]
            case 2 if data:
                data[at % len(data)] = chance.randrange(256)
            case 3:
                data += chance.choice(SEEDS)
    return bytes(data)


async def test_no_bytes_do_more_than_end_their_own_connection(caplog: pytest.LogCaptureFixture) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    async with port(50) as it, trio.open_nursery() as nursery:
        for _ in range(400):
            nursery.start_soon(it.ask, mutated(chance), 0.2)
            await trio.sleep(0.005)
        nursery.cancel_scope.deadline = trio.current_time() + 5
    async with port() as it:
        assert b" 200 " in await it.ask(GET % b"a", 1)
    assert [] == [record.getMessage() for record in caplog.records]
