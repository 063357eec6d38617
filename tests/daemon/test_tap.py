"""Live traffic: all of it as long as showing takes a share of the time only, and beyond that whole cranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from ocap import Kernel
from ocap.config import parse_toml
from ocap.daemon import tap
from ocap.daemon.tap import SAVED, SHARE, Tap
from ocap.kernel.effects import Event
from ocap.log import event_line
from ocap.log.selection import Selection
from ocap.protocol.errors import DisconnectedError
from ocap.protocol.marshal import encode
from tests.daemon.serving import TOML, VAT

ENOUGH = 100_000
"""Items that wait: more than these tests make."""


@define
class Clock:
    """Time that goes on as it is looked at, so much each time."""

    step: float = 0.0
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "BACKLOG", ENOUGH)


async def launched(kernel: Kernel, db: Path) -> Any:
    """The root of vat `a`."""
    db.with_name("vat.py").write_text(VAT)
    (config,) = parse_toml(TOML.format(name="c", parameters=""), db.parent, "").subclusters.values()
    return (await kernel.launch_subcluster(config)).root


async def ask(kernel: Kernel, root: Any, method: str, *args: Any) -> int:
    """Send a message, and wait until all is over; the last crank."""
    await root._eventual_send(method, args, {}, wants_result=True)
    await kernel.idle()
    return kernel.stats()["last_crank"]


def received(news: trio.MemoryReceiveChannel[str]) -> list[dict[str, Any]]:
    return [json.loads(news.receive_nowait()) for _ in range(news.statistics().current_buffer_used)]


def cranks(items: list[dict[str, Any]]) -> list[int]:
    """The cranks that were shown, in order."""
    return list(dict.fromkeys(it["entry"]["crank"] for it in items if "entry" in it and it["entry"]["crank"]))


def passed_over(items: list[dict[str, Any]]) -> int:
    return sum(it.get("passed_over", 0) for it in items)


async def test_all_is_shown_while_it_costs_its_share_at_most(db: Path) -> None:
    clock = Clock()  # what takes no time costs nothing
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel, clock=clock, processor=clock)
        before = kernel.stats()["last_crank"]
        with it.follow(Selection()) as news:
            after = await ask(kernel, root, "ask_other", 1500)
            items = received(news)
        assert list(range(before + 1, after + 1)) == cranks(items)
        assert 0 == passed_over(items)


async def test_beyond_its_share_whole_cranks_are_passed_over_and_counted(db: Path) -> None:
    clock = Clock(step=SHARE * SAVED / 50)  # an entry takes a step, so what is saved up is for 50 or so
    everything: list[Event] = []
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel, everything.append, messages=False, clock=clock, processor=clock)
        before = kernel.stats()["last_crank"]
        items: list[dict[str, Any]] = []
        with it.follow(Selection()) as news:
            for _ in range(4):
                await ask(kernel, root, "ask_other", 40)
                items += received(news)
                clock.now += SAVED
                it.replenish()
            after = kernel.stats()["last_crank"]
            items += received(news)
        shown = cranks(items)
        assert after - before == len(shown) + passed_over(items)
        assert passed_over(items) > len(shown) / 2
        assert 4 == sum("passed_over" in one for one in items)
        for crank in shown:
            ops = [one["entry"]["kind"] for one in items if "entry" in one and one["entry"]["crank"] == crank]
            assert "deliver" == ops[0]


async def test_only_what_is_asked_for_costs_the_writing(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the kernel is, all that is asked for is shown, as long as that alone is within the share."""
    clock = Clock()
    write = event_line

    def slowly(*args: Any) -> str:
        clock.now += SHARE * SAVED / 10
        return write(*args)

    monkeypatch.setattr(tap, "event_line", slowly)
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel, clock=clock, processor=clock)
        with it.follow(Selection(methods=frozenset({"ask_other"}))) as news:
            await ask(kernel, root, "ask_other", 500)
            items = received(news)
        assert ["send", "message", "resolve", "notify"] == [one["entry"]["op"] for one in items]


async def test_crank_that_began_before_it_was_traced_is_not_shown_in_part(db: Path) -> None:
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel, clock=Clock(), processor=Clock())
        promise = root._eventual_send("ask_other", (50,), {}, wants_result=True)
        seen: list[dict[str, Any]] = []
        while kernel.stats()["last_crank"] < 30:
            await trio.lowlevel.checkpoint()
        with it.follow(Selection()) as news:
            joined = kernel.stats()["last_crank"]
            await promise
            await kernel.idle()
            seen = received(news)
        assert joined + 1 == cranks(seen)[0]
        assert 0 == passed_over(seen)


async def test_without_followers_nothing_is_traced(db: Path) -> None:
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel)
        assert kernel._core.traced is False
        with it.follow(Selection()), it.follow(Selection()):
            assert kernel._core.traced is True
        assert kernel._core.traced is False
        await ask(kernel, root, "echo")
        it.replenish()
        assert kernel._core.traced is False


@pytest.mark.parametrize("messages", [True, False])
async def test_what_is_written_is_written_whatever_is_shown(messages: bool, db: Path) -> None:
    written: list[Event] = []
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel, written.append, messages=messages, processor=Clock(step=SHARE))
        before = kernel.stats()["last_crank"]
        with it.follow(Selection()) as news:
            after = await ask(kernel, root, "ask_other", 20)
            with pytest.raises(DisconnectedError):
                await ask(kernel, root, "flood")
            await kernel.idle()
            items = received(news)
        kinds = {event.kind for event in written}
        assert "fault" in kinds
        assert messages is ("deliver" in kinds)
        assert len(cranks(items)) < after - before
        if messages:
            assert set(range(before + 1, after + 1)) <= {event.crank for event in written}
            assert kernel._core.traced is True


async def test_slow_follower_loses_entries_and_learns_of_how_many_cranks(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "BACKLOG", 3)
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel, clock=Clock(), processor=Clock())
        with it.follow(Selection()) as news:
            before = kernel.stats()["last_crank"]
            after = await ask(kernel, root, "ask_other", 10)
            first = received(news)
            assert 3 == len(first)
            await ask(kernel, root, "echo")
            rest = received(news)
        assert after - before == passed_over(rest) + len(cranks(first))
        assert "passed_over" in rest[0]


async def test_delivery_comes_with_who_caused_it_though_that_was_not_asked_for(db: Path) -> None:
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel, clock=Clock(), processor=Clock())
        with it.follow(Selection(vats=frozenset({"b"}))) as news:
            await ask(kernel, root, "ask_other", 1)
            items = received(news)
        by = {(one["entry"]["vat"], one["entry"]["op"]): one["by"] for one in items}
        assert {("v2", "message"): ["v1", "a"], ("v2", "resolve"): None} == by


async def test_large_body_is_shown_by_its_size(db: Path) -> None:
    async with Kernel(db) as kernel:
        root = await launched(kernel, db)
        it = Tap(kernel, clock=Clock(), processor=Clock())
        with it.follow(Selection(vats=frozenset({"a"}))) as news:
            await ask(kernel, root, "echo", "x" * tap.LARGE)
            (delivery, *_) = received(news)
        size = len(encode([["x" * tap.LARGE], {}])[0])
        assert f"<{size} bytes>" == delivery["entry"]["kernel"]["args"]
