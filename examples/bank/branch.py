"""A branch of the bank: purses that survive anything, and money on its way to the next branch.

Each behaviour changes durable state and sends the next message, all in one crank, which is kept
whole or not at all. Nothing here waits for an answer, so there is nothing to lose when the process
is killed: the messages wait in the store, and the next incarnation takes up the first of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers

if TYPE_CHECKING:
    from examples.bank.auditor import Auditor


class Purse(DurableExo):
    owner: str
    balance: int

    async def get_balance(self) -> int:
        return self.balance


class Branch(Exo):
    def __init__(self, vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> None:
        self.log = vat_powers.log
        self.baggage = baggage
        self.purses = baggage.provide_map("purses")
        if baggage.provide("is_new", lambda: True):  # the first incarnation: later ones find the purses
            for owner, balance in parameters["balances"].items():
                self.purses[owner] = Purse(owner=owner, balance=balance)
            baggage["is_new"] = False

    async def join(self, following: Ref[Branch], auditor: Ref[Auditor]) -> None:
        """Take a place in the ring."""
        self.baggage["following"] = following
        self.baggage["auditor"] = auditor

    async def get_purse(self, owner: str) -> Ref[Purse]:
        purse: Purse = self.purses[owner]
        return purse

    async def receive(self, amount: int, lot: int) -> None:
        self._purse(lot).balance += amount

    async def carry(self, transfers: int, lot: int) -> None:
        """Hold the baton: send some money to the next branch, and then the baton after it."""
        if transfers == 0:
            E.send_only(self.baggage["auditor"]).end_round()
            return
        if transfers % 250 == 0:
            self.log(f"{self._sum()} in our purses, {transfers} transfers to go in this round")
        lot = lot * 16807 % 2147483647  # a vat has no dice of its own; Lehmer's generator looks like some
        purse = self._purse(lot)
        amount = min(purse.balance, lot % 100)
        purse.balance -= amount
        following = self.baggage["following"]
        E.send_only(following).receive(amount, lot)
        E.send_only(following).carry(transfers - 1, lot)

    async def count(self, total: int, branches: int) -> None:
        """Add what is here and pass the sum on; the last of the branches to be counted reports it."""
        total += self._sum()
        if branches == 1:
            E.send_only(self.baggage["auditor"]).close_day(total)
        else:
            E.send_only(self.baggage["following"]).count(total, branches - 1)

    def _sum(self) -> int:
        return sum(purse.balance for purse in self.purses.values())

    def _purse(self, lot: int) -> Purse:
        owners = list(self.purses)
        purse: Purse = self.purses[owners[lot % len(owners)]]
        return purse


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Branch:
    return Branch(vat_powers, parameters, baggage)
