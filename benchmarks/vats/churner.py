"""Makes objects, calls them and lets go of them: one of each pair of vats drives the other."""

# ruff: noqa: ARG001, ARG002 - parameters that the contract names

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers

DURABLE_EACH = 10


class Token(Exo):
    """An object on the heap."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def number(self) -> int:
        return self._number


class DurableToken(DurableExo):
    """An object with a row of its own."""

    serial: int = 0

    async def number(self) -> int:
        return self.serial


class Churner(Exo):
    """Its peer is the vat named `peer`."""

    peer: Ref[Churner]

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.peer = vats["peer"]

    async def make(self, number: int) -> Ref[Any]:
        return Token(number) if number % DURABLE_EACH else DurableToken(serial=number)

    async def churn(self, start: int, rounds: int) -> int:
        """`rounds` times: have an object made, call it, let go of it. The sum of what they answered."""
        total = 0
        for number in range(start, start + rounds):
            token = await E(self.peer).make(number)
            total += await E(token).number()
        return total


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Churner:
    return Churner()
