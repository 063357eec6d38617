"""A commit is whole or not at all: full disks, failing disks, and the death of the process at each write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from ocap.protocol import syscalls
from ocap.protocol.errors import StoreFailedError
from ocap.protocol.refs import VatId
from ocap.store.sqlite import SqliteBackend
from ocap.verify import verify
from tests.kernel.puppet import World, args, messages
from tests.store.faulty import Countdown, faulty


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernel.db"


def say(world: World, method: str) -> None:
    """Something to commit."""
    world.host(syscalls.Send(world.host_ref(world.vats["a"]), method, args("x" * 20_000)))


def waiting(path: Path) -> list[str]:
    """What the store says is still to be done, by its methods."""
    world = World("", path=path)
    found = [
        row[0] for row in world.backend._db.execute("SELECT method FROM queue WHERE method IS NOT NULL ORDER BY seq")
    ]
    world.vats["a"] = VatId("v1")
    assert [("a", method) for method in found] == messages(world.run())
    assert [] == world.verify()
    world.backend.close()
    return found


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("write", apsw.FullError, "the disk is full"),
        ("write", apsw.IOError, "nothing after the last commit was kept"),
        ("sync", apsw.IOError, "nothing after the last commit was kept"),
    ],
)
def test_a_disk_that_refuses_leaves_the_last_commit(path: Path, kind: Any, error: Any, text: Any) -> None:
    fault = Countdown(kind, error)
    with faulty(fault):
        world = World("a", backend=SqliteBackend(path))
        world.run()
        say(world, "kept")
        world.core.commit()
        say(world, "lost")
        fault.armed = True
        with pytest.raises(StoreFailedError, match=text) as caught:
            world.core.commit()
        assert str(path) in str(caught.value)
        fault.armed = False
        world.backend.close()
    assert [] == verify(path)
    assert ["kept"] == waiting(path)


def test_a_disk_that_cannot_be_read_is_said_to_be(path: Path) -> None:
    world = World("a", path=path)
    world.run()
    world.backend.close()
    fault = Countdown("read", apsw.IOError)
    with faulty(fault):
        world = World("", path=path)
        fault.armed = True
        with pytest.raises(StoreFailedError):
            world.backend.load("objects", "ko12345")
        fault.armed = False
        world.backend.close()


@pytest.mark.parametrize("kind", ["write", "sync", "truncate"])
def test_a_process_that_dies_at_any_operation_leaves_a_commit(path: Path, kind: Any) -> None:
    """The child dies just before its n-th operation, for each n until it lives to the end."""
    for passes in range(200):
        target = path.with_name(f"{kind}{passes}.db")
        child = os.fork()
        if child == 0:
            _child(target, kind, passes)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 9), code
        assert [] == verify(target)
        found = waiting(target)
        assert found in (["first"], ["first", "second", "third"])
        if code == 0:
            assert ["first", "second", "third"] == found
            return
    raise AssertionError("never lived to the end")


def _child(path: Path, kind: str, passes: int) -> None:
    class Death(Countdown):
        def __call__(self, operation: str) -> None:
            if self.armed and operation == self.kind:
                self.seen += 1
                if self.seen > self.passes:
                    os._exit(9)

    fault = Death(kind, apsw.IOError, passes=passes)
    try:
        with faulty(fault):
            world = World("a", backend=SqliteBackend(path))
            world.run()
            say(world, "first")
            world.core.commit()
            fault.armed = True
            say(world, "second")
            world.core.state.write()
            say(world, "third")
            world.core.commit()
            world.backend._db.pragma("wal_checkpoint", "truncate")
            os._exit(0)
    except BaseException:
        os._exit(1)


def test_what_was_written_but_not_committed_goes_with_the_process(path: Path) -> None:
    child = os.fork()
    if child == 0:
        world = World("a", path=path)
        world.run()
        say(world, "kept")
        world.core.commit()
        say(world, "lost")
        world.core.state.write()
        os._exit(9)
    os.waitpid(child, 0)
    assert [] == verify(path)
    assert ["kept"] == waiting(path)


def test_closing_without_a_commit_keeps_nothing(path: Path) -> None:
    world = World("a", path=path)
    world.run()
    say(world, "lost")
    world.core.state.write()
    world.backend.close()
    assert [] == waiting(path)
