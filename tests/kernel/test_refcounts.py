"""Traffic leaves nothing behind: when all is dropped, the tables are as large as before."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocap.protocol import deliveries, syscalls
from tests.kernel.fuzz import Puppeteer
from tests.kernel.puppet import World, data, reference, resolve, send


def sizes(world: World) -> dict[str, int]:
    return {table: len(rows) for table, rows in world.rows(without=("counters", "vatstore")).items()}


def baseline(names: str = "abc") -> tuple[World, dict[str, int]]:
    world = World(names)
    world.run()
    introduce_all(world)
    return world, sizes(world)


def introduce_all(world: World) -> None:
    for name, vat in world.vats.items():
        for other in world.vats:
            world.import_root(name, other)
        world.host_ref(vat)


def drop_all(world: World) -> None:
    """Every vat lets go of every object but the roots, then is told of what became of its own."""
    for _ in range(4):
        world.core.state.write()
        for name, vat in world.vats.items():
            query = """SELECT vref, reachable FROM clist WHERE vat = ? AND vref GLOB 'o-*'
                AND kref NOT IN (SELECT root FROM vats WHERE root IS NOT NULL)"""
            rows: list[Any] = world.backend._db.execute(query, (vat,)).fetchall()
            held = tuple(vref for vref, reachable in rows if reachable)
            world.do(name, syscalls.DropImports(held), syscalls.RetireImports(tuple(vref for vref, _ in rows)))


def test_a_question_and_its_answer() -> None:
    world, before = baseline()
    for _ in range(20):
        world.do("a", send(world.import_root("a", "b"), "get", "p+1", slots=("o+5", "p+2")), resolve(("p+2", data(1))))
        world.do("b", resolve((world.asked("b"), reference("o+9"))))
    drop_all(world)
    assert before == sizes(world)


def test_pipelines_forwards_and_rejections() -> None:
    world, before = baseline()
    for n in range(10):
        asked_b = world.import_root("a", "b")
        world.do(
            "a", send(asked_b, "get", "p+1"), send("p+1", "next", "p+2", slots=("o+5",)), send("p+2", "last", "p+3")
        )
        answer = world.asked("b")
        world.do("b", send(world.import_root("b", "c"), "get", "p+1", slots=("o+6",)), syscalls.Forward(answer, "p+1"))
        value = (data(ValueError("no"), slots=("o+7",)), True) if n % 2 else (data(7), False)
        world.do("c", resolve((world.asked("c"), value[0]), rejected=value[1]))
    drop_all(world)
    assert before == sizes(world)


def test_messages_splatted_while_parked() -> None:
    world, before = baseline("ab")
    for _ in range(10):
        world.do(
            "a",
            send(world.import_root("a", "b"), "get", "p+1"),
            *(send("p+1", "m", slots=("o+5", "p+1")) for _ in range(5)),
        )
        world.do("b", resolve((world.asked("b"), data("no object"))))
    drop_all(world)
    assert before == sizes(world)


def test_a_fault_leaves_its_dead_letter_and_no_more() -> None:
    world, before = baseline()
    world.do("a", send(world.import_root("a", "b"), "get", "p+1", slots=("o+5",)))
    world.do("b", send("o-999"))
    drop_all(world)
    world.do("b")
    after = sizes(world)
    assert 1 == after.pop("dead_letters")
    before.pop("dead_letters")
    assert before == after


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_random_traffic(seed: int) -> None:
    world, before = baseline()
    puppeteer = Puppeteer(world, seed, naughty=0)
    for name in "abcabc":
        puppeteer.fuel = 30
        world.host(send(world.host_ref(world.vats[name]), "go"))
        world.run()
    world.scripts.clear()
    while any(puppeteer.decided(name) for name in world.vats):
        for name in world.vats:
            world.do(name, *(resolve((vref, data())) for vref in puppeteer.decided(name)))
    drop_all(world)
    introduce_all(world)
    after = sizes(world)
    assert [] == world.verify()
    # What deadlocked promises hold, each waiting for the other, is theirs for good.
    if not world.backend._db.execute("SELECT count(*) FROM queue").fetchall()[0][0]:
        assert before == after, seed


def test_dead_letters_keep_what_they_name() -> None:
    world, _ = baseline("ab")
    there = world.introduce("a", "o+5", "b")
    world.on("b", lambda d: [send("o-999")] if isinstance(d, deliveries.Message) else [])
    world.do("a", send(world.import_root("a", "b"), "keep", slots=("o+6",)))
    assert there
    assert (1, 1) == (
        world.core.state.objects[world.kref("a", "o+6")].reachable,
        world.core.state.objects[world.kref("a", "o+6")].recognizable,
    )


@pytest.mark.parametrize("order", list(permutations(("first", "back", "holder"))))
def test_a_circle_of_promises_goes_with_the_last_that_held_it(order: tuple[str, ...]) -> None:
    """Two settled promises name each other, a third names one of them; nobody holds the third any more."""
    world, before = baseline("a")
    core, leads = world.core, {"first": "back", "back": "first", "holder": "first"}

    def settle() -> None:
        krefs = {name: core.state.new_promise(None) for name in leads}
        for name, kref in krefs.items():
            row = core.state.promises.edit(kref, core.state.promises[kref])
            row.state, row.data = "fulfilled", data(slots=(krefs[leads[name]],))
            core.counts.incref(krefs[leads[name]])
        for name in order:
            core.state.maybe_free[krefs[name]] = None

    core.between_cranks(settle)
    assert before == sizes(world)
