"""Gathers references to objects of another vat, and lets go of all of them at once."""

# ruff: noqa: ARG001, ARG002 - parameters that the contract names

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, VatPowers, WeakSetStore

MANY = 1000


class Item(Exo):
    """An object on the heap."""


class DurableItem(DurableExo):
    """An object with a row of its own."""

    serial: int = 0


class Plain:
    """What is no concern of the kernel's; as large as a reference."""

    __slots__ = ("__weakref__", "kind", "name", "owner")

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = self.owner = None


class Gatherer(Exo):
    """Its peer is the vat named `peer`."""

    def __init__(self) -> None:
        self._held: list[Any] = []
        self._plain: list[Plain] = []
        self._known: WeakSetStore[Any] = WeakSetStore(durable=True)
        self._peer: Any = None

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> dict[str, Any]:
        self._peer = vats["peer"]
        return vats

    async def make(self, start: int, is_durable: bool) -> list[Any]:
        return [DurableItem(serial=n) if is_durable else Item() for n in range(start, start + MANY)]

    async def gather(self, batches: int, is_durable: bool, is_recognised: bool) -> int:
        """`batches` times a thousand references, and as many plain objects; how many there are then of each.

        Both come by message in turn, so that they lie about in memory in the same way: in a large heap what
        it takes to let go of an object is mostly the way to it.
        """
        for _ in range(batches):
            items = await E(self._peer).make(len(self._held), is_durable)
            names = await E(self._peer).name(len(self._held))
            self._held += items
            self._plain += map(Plain, names)
            if is_recognised:
                for item in items:
                    self._known.add(item)
        return len(self._held)

    async def name(self, start: int) -> list[str]:
        return [f"item {n}" for n in range(start, start + MANY)]

    async def let_go_of_plain(self) -> None:
        self._plain = []

    async def let_go(self) -> None:
        self._held = []

    async def ping(self) -> str:
        return "pong"


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Gatherer:
    return Gatherer()
