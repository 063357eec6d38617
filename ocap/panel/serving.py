"""The panel's process: hypercorn on a port of the loopback, and the link that lets its operator in."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from ocap.daemon.client import Client, find_socket
from ocap.daemon.private import keep_private
from ocap.http_server import Limits, serve_http
from ocap.loopback import listen, port_of
from ocap.panel.access import Doorkeeper
from ocap.panel.app import Panel
from ocap.panel.live import Live
from ocap.panel.reading import Reader
from ocap.protocol.errors import OcapError

MAX_CONNECTIONS = 128
"""At a time. A browser has six, and one for each page that is open."""

MAX_FILES = 256
"""Open files of the process: for each connection one, the rest is for its own work."""


async def serve_panel(database: Path | None, port: int | socket.socket, announce: Callable[[str], None]) -> None:
    """Serve the panel of a running daemon until it is cancelled.

    Args:
        database: the daemon's; None for the only one that runs.
        port: of the loopback; 0 for one that is free. Or a socket that listens on one.
        announce: is told each link that lets a browser in, once.

    Raises:
        NotRunningError: there is no daemon.
        PortError: the port cannot be had.
        StoreError: the database cannot be read.
    """
    path = find_socket(database)

    async def connect() -> Client:
        return await Client.connect(path)

    async with await connect() as client:
        about: dict[str, Any] = await client.call("status")
    listener = listen(port, "control panel") if isinstance(port, int) else port
    bound = port_of(listener)
    keeper = Doorkeeper(lambda code: announce(f"http://127.0.0.1:{bound}/#{code}"))
    reader = Reader(Path(about["database"]))
    try:
        live = Live(reader, path, about.get("log_json"))
        app = Panel(reader, live, about, connect).app(keeper, bound)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.run)
            await serve_http(app, listener, Limits(MAX_CONNECTIONS, is_private=True))
    finally:
        reader.close()


def run_panel(
    database: Path | None,
    port: int | socket.socket,
    announce: Callable[[str], None],
    until: Callable[[], Awaitable[None]] = trio.sleep_forever,
) -> None:
    """Be the panel's process, until SIGINT or SIGTERM, or until `until` returns. Raises as `serve_panel`."""
    logging.getLogger("trio.serve_listeners").setLevel(logging.CRITICAL)  # which complains of each that must wait
    keep_private()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(MAX_FILES, files) if files >= 0 else MAX_FILES, files))

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                await until()
                nursery.cancel_scope.cancel()

            nursery.start_soon(serve_panel, database, port, announce)
            nursery.start_soon(end)
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    return

    trio.run(main)


# ---- as a child of the kernel's process -----------------------------------------------------------


async def _end_of_input() -> None:
    """Whoever started us has gone, however it ended."""
    while True:
        await trio.lowlevel.wait_readable(0)
        if not os.read(0, 4096):
            return


def main(database: str, listener: int) -> None:
    """Serve the panel on a socket that was inherited; each link is a line of JSON on standard output."""

    def announce(link: str) -> None:
        sys.stdout.write(json.dumps(link) + "\n")
        sys.stdout.flush()

    try:
        run_panel(Path(database), socket.socket(fileno=listener), announce, _end_of_input)
    except* OcapError as group:
        sys.exit(f"ocap: {group.exceptions[0]}")
