"""Tests of the greeters, each in a kernel of its own. They need pytest-trio."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocap import E, Kernel, load_toml

HELLO = load_toml(Path(__file__).with_name("hello.toml"))["hello"]

pytestmark = pytest.mark.trio


async def test_visitors_are_counted() -> None:
    async with Kernel() as kernel:  # without a path: in memory
        ann = (await kernel.launch_subcluster(HELLO)).root
        assert await E(ann).greet("Tom") == "Hello Tom, I am Ann. You are visitor 1."
        assert await E(ann).greet("Tom") == "Hello Tom, I am Ann. You are visitor 2."
        assert kernel.verify() == []


async def test_the_count_survives_a_restart() -> None:
    async with Kernel() as kernel:
        hello = await kernel.launch_subcluster(HELLO)
        await E(hello.root).greet("Tom")
        await kernel.restart_vat(hello.vats["ann"].id)  # the heap is gone, what is durable stays
        assert await E(hello.root).greet("Tom") == "Hello Tom, I am Ann. You are visitor 2."


async def test_the_count_survives_the_process(tmp_path: Path) -> None:
    for visitor in (1, 2):
        async with Kernel(tmp_path / "hello.db", durability="none") as kernel:
            known = kernel.get_subclusters()
            hello = known[0] if known else await kernel.launch_subcluster(HELLO)
            assert (await E(hello.root).greet("Tom")).endswith(f"visitor {visitor}.")


async def test_a_number_is_no_guest() -> None:
    async with Kernel() as kernel:
        ann = (await kernel.launch_subcluster(HELLO)).root
        with pytest.raises(TypeError, match=r"Greeter\.greet: guest"):
            await E(ann).greet(3)
