"""The baggage: what is provided, and the warning about what it does not reach."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from ocap.protocol.deliveries import BringOutYourDead
from tests.vats.puppet_kernel import Puppet
from vats import Baggage, DurableExo, DurableExoKit, Exo, Facet, MapStore, SetStore, WeakMapStore, WeakSetStore, facet


class Note(DurableExo):
    text: str = ""


class Pair(DurableExoKit):
    class Side(Facet["Pair"]):
        pass

    side = facet(Side)


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.held: Any = None

    async def provide_all(self) -> list[str]:
        stores = [
            self.baggage.provide_map("map", key=str, value=int),
            self.baggage.provide_set("set", key=str),
            self.baggage.provide_weak_map("weak map"),
            self.baggage.provide_weak_set("weak set"),
        ]
        again = [
            self.baggage.provide_map("map"),
            self.baggage.provide_set("set"),
            self.baggage.provide_weak_map("weak map"),
            self.baggage.provide_weak_set("weak set"),
        ]
        assert all(one is other for one, other in zip(stores, again, strict=True))
        return [type(store).__name__ for store in stores]

    async def add(self, member: Any) -> None:
        self.baggage.provide_set("set", key=str).add(member)

    async def hold(self, sort: str) -> None:
        self.held = Note() if sort == "exo" else Pair().side

    async def store(self) -> None:
        self.baggage["held"] = self.held

    async def unstore(self) -> None:
        del self.baggage["held"]

    async def get_held(self) -> Any:
        return self.held


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(lambda _powers, _parameters, baggage: Root(baggage))
    assert puppet.start().fault is None
    return puppet


def warnings(vat: Puppet) -> list[str]:
    gc.collect()
    vat.lines.clear()
    while vat.deliver(BringOutYourDead()).unfinished:
        pass
    return [line for line in vat.lines if line.startswith("WARNING")]


def test_stores_of_each_sort_are_provided_once(vat: Puppet) -> None:
    names = [cls.__name__ for cls in (MapStore, SetStore, WeakMapStore, WeakSetStore)]
    assert vat.call("provide_all") == names
    vat.restart()
    assert vat.call("provide_all") == names
    vat.call("add", "fine")
    with pytest.raises(TypeError, match=r"SetStore\[str\]: key: expected str, came int"):
        vat.call("add", 3)


@pytest.mark.parametrize(("sort", "name"), [("exo", "Note"), ("kit", "Pair")])
def test_what_only_the_heap_holds_is_warned_of_once(vat: Puppet, sort: str, name: str) -> None:
    vat.call("hold", sort)
    (line,) = warnings(vat)
    assert f"a durable {name} is held only by the heap" in line
    assert warnings(vat) == []


def test_what_was_stored_and_is_no_longer_is_warned_of(vat: Puppet) -> None:
    vat.call("hold", "exo")
    vat.call("store")
    assert warnings(vat) == []
    vat.call("unstore")
    assert len(warnings(vat)) == 1


def test_what_is_reached_from_outside_is_not_warned_of(vat: Puppet) -> None:
    vat.call("hold", "exo")
    vat.call("get_held")
    assert warnings(vat) == []
