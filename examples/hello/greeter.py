"""A vat that greets whoever asks, and counts how often. Two vats are made of it: ann and bob."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers


class Guestbook(DurableExo):
    visits: int = 0

    async def sign(self) -> int:
        self.visits += 1
        return self.visits


class Greeter(Exo):
    def __init__(self, name: str, baggage: Baggage) -> None:
        self.name = name
        self.book: Guestbook = baggage.provide("book", Guestbook)

    async def bootstrap(self, vats: dict[str, Ref[Greeter]], services: dict[str, Ref[Any]]) -> str:
        """Called once, in the vat that the config names: ask the other one for a greeting."""
        return await E(vats["bob"]).greet(self.name)

    async def greet(self, guest: str) -> str:
        visits = await self.book.sign()
        return f"Hello {guest}, I am {self.name}. You are visitor {visits}."

    async def get_book(self) -> Ref[Guestbook]:
        return self.book


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Greeter:
    return Greeter(parameters["name"], baggage)
