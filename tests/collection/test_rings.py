"""Rings through whatever a vat may keep something in: within one vat, and through many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from ocap.protocol.refs import VatId
from tests.collection.live import Live
from vats import (
    Baggage,
    DurableExo,
    DurableExoKit,
    E,
    Exo,
    Facet,
    MapStore,
    SetStore,
    VirtualExo,
    WeakMapStore,
    WeakSetStore,
    edges,
    facet,
    make_promise_kit,
)

NAMES = "abcdefghij"


async def ahead(thing: Any, count: int) -> int:
    """How many hops are left when nothing is ahead; none after `count` of them."""
    return count if thing is None or count == 0 else int(await E(thing).hops(count - 1))


class Link(Exo):
    def __init__(self) -> None:
        self.next: Any = None

    async def join(self, thing: Any) -> None:
        self.next = thing

    async def hops(self, count: int) -> int:
        return await ahead(self.next, count)


class DurableLink(DurableExo):
    next: Any = None

    async def join(self, thing: Any) -> None:
        self.next = thing

    async def hops(self, count: int) -> int:
        return await ahead(self.next, count)


class VirtualLink(VirtualExo):
    next: Any = None

    async def join(self, thing: Any) -> None:
        self.next = thing

    async def hops(self, count: int) -> int:
        return await ahead(self.next, count)


class Front(Facet["Kit"]):
    async def join(self, thing: Any) -> None:
        self.kit.next = thing

    async def hops(self, count: int) -> int:
        return await ahead(self.kit.next, count)


class Kit(DurableExoKit):
    next: Any = None
    front = facet(Front)
    back = facet(Front)


class ByValue(DurableExo):
    """Holds what comes next as a value of a store."""

    store: MapStore[str, Any]

    async def join(self, thing: Any) -> None:
        self.store["next"] = thing

    async def hops(self, count: int) -> int:
        return await ahead(self.store["next"], count)


class ByKey(DurableExo):
    store: SetStore[Any]

    async def join(self, thing: Any) -> None:
        self.store.add(thing)

    async def hops(self, count: int) -> int:
        return await ahead(next(iter(self.store)), count)


class ByWeakValue(DurableExo):
    """Holds itself weakly, and what comes next as the value."""

    store: WeakMapStore[Any, Any]

    async def join(self, thing: Any) -> None:
        self.store[self] = thing

    async def hops(self, count: int) -> int:
        return await ahead(self.store[self], count)


class Deep(Exo):
    """Holds another link of the same vat, and that what comes next."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def join(self, thing: Any) -> None:
        self.inner.next = thing

    async def hops(self, count: int) -> int:
        return await ahead(self.inner.next, count)


class VirtualDeep(VirtualExo):
    inner: Any

    async def join(self, thing: Any) -> None:
        self.inner.next = thing

    async def hops(self, count: int) -> int:
        return await ahead(self.inner.next, count)


class DurablePair(DurableExo):
    """Two that hold each other, one of which holds what comes next."""

    other: Any = None
    next: Any = None

    async def join(self, thing: Any) -> None:
        self.other = DurablePair(other=self, next=thing)

    async def hops(self, count: int) -> int:
        return await ahead(self.other.next, count)


