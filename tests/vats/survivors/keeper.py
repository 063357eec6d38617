"""A vat that uses everything durable: exos, kits, stores of each sort, watchers, durable promises."""

from __future__ import annotations

from typing import Any

from vats import (
    Baggage,
    DurableExo,
    DurableExoKit,
    E,
    Exo,
    Facet,
    MapStore,
    Promise,
    Ref,
    VatPowers,
    VirtualExo,
    facet,
    field,
    make_durable_promise_kit,
    watch,
)


class Item(DurableExo):
    number: int
    tags: list[str] = field(factory=list)
    next: Item | None = None


class Purse(DurableExoKit):
    balance: int = 0

    class Payee(Facet["Purse"]):
        async def deposit(self, amount: int) -> int:
            self.kit.balance += amount
            return self.kit.balance

    class Owner(Facet["Purse"]):
        async def get_balance(self) -> int:
            return self.kit.balance

    payee = facet(Payee)
    owner = facet(Owner)


class Scribe(DurableExo):
    lines: list[Any] = field(factory=list)

    async def on_fulfilled(self, value: Any, number: int) -> None:
        self.lines.append([number, value])

    async def on_rejected(self, error: Exception, number: int) -> None:
        self.lines.append([number, str(error)])


class Passing(VirtualExo):
    number: int
    item: Any = None


class Keeper(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.items = baggage.provide_map("items", key=int, value=Item)
        self.names = baggage.provide_set("names", key=str)
        self.notes = baggage.provide_weak_map("notes")
        self.purses: MapStore[int, Any] = baggage.provide_map("purses")
        self.kits: MapStore[int, Any] = baggage.provide_map("kits")
        self.scribe = baggage.provide("scribe", Scribe)
        self.passing: MapStore[int, Passing] = MapStore()

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Any]) -> None:
        self.baggage["peer"] = vats["two"]

    async def get_peer(self) -> Ref[Any]:
        peer: Ref[Any] = self.baggage["peer"]
        return peer

    async def add(self, n: int) -> int:
        item = self.items[n] = Item(number=n, next=self.items.get(n - 1))
        self.names.add(f"name {n}")
        self.notes[item] = n
        self.passing[n] = Passing(number=n, item=item)
        return len(self.items)

    async def remove(self, n: int) -> None:
        self.items.pop(n, None)
        self.names.discard(f"name {n}")

    async def tag(self, n: int, tag: str) -> None:
        if n in self.items:
            self.items[n].tags.append(tag)

    async def clear_names(self) -> None:
        self.names.clear()

    async def open_purse(self, n: int) -> None:
        purse = Purse()
        self.purses[n] = [purse.owner, purse.payee]

    async def deposit(self, n: int) -> None:
        for _, payee in self.purses.values():
            await E(payee).deposit(n)

    async def promise(self, n: int, other: Ref[Any]) -> None:
        """Promise something; watch it here and let the other vat watch it too."""
        kit = self.kits[n] = make_durable_promise_kit()
        watch(kit.promise, self.scribe, n)
        E.send_only(other).watch_for(n, kit.promise)

    async def watch_for(self, n: int, promise: Promise[Any]) -> None:
        watch(promise, self.scribe, 1000 + n)

    async def settle(self, n: int) -> None:
        for number, kit in self.kits.items():
            if n % 3:
                kit.resolve({"settled": [n, number]})
            else:
                kit.reject(ValueError(f"no {number}"))
        self.kits.clear()

    async def report(self) -> Any:
        return {
            "items": [[i.number, i.tags, i.next and i.next.number, self.notes[i]] for i in self.items.values()],
            "names": [*self.names, len(self.names)],
            "purses": {n: await E(owner).get_balance() for n, (owner, _) in self.purses.items()},
            "kits": list(self.kits),
            "scribe": sorted(self.scribe.lines, key=repr),
        }


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Keeper:
    return Keeper(baggage)
