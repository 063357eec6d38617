"""A workload over everything durable, that two vats do by themselves: what the crash tests kill.

Each step does something that its number says, and sends the next step to the other vat. Messages lie in
the store, so whoever opens it goes on; nothing is awaited, as what is awaited ends with the
incarnation. So the end is the same whenever, and however often, everything was killed.
"""

from __future__ import annotations

from typing import Any, ClassVar

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
    SetStore,
    VirtualExo,
    facet,
    field,
    make_durable_promise_kit,
    watch,
)

PLACES = 30


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
    lines: MapStore[tuple[int, int], Any] = field(factory=lambda: MapStore(durable=True))

    async def on_fulfilled(self, value: Any, number: int) -> None:
        self._write(number, value if isinstance(value, int | list) else type(value).__name__)

    async def on_rejected(self, error: Exception, number: int) -> None:
        self._write(number, f"{type(error).__name__}: {error}")

    def _write(self, number: int, what: Any) -> None:
        times = 0
        while (number, times) in self.lines:
            times += 1
        self.lines[number, times] = what


class Passing(VirtualExo):
    item: Any
    others: list[Any] = field(factory=list)


class Keeper(Exo):
    """The root of either vat; each version of the code has its own class of items."""

    item: ClassVar[Any]

    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.items: MapStore[int, Any] = baggage.provide_map("items", key=int, value=self.item)
        self.names = baggage.provide_set("names", key=str)
        self.pairs: SetStore[Any] = baggage.provide_set("pairs")
        self.notes = baggage.provide_weak_map("notes")
        self.marked = baggage.provide_weak_set("marked")
        self.friends: MapStore[int, Any] = baggage.provide_map("friends")
        self.purses: MapStore[int, Any] = baggage.provide_map("purses")
        self.kits: MapStore[int, Any] = baggage.provide_map("kits")
        self.scribe = baggage.provide("scribe", Scribe)
        self.passing: MapStore[int, Passing] = MapStore()
        for place, item in self.items.range(0, 3).items():
            self.passing[place] = Passing(item=item)

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Any]) -> None:
        self.baggage["other"] = vats["two"]
        await E(vats["two"]).join(vats["one"])

    async def join(self, other: Ref[Any]) -> None:
        self.baggage["other"] = other

    async def get_other(self) -> Ref[Any]:
        other: Ref[Any] = self.baggage["other"]
        return other

    async def begin(self, last: int) -> None:
        """What the host asks, each time: only the first counts."""
        if self.baggage.provide("begun", lambda: False):
            return
        self.baggage["begun"] = True
        E.send_only(self).step(1, last)

    async def step(self, n: int, last: int) -> None:
        lot = n * 2654435761 % 2**32 >> 8
        what, place = STEPS[lot % len(STEPS)], lot // len(STEPS) % PLACES
        getattr(self, what)(n, place, self.baggage["other"])
        if n < last:
            E.send_only(self.baggage["other"]).step(n + 1, last)
        self.baggage["steps"] = self.baggage.get("steps", 0) + 1

    # Steps

    def _add(self, n: int, place: int, other: Ref[Any]) -> None:
        item = self.items[place] = self.item(number=n, following=self.items.get(place - 1))
        self.names.add(f"name {place}")
        self.notes[item] = n
        self.marked.add(item)
        self.passing[place] = Passing(item=item, others=[self.passing.get(place - 1), self])

    def _remove(self, n: int, place: int, other: Ref[Any]) -> None:
        self.items.pop(place, None)
        self.names.discard(f"name {place}")

    def _earn(self, n: int, place: int, other: Ref[Any]) -> None:
        for item in self.items.range(place, place + 3).values():
            item.tags.append(n)
            item.log[n, "earned"] = [item, n]
            E.send_only(item).earn(n)

    def _forget(self, n: int, place: int, other: Ref[Any]) -> None:
        for item in self.items.range(place, place + 2).values():
            item.log.clear()

    def _show(self, n: int, place: int, other: Ref[Any]) -> None:
        if place in self.items:
            E.send_only(other).befriend(place, self.items[place])

    def _ask_friends(self, n: int, place: int, other: Ref[Any]) -> None:
        for friend in self.friends.range(place, place + 4).values():
            watch(E(friend).earn(n), self.scribe, n)

    def _drop_friend(self, n: int, place: int, other: Ref[Any]) -> None:
        self.friends.pop(place, None)

    def _pair(self, n: int, place: int, other: Ref[Any]) -> None:
        if place in self.items:
            self.pairs.add((place, self.items[place]))
        for pair in list(self.pairs.prefix((place + 1,))):
            self.pairs.remove(pair)

    def _open_purse(self, n: int, place: int, other: Ref[Any]) -> None:
        purse = Purse(balance=n)
        self.purses[place] = [purse.owner, purse.payee]
        E.send_only(other).pay(purse.payee, n)

    def _promise(self, n: int, place: int, other: Ref[Any]) -> None:
        kit = self.kits[place] = make_durable_promise_kit()
        watch(kit.promise, self.scribe, n)
        E.send_only(other).watch_for(n, kit.promise)

    def _settle(self, n: int, place: int, other: Ref[Any]) -> None:
        for number, kit in list(self.kits.range(place, place + 5).items()):
            match n % 4:
                case 0:
                    kit.reject(ValueError(f"no {number}"))
                case 1:
                    kit.resolve(E(other).double(n))
                case 2:
                    kit.resolve(self.items.get(number))
                case _:
                    kit.resolve([n, number])
            del self.kits[number]

    def _clear(self, n: int, place: int, other: Ref[Any]) -> None:
        if place < 6:
            self.names.clear()
            self.pairs.clear()
        self.passing.clear()

    # From the other vat

    async def befriend(self, place: int, friend: Ref[Any]) -> None:
        self.friends[place] = friend
        self.notes[friend] = -place
        self.marked.add(friend)

    async def pay(self, payee: Ref[Any], amount: int) -> None:
        watch(E(payee).deposit(amount), self.scribe, amount)

    async def watch_for(self, n: int, promise: Promise[Any]) -> None:
        watch(promise, self.scribe, -n)

    async def double(self, n: int) -> int:
        return 2 * n

    async def report(self) -> Any:
        return {
            "steps": self.baggage.get("steps", 0),
            "items": [[item.report(), self.notes[item], item in self.marked] for item in self.items.values()],
            "names": [*self.names, len(self.names)],
            "pairs": [[place, item.number] for place, item in self.pairs],
            "friends": [[place, self.notes.get(friend)] for place, friend in self.friends.items()],
            "purses": [[place, await E(owner).get_balance()] for place, (owner, _) in self.purses.items()],
            "kits": list(self.kits),
            "scribe": [[*key, what] for key, what in self.scribe.lines.items()],
        }


STEPS = [
    *("_add", "_add", "_add", "_remove", "_earn", "_forget", "_show", "_show", "_ask_friends", "_drop_friend"),
    *("_pair", "_open_purse", "_promise", "_promise", "_settle", "_clear"),
]
