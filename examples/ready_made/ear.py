"""A vat that listens, and hands out the roots of those it was launched with."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers, field


class Ear(DurableExo):
    """A subscriber of topics, and a listener in a chat room."""

    heard: list[str] = field(factory=list)

    async def receive(self, message: Any) -> None:
        self.heard = [*self.heard, str(message)]

    async def hear(self, name: str, text: str) -> None:
        self.heard = [*self.heard, f"{name}: {text}"]

    async def get_heard(self) -> list[str]:
        return self.heard


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.roots = baggage.provide_map("roots")

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> None:
        for name, root in vats.items():
            if root is not self:
                self.roots[name] = root
        await E(vats["supervisor"]).bootstrap({}, services)

    async def get(self, name: str) -> Ref[Any]:
        root: Ref[Any] = self.roots[name]
        return root

    async def make_ear(self) -> Ref[Ear]:
        return Ear()


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Root:
    return Root(baggage)
