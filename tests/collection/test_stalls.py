"""Letting go of very many references at once stalls nobody.

What is asserted is work, which is the same on every machine: references in one delivery, suspects in
one report, rows in one checkpoint, collection cranks between two messages. Times are printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest

from ocap.kernel.crank import Crank
from ocap.kernel.gc import GC_BATCH
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.marshal import encode
from ocap.protocol.refs import HOST
from tests.collection.live import Live
from vats import Baggage, DurableExo, E, Exo
from vats.reaping import REAP_BUDGET

pytestmark = pytest.mark.slow

MANY = 1000
COUNTS = [20_000, 1_000_000] if os.environ.get("OCAP_HUGE") else [20_000]  # what one crank does is the same
PINGS = 50


class Item(Exo):
    pass


class DurableItem(DurableExo):
    number: int


class Root(Exo):
    def __init__(self) -> None:
        self.held: list[Any] = []
        self.pings = 0

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.peer = vats["b"]

    async def make(self, count: int, durable: bool) -> list[Any]:
        return [DurableItem(number=number) if durable else Item() for number in range(count)]

    async def gather(self, count: int, durable: bool) -> None:
        for _ in range(count // MANY):
            self.held.append(await E(self.peer).make(MANY, durable))

    async def let_go(self) -> None:
        self.held.clear()

    async def ping(self) -> None:
        self.pings += 1


def build(_powers: Any, _parameters: Any, _baggage: Baggage) -> Root:
    return Root()


def cranks(live: Live) -> Iterator[tuple[Crank, syscalls.Outcome, float]]:
    """Cranks that deliver something, and the seconds each took, its part of a commit included."""
    while True:
        start = perf_counter()
        crank = live.core.next_crank()
        if crank is None:
            return
        outcome = syscalls.Outcome()
        if crank.vat is not None:
            assert crank.delivery is not None
            outcome = live.vats[crank.vat].deliver(crank.delivery)
            live.core.finish(crank, outcome)
        if crank.number % 256 == 0:
            live.core.commit()
        yield crank, outcome, perf_counter() - start


def ping_often(live: Live) -> None:
    """Queue messages of the host to both vats."""
    host = live.core.lifecycle.keeper(HOST)
    for name in "ab" * (PINGS // 2):
        root = live.core.state.vats[live.id_of(name)].root
        assert root is not None
        call = syscalls.Send(host.to_vat(root), "ping", CapData(encode([[], {}])[0]), None)
        live.core.between_cranks(lambda call=call: live.core.host_syscalls([call]))  # type: ignore[misc]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("count", COUNTS)
def test_dropping_very_many_references_is_cut_into_small_work(count: int, durable: bool) -> None:
    live = Live({"a": build, "b": build})
    live.ask("a", "gather", count, durable)
    live.let_go()
    live.run()
    assert live.objects() == count
    live.ask("a", "let_go")
    vats = [live.id_of(name) for name in "ab"]
    for vat in vats:
        live.core.collector.schedule_reap(vat, to_the_end=True)
    ping_often(live)
    longest, total, number, waited, messages = 0.0, 0.0, 0, 0, 0
    for _ in range(2):
        for crank, outcome, seconds in cranks(live):
            number, total, longest = number + 1, total + seconds, max(longest, seconds)
            if isinstance(crank.delivery, deliveries.Message):
                messages, waited = messages + 1, 0
            elif messages < PINGS:
                waited += 1
                assert waited <= 3, "collection goes on while messages wait"
            told = getattr(crank.delivery, "vrefs", ())
            assert len(told) <= GC_BATCH
            for call in outcome.syscalls:
                assert len(getattr(call, "vrefs", ())) <= REAP_BUDGET
            assert len(outcome.checkpoint) <= 4 * max(GC_BATCH, REAP_BUDGET), "rows of one crank"
        assert messages == PINGS
        for vat in vats:  # what the first round dropped, its owner may delete now
            live.core.collector.schedule_reap(vat, to_the_end=True)
    live.run()
    assert live.objects() == 0
    kind = "durable" if durable else "heap"
    print(f"\n{count:,} {kind} objects: {number} cranks, {total:.2f} s, the longest {longest * 1000:.0f} ms")
    live.close()
