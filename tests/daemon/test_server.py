"""Whatever a client does, the kernel goes on."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from ocap.daemon import server
from ocap.daemon.client import Client
from ocap.daemon.place import NotRunningError
from ocap.daemon.protocol import MAX_REQUEST, RequestFailedError
from tests.daemon.serving import Served, serving, toml, until


async def raw(it: Served, data: bytes, lines: int = 1) -> list[Any]:
    """Send bytes and read so many lines, or fewer if the daemon ends the connection."""
    stream = await trio.open_unix_socket(str(it.path))
    async with stream:
        with trio.fail_after(10):
            found = b""
            with suppress(trio.BrokenResourceError):  # it may be ended before all is sent
                await stream.send_all(data)
            with suppress(trio.BrokenResourceError):
                while found.count(b"\n") < lines and (more := await stream.receive_some()):
                    found += more
    return [json.loads(line) for line in found.splitlines()]


async def is_well(it: Served) -> bool:
    await it.kernel.idle()
    return (await it.client.call("status"))["running"] is True


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\n", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"\0\n", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[]\n", 'a request is {"id": N, "command": NAME, "arguments": {...}}'),
        (b'{"id": 1, "command": "nope", "arguments": {}}\n', 'there is no command "nope"'),
        (b'{"id": 1, "command": "call", "arguments": {}}\n', 'there is no command "call"'),
        (b'{"id": 1, "command": "__init__", "arguments": {}}\n', 'there is no command "__init__"'),
        (b'{"id": 1, "command": "_find", "arguments": {"what": "s1"}}\n', 'there is no command "_find"'),
        (b'{"id": 1, "command": "show", "arguments": {}}\n', "show needs the argument what"),
        (b'{"id": 1, "command": "show", "arguments": {"what": 1}}\n', "show: the argument what has the wrong type"),
        (
            b'{"id": 1, "command": "drop", "arguments": {"number": true}}\n',
            "drop: the argument number has the wrong type",
        ),
        (b'{"id": 1, "command": "stop", "arguments": {"now": 1}}\n', 'stop has no argument "now"'),
        (b'{"id": 1, "command": "follow", "arguments": {"vats": [1]}}\n', "vats: must be a list of texts"),
        (b'{"id": 1, "command": "stop", "arguments": {}}\n', "this kernel belongs to a program that stops it itself"),
    ],
)
async def test_bad_request_is_answered_and_the_next_one_too(db: Path, line: bytes, message: str) -> None:
    async with serving(db) as it:
        good = b'{"id": 2, "command": "subclusters", "arguments": {}}\n'
        error, answer = await raw(it, line + good, 2)
        assert message == error["error"]["message"]
        assert {"id": 2, "result": []} == answer
        assert await is_well(it)


async def test_too_long_line_ends_its_connection_only(db: Path) -> None:
    async with serving(db) as it:
        (error,) = await raw(it, b"x" * (MAX_REQUEST + 1), 2)
        assert error["error"]["message"] == f"a line of more than {MAX_REQUEST} bytes"
        assert await is_well(it)


async def test_line_that_never_ends_costs_its_connection(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.1)
    async with serving(db) as it:
        (error,) = await raw(it, b'{"id": 1,')
        assert error["error"]["message"] == "a line that did not end in 0.1 seconds"
        assert await is_well(it)


async def test_more_connections_than_allowed_are_told_so(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    async with serving(db) as it:
        others = [await Client.connect(it.path) for _ in range(2)]
        for other in others:
            assert [] == await other.call("subclusters")
        (error,) = await raw(it, b"")
        assert error["error"]["message"] == "3 connections are open already; close one"
        for other in others:
            await other.__aexit__(None, None, None)
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with await Client.connect(it.path) as again:
            assert [] == await again.call("subclusters")


async def test_another_user_is_refused(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(db) as it:
        assert await is_well(it)  # its own client was let in
        monkeypatch.setattr(server, "peer_of", lambda _: (1, os.getuid() + 1))
        assert [] == await raw(it, b'{"id": 1, "command": "subclusters", "arguments": {}}\n')
        assert await is_well(it)


async def test_client_that_goes_takes_its_launch_with_it(db: Path) -> None:
    async with serving(db) as it:
        arguments = {"text": toml(parameters="never = true"), "folder": it.folder}
        line = json.dumps({"id": 1, "command": "launch", "arguments": arguments}).encode() + b"\n"
        async with await trio.open_unix_socket(str(it.path)) as stream:
            await stream.send_all(line)
            await until(lambda: len(it.kernel.get_vats()) == 2)
        await until(lambda: not it.kernel.get_vats())
        assert [] == it.kernel.get_subclusters()
        assert await is_well(it)


async def test_client_that_takes_no_answers_is_given_up(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    async with serving(db) as it:
        await it.client.call("launch", text=toml(), folder=it.folder)
        line = json.dumps(
            {"id": 1, "command": "send", "arguments": {"target": "a", "method": "echo", "args": ["x" * 900_000]}}
        )
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(it.path))
            deaf.setblocking(False)
            sent, data = 0, (line.encode() + b"\n") * 5
            with trio.fail_after(10):
                while sent < len(data):
                    try:
                        sent += deaf.send(data[sent:])
                    except BlockingIOError:
                        await trio.sleep(0.01)
                    except (BrokenPipeError, ConnectionResetError):
                        break
            assert await is_well(it)


async def test_daemon_that_ends_tells_who_waits(db: Path) -> None:
    async with trio.open_nursery() as nursery:
        told = trio.Event()

        async def wait(client: Client) -> None:
            with pytest.raises((NotRunningError, RequestFailedError)):
                await client.call("send", target="a", method="wait", args=[])
            told.set()

        async with serving(db) as it:
            await it.client.call("launch", text=toml(), folder=it.folder)
            client = await Client.connect(it.path)
            nursery.start_soon(wait, client)
            await trio.sleep(0.1)
        with trio.fail_after(5):
            await told.wait()
        await client.__aexit__(None, None, None)
