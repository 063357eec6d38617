"""`ocap gc`: a store that no kernel has open is collected, cycles too if asked."""

from __future__ import annotations

import json
from pathlib import Path

from ocap.verify import verify
from tests.commands import ocap

SOURCE = """
from vats import DurableExo, E, Exo


class Link(DurableExo):
    next: object = None

    async def join(self, thing):
        self.next = thing


class Peer(Exo):
    async def bootstrap(self, vats, services):
        mine, theirs = Link(), await E(vats["b"]).make()
        mine.next = theirs
        await E(theirs).join(mine)
        return "joined"

    async def make(self):
        return Link()


def build_root_object(vat_powers, parameters, baggage):
    return Peer()
"""


def store(folder: Path) -> Path:
    """A store with a ring of two durable objects, each in a vat of its own, which nothing reaches."""
    (folder / "peer.py").write_text(SOURCE)
    vats = "".join(f'[subclusters.ring.vats.{name}]\nsource = "peer.py"\n' for name in "ab")
    (folder / "ring.toml").write_text(f'[subclusters.ring]\nbootstrap = "a"\n{vats}')
    done = ocap("run", folder / "ring.toml", "--db", folder / "ring.db")
    assert ('ring: "joined"\n', 0) == (done.stdout, done.returncode)
    return folder / "ring.db"


def collected(path: Path, *options: str) -> tuple[int, int]:
    """Objects before and after."""
    done = ocap("gc", path, "--json", *options)
    assert 0 == done.returncode, done.stderr
    assert [] == verify(path)
    found = json.loads(done.stdout)
    return found["before"]["objects"], found["after"]["objects"]


def test_counting_leaves_a_cycle_and_the_search_takes_it(tmp_path: Path) -> None:
    path = store(tmp_path)
    before, after = collected(path)
    assert before == after
    assert (after, after - 2) == collected(path, "--cycles")
    assert (after - 2, after - 2) == collected(path, "--cycles")


def test_what_went_is_told_line_by_line(tmp_path: Path) -> None:
    done = ocap("gc", store(tmp_path), "--cycles")
    assert "objects: 4 before, 2 after" in done.stdout.splitlines()
