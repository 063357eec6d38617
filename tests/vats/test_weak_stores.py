"""Weak stores: entries go when their keys do, and an import that is only recognised is dropped, not retired."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from ocap.protocol.deliveries import BringOutYourDead, DropExports, Message, RetireExports, RetireImports
from ocap.protocol.errors import NotPassableError
from ocap.protocol.syscalls import DropImports
from ocap.protocol.syscalls import RetireExports as RetireExportsCall
from ocap.protocol.syscalls import RetireImports as RetireImportsCall
from tests.vats.puppet_kernel import Obj, Prom, Puppet, data
from vats import Baggage, DurableExo, DurableExoKit, Exo, Facet, VirtualExo, WeakMapStore, facet


class Note(DurableExo):
    text: str = ""


class Virtual(VirtualExo):
    text: str = ""


class Pair(DurableExoKit):
    class Left(Facet["Pair"]):
        async def other(self) -> Any:
            return self.kit.right

    class Right(Facet["Pair"]):
        pass

    left = facet(Left)
    right = facet(Right)


MAKERS: dict[str, Any] = {"heap": Exo, "virtual": Virtual, "durable": Note, "facet": lambda: Pair().left}


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.known = baggage.provide_weak_map("known")
        self.seen = baggage.provide_weak_set("seen")
        self.brief: WeakMapStore[Any, Any] = WeakMapStore()
        self.held: list[Any] = []

    async def put(self, key: Any, value: Any, store: str = "known") -> None:
        getattr(self, store)[key] = value

    async def get(self, key: Any, store: str = "known") -> Any:
        return getattr(self, store).get(key)

    async def remove(self, key: Any, store: str = "known") -> None:
        del getattr(self, store)[key]

    async def see(self, key: Any) -> None:
        self.seen.add(key)

    async def has_seen(self, key: Any) -> bool:
        return key in self.seen

    async def unsee(self, key: Any) -> None:
        self.seen.remove(key)

    async def hold(self, *things: Any) -> None:
        self.held = list(things)

    async def store(self, thing: Any) -> None:
        self.baggage["thing"] = thing

    async def make(self, sort: str, store: str) -> Any:
        thing = MAKERS[sort]()
        getattr(self, store)[thing] = [f"about a {sort}"]
        return thing

    async def forget_store(self) -> None:
        del self.baggage["known"]
        del self.known

    async def check_key(self) -> None:
        typed = WeakMapStore[Note, int](durable=True)
        typed[Note()] = 1
        typed[Pair().left] = 1  # type: ignore[index]


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(lambda _powers, _parameters, baggage: Root(baggage))
    assert puppet.start().fault is None
    return puppet


def tell(vat: Puppet, method: str, *args: Any) -> None:
    assert vat.deliver(Message("o+0", method, data([list(args), {}]), None)).fault is None


def reap(vat: Puppet, *vrefs: str) -> list[Any]:
    gc.collect()
    outcome = vat.deliver(BringOutYourDead(vrefs))
    calls = list(outcome.syscalls)
    while outcome.unfinished:
        outcome = vat.deliver(BringOutYourDead())
        calls += outcome.syscalls
    assert outcome.fault is None
    return calls


def weak_rows(vat: Puppet) -> list[bytes]:
    return [key for key in vat.rows.rows if key[:1] in b"qwy" or key.startswith(b"v")]


def test_an_import_that_is_only_recognised_is_dropped_and_retired_when_it_leaves(vat: Puppet) -> None:
    tell(vat, "put", Obj("o-5"), "five")
    assert reap(vat) == [DropImports(("o-5",))]
    assert reap(vat) == []
    assert vat.call("get", Obj("o-5")) == "five"  # the kernel introduces it again
    assert reap(vat) == [DropImports(("o-5",))]
    tell(vat, "remove", Obj("o-5"))
    assert reap(vat) == [DropImports(("o-5",)), RetireImportsCall(("o-5",))]
    assert weak_rows(vat) == []


def test_an_import_that_was_dropped_is_retired_when_its_store_goes(vat: Puppet) -> None:
    tell(vat, "put", Obj("o-5"), "five")
    tell(vat, "see", Obj("o-6"))
    assert reap(vat) == [DropImports(("o-5", "o-6"))]
    vat.restart()
    tell(vat, "forget_store")
    assert reap(vat) == [RetireImportsCall(("o-5",))]
    assert [key for key in weak_rows(vat) if b"o-5" in key] == []
    assert vat.call("has_seen", Obj("o-6")) is True


def test_an_import_that_is_kept_otherwise_is_neither_dropped_nor_retired(vat: Puppet) -> None:
    tell(vat, "put", Obj("o-5"), "five")
    tell(vat, "store", Obj("o-5"))
    assert reap(vat) == []
    tell(vat, "remove", Obj("o-5"))
    assert reap(vat) == []


def test_an_import_left_by_an_earlier_incarnation_is_dropped_before_it_is_retired(vat: Puppet) -> None:
    tell(vat, "put", Obj("o-5"), "five", "brief")
    tell(vat, "hold", Obj("o-5"))
    vat.restart()
    calls = reap(vat)
    assert calls == [], "the kernel still counts it as reachable"
    assert reap(vat, "o-5") == [DropImports(("o-5",)), RetireImportsCall(("o-5",))]
    assert weak_rows(vat) == []


def test_entries_go_when_the_owner_of_the_key_gives_it_up(vat: Puppet) -> None:
    tell(vat, "put", Obj("o-5"), [Obj("o-7")])
    tell(vat, "put", Obj("o-5"), "brief", "brief")
    tell(vat, "see", Obj("o-5"))
    reap(vat)
    assert b"ro-7" in vat.rows.rows
    assert vat.deliver(RetireImports(("o-5",))).syscalls == ()
    assert [key for key in weak_rows(vat) if b"o-5" in key] == []
    assert b"ro-7" not in vat.rows.rows
    assert reap(vat) == [DropImports(("o-7",)), RetireImportsCall(("o-7",))]


@pytest.mark.parametrize(
    ("sort", "store"),
    [
        ("durable", "known"),
        ("facet", "known"),
        ("durable", "brief"),
        ("facet", "brief"),
        ("virtual", "brief"),
        ("heap", "brief"),
    ],
)
def test_entries_go_when_the_key_dies(vat: Puppet, sort: str, store: str) -> None:
    thing = vat.call("make", sort, store)
    assert reap(vat) == []
    assert vat.call("get", thing, store) == [f"about a {sort}"]
    vat.deliver(DropExports((thing.vref,)))
    calls = reap(vat)
    assert calls == [RetireExportsCall((thing.vref,))]
    assert [key for key in weak_rows(vat) if thing.vref.encode() in key] == []
    assert not [row for row in vat.rows.rows.values() if b"about a" in row]


def test_a_heap_key_is_known_again_after_the_kernel_forgot_it(vat: Puppet) -> None:
    thing = vat.call("make", "heap", "brief")
    tell(vat, "hold", thing)
    vat.deliver(DropExports((thing.vref,)))
    vat.deliver(RetireExports((thing.vref,)))
    assert vat.call("get", thing, "brief") == ["about a heap"]


def test_a_facet_is_a_key_of_its_own(vat: Puppet) -> None:
    left = vat.call("make", "facet", "known")
    right = vat.call("other", target=left.vref)
    assert vat.call("get", right) is None
    tell(vat, "put", right, "right")
    vat.restart()
    assert vat.call("get", left) == ["about a facet"]
    assert vat.call("get", right) == "right"


@pytest.mark.parametrize("key", [1, "a", None, (1,), Prom("p-9")])
def test_only_references_are_recognised(vat: Puppet, key: Any) -> None:
    with pytest.raises(NotPassableError, match="no reference"):
        vat.call("put", key, 1)
    assert vat.call("get", key) is None
    assert vat.call("has_seen", key) is False


@pytest.mark.parametrize("sort", ["heap", "virtual"])
def test_a_durable_one_refuses_keys_that_do_not_survive(vat: Puppet, sort: str) -> None:
    with pytest.raises(NotPassableError, match="cannot be stored"):
        vat.call("make", sort, "known")


def test_keys_are_checked_by_their_type(vat: Puppet) -> None:
    with pytest.raises(TypeError, match=r"WeakMapStore\[.*Note.*\]: key: expected Note, came Left"):
        vat.call("check_key")


def test_a_set_forgets_what_it_is_told_to(vat: Puppet) -> None:
    tell(vat, "see", Obj("o-5"))
    tell(vat, "see", Obj("o-5"))
    assert vat.call("has_seen", Obj("o-5")) is True
    tell(vat, "unsee", Obj("o-5"))
    assert vat.call("has_seen", Obj("o-5")) is False
    with pytest.raises(KeyError):
        vat.call("unsee", Obj("o-5"))
    with pytest.raises(KeyError):
        vat.call("remove", Obj("o-5"))
