"""What a crank costs grows with what is done in it, and with nothing else: nobody can hold the kernel up by squares."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ocap.kernel.items import CreateVat
from ocap.kernel.lifecycle import VatSpec
from ocap.kernel.rows import VatRow
from ocap.kernel.subclusters import LaunchSpec
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from tests.effort import steps_of
from tests.kernel.puppet import World, data, resolve, send

FEW, MANY = 40, 160


def ready(names: str) -> World:
    world = World(names)
    world.run()
    return world


def release(count: int) -> int:
    """A barrier opens: many promises settle in one crank, and messages wait at each."""
    world = ready("ab")
    b = world.import_root("a", "b")
    world.do("a", *[send(b, "wait", f"p+{number}") for number in range(count)])
    asked = [d.result for _, d in world.seen if isinstance(d, deliveries.Message) and d.method == "wait"]
    world.do("a", *[send(f"p+{number}", "then") for number in range(count)])
    return steps_of(lambda: world.do("b", *[resolve((str(vpid), data())) for vpid in asked]))


def forward(count: int) -> int:
    """Many promises follow one, and nobody holds them."""
    world = ready("ab")
    world.do("a", send(world.import_root("a", "b"), "wait", "p+0"))
    world.do("a", *[syscalls.Subscribe(f"p+{number}") for number in range(1, count + 1)])
    return steps_of(lambda: world.do("a", *[syscalls.Forward(f"p+{number}", "p+0") for number in range(1, count + 1)]))


def create(world: World, count: int) -> list[VatRow]:
    subcluster = world.row("a").subcluster
    assert subcluster is not None

    def change() -> list[VatRow]:
        made = [world.core.lifecycle.create(VatSpec("x", "x.py", data({})), subcluster) for _ in range(count)]
        for vat in made:
            world.core.state.queue.push(CreateVat(vat.id, 0))
        return made

    made = world.core.between_cranks(change)
    world.run()
    return made


@pytest.mark.parametrize("work", [release, forward])
def test_what_many_cost_is_in_proportion(work: Callable[[int], int]) -> None:
    few, many = work(FEW), work(MANY)
    assert many < few * MANY / FEW * 1.2


def amid_launches(count: int) -> int:
    world = ready("a")
    spec = LaunchSpec("launched", CapData(b"\xf6"), "x", (VatSpec("x", "x.py", data({})),))
    for _ in range(count):
        world.core.between_cranks(lambda: world.core.subclusters.launch(spec))
    return steps_of(world.step)


def amid_the_dead(count: int) -> int:
    world = ready("a")
    vats = create(world, count)

    def end() -> None:
        for vat in vats:
            world.core.lifecycle.terminate(vat, "for the test")

    world.core.between_cranks(end)
    return steps_of(world.step)


@pytest.mark.parametrize("crank", [amid_launches, amid_the_dead])
def test_a_crank_costs_the_same_whatever_else_is_under_way(crank: Callable[[int], int]) -> None:
    assert crank(FEW) == crank(MANY)


def test_nothing_is_kept_in_memory_of_a_vat_that_is_gone() -> None:
    world = ready("a")
    (vat,) = create(world, 1)
    world.core.between_cranks(lambda: world.core.lifecycle.terminate(vat, "for the test"))
    world.run()
    state, collector = world.core.state, world.core.collector
    tables = (state._clists, state.gc._by_vat, state.queue._places, collector._until_reap, collector._audits)
    assert [] == [table for table in tables if vat.id in table]
