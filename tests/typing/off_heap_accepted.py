"""What users write with objects and collections off the heap, and the type checkers infer. Checked, never run."""

from __future__ import annotations

from typing import Any, ClassVar, assert_type

from vats import (
    Baggage,
    DurableExo,
    DurableExoKit,
    DurablePromiseKit,
    E,
    Exo,
    ExoKit,
    Facet,
    MapStore,
    Promise,
    Ref,
    SetStore,
    VirtualExo,
    WeakMapStore,
    WeakSetStore,
    facet,
    field,
    make_durable_promise_kit,
    watch,
)


class Account(DurableExo):
    schema_version: ClassVar[int] = 1
    owner: str
    balance: int = 0
    tags: list[str] = field(factory=list[str])
    limit: int = field(default=3)
    history: MapStore[int, str] = field(factory=lambda: MapStore[int, str](durable=True))

    async def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    @classmethod
    def migrate(cls, version: int, state: dict[str, Any]) -> dict[str, Any]:
        return state


class Row(VirtualExo):
    number: int
    note: str = ""


class Purse(DurableExoKit):
    balance: int = 0

    class Payee(Facet["Purse"]):
        async def deposit(self, amount: int) -> int:
            self.kit.balance += amount
            return assert_type(self.kit.balance, int)

    class Owner(Facet["Purse"]):
        async def get_payee(self) -> Ref[Purse.Payee]:
            return self.kit.payee

    payee = facet(Payee)
    owner = facet(Owner)


class HeapPurse(ExoKit):
    def __init__(self, balance: int) -> None:
        self.balance = balance

    class Payee(Facet["HeapPurse"]):
        async def deposit(self, amount: int) -> None:
            self.kit.balance += amount

    payee = facet(Payee)


class Waiting(DurableExo):
    async def on_fulfilled(self, value: int, name: str) -> None: ...


class Bank(Exo, guard=False):
    def __init__(self, baggage: Baggage) -> None:
        self.accounts: MapStore[str, Account] = baggage.provide_map("accounts")
        self.numbers = baggage.provide_map("numbers", key=int, value=Account)
        self.names = baggage.provide_set("names", key=str)
        self.guests: WeakMapStore[Ref[Any], int] = baggage.provide_weak_map("guests")
        self.banned: WeakSetStore[Ref[Any]] = baggage.provide_weak_set("banned")
        self.waiting = baggage.provide("waiting", Waiting)

    async def stores(self, guest: Ref[Any]) -> None:
        assert_type(self.numbers, MapStore[int, Account])
        assert_type(self.names, SetStore[str])
        assert_type(self.waiting, Waiting)
        assert_type(self.accounts["a"], Account)
        assert_type(self.accounts.get("a"), Account | None)
        for name, account in reversed(self.accounts.items()):
            assert_type(name, str)
            assert_type(account, Account)
        for name, account in self.accounts.range("a", "b").items():
            assert_type(name, str)
            assert_type(account, Account)
        for name in reversed(self.accounts.prefix("a")):
            assert_type(name, str)
        for name in self.names.range("a", ...):
            assert_type(name, str)
        scratch = MapStore[int, Row]()
        scratch[1] = Row(number=1)
        keyed = MapStore(durable=True, key=str, value=int)
        assert_type(keyed, MapStore[str, int])
        self.guests[guest] = 3
        assert_type(self.guests.get(guest), int | None)
        self.banned.add(guest)

    async def objects(self) -> None:
        account = Account(owner="ann")
        assert_type(account.tags, list[str])
        assert_type(account.limit, int)
        assert_type(account.history[3], str)
        Account(owner="ann", balance=1, tags=["a"], limit=4)
        Row(number=1, note="x")

    async def kits(self) -> Ref[Purse.Owner]:
        purse = Purse(balance=3)
        assert_type(purse.owner, Purse.Owner)
        assert_type(purse.payee.kit, Purse)
        assert_type(await E(purse.payee).deposit(3), int)
        assert_type(await E(E(purse.owner).get_payee()).deposit(3), int)
        await E(HeapPurse(3).payee).deposit(1)
        return purse.owner

    async def promises(self, account: Ref[Account]) -> Promise[int]:
        watch(E(account).deposit(3), self.waiting, "ann")
        watch(E(account).deposit(3), Purse().payee, fulfilled="_paid")
        kit: DurablePromiseKit[int] = make_durable_promise_kit()
        kit.resolve(3)
        kit.resolve(E(account).deposit(1))
        kit.reject(ValueError("no"))
        assert_type(await kit.promise, int)
        return kit.promise
