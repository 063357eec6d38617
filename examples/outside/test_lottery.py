"""Tests of the lottery: time passes when the test says so, and chance is foreseen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from attrs import evolve

from ocap import E, Kernel, load_toml
from ocap.services import TIMER, Random, VirtualClock

LOTTERY = evolve(load_toml(Path(__file__).with_name("lottery.toml"))["lottery"], services=["timer"])

pytestmark = pytest.mark.trio


async def test_a_draw_waits_for_its_time() -> None:
    clock = VirtualClock(0)
    kernel = Kernel()
    kernel.provide("clock", clock, system_only=True)
    kernel.provide("random", Random(random.Random(7)))
    kernel.declare("timer", TIMER)
    async with kernel:
        lottery = (await kernel.launch_subcluster(LOTTERY)).root
        draw = await E(lottery).draw_in(3600)
        await clock.advance(3599, kernel)
        assert await E(draw).get_number() is None
        await clock.advance(1, kernel)
        assert await E(draw).get_number() == 10
