"""A supervisor creates its children again, by intensity rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ocap import DisconnectedError, E, Kernel, Ref
from ocap.services import TIMER, VirtualClock
from tests.ready_made.launching import MEMBER, launch


class World:
    def __init__(self, kernel: Kernel, clock: VirtualClock, root: Ref[Any]) -> None:
        self.kernel = kernel
        self.clock = clock
        self.root = root

    async def state(self, name: str = "child") -> tuple[str, int]:
        await self.clock.advance(0, self.kernel)
        found = await E(self.root).get_state(name)
        return found["state"], found["restarts"]

    async def kill(self, method: str, name: str = "child") -> None:
        with suppress(DisconnectedError):  # of a crank that is undone; one that leaves has answered
            await getattr(E(await E(self.root).get_root(name)), method)()
        await self.clock.advance(0, self.kernel)


@asynccontextmanager
async def world(path: Path) -> AsyncIterator[World]:
    clock = VirtualClock(1000.0)
    kernel = Kernel(path, durability="process")
    kernel.provide("clock", clock, system_only=True)
    kernel.declare("timer", TIMER)
    async with kernel:
        known = [it for it in kernel.get_subclusters() if not it.is_system]
        found = known[0] if known else await launch(kernel, "vats.supervisor", "vat_admin", "timer")
        yield World(kernel, clock, found.root)


async def test_a_child_that_dies_is_created_again_until_it_dies_too_often(path: Path) -> None:
    async with world(path) as it:
        first = await E(it.root).start("child", MEMBER, limit=2, period=10.0)
        assert await it.state() == ("running", 0)
        await it.kill("fail")
        assert await it.state() == ("running", 1)
        assert await E(it.root).get_root("child") is not first
        await it.clock.advance(11, it.kernel)
        await it.kill("leave")  # permanent: also when it just ends
        assert await it.state() == ("running", 1)  # the first is too long ago to count
        await it.kill("fail")
        assert await it.state() == ("running", 2)
        await it.kill("fail")
        assert await it.state() == ("failed", 2)
        with pytest.raises(LookupError, match="it has failed: rejected with 'failed'"):
            await E(it.root).get_root("child")
        await E(it.root).start("child", MEMBER)
        assert await it.state() == ("running", 0)


@pytest.mark.parametrize(
    ("restart", "method", "after"),
    [
        *(("permanent", "leave", "running"), ("permanent", "fail", "running")),
        *(("transient", "leave", "ended"), ("transient", "fail", "running")),
        *(("temporary", "leave", "ended"), ("temporary", "fail", "ended")),
    ],
)
async def test_when_a_child_is_created_again(path: Path, restart: str, method: str, after: str) -> None:
    async with world(path) as it:
        await E(it.root).start("child", MEMBER, restart=restart)
        await it.kill(method)
        assert (await it.state())[0] == after
        with pytest.raises(TypeError, match="restart: expected one of"):
            await E(it.root).start("other", MEMBER, restart="sometimes")


async def test_a_child_that_cannot_be_created_is_given_up(path: Path) -> None:
    async with world(path) as it:
        promise = E(it.root).start("child", MEMBER, parameters={"broken": True})
        assert await it.state() == ("failed", 3)
        with pytest.raises(LookupError, match=r"it has failed: .*broken"):
            await promise
        assert len(it.kernel.get_vats()) == 2


async def test_a_child_that_is_stopped_stays_away(path: Path) -> None:
    async with world(path) as it:
        await E(it.root).start("child", MEMBER)
        with pytest.raises(ValueError, match="there is a child 'child' already"):
            await E(it.root).start("child", MEMBER)
        E.send_only(it.root).start("early", MEMBER)
        for name in ("early", "child", "child"):
            await E(it.root).stop(name)
        assert (await it.state("child"), await it.state("early")) == (("ended", 0), ("ended", 0))
        assert len(it.kernel.get_vats()) == 2
        assert await E(it.root).get_names() == ["child", "early"]
        with pytest.raises(LookupError, match="there is no child 'other'"):
            await E(it.root).stop("other")


async def test_it_goes_on_after_restarts(path: Path) -> None:
    async with world(path) as it:
        await E(it.root).start("child", MEMBER)
        for vat in it.kernel.get_vats():
            await it.kernel.restart_vat(vat.id)
        await it.kill("fail")
        assert await it.state() == ("running", 1)
    async with world(path) as it:
        await it.kill("fail")
        assert await it.state() == ("running", 2)
