"""Nothing is seen outside before it is committed, many cranks share a commit, and durability is what was asked for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from ocap import E, Event, Kernel
from ocap.kernel.crank import Crank
from ocap.ring import scheduler
from ocap.store.sqlite import SqliteBackend
from tests.ring.clusters import launch, peers


class Spy:
    """Knows how many commits there were, and can hold them back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        commit = SqliteBackend.commit

        def counting(backend: SqliteBackend) -> None:
            self.commits += backend.connection.in_transaction
            commit(backend)

        monkeypatch.setattr(SqliteBackend, "commit", counting)


async def test_answers_and_events_come_only_after_their_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event of the log is in the database, as another connection sees it, when the host sees it."""
    last_committed = 0

    commit = SqliteBackend.commit

    def watched(backend: SqliteBackend) -> None:
        nonlocal last_committed
        commit(backend)
        last_committed = backend.connection.execute("SELECT next - 1 FROM counters WHERE kind = 'crank'").get or 0

    monkeypatch.setattr(SqliteBackend, "commit", watched)
    seen = []

    def log(event: Event) -> None:
        seen.append(event.crank)
        assert event.crank <= last_committed

    async with Kernel(path, log=log) as kernel:
        _, a, _ = await launch(kernel)
        for _ in range(5):
            await E(a).bounce(20)
        await kernel.idle()
    assert len(seen) > 200
    assert sorted(set(seen)) == list(range(max(seen) + 1))


async def test_answer_waits_for_its_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        spy = Spy(monkeypatch)
        for number in range(1, 5):
            before = spy.commits
            assert await E(a).increase() == number
            assert spy.commits > before


async def test_service_is_called_only_after_the_commit_of_the_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Desk:
        def __init__(self) -> None:
            self.at: list[int] = []

        def call(self) -> None:
            self.at.append(spy.commits)

    desk = Desk()
    kernel = Kernel(path)
    kernel.provide("desk", desk)
    async with kernel:
        a = (await kernel.launch_subcluster(peers(services=["desk"]))).root
        spy = Spy(monkeypatch)
        await E(a).ask("desk", "call")
        assert desk.at == [1]


async def test_many_cranks_share_a_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "GROUP_SECONDS", 60)
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        await kernel.idle()
        before = kernel.stats()
        spy = Spy(monkeypatch)
        E.send_only(a).bounce(999)
        await kernel.idle()
        cranks = kernel.stats()["cranks"] - before["cranks"]
        assert cranks == 1000
        assert spy.commits == -(-cranks // scheduler.GROUP_CRANKS)


async def test_group_is_committed_when_it_is_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "GROUP_SECONDS", 0)
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        await kernel.idle()
        spy = Spy(monkeypatch)
        E.send_only(a).bounce(9)
        await kernel.idle()
        assert spy.commits == 10


async def test_host_is_answered_while_others_keep_the_kernel_busy(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, b = await launch(kernel)
        E.send_only(a).bounce(10**6)
        with trio.fail_after(10):
            for _ in range(20):
                await E(b).increase()
        assert not kernel.status()["idle"]


async def test_several_questions_share_commits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "GROUP_SECONDS", 60)
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        await kernel.idle()
        spy = Spy(monkeypatch)
        answers = [E(a).increase() for _ in range(60)]
        assert [await answer for answer in answers] == list(range(1, 61))
        assert spy.commits <= 3


@pytest.mark.parametrize(("durability", "synchronous"), [("power", 2), ("process", 1), ("none", 0)])
async def test_durability_reaches_the_store(durability: Any, synchronous: int, path: Path) -> None:
    async with Kernel(path, durability=durability) as kernel:
        connection = kernel._backend.connection
        assert connection.pragma("synchronous") == synchronous
        assert connection.pragma("journal_mode") == "wal"


async def test_default_survives_loss_of_power(path: Path) -> None:
    async with Kernel(path) as kernel:
        assert kernel._backend.connection.pragma("synchronous") == 2


async def test_unknown_durability_is_refused_and_makes_no_file(path: Path) -> None:
    with pytest.raises(ValueError, match="'power', 'process' or 'none'"):
        Kernel(path, durability="disk")  # type: ignore[arg-type]
    assert not path.exists()


async def test_stats_count_cranks_and_commits(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        await kernel.idle()
        before = kernel.stats()
        E.send_only(a).bounce(9)
        await kernel.idle()
        after = kernel.stats()
        assert after["cranks"] - before["cranks"] == 10
        assert after["last_crank"] - before["last_crank"] == 10
        assert after["commits"] > before["commits"]


async def test_lines_a_vat_logs_reach_the_log(path: Path) -> None:
    events: list[Event] = []
    async with Kernel(path) as kernel:
        kernel.observe(events.append, messages=False)
        _, a, b = await launch(kernel)
        E.send_only(a).log("one")
        E.send_only(b).log("two\n\x1b[2J")
        E.send_only(a).fail("zut")
        await kernel.idle()
    assert [(e.kind, e.vat, e.text) for e in events if e.kind == "log"] == [
        ("log", "v1", "one"),
        ("log", "v2", "two\n\x1b[2J"),
    ]
    (error,) = [e for e in events if e.kind == "error"]
    assert "LookupError: zut" in str(error.text)
    assert {e.kind for e in events} == {"log", "error"}  # and no messages, which nobody asked for


async def test_long_work_of_the_kernel_itself_lets_other_tasks_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it thinks over what vats reported: by time, however few cranks it takes."""
    monkeypatch.setattr(scheduler, "BREATHE_CRANKS", 1_000_000)
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        await kernel.idle()
        core, turns = kernel._core, 0
        seen: list[int] = []
        choose = core.next_crank

        def next_crank() -> Crank | None:
            if len(seen) == 20:
                return choose()
            time.sleep(1.2 * scheduler.BREATHE_SECONDS)  # which is what the work takes
            seen.append(turns)
            return Crank(0, 0)

        async with trio.open_nursery() as nursery:

            async def look() -> None:
                nonlocal turns
                while len(seen) < 20:
                    turns += 1
                    await trio.lowlevel.checkpoint()

            monkeypatch.setattr(core, "next_crank", next_crank)
            nursery.start_soon(look)
            await E(a).bounce(1)
        assert len(set(seen)) > 5
