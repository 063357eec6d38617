"""A vat that moves money and remembers every coin: three of them are the workload of the crash tests."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers

BATONS = 3


class Purse(DurableExo):
    balance: int = 1000


class Head(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage

    async def bootstrap(self, vats: dict[str, Ref[Branch]], services: dict[str, Any]) -> str:
        branches = self.baggage["branches"] = [vats[name] for name in ("a", "b", "c")]
        for branch, following in zip(branches, [*branches[1:], branches[0]], strict=True):
            await E(branch).join(following)
        for baton, branch in enumerate(branches):
            E.send_only(branch).carry(baton, 0)
        return "open"

    async def get_branches(self) -> list[Ref[Branch]]:
        branches: list[Ref[Branch]] = self.baggage["branches"]
        return branches


class Branch(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.purse: Purse = baggage.provide("purse", Purse)
        self.sent = baggage.provide_map("sent")  # number: amount
        self.received = baggage.provide_map("received")  # number: how often
        self.steps = baggage.provide_map("steps")  # baton: the last step seen here
        baggage.provide("wrong", list)

    async def join(self, following: Ref[Branch]) -> None:
        self.baggage["following"] = following
        self.baggage["open"] = True

    async def transfer(self, number: int, amount: int) -> int:
        """What the host program asks for, and is told of only when the money has arrived."""
        if number in self.sent:
            self._complain(f"transfer {number} happens again")
        self.sent[number] = amount
        self.purse.balance -= amount
        following: Ref[Branch] = self.baggage["following"]
        return await E(following).receive(number, amount)

    async def receive(self, number: int, amount: int) -> int:
        self.received[number] = self.received.get(number, 0) + 1
        self.purse.balance += amount
        return number

    async def carry(self, baton: int, step: int) -> None:
        """What goes on by itself: money moves, and the baton after it, whether or not a host asks."""
        if self.steps.get(baton, step - BATONS) != step - BATONS:
            self._complain(f"baton {baton} came with step {step} after {self.steps[baton]}")
        self.steps[baton] = step
        amount = step % 7
        self.purse.balance -= amount
        following = self.baggage["following"]
        E.send_only(following).deposit(amount)
        if self.baggage["open"]:
            E.send_only(following).carry(baton, step + 1)

    async def deposit(self, amount: int) -> None:
        self.purse.balance += amount

    async def close(self) -> None:
        self.baggage["open"] = False

    async def report(self) -> dict[str, Any]:
        return {
            "balance": self.purse.balance,
            "sent": dict(self.sent),
            "received": dict(self.received),
            "steps": dict(self.steps),
            "wrong": self.baggage["wrong"],
        }

    def _complain(self, text: str) -> None:
        self.baggage["wrong"] = [*self.baggage["wrong"], text]


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Head | Branch:
    return Head(baggage) if parameters.get("is_head") else Branch(baggage)
