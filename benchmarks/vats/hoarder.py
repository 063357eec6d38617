"""Keeps more than fits into a heap: durable objects in one map, plain entries in another."""

# ruff: noqa: ARG001 - parameters that the contract names

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, Exo, VatPowers


class Thing(DurableExo):
    number: int


class Hoarder(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.things = baggage.provide_map("things", key=int, value=Thing)
        self.entries = baggage.provide_map("entries", key=int, value=int)

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None: ...

    async def add_things(self, start: int, count: int) -> None:
        for number in range(start, start + count):
            self.things[number] = Thing(number=number)

    async def add_entries(self, start: int, count: int) -> None:
        for number in range(start, start + count):
            self.entries[number] = number

    async def get(self, number: int) -> tuple[int, int]:
        """The thing and the entry of that number, 0 for one that is not there."""
        thing = self.things.get(number)
        return 0 if thing is None else thing.number, self.entries.get(number, 0)

    async def count(self) -> tuple[int, int]:
        return len(self.things), len(self.entries)

    async def scan_things(self) -> int:
        return sum(thing.number for thing in self.things.values())

    async def scan_entries(self) -> int:
        return sum(self.entries.values())

    async def last_entries(self, number: int) -> list[int]:
        """The entries from a number on, from the last back."""
        return list(reversed(self.entries.range(number).values()))

    async def clear(self) -> None:
        self.things.clear()
        self.entries.clear()


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Hoarder:
    return Hoarder(baggage)
