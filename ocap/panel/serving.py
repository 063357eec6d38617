"""The panel's process: hypercorn on a port of the loopback, and the link that lets its operator in."""

from __future__ import annotations

import errno
import logging
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from ocap.daemon.client import Client, find_socket
from ocap.panel.access import Doorkeeper
from ocap.panel.app import Panel
from ocap.panel.live import Live
from ocap.panel.reading import Reader
from ocap.protocol.errors import OcapError

MAX_HEADERS = 16_384
"""Bytes of a request's headers."""

IDLE_SECONDS = 15.0
"""For which a connection may stay without a request, or in the middle of one's headers."""

MAX_FILES = 256
"""Open files of the process, and so of connections."""


class PanelPortError(OcapError, OSError):
    """The port cannot be had; choose another one, or none."""


async def serve_panel(database: Path | None, port: int, announce: Callable[[str], None]) -> None:
    """Serve the panel of a running daemon until it is cancelled.

    Args:
        database: the daemon's; None for the only one that runs.
        port: of the loopback; 0 for one that is free.
        announce: is told each link that lets a browser in, once.

    Raises:
        NotRunningError: there is no daemon.
        PanelPortError: the port cannot be had.
        StoreError: the database cannot be read.
    """
    path = find_socket(database)

    async def connect() -> Client:
        return await Client.connect(path)

    async with await connect() as client:
        about: dict[str, Any] = await client.call("status")
    listener = _listener(port)
    bound = listener.getsockname()[1]
    keeper = Doorkeeper(lambda code: announce(f"http://127.0.0.1:{bound}/#{code}"))
    reader = Reader(Path(about["database"]))
    try:
        live = Live(reader, path)
        app = Panel(reader, live, about, connect).app(keeper, bound)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.run)
            await serve(app, _config(listener), mode="asgi")  # type: ignore[arg-type]  # its own types for the same thing
            nursery.cancel_scope.cancel()
    finally:
        reader.close()


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        listener.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is in use" if taken else f"cannot be had: {error}"
        raise PanelPortError(f"port {port} {reason}; choose another with --port") from error
    listener.listen()  # from here on who has the link is not refused
    return listener


def _config(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "ERROR"
    config.accesslog = None  # requests are nobody's business
    config.h11_max_incomplete_size = MAX_HEADERS
    config.keep_alive_timeout = IDLE_SECONDS
    config.graceful_timeout = 0
    config.include_server_header = False
    config.alpn_protocols = ["http/1.1"]
    return config


def run_panel(database: Path | None, port: int, announce: Callable[[str], None]) -> None:
    """Be the panel's process, until SIGINT or SIGTERM. Raises as `serve_panel`."""
    logging.getLogger("trio.serve_listeners").setLevel(logging.CRITICAL)  # which complains of each that must wait
    # Secrets of this process are not to be found in a core file; and so many connections are enough.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(MAX_FILES, files) if files >= 0 else MAX_FILES, files))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_panel, database, port, announce)
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    return

    trio.run(main)
