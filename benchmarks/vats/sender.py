"""One of several senders to one vat."""

# ruff: noqa: ARG001 - parameters that the contract names

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vats import Baggage, E, Exo, Ref, VatPowers, gather

if TYPE_CHECKING:
    from benchmarks.vats.answerer import Answerer

BURST = 100
"""Messages in one crank: a sender that never waits would measure one huge crank."""


class Sender(Exo):
    async def tell(self, sink: Ref[Answerer], start: int, count: int) -> None:
        """`count` messages that ask for no answer; after each burst one that does, so that the queue stays short."""
        for number in range(start, start + count):
            E.send_only(sink).take(number)
            if number % BURST == 0:
                await E(sink).taken()

    async def ask(self, sink: Ref[Answerer], start: int, count: int) -> int:
        """`count` messages in bursts, each answered; the sum of the answers."""
        total = 0
        for first in range(start, start + count, BURST):
            burst = range(first, min(first + BURST, start + count))
            total += sum(await gather(*[E(sink).take(number) for number in burst]))
        return total


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Sender:
    return Sender()
