"""A kernel with its control socket, in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import frozen

from ocap import Kernel
from ocap.daemon.client import Client
from ocap.daemon.commands import Commands
from ocap.daemon.server import open_control
from ocap.daemon.tap import Tap
from ocap.log import event_line
from ocap.log.writing import LogFile
from ocap.services.cluster_file import ClusterFile
from ocap.services.standard import LATER

VAT = """
from vats import DurableExo, E, Exo, make_promise_kit

class Note(DurableExo):
    text: str

    async def read(self):
        return self.text

class Root(Exo):
    def __init__(self, baggage, parameters):
        self.notes = baggage.provide_map("notes")
        self.others = baggage.provide_map("others")
        self.parameters = parameters
        self.count = 0

    async def bootstrap(self, vats, services):
        self.others["b"] = vats.get("b")
        if self.parameters.get("never"):
            await make_promise_kit().promise
        if self.parameters.get("fails"):
            raise ValueError("as it was told to")
        return "ok"

    async def echo(self, *args, **kwargs):
        return [list(args), kwargs]

    async def note(self, text):
        self.notes[text] = Note(text=text)
        return self.notes[text]

    async def read(self, note):
        return await E(note).read()

    async def parameter(self, name):
        return self.parameters[name]

    async def ask_other(self, rounds):
        for number in range(rounds):
            await E(self.others["b"]).echo(number)
        return rounds

    async def fill(self, name, size):
        self.others[name] = "y" * size
        return self.others[name]

    async def fail(self):
        raise KeyError("no")

    async def flood(self, *args):
        while True:
            E.send_only(self.others["b"]).echo(1)

    async def burst(self):
        while True:
            E.send_only(self.others["b"]).echo("y" * 3_000_000)

    async def spin(self):
        while True:
            pass

    async def wait(self):
        return await make_promise_kit().promise

def build_root_object(vat_powers, parameters, baggage):
    return Root(baggage, parameters)
"""

TOML = """
[subclusters.{name}]
bootstrap = "a"
[subclusters.{name}.vats.a]
source = "vat.py"
parameters = {{ {parameters} }}
[subclusters.{name}.vats.b]
source = "vat.py"
"""


def toml(name: str = "c", parameters: str = "") -> str:
    return TOML.format(name=name, parameters=parameters)


@frozen
class Served:
    """What a test talks to."""

    kernel: Kernel
    tap: Tap
    path: Path
    client: Client
    folder: str


@asynccontextmanager
async def serving(
    db: Path, log: LogFile | None = None, file: ClusterFile | None = None, **about: str
) -> AsyncIterator[Served]:
    """A kernel on `db`, with one client, and the vat of these tests beside it; it may write a message log.

    Of a file that it was started with it has the services; its subclusters are not launched.
    """
    db.with_name("vat.py").write_text(VAT)
    opened = Kernel(db) if file is None else file.open_kernel(db, also=LATER)
    async with opened as kernel, trio.open_nursery() as nursery:
        write = None if log is None else lambda event: log.write(event_line(event, kernel.vat_name))
        tap = Tap(kernel, write)
        nursery.start_soon(tap.run)
        told = {"pid": 1, "database": str(db), "log_json": None if log is None else str(log.path), **about}
        commands = Commands(kernel, tap, told, options=None if file is None else file.options)
        async with open_control(commands, db) as path, await Client.connect(path) as client:
            yield Served(kernel, tap, path, client, str(db.parent))
        nursery.cancel_scope.cancel()


async def until(is_so: Callable[[], object]) -> None:
    """Wait for what comes by itself, or fail."""
    with trio.fail_after(10):
        while not is_so():  # noqa: ASYNC110 - the kernel has no event for it
            await trio.sleep(0.01)
