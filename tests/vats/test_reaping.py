"""What an incarnation leaves behind, and what reaping costs in one crank."""

from __future__ import annotations

from typing import Any

import pytest

from ocap.protocol.deliveries import BringOutYourDead, DropExports
from ocap.protocol.syscalls import DropImports, RetireImports
from tests.vats.puppet_kernel import Obj, Puppet
from vats import Baggage, DurableExo, Exo, MapStore
from vats.reaping import REAP_BUDGET
from vats.slots import MANY_DEAD


class Note(DurableExo):
    text: str = ""


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.kept: list[Any] = []

    async def keep(self, *things: Any) -> None:
        self.kept = list(things)

    async def make_note(self) -> Note:
        note = Note(text="here")
        self.kept.append(note)
        return note

    async def store_then_unstore(self) -> None:
        note = Note(text="was stored")
        self.baggage["note"] = note
        self.kept.append(note)
        del self.baggage["note"]

    async def store_for_good(self) -> None:
        self.baggage["note"] = Note(text="stays")

    async def fill(self, count: int) -> None:
        store = self.baggage.provide_map("big")
        for number in range(count):
            store[number] = number

    async def enter(self, things: list[Any], recognised: bool) -> None:
        for thing in things:
            self.baggage.provide_map("things")[len(self.baggage.provide_map("things"))] = thing
            if recognised:
                self.baggage.provide_weak_set("known").add(thing)

    async def leave(self) -> None:
        """Everything is loaded, and dies as it is removed."""
        things = self.baggage.provide_map("things")
        for number in range(len(things)):
            assert things.pop(number) is not None

    async def forget(self) -> None:
        del self.baggage["big"]

    async def hold_a_store(self) -> None:
        store = MapStore[str, int](durable=True)
        store["entry"] = 1
        self.kept.append(store)


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(lambda _powers, _parameters, baggage: Root(baggage))
    puppet.start()
    return puppet


def reaped(vat: Puppet) -> list[Any]:
    """Bring out the dead until there are no more."""
    calls: list[Any] = []
    while True:
        outcome = vat.deliver(BringOutYourDead())
        assert outcome.fault is None
        calls += outcome.syscalls
        if not outcome.unfinished:
            return calls


def rows_about(vat: Puppet, text: bytes) -> list[bytes]:
    return [key for key, value in vat.rows.rows.items() if text in value]


def test_an_object_made_and_sent_in_one_crank_has_no_marker(vat: Puppet) -> None:
    vat.call("make_note")
    assert [key for key in vat.rows.rows if key.startswith(b"u")] == []


def test_what_only_the_heap_held_goes_with_the_incarnation(vat: Puppet) -> None:
    vat.send("o+0", "store_then_unstore", result=None)
    assert rows_about(vat, b"was stored")
    assert reaped(vat) == []
    assert rows_about(vat, b"was stored"), "the heap holds it"
    vat.restart()
    assert reaped(vat) == []
    assert rows_about(vat, b"was stored") == []
    assert [key for key in vat.rows.rows if key.startswith(b"u")] == []


def test_what_the_kernel_let_go_of_but_the_heap_held_goes_with_the_incarnation(vat: Puppet) -> None:
    vref = vat.call("make_note").vref
    vat.deliver(DropExports((vref,)))
    assert reaped(vat) == []
    vat.restart()
    reaped(vat)
    assert rows_about(vat, b"here") == []


def test_a_store_on_the_heap_goes_with_the_incarnation(vat: Puppet) -> None:
    before = dict(vat.rows.rows)
    vat.send("o+0", "hold_a_store", result=None)
    vat.restart()
    reaped(vat)
    grown = {key for key in vat.rows.rows if key not in before}
    assert all(key.startswith(b"c") for key in grown), grown  # the id counters remain


def test_what_is_stored_stays(vat: Puppet) -> None:
    vat.send("o+0", "store_for_good", result=None)
    vat.restart()
    assert reaped(vat) == []
    assert rows_about(vat, b"stays")


def test_imports_of_an_earlier_heap_are_dropped_when_asked_about(vat: Puppet) -> None:
    vat.send("o+0", "keep", Obj("o-5"), Obj("o-6"), result=None)
    vat.restart()
    vat.send("o+0", "keep", Obj("o-6"), result=None)
    outcome = vat.deliver(BringOutYourDead(("o-5", "o-6")))
    assert outcome.syscalls == (DropImports(("o-5",)), RetireImports(("o-5",)))


def test_a_large_store_is_deleted_over_several_cranks(vat: Puppet) -> None:
    vat.send("o+0", "fill", 3 * REAP_BUDGET, result=None)
    vat.send("o+0", "forget", result=None)
    sizes = []
    outcome = vat.deliver(BringOutYourDead())
    while outcome.unfinished:
        sizes.append(len(outcome.checkpoint))
        outcome = vat.deliver(BringOutYourDead())
    assert len(sizes) >= 3
    assert max(sizes) < 2 * REAP_BUDGET
    assert [key for key in vat.rows.rows if key.startswith(b"m") and not key.startswith(b"m0 ")] == []


def test_many_dropped_imports_are_reported_over_several_cranks(vat: Puppet) -> None:
    things = [Obj(f"o-{number}") for number in range(5, 5 + 2 * REAP_BUDGET + 1)]
    vat.send("o+0", "keep", *things, result=None)
    vat.send("o+0", "keep", result=None)
    first = vat.deliver(BringOutYourDead())
    assert first.unfinished
    assert len(first.syscalls[0].vrefs) == REAP_BUDGET  # type: ignore[union-attr]
    rest = [vref for call in reaped(vat) if isinstance(call, DropImports) for vref in call.vrefs]
    assert len(rest) == REAP_BUDGET + 1


@pytest.mark.parametrize("recognised", [True, False])
def test_what_died_and_is_no_longer_stored_is_dropped_once(vat: Puppet, recognised: bool) -> None:
    """Both make it a suspect, and the budget may part them."""
    count = MANY_DEAD + 2 * REAP_BUDGET  # so many that some are taken up before the crank ends

    for start in range(0, count, 100):
        vat.call("enter", [Obj(f"o-{100 + start + number}") for number in range(100)], recognised)
    while vat.deliver(BringOutYourDead()).unfinished:
        pass
    vat.call("leave")
    dropped: list[str] = []
    while True:
        outcome = vat.deliver(BringOutYourDead())
        assert outcome.fault is None
        dropped += [vref for call in outcome.syscalls if isinstance(call, DropImports) for vref in call.vrefs]
        if not outcome.unfinished:
            break
    assert sorted(dropped) == sorted(f"o-{100 + number}" for number in range(count))
