"""A crank that is undone never happened: not in the store, not in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocap.kernel.vat import VatFault
from ocap.protocol import syscalls
from tests.kernel.fuzz import Puppeteer, incoherences
from tests.kernel.puppet import World, args, send


def busy(seed: int) -> tuple[World, Puppeteer]:
    """Three vats in the middle of traffic, with something in the queue."""
    world = World("abc")
    world.run()
    for name in "abc":
        for other in "abc":
            world.import_root(name, other)
    puppeteer = Puppeteer(world, seed, naughty=0)
    for _ in range(2):
        puppeteer.fuel = 20
        for name in "abc":
            world.host(send(world.host_ref(world.vats[name]), "go"))
        for _ in range(12):
            crank = world.core.next_crank()
            if crank is not None and crank.vat is not None:
                world.core.finish(crank, world.answer(crank))
    puppeteer.fuel = 10_000
    world.host(syscalls.Send(world.host_ref(world.vats["b"]), "crime", args()))
    return world, puppeteer


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), calls=st.integers(0, 12), written=st.booleans())
def test_an_abandoned_crank_leaves_no_trace(seed: int, calls: int, written: bool) -> None:
    world, puppeteer = busy(seed)
    before = world.rows(without=["counters"])
    crank = world.core.next_crank()
    if crank is None or crank.vat is None:
        return
    keeper = world.core.lifecycle.keeper(crank.vat)
    used: set[str] = set()
    name = next(name for name, vat in world.vats.items() if vat == crank.vat)
    for _ in range(calls):
        made = puppeteer.call(name, used)
        if made is not None:
            keeper.apply((made,))
        if written:
            world.core.state.write()  # as when a restart has to ask the store who decides what
    world.core.abandon()
    assert before == world.rows(without=["counters"])
    assert [] == incoherences(world)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), calls=st.integers(0, 8))
def test_a_crank_that_faults_late_differs_by_its_fault_only(seed: int, calls: int) -> None:
    """Two worlds with one history: in one a vat first does much, then breaks a rule, in the other it only breaks it."""
    outcomes = []
    for legal in (calls, 0):
        world, puppeteer = busy(seed)
        crank = world.core.next_crank()
        if crank is None or crank.vat is None:
            return
        name = next(name for name, vat in world.vats.items() if vat == crank.vat)
        used: set[str] = set()
        made = [puppeteer.call(name, used) for _ in range(legal)]
        world.core.finish(
            crank, syscalls.Outcome((*[it for it in made if it is not None], send("o-999")), ((b"k", b"v"),))
        )
        assert [] == incoherences(world)
        outcomes.append(world.rows(without=["counters"]))
    first, second = (_unnumbered(rows) for rows in outcomes)
    assert first == second


def _unnumbered(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Without the sequence numbers of the queue: they are not given back."""
    return {**rows, "queue": [row[1:] for row in sorted(rows["queue"])]}


def test_a_change_from_outside_that_raises_is_undone() -> None:
    world, _ = busy(7)
    before = world.rows(without=["counters"])
    with pytest.raises(VatFault):
        world.host(send("o-999"))
    with pytest.raises(VatFault):
        world.host(send("o+5", "m", "p+8", slots=("o+6",)), syscalls.Subscribe("p+99"), syscalls.DropImports(("o+5",)))
    assert before == world.rows(without=["counters"])
    assert [] == incoherences(world)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_memory_and_store_agree_after_any_crank(seed: int) -> None:
    world, puppeteer = busy(seed)
    puppeteer.naughty, puppeteer.fuel = 0.1, 30
    for _ in range(60):
        crank = world.core.next_crank()
        if crank is None:
            break
        if crank.vat is not None:
            world.core.finish(crank, world.answer(crank))
        assert [] == incoherences(world)
