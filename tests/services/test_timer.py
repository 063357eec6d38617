"""The timer: scenarios 98 and 99 of SwingSet's, durable over restarts of vat and kernel."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ocap import ClusterConfig, E, Kernel, Ref, VatConfig
from ocap.services import TIMER, VirtualClock
from vats.timer import BATCH, TimerCancelledError

CLIENT = str(Path(__file__).with_name("client.py"))
CONFIG = ClusterConfig("client", {"client": VatConfig(CLIENT)}, services=["timer"], name="client")


class World:
    """A kernel with a timer and a client of it."""

    def __init__(self, kernel: Kernel, clock: VirtualClock, client: Ref[Any]) -> None:
        self.kernel = kernel
        self.clock = clock
        self.client = client

    def timer(self, method: str, *args: Any) -> Any:
        return E(self.client).use("timer", method, *args)

    async def advance(self, seconds: float = 0) -> None:
        await self.clock.advance(seconds, self.kernel)

    async def sleeper(self, mood: str = "glad") -> Ref[Any]:
        made: Ref[Any] = await E(self.client).make_sleeper(mood)
        return made

    def timer_vat(self) -> str:
        return self.kernel.get_system_subcluster("timer").vats["timer"].id


@asynccontextmanager
async def world(path: Path, clock: VirtualClock | None = None) -> AsyncIterator[World]:
    clock = clock or VirtualClock(1000.0)
    kernel = Kernel(path, durability="process")
    kernel.provide("clock", clock, system_only=True)
    kernel.declare("timer", TIMER)
    async with kernel:
        known = [it for it in kernel.get_subclusters() if not it.is_system]
        client = known[0] if known else await kernel.launch_subcluster(CONFIG)
        yield World(kernel, clock, client.root)


async def test_now_and_delay(path: Path) -> None:
    async with world(path) as it:
        assert await it.timer("now") == 1000.0
        answer = it.timer("delay", 5)
        await it.advance(4.9)
        assert repr(answer) == "<Promise pending>"
        await it.advance(0.2)
        assert await answer == 1005.0


async def test_a_past_wake_fires_now(path: Path) -> None:
    async with world(path) as it:
        assert await it.timer("wake_at", 3) == 3.0
        assert await it.timer("delay", -7) == 993.0
        sleeper = await it.sleeper()
        await it.timer("set_wakeup", 5, sleeper)
        await it.advance()
        assert await E(sleeper).get_beats() == [5.0]


async def test_an_earlier_alarm_moves_the_wake_up_and_leaves_no_other(path: Path) -> None:
    async with world(path) as it:
        sleeper = await it.sleeper()
        for time in (1030, 1010, 1020):
            await it.timer("set_wakeup", time, sleeper)
        await it.advance(5)
        cranks = it.kernel.stats()["cranks"]
        for _ in range(5):
            await it.advance(0.1)
        assert cranks == it.kernel.stats()["cranks"]
        assert it.kernel.status()["service_calls"] == 1
        await it.advance(5)
        assert await E(sleeper).get_beats() == [1010.0]
        await it.advance(60)
        assert await E(sleeper).get_beats() == [1010.0, 1020.0, 1030.0]
        assert it.kernel.status()["service_calls"] == 0


async def test_what_became_due_meanwhile_fires_in_order_in_batches(path: Path) -> None:
    async with world(path) as it:
        sleeper = await it.sleeper()
        times = [1000.0 + (7 * number) % (BATCH + 11) for number in range(BATCH + 11)]
        for time in times:
            E.send_only(it.client).use("timer", "set_wakeup", time, sleeper)
        await it.kernel.idle()
        await it.clock.advance(10_000)
        await it.advance()
        assert await E(sleeper).get_beats() == sorted(times)


async def test_a_shared_token_cancels_all_it_was_given_with(path: Path) -> None:
    async with world(path) as it:
        sleeper, token, other = await it.sleeper(), await E(it.client).make_token(), await E(it.client).make_token()
        waiting, spared = it.timer("delay", 50, token), it.timer("delay", 50, other)
        at = it.timer("wake_at", 1050, token)
        await it.timer("set_wakeup", 1040, sleeper, token)
        await it.timer("repeat", 1010, 10, sleeper, token)
        await it.advance(25)
        assert await it.timer("cancel", token) == 4
        for promise in (waiting, at):
            with pytest.raises(TimerCancelledError, match="cancelled"):
                await promise
        await it.advance(100)
        assert await E(sleeper).get_beats() == [1010.0, 1020.0]
        assert await spared == 1050.0


async def test_a_late_or_double_cancel_is_ignored(path: Path) -> None:
    async with world(path) as it:
        token = await E(it.client).make_token()
        waiting = it.timer("delay", 5, token)
        await it.advance(10)
        assert await it.timer("cancel", token) == 0
        assert await waiting == 1005.0
        with pytest.raises(TimerCancelledError):
            await _cancelled(it, token)
        assert await it.timer("cancel", token) == 0


async def _cancelled(it: World, token: Any) -> None:
    waiting = it.timer("delay", 5, token)
    assert await it.timer("cancel", token) == 1
    await waiting


async def test_what_is_cancelled_keeps_nobody_awake(path: Path) -> None:
    async with world(path) as it:
        token = await E(it.client).make_token()
        await it.timer("set_wakeup", 1e10, token, token)
        await it.advance()
        assert it.kernel.status()["service_calls"] == 1
        await it.timer("cancel", token)
        await it.kernel.idle(services=True)
        assert it.kernel.status()["service_calls"] == 0


async def test_a_repeater_does_not_drift(path: Path) -> None:
    async with world(path) as it:
        sleeper = await it.sleeper()
        await it.timer("repeat", 1000.1, 0.1, sleeper)
        for _ in range(7):
            await it.advance(0.99)
        beats = await E(sleeper).get_beats()
        assert [1000.1 + number * 0.1 for number in range(69)] == pytest.approx(beats, abs=1e-6)


async def test_a_repeater_misses_beats_rather_than_piling_them_up(path: Path) -> None:
    async with world(path) as it:
        sleeper = await it.sleeper()
        await it.timer("repeat", 1010, 10, sleeper)
        await it.advance(10)
        await it.kernel.suspend_vat(it.kernel.get_vats()[-1].id)
        await it.advance(1000)  # the beat of 1020 waits for an answer
        await it.kernel.resume_vat(it.kernel.get_vats()[-1].id)
        await it.advance()
        assert await E(sleeper).get_beats() == [1010.0, 1020.0]
        await it.advance(10)
        assert await E(sleeper).get_beats() == [1010.0, 1020.0, 2020.0]
        await it.clock.advance(1000)  # the machine slept
        await it.advance()
        assert await E(sleeper).get_beats() == [1010.0, 1020.0, 2020.0, 3020.0]


async def test_a_waker_that_raises_is_woken_again_and_one_that_is_deaf_is_not(path: Path) -> None:
    async with world(path) as it:
        angry, deaf = await it.sleeper("angry"), await it.sleeper("deaf")
        for sleeper in (angry, deaf):
            await it.timer("repeat", 1010, 10, sleeper)
        await it.advance(30)
        assert await E(angry).get_beats() == [1010.0, 1020.0, 1030.0]
        assert await E(deaf).get_beats() == [1010.0]


async def test_a_waker_that_is_gone_is_forgotten(path: Path) -> None:
    async with world(path) as it:
        gone, revoked = await it.kernel.launch_subcluster(CONFIG), await it.sleeper()
        await it.timer("repeat", 1010, 10, await E(gone.root).make_sleeper())
        await it.timer("repeat", 1010, 10, revoked)
        await it.advance(20)
        await it.kernel.terminate_subcluster(gone.id)
        await it.kernel.revoke(revoked)  # type: ignore[arg-type]
        await it.advance(20)
        await it.kernel.idle(services=True)
        assert it.kernel.status()["service_calls"] == 0


async def test_time_is_never_told_to_go_back(path: Path) -> None:
    async with world(path, VirtualClock(5000.0)) as it:
        assert await it.timer("now") == 5000.0
    async with world(path, VirtualClock(2000.0)) as it:  # somebody set the machine's clock back
        assert await it.timer("now") == 5000.0
        waiting = it.timer("delay", 5)
        await it.advance(5)
        assert await waiting == 2005.0  # a delay is as long as ever
        await it.advance(4000)
        assert await it.timer("now") == 6005.0


async def test_no_beat_is_told_twice_when_time_goes_back(path: Path) -> None:
    async with world(path) as it:
        sleeper = await it.sleeper()
        await it.timer("repeat", 1010, 10, sleeper)
        await it.advance(15)
        client = it.kernel.get_vats()[-1].id
        await it.kernel.suspend_vat(client)
        await it.advance(10)  # the beat of 1020 waits for an answer
    async with world(path, VirtualClock(1000.0)) as it:
        await it.kernel.resume_vat(client)
        await it.advance(35)
        [sleeper] = await _sleepers(it)
        assert await E(sleeper).get_beats() == [1010.0, 1020.0, 1030.0]


async def _sleepers(it: World) -> list[Any]:
    found: list[Any] = await E(it.client).get_kept()
    return found


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e12])
async def test_what_is_no_time_is_refused(path: Path, bad: float) -> None:
    async with world(path) as it:
        sleeper = await it.sleeper()
        for method, args in [
            ("delay", (bad,)),
            ("wake_at", (bad,)),
            ("set_wakeup", (bad, sleeper)),
            ("repeat", (bad, 1, sleeper)),
            ("repeat", (1, bad, sleeper)),
            ("repeat", (1, 0, sleeper)),
        ]:
            with pytest.raises(ValueError, match="seconds"):
                await it.timer(method, *args)
        with pytest.raises(TypeError, match=r"Timer\.delay: seconds: expected float"):
            await it.timer("delay", "5")
        await it.advance()
        assert it.kernel.status()["service_calls"] == 0


async def test_schedules_survive_the_kernel_and_arm_themselves_again(path: Path) -> None:
    async with world(path) as it:
        heard = await E(it.client).watch("timer", "delay", 50)
        sleeper = await it.sleeper()
        await it.timer("set_wakeup", 1060, sleeper)
        await it.timer("repeat", 1010, 10, sleeper)
        await it.advance(15)
    async with world(path, VirtualClock(1035.0)) as it:  # nobody sends anything: the clock's end does
        await it.advance()
        assert it.kernel.status()["service_calls"] == 1
        heard, sleeper = await _sleepers(it)
        assert await E(sleeper).get_beats() == [1010.0, 1030.0]  # the repeater once, for all it missed
        await it.advance(30)
        assert await E(heard).get_outcomes() == [1050.0]
        assert await E(sleeper).get_beats() == [1010.0, 1030.0, 1040.0, 1050.0, 1060.0, 1060.0]


async def test_schedules_survive_upgrade_and_restart_of_the_timer(path: Path) -> None:
    async with world(path) as it:
        waiting, sleeper = it.timer("delay", 50), await it.sleeper()
        await it.timer("repeat", 1010, 10, sleeper)
        await it.advance(15)
        await it.kernel.upgrade_vat(it.timer_vat())
        await it.advance(10)
        await it.kernel.restart_vat(it.timer_vat())
        await it.advance(30)
        assert await waiting == 1050.0
        assert await E(sleeper).get_beats() == [1010.0, 1020.0, 1030.0, 1040.0, 1050.0]


async def test_a_run_without_a_clock_loses_no_schedule(path: Path) -> None:
    async with world(path) as it:
        waiting = await E(it.client).watch("timer", "delay", 50)
        await it.advance(15)
    for _ in range(2):
        async with Kernel(path, durability="process") as kernel:  # looks after the store
            await kernel.idle()
    async with world(path, VirtualClock(1100.0)) as it:
        await it.kernel.ping_vat(it.timer_vat())
        await it.advance()
        [waiting] = await _sleepers(it)
        assert await E(waiting).get_outcomes() == [1050.0]


async def test_what_is_over_leaves_nothing(path: Path) -> None:
    async with world(path) as it:
        sleeper, token = await it.sleeper(), await E(it.client).make_token()

        async def use() -> dict[str, int]:
            await it.timer("set_wakeup", it.clock.now() + 5, sleeper, token)
            await it.timer("repeat", it.clock.now() + 5, 10, sleeper, token)
            waiting = it.timer("delay", 5, token)
            await it.advance(30)
            await it.timer("cancel", token)
            await waiting
            del waiting
            for _ in range(2):
                it.kernel.collect_garbage()
                await it.advance()
            return it.kernel.census()

        await use()
        before = await use()
        for _ in range(5):
            after = await use()
        assert before == after


async def test_the_timer_says_that_it_needs_a_clock() -> None:
    async with Kernel() as kernel:
        with pytest.raises(Exception, match=r'its config would have to say endowments = \["clock"\]'):
            await kernel.launch_subcluster(ClusterConfig("t", {"t": VatConfig("vats.timer")}))