MAKERS: dict[str, Callable[[], Any]] = {
    "heap": Link,
    "durable": DurableLink,
    "virtual": VirtualLink,
    "facet of a kit": lambda: Kit().front,
    "value of a store": lambda: ByValue(store=MapStore[str, Any](durable=True)),
    "key of a store": lambda: ByKey(store=SetStore[Any](durable=True)),
    "value of a weak store": lambda: ByWeakValue(store=WeakMapStore[Any, Any](durable=True)),
    "heap, then heap": lambda: Deep(Link()),
    "heap, then durable": lambda: Deep(DurableLink()),
    "heap, then virtual": lambda: Deep(VirtualLink()),
    "virtual, then heap": lambda: VirtualDeep(inner=Link()),
    "virtual, then virtual": lambda: VirtualDeep(inner=VirtualLink()),
    "a ring of durables": DurablePair,
}


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.vats: dict[str, Any] = {}
        self.held: Any = None
        self.known: WeakSetStore[Any] = WeakSetStore()

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.vats = vats

    async def make(self, maker: str) -> Any:
        return MAKERS[maker]()

    async def ring(self, names: list[str], makers: list[str]) -> None:
        """A ring through the named vats; this one has its first link."""
        links = [await E(self.vats[name]).make(makers[index % len(makers)]) for index, name in enumerate(names)]
        for link, following in zip(links, links[1:] + links[:1], strict=True):
            await E(link).join(following)
        self.held = links[0]

    async def walk(self, count: int) -> int:
        return int(await E(self.held).hops(count))

    async def let_go(self) -> None:
        self.held = None

    async def keep(self, thing: Any) -> None:
        self.held = thing

    async def know(self, thing: Any) -> None:
        self.known.add(thing)

    # through what the kernel does not reach, or by another name

    async def hide(self, peer: str, other: str) -> None:
        """Held here: a link of `peer` that leads by one that the kernel no longer reaches to a ring of `other`."""
        self.held = await E(self.vats[peer]).make_hidden(self, self.vats[other])

    async def make_hidden(self, knower: Any, other: Any) -> Link:
        first, hidden = Link(), Link()
        await E(knower).know(hidden)
        ring = await E(other).make("heap")
        await E(ring).join(first)
        first.next, hidden.next = hidden, ring
        return first

    async def hide_facet(self, peer: str, other: str) -> None:
        self.held = await E(self.vats[peer]).make_with_kit(self.vats[other])

    async def make_with_kit(self, other: Any) -> Any:
        """Holds a kit, a facet of which is known only to what the kit leads to."""
        kit = Kit()
        link = await E(other).make("heap")
        await E(link).join(kit.front)
        kit.next = link
        return KitHolder(kit)

    # within one vat

    async def local(self, sort: str, hold: str) -> None:
        ring = LOCAL[sort]()
        match hold:
            case "baggage":
                self.baggage["ring"] = ring
            case "heap":
                self.held = ring
            case "elsewhere":
                await E(self.vats["b"]).keep(ring)
            case "suspended":
                self.held = make_promise_kit()
                E.send_only(self).sleep([ring], self.held.promise)

    async def sleep(self, things: list[Any], promise: Any) -> None:
        await promise
        assert things[0].next is not None

    async def release(self, hold: str) -> None:
        match hold:
            case "baggage":
                del self.baggage["ring"]
            case "heap":
                self.held = None
            case "elsewhere":
                await E(self.vats["b"]).let_go()
            case "suspended":
                self.held.resolve(None)
                self.held = None

    async def know_by_itself(self) -> None:
        """A weak store that lives, with a value that leads to its own key."""
        known: WeakMapStore[Any, Any] = WeakMapStore(durable=True)
        self.baggage["known"] = known
        link = DurableLink()
        known[link] = [link]
        known[DurableLink()] = []

    async def is_whole(self, hold: str) -> bool:
        match hold:
            case "baggage":
                return int(await E(self.baggage["ring"]).hops(5)) == 0
            case "heap":
                return int(await E(self.held).hops(5)) == 0
            case "elsewhere":
                return int(await E(self.vats["b"]).walk(5)) == 0
        return True


class KitHolder(Exo):
    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    async def hops(self, count: int) -> int:
        return await ahead(self.kit.front, count)


def tie(*links: Any) -> Any:
    for link, following in zip(links, links[1:] + links[:1], strict=True):
        link.next = following
    return links[0]


def tie_kits() -> Any:
    one, other = Kit(), Kit()
    one.next, other.next = other.back, one.back
    return one.front


def tie_store() -> Any:
    link = DurableLink()
    store: MapStore[str, Any] = MapStore(durable=True)
    store["link"] = link
    store["more"] = [DurableLink(next=link)]
    link.next = DurableLink(next=DurableLink(next=link))
    link.next.next.next = link
    holder = ByValue(store=store)
    store["next"] = holder
    return holder


def tie_by_keys() -> Any:
    link = ByKey(store=SetStore[Any](durable=True))
    link.store.add(link)
    return link


LOCAL: dict[str, Callable[[], Any]] = {
    "one durable": lambda: tie(DurableLink()),
    "three durable": lambda: tie(DurableLink(), DurableLink(), DurableLink()),
    "kits": tie_kits,
    "stores": tie_store,
    "keys": tie_by_keys,
}
VIRTUAL: dict[str, Callable[[], Any]] = {
    "two virtual": lambda: tie(VirtualLink(), VirtualLink()),
    "virtual and heap": lambda: tie(VirtualLink(), Link()),
    "heap and virtual": lambda: tie(Link(), VirtualLink(), Link(), VirtualLink()),
}
LOCAL |= VIRTUAL


