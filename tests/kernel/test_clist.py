"""Imports are dropped, then retired; what was dropped is used again only once it was introduced again."""

from __future__ import annotations

from typing import Any

import pytest

from ocap.protocol import deliveries, syscalls
from tests.kernel.puppet import World, send


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


def counts(world: World, kref: str) -> tuple[int, int]:
    row = world.core.state.objects[kref]
    return row.reachable, row.recognizable


def test_an_import_counts_for_both_and_an_export_for_neither(world: World) -> None:
    world.introduce("a", "o+5", "b")
    assert (1, 1) == counts(world, world.kref("a", "o+5"))
    world.introduce("a", "o+5", "c")
    assert (2, 2) == counts(world, world.kref("a", "o+5"))


def test_a_drop_leaves_it_recognised(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    kref = world.kref("a", "o+5")
    seen = world.do("b", syscalls.DropImports((there,)))
    assert (0, 1) == counts(world, kref)
    assert [("a", deliveries.DropExports(("o+5",)))] == seen


def test_the_retirement_follows_when_nobody_recognises_it(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    world.do("b", syscalls.DropImports((there,)))
    seen = world.do("b", syscalls.RetireImports((there,)))
    assert [("a", deliveries.RetireExports(("o+5",)))] == seen
    assert None is world.kref("a", "o+5") is world.kref("b", there)


def test_an_import_dropped_and_retired_in_one_crank_is_gone(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    seen = world.do("b", syscalls.DropImports((there,)), syscalls.RetireImports((there,)))
    assert [("a", deliveries.DropExports(("o+5",))), ("a", deliveries.RetireExports(("o+5",)))] == seen


def test_a_dropped_import_introduced_again_has_the_same_name_and_may_be_used(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    world.do("b", syscalls.DropImports((there,)))
    assert there == world.introduce("a", "o+5", "b")
    assert 1 == len(world.do("b", send(there, "again")))
    assert [] == world.faults()


def test_a_dropped_export_used_by_its_own_vat_is_reachable_again(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    kref = world.kref("a", "o+5")
    world.do("b", syscalls.DropImports((there,)))
    world.introduce("a", "o+5", "c")
    entry = world.core.state.clist(world.vats["a"]).by_kref(kref)
    assert entry is not None
    assert entry.reachable
    assert (1, 2) == counts(world, kref)


@pytest.mark.parametrize(
    "calls",
    [
        lambda v: [syscalls.RetireImports((v,))],
        lambda v: [syscalls.DropImports((v,)), syscalls.DropImports((v,))],
        lambda v: [syscalls.DropImports((v, v))],
        lambda v: [syscalls.DropImports((v,)), syscalls.RetireImports((v, v))],
        lambda v: [syscalls.DropImports((v,)), syscalls.RetireImports((v,)), syscalls.DropImports((v,))],
        lambda v: [syscalls.DropImports((v,)), send(v)],
        lambda v: [syscalls.DropImports((v,)), send("o+0", slots=(v,))],
        lambda v: [syscalls.DropImports((v,)), syscalls.RetireImports((v,)), send(v)],
    ],
    ids=[
        "retired before it was dropped",
        "dropped twice",
        "dropped twice in one call",
        "retired twice",
        "dropped after it was retired",
        "used after it was dropped",
        "passed after it was dropped",
        "used after it was retired",
    ],
)
def test_an_illegal_order_of_an_import_is_a_fault(world: World, calls: Any) -> None:
    there = world.introduce("a", "o+5", "b")
    world.do("b", *calls(there))
    assert 1 == len(world.faults())
    assert (1, 1) == counts(world, world.kref("a", "o+5"))


@pytest.mark.parametrize("call", [syscalls.RetireExports, syscalls.DropImports, syscalls.RetireImports])
def test_an_export_that_others_reach_is_given_up_by_abandoning_only(world: World, call: Any) -> None:
    world.introduce("a", "o+5", "b")
    world.do("a", call(("o+5",)))
    assert 1 == len(world.faults())


def test_the_root_is_not_given_up(world: World) -> None:
    for call in (syscalls.RetireExports, syscalls.AbandonExports):
        world.do("b", call(("o+0",)))
    assert 2 == len(world.faults())


def test_an_export_retired_while_somebody_recognises_it_is_retired_there_too(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    world.do("b", syscalls.DropImports((there,)))
    seen = world.do("a", syscalls.RetireExports(("o+5",)))
    assert [("b", deliveries.RetireImports((there,)))] == seen
    assert None is world.kref("b", there)


def test_a_new_export_that_goes_nowhere_is_retired_at_once(world: World) -> None:
    seen = world.do("a", send("o+0", "m", slots=("o+5",)))
    assert [deliveries.DropExports(("o+5",)), deliveries.RetireExports(("o+5",))] == [d for _, d in seen[1:]]


def test_a_retired_export_named_again_is_another_object(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    first = world.kref("a", "o+5")
    world.do("b", syscalls.DropImports((there,)), syscalls.RetireImports((there,)))
    again = world.introduce("a", "o+5", "b")
    assert there != again
    assert first != world.kref("a", "o+5")
