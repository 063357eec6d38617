"""What users write and the type checkers infer. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

from vats import Baggage, DurableExo, E, Exo, MapStore, Promise, Ref, gather, make_promise_kit, race, spawn


class Account(DurableExo):
    owner: str
    balance: int = 0

    async def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    async def transfer(self, amount: int, to: Ref[Account]) -> int:
        self.balance -= amount
        await E(to).deposit(amount)
        return self.balance

    async def same(self) -> Ref[Account]:
        return self


class Branch(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.accounts: MapStore[str, Account] = baggage.provide_map("accounts")

    async def open_account(self, owner: str) -> Ref[Account]:
        account = self.accounts[owner] = Account(owner=owner)
        return account

    async def own_account(self, owner: str) -> Account:
        return self.accounts[owner]

    async def take(self, promise: Promise[int]) -> int:
        return await promise


async def use(branch: Ref[Branch], anything: Ref[Any]) -> None:
    account = await E(branch).open_account("alice")
    assert_type(account, Ref[Account])
    assert_type(await E(account).deposit(3), int)
    assert_type(await E(E(branch).open_account("bob")).deposit(3), int)
    assert_type(await E(E(E(branch).own_account("bob")).same()).deposit(3), int)
    assert_type(await E(account).transfer(3, account), int)
    assert_type(await E(branch).take(E(account).deposit(3)), int)
    assert_type(await gather(E(account).deposit(1), E(account).deposit(2)), list[int])
    assert_type(await race(E(account).deposit(1), E(account).deposit(2)), int)
    assert_type(await spawn(E(account).deposit(1)), int)
    E.send_only(account).deposit(3)
    await E(anything).whatever(1, key=2)
    kit = make_promise_kit()
    kit.resolve(account)
    await E(kit.promise).whatever()


async def local(branch: Branch, account: Account) -> None:
    assert_type(await E(branch).own_account("x"), Account)
    assert_type(await E(account).deposit(1), int)
