"""Starts several senders at once and waits for all of them."""

# ruff: noqa: ARG001, ARG002 - parameters that the contract names

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vats import Baggage, E, Exo, Ref, VatPowers, gather

if TYPE_CHECKING:
    from benchmarks.vats.answerer import Answerer
    from benchmarks.vats.sender import Sender


class Crowd(Exo):
    """Its sink is the vat named `sink`; all others are senders."""

    sink: Ref[Answerer]
    senders: list[Ref[Sender]]

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.sink = vats["sink"]
        self.senders = [vat for name, vat in vats.items() if name.startswith("sender")]

    async def tell(self, start: int, count: int) -> tuple[int, int]:
        """`count` one-way messages of each sender; how many ever arrived, and their sum."""
        await gather(*[E(s).tell(self.sink, start + i * count, count) for i, s in enumerate(self.senders)])
        return await E(self.sink).taken()

    async def ask(self, start: int, count: int) -> int:
        """`count` answered messages of each sender; the sum of the answers."""
        return sum(await gather(*[E(s).ask(self.sink, start + i * count, count) for i, s in enumerate(self.senders)]))


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Crowd:
    return Crowd()
