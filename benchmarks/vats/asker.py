"""Drives a peer: one call from the host makes a whole repetition, so that the host is not measured."""

# ruff: noqa: ARG001, ARG002 - parameters that the contract names

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vats import Baggage, E, Exo, Ref, VatPowers

if TYPE_CHECKING:
    from benchmarks.vats.answerer import Answerer


class Asker(Exo):
    """Its peer is the vat named `peer`."""

    peer: Ref[Answerer]

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.peer = vats["peer"]

    async def ping(self, start: int, rounds: int) -> int:
        """`rounds` round trips, one after the other; each sends what the last one brought."""
        number = start
        for _ in range(rounds):
            number = await E(self.peer).ping(number)
        return number

    async def weigh(self, start: int, rounds: int, checked: bool) -> int:
        """As `ping`, with more arguments, to an object that checks them or to one that does not."""
        target: Any = await (E(self.peer).checked() if checked else E(self.peer).unchecked())
        number = start
        for _ in range(rounds):
            number = await E(target).weigh(number, "some text", [1, 2, 3])
        return number

    async def deposit(self, amount: int, rounds: int) -> int:
        """`rounds` round trips, each of which changes a durable field."""
        balance = 0
        for _ in range(rounds):
            balance = await E(self.peer).deposit(amount)
        return balance

    async def exchange(self, rows: list[dict[str, Any]], rounds: int) -> list[dict[str, Any]]:
        """`rounds` round trips of one table, which the peer changes each time."""
        for number in range(rounds):
            rows = await E(self.peer).stamp(rows, number)
        return rows

    async def follow(self, start: int, chains: int) -> int:
        """`chains` chains of ten messages, each to the promise of the one before; the sum of their ends."""
        total = 0
        for number in range(start, start + chains):
            link = E(self.peer).first()
            for _ in range(8):
                link = E(link).next()
            total += await E(link).place(number)
        return total


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Asker:
    return Asker()
