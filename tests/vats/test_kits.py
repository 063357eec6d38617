"""Kits: facets over shared state, on the heap and off it."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from ocap.protocol.deliveries import BringOutYourDead, DropExports, RetireExports
from ocap.protocol.errors import NotPassableError
from ocap.protocol.syscalls import RetireExports as RetireExportsCall
from tests.vats.puppet_kernel import Obj, Puppet
from vats import Baggage, DurableExoKit, Exo, ExoKit, Facet, VirtualExoKit, facet


class HeapPurse(ExoKit):
    def __init__(self, balance: int) -> None:
        self.balance = balance

    class Payee(Facet["HeapPurse"]):
        async def deposit(self, amount: int) -> int:
            self.kit.balance += amount
            return self.kit.balance

    class Owner(Facet["HeapPurse"]):
        async def get_payee(self) -> HeapPurse.Payee:
            return self.kit.payee

    payee = facet(Payee)
    owner = facet(Owner)


class VirtualPurse(VirtualExoKit):
    balance: int = 0

    class Payee(Facet["VirtualPurse"]):
        async def deposit(self, amount: int) -> int:
            self.kit.balance += amount
            return self.kit.balance

    class Owner(Facet["VirtualPurse"]):
        async def get_payee(self) -> VirtualPurse.Payee:
            return self.kit.payee

    payee = facet(Payee)
    owner = facet(Owner)


class DurablePurse(DurableExoKit):
    balance: int = 0

    class Payee(Facet["DurablePurse"]):
        async def deposit(self, amount: int) -> int:
            self.kit.balance += amount
            return self.kit.balance

    class Owner(Facet["DurablePurse"]):
        async def get_payee(self) -> DurablePurse.Payee:
            return self.kit.payee

    payee = facet(Payee)
    owner = facet(Owner)


KITS: dict[str, Any] = {"heap": HeapPurse, "virtual": VirtualPurse, "durable": DurablePurse}


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.held: Any = None

    async def make(self, sort: str, balance: int) -> Any:
        return KITS[sort](balance=balance).owner

    async def store(self, owner: Any) -> None:
        self.baggage["owner"] = owner

    async def unstore(self) -> None:
        del self.baggage["owner"]

    async def hold(self, what: Any) -> None:
        self.held = what

    async def is_same(self, one: Any, other: Any) -> bool:
        return one is other and one.kit is other.kit

    async def siblings(self, owner: Any, payee: Any) -> bool:
        return owner.kit.payee is payee and payee.kit.owner is owner

    async def misapply(self, sort: str, owner: Any) -> None:
        KITS[sort].Payee.deposit(owner, 1)

    async def misapply_to_another_kit(self, owner: Any) -> None:
        await HeapPurse.Owner.get_payee(owner)

    async def take_payee(self, payee: DurablePurse.Payee) -> int:
        return payee.kit.balance

    async def send_kit(self, sort: str) -> Any:
        return KITS[sort](balance=1)

    async def replace(self, sort: str) -> None:
        KITS[sort](balance=1).payee = None


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(lambda _powers, _parameters, baggage: Root(baggage))
    assert puppet.start().fault is None
    return puppet


def reap(vat: Puppet) -> list[Any]:
    gc.collect()
    return list(vat.deliver(BringOutYourDead()).syscalls)


@pytest.mark.parametrize("sort", KITS)
def test_facets_share_state_and_keep_their_identity(vat: Puppet, sort: str) -> None:
    owner = vat.call("make", sort, 3)
    payee = vat.call("get_payee", target=owner.vref)
    assert vat.call("deposit", 4, target=payee.vref) == 7
    assert vat.call("get_payee", target=owner.vref) == payee
    assert vat.call("is_same", owner, owner) is True
    assert vat.call("siblings", owner, payee) is True
    with pytest.raises(AttributeError, match="Owner has no method deposit; available: get_payee"):
        vat.call("deposit", 1, target=owner.vref)


@pytest.mark.parametrize("sort", KITS)
def test_a_facets_method_applies_to_no_other_object(vat: Puppet, sort: str) -> None:
    owner = vat.call("make", sort, 3)
    with pytest.raises(TypeError, match=r"Payee\.deposit may be applied only to a \w+\.Payee, not to a \w+\.Owner"):
        vat.call("misapply", sort, owner)
    if sort != "heap":
        with pytest.raises(TypeError, match=r"may be applied only to a HeapPurse\.Owner"):
            vat.call("misapply_to_another_kit", owner)


@pytest.mark.parametrize("sort", KITS)
def test_a_kit_itself_is_not_passed(vat: Puppet, sort: str) -> None:
    with pytest.raises(NotPassableError):
        vat.call("send_kit", sort)
    with pytest.raises(AttributeError, match="a facet cannot be replaced"):
        vat.call("replace", sort)


def test_names_of_facets_have_an_index(vat: Puppet) -> None:
    assert vat.call("make", "durable", 1).vref == "o+d10/1:0"
    assert vat.call("get_payee", target="o+d10/1:0").vref == "o+d10/1:1"
    assert vat.call("make", "virtual", 1).vref == "o+v11/1:1"  # in order of declaration: it ends with the incarnation
    assert vat.call("make", "heap", 1).vref == "o+1"


def test_a_stored_facet_keeps_its_siblings_across_incarnations(vat: Puppet) -> None:
    owner = vat.call("make", "durable", 3)
    vat.send("o+0", "store", owner, result=None)
    vat.restart()
    payee = vat.call("get_payee", target=owner.vref)
    vat.call("deposit", 1, target=payee.vref)
    vat.deliver(DropExports((owner.vref, payee.vref)))
    vat.restart()
    assert reap(vat) == []
    assert vat.call("take_payee", vat.call("get_payee", target=owner.vref)) == 4


def test_a_guard_takes_the_right_facet_only(vat: Puppet) -> None:
    owner = vat.call("make", "durable", 3)
    with pytest.raises(TypeError, match=r"expected DurablePurse\.Payee, came Owner"):
        vat.call("take_payee", owner)
    with pytest.raises(TypeError, match=r"expected DurablePurse\.Payee, came a reference"):
        vat.call("take_payee", Obj("o-5", "Payee"))


def test_one_reachable_facet_keeps_the_kit_and_the_last_lets_it_go(vat: Puppet) -> None:
    owner = vat.call("make", "durable", 3)
    payee = vat.call("get_payee", target=owner.vref)
    vat.deliver(DropExports((owner.vref,)))
    assert reap(vat) == []
    assert vat.call("deposit", 1, target=payee.vref) == 4
    vat.deliver(DropExports((payee.vref,)))
    vat.deliver(RetireExports((payee.vref,)))
    assert reap(vat) == [RetireExportsCall((owner.vref,))]
    assert [key for key in vat.rows.rows if b"d10/1" in key] == []


def test_a_heap_facet_held_outside_keeps_its_sibling_the_same_object(vat: Puppet) -> None:
    owner = vat.call("make", "heap", 3)
    payee = vat.call("get_payee", target=owner.vref)
    vat.deliver(DropExports((payee.vref,)))
    reap(vat)
    assert vat.call("get_payee", target=owner.vref) == payee


def test_virtual_facets_are_gone_with_the_incarnation_and_cannot_be_stored(vat: Puppet) -> None:
    owner = vat.call("make", "virtual", 3)
    with pytest.raises(NotPassableError, match="is virtual, gone when the incarnation ends"):
        vat.call("store", owner)
    vat.restart()
    while vat.deliver(BringOutYourDead()).unfinished:
        pass
    assert [key for key in vat.rows.rows if key.startswith(b"v")] == []


def make_kind(*names: str, single: bool = False) -> Any:
    """A durable class `Kind`, as a version of the code has it."""
    if single:
        from vats import DurableExo  # noqa: PLC0415

        return type("Kind", (DurableExo,), {"__module__": "kinds", "__qualname__": "Kind"})
    space: dict[str, Any] = {"__module__": "kinds", "__qualname__": "Kind"}
    for name in names:
        cls = type(name.title(), (Facet,), {"__module__": "kinds", "say": lambda self, name=name: name})
        space[name] = facet(cls)
    return type("Kind", (DurableExoKit,), space)


def test_facets_may_be_added_and_keep_their_indices() -> None:
    class Maker(Exo):
        def __init__(self, baggage: Baggage) -> None:
            self.baggage = baggage

        async def make(self, name: str) -> Any:
            self.baggage["kit"] = facets = [getattr(kind(), name)]
            return facets[0]

        async def get(self, name: str) -> Any:
            return getattr(self.baggage["kit"][0].kit, name)

    kind = make_kind("reader", "writer")
    vat = Puppet(lambda _powers, _parameters, baggage: Maker(baggage))
    vat.start()
    assert vat.call("make", "writer").vref == "o+d10/1:1"
    kind = make_kind("admin", "writer", "auditor", "reader")
    assert vat.restart().fault is None
    names = ["reader", "writer", "admin", "auditor"]  # the old ones in their order, then the new ones by name
    assert [vat.call("get", name).vref for name in names] == [f"o+d10/1:{index}" for index in range(4)]
    assert [vat.call("say", target=f"o+d10/1:{index}") for index in range(4)] == names
    kind = make_kind("admin", "writer", "auditor")
    fault = vat.restart().fault
    assert fault is not None
    assert "Kind have a facet reader, which the class no longer has" in fault
    vat.rows.rows[b"k10"] = b"kinds.Kind"  # as if stored by a single one
    fault = vat.restart().fault
    assert fault is not None
    assert "are of a DurableExo, and the class is none now" in fault


def test_a_class_without_facets_is_no_kit() -> None:
    with pytest.raises(TypeError, match="has no facets"):
        type("Nothing", (DurableExoKit,), {})
    with pytest.raises(TypeError, match="takes a subclass of Facet"):
        facet(int)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="is a facet: make its kit"):
        DurablePurse.Owner()
