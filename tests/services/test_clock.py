"""The clock: sleepers sleep as long as they should, whatever is done to the machine's clock."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from ocap.services import Clock, VirtualClock
from ocap.services.clock import SLICE


class Machine:
    """A wall clock that goes with trio's, and may be set."""

    def __init__(self) -> None:
        self.ahead = 1e9

    def __call__(self) -> float:
        return trio.current_time() + self.ahead


async def test_it_wakes_when_it_is_time(autojump_clock: trio.testing.MockClock) -> None:
    machine = Machine()
    clock = Clock(machine)
    start, began = clock.now(), trio.current_time()
    assert await clock.wake_at(start + 300) >= start + 300
    assert trio.current_time() - began == pytest.approx(300)
    assert await clock.sleep(5) >= start + 305
    assert trio.current_time() - began == pytest.approx(305)


@pytest.mark.parametrize("when", [-math.inf, 0.0, 1e9])
async def test_what_is_past_answers_at_once(when: float, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    await Clock(Machine()).wake_at(when)
    assert trio.current_time() == began


async def test_a_clock_set_back_neither_tells_so_nor_lengthens_a_sleep(autojump_clock: trio.testing.MockClock) -> None:
    machine = Machine()
    clock = Clock(machine)
    start, began = clock.now(), trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.sleep, 100)
        await trio.sleep(10)
        machine.ahead -= 3600
        assert clock.now() == start
    assert trio.current_time() - began == pytest.approx(100)
    assert clock.now() == pytest.approx(start + 100)
    await clock.sleep(5)  # nor one that begins meanwhile
    assert trio.current_time() - began == pytest.approx(105)


async def test_a_clock_set_forward_wakes_who_is_due(autojump_clock: trio.testing.MockClock) -> None:
    machine = Machine()
    clock = Clock(machine)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.sleep, 10_000)
        await trio.sleep(10)
        machine.ahead += 20_000
    assert trio.current_time() - began <= 10 + SLICE


@pytest.mark.parametrize("make", [Clock, VirtualClock])
async def test_of_the_calls_for_an_alarm_the_last_waits(
    make: type[Clock], autojump_clock: trio.testing.MockClock
) -> None:
    clock, answered = make(), []

    async def ask(seconds: float, serial: int) -> None:
        await clock.wake_at(clock.now() + seconds, "alarm", serial)
        answered.append(serial)

    with trio.move_on_after(0.5):
        async with trio.open_nursery() as nursery:
            for serial in (1, 3, 2):
                nursery.start_soon(ask, 1000, serial)
                await trio.testing.wait_all_tasks_blocked()
            assert answered == [1, 2]
            clock.cancel("alarm", 2)  # late
            await trio.testing.wait_all_tasks_blocked()
            assert answered == [1, 2]
            clock.cancel("alarm", 4)
            await trio.testing.wait_all_tasks_blocked()
            assert answered == [1, 2, 3]
            nursery.start_soon(ask, 1000, 3)  # later still
            await trio.testing.wait_all_tasks_blocked()
            assert answered == [1, 2, 3, 3]
            nursery.start_soon(ask, 1000, 5)
    assert answered == [1, 2, 3, 3]


async def test_virtual_time_stands_still_but_for_advance() -> None:
    clock, woken = VirtualClock(100.0), []

    async def sleep(seconds: float) -> None:
        woken.append((seconds, await clock.sleep(seconds)))

    async with trio.open_nursery() as nursery:
        for seconds in (3, 1, 2):
            nursery.start_soon(sleep, seconds)
        await trio.testing.wait_all_tasks_blocked()
        await clock.advance(0.5)
        assert (woken, clock.now()) == ([], 100.5)
        await clock.advance(1)
        assert woken == [(1, 101.5)]
        await clock.advance(10)
    assert sorted(woken) == [(1, 101.5), (2, 111.5), (3, 111.5)]
    with pytest.raises(ValueError, match="time does not go back"):
        await clock.advance(-1)


@pytest.mark.parametrize("make", [Clock, VirtualClock])
async def test_no_number_is_refused(make: type[Clock]) -> None:
    with pytest.raises(ValueError, match="not a number"):
        await make().wake_at(math.nan)
