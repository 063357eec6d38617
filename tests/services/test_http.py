"""HTTP: exactly the hosts named, redirects included; bounded in size and time. Against a server of our own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from ocap import ClusterConfig, E, Kernel, VatConfig
from ocap.services import Http
from ocap.services.http import MAX_REDIRECTS

CLIENT = str(Path(__file__).with_name("client.py"))


class Server:
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.elsewhere = ""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = h11.Connection(h11.SERVER)
            request, body = None, b""
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some(65536))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    break
            if request is None:
                return
            headers = {name.decode(): value.decode() for name, value in request.headers}
            target = request.target.decode()
            self.asked.append((request.method.decode(), target, headers, body))
            status, reply, chunks = self.answer(target)
            try:
                await stream.send_all(connection.send(h11.Response(status_code=status, headers=reply)) or b"")
                for chunk in chunks:
                    await stream.send_all(connection.send(h11.Data(data=chunk)) or b"")
                    await trio.lowlevel.checkpoint()
                if target == "/hang":
                    await trio.sleep_forever()
                await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
            except trio.BrokenResourceError:
                pass

    def answer(self, target: str) -> tuple[int, list[tuple[str, str]], Any]:
        match target.split("/")[1:]:
            case ["to", *rest]:
                return 302, [("location", "/" + "/".join(rest)), ("set-cookie", "a=b")], []
            case ["loop"]:
                return 302, [("location", "/loop")], []
            case ["away"]:
                return 307, [("location", f"{self.elsewhere}/secret")], []
            case ["endless"]:
                return 200, [], (b"x" * 1000 for _ in range(10**9))
            case ["missing"]:
                return 404, [], [b"no"]
        return 200, [("x-kind", "test")], [b"hello ", b"world"]


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    made = Server()
    listeners = await nursery.start(partial(trio.serve_tcp, made.serve, 0, host="127.0.0.1"))
    made.port = listeners[0].socket.getsockname()[1]
    return made


async def test_a_vat_gets_what_the_server_sends(server: Server) -> None:
    kernel = Kernel()
    kernel.provide("http", Http([server.url]))
    async with kernel:
        config = ClusterConfig("client", {"client": VatConfig(CLIENT)}, services=["http"])
        root = (await kernel.launch_subcluster(config)).root
        answer = await E(root).use("http", "get", f"{server.url}/a?b=c", {"X-Mine": "1"})
        assert (200, f"{server.url}/a?b=c", b"hello world") == (answer["status"], answer["url"], answer["body"])
        assert answer["headers"]["x-kind"] == "test"
        method, target, headers, body = server.asked[0]
        assert ("GET", "/a?b=c", "1", "identity", b"") == (
            *(method, target, headers["x-mine"], headers["accept-encoding"]),
            body,
        )
        answer = await E(root).use("http", "request", "POST", f"{server.url}/missing", body=b"data")
        assert (404, b"no") == (answer["status"], answer["body"])
        assert server.asked[1][3] == b"data"
        with pytest.raises(PermissionError, match=r"http://example\.org is not among the hosts"):
            await E(root).use("http", "get", "http://example.org/")


OTHERS: dict[str, Callable[[int], str]] = {
    "another name for the same machine": lambda port: f"http://127.0.0.1:{port}/",
    "a port": lambda port: f"http://localhost:{port + 1}/",
    "a scheme": lambda port: f"https://localhost:{port}/",
    "a name that ends so": lambda port: f"http://evil.localhost:{port}/",
    "a name that begins so": lambda port: f"http://localhost.evil.org:{port}/",
    "a user that looks like the host": lambda port: f"http://localhost:{port}@evil.org/",
    "a backslash": lambda port: f"http://evil.org\\@localhost:{port}/",
    "no host": lambda port: "http:///x",
    "a file": lambda port: "file:///etc/passwd",
    "no url": lambda port: "\x00",
}


@pytest.mark.parametrize("other", OTHERS)
async def test_nothing_else_is_reached(server: Server, other: str) -> None:
    with pytest.raises((PermissionError, ValueError)):
        await Http([server.url]).get(OTHERS[other](server.port))
    assert server.asked == []


async def test_the_hosts_are_compared_as_hosts_are(server: Server) -> None:
    answer = await Http([f"HTTP://LocalHost:{server.port}/"]).get(f"http://LOCALHOST:{server.port}/")
    assert answer["status"] == 200


async def test_redirects_are_followed_on_allowed_hosts_without_cookies(server: Server) -> None:
    http = Http([server.url])
    answer = await http.get(f"{server.url}/to/to/end")
    assert (200, f"{server.url}/end") == (answer["status"], answer["url"])
    await http.get(f"{server.url}/again")
    assert ["/to/to/end", "/to/end", "/end", "/again"] == [target for _, target, _, _ in server.asked]
    assert "cookie" not in server.asked[-1][2]


async def test_a_redirect_elsewhere_is_refused(server: Server) -> None:
    server.elsewhere = f"http://127.0.0.1:{server.port}"
    with pytest.raises(PermissionError, match=r"127\.0\.0\.1"):
        await Http([server.url]).get(f"{server.url}/away")
    assert ["/away"] == [target for _, target, _, _ in server.asked]


async def test_credentials_do_not_follow_a_redirect_to_another_allowed_host(server: Server) -> None:
    server.elsewhere = f"http://127.0.0.1:{server.port}"
    http = Http([server.url, server.elsewhere])
    await http.get(f"{server.url}/away", {"Authorization": "Bearer x"})
    assert [True, False] == ["authorization" in headers for _, _, headers, _ in server.asked]


async def test_a_loop_of_redirects_ends(server: Server) -> None:
    with pytest.raises(ConnectionError, match="redirects"):
        await Http([server.url]).get(f"{server.url}/loop")
    assert len(server.asked) == MAX_REDIRECTS + 1


async def test_size_and_time_are_bounded(server: Server) -> None:
    with pytest.raises(ValueError, match="over the limit of 5000 bytes"):
        await Http([server.url], max_bytes=5000).get(f"{server.url}/endless")
    with pytest.raises(TimeoutError, match=r"within 0\.2 seconds"):
        await Http([server.url], max_seconds=0.2).get(f"{server.url}/hang")


async def test_a_server_that_is_not_there_is_a_connection_error() -> None:
    with pytest.raises(ConnectionError):
        await Http(["http://localhost:1"]).get("http://localhost:1/")


@pytest.mark.parametrize("host", ["", "ftp://a.org", "https://a.org/path", "https://u@a.org", "https://a.org?q", "://"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        Http([host])