def build(_powers: Any, _parameters: Any, baggage: Baggage) -> Root:
    return Root(baggage)


@pytest.fixture(params=["whole", "in parts"])
def live(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    """Vats that tell at once what leads to what, or one step in each crank."""
    if request.param == "in parts":
        monkeypatch.setattr(edges, "STEP", 1)
        monkeypatch.setattr(edges, "GROUP", 1)
    world = Live(dict.fromkeys(NAMES, build))
    yield world
    world.close()


def rows(live: Live) -> list[str]:
    """What is stored in `a`, but for counters and kinds."""
    live.core.state.write()
    vat = live.id_of("a")
    query = "SELECT CAST(key AS TEXT) FROM vatstore WHERE vat = ? ORDER BY key"
    found = [cast("str", key) for (key,) in live.backend.connection.execute(query, (vat,)).fetchall()]
    return [key for key in found if key[0] not in "ck"]


# ---- through many vats ---------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS)
def test_a_ring_through_three_vats_stays_while_it_is_held_and_then_goes(live: Live, maker: str) -> None:
    before = rows(live)
    live.ask("b", "keep", None)
    live.ask("a", "ring", list("bca"), [maker])
    live.collect(cycles=True)
    assert live.ask("a", "walk", 9) == 0
    assert live.objects() == 3
    live.ask("a", "let_go")
    live.collect()
    assert live.objects() == 3, "counting alone does not find it"
    live.collect(cycles=True)
    assert live.objects() == 0
    assert before == rows(live)


@pytest.mark.parametrize("size", range(2, 11))
def test_a_ring_through_all_sorts_of_links(live: Live, size: int) -> None:
    live.ask("a", "ring", list(NAMES[:size]), list(MAKERS)[size:] + list(MAKERS)[:size])
    live.collect(cycles=True)
    assert live.ask("a", "walk", 3 * size) == 0
    live.ask("a", "let_go")
    live.collect(cycles=True)
    assert live.objects() == 0


def test_a_path_by_what_the_kernel_no_longer_reaches_counts(live: Live) -> None:
    live.ask("a", "hide", "b", "c")
    live.collect()
    live.collect(cycles=True)
    assert live.ask("a", "walk", 7) == 0
    live.ask("a", "let_go")
    live.collect(cycles=True)
    assert live.objects() == 0


def test_a_path_by_a_kit_leads_to_its_facets(live: Live) -> None:
    live.ask("a", "hide_facet", "b", "c")
    live.collect()
    live.collect(cycles=True)
    assert live.ask("a", "walk", 7) == 0
    live.ask("a", "let_go")
    live.collect(cycles=True)
    assert live.objects() == 0


# ---- within one vat ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sort", "hold"),
    [
        (sort, hold)
        for sort in LOCAL
        for hold in ("baggage", "heap", "elsewhere", "suspended")
        if sort not in VIRTUAL or hold != "baggage"
    ],
)
def test_a_ring_within_one_vat_stays_while_it_is_held_and_then_goes(live: Live, sort: str, hold: str) -> None:
    before = rows(live)
    live.ask("a", "local", sort, hold)
    live.collect(cycles=True)
    assert live.ask("a", "is_whole", hold)
    live.ask("a", "release", hold)
    live.collect()
    live.collect(cycles=True)
    assert live.objects() == 0
    assert before == rows(live)


def test_rings_of_very_many_are_deleted_in_slices(live: Live) -> None:
    for _ in range(300):
        live.ask("a", "local", "three durable", "baggage")
    live.ask("a", "release", "baggage")
    live.collect()
    assert len([key for key in rows(live) if key[0] == "s"]) == 900
    live.collect(cycles=True)
    assert [key for key in rows(live) if key[0] == "s"] == []
    assert live.vats[VatId(live.id_of("a"))].slots.has_suspects is False


def test_a_value_that_leads_to_its_own_key_keeps_it(live: Live) -> None:
    """Documented: a weak store keeps its values, whatever becomes of the keys."""
    live.ask("a", "know_by_itself")
    live.collect(cycles=True)
    assert len([key for key in rows(live) if key[0] == "s"]) == 1
