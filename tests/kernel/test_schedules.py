"""Random schedules: vats that do anything, crashes and restarts at any moment, and `verify` after each step.

The number of schedules is small here; `OCAP_SCHEDULES=5000` runs that many. A failure names its seed,
and `OCAP_SEED=n` repeats it alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from ocap.kernel.rows import VatRow
from ocap.protocol import syscalls
from tests.kernel import puppet
from tests.kernel.fuzz import Puppeteer, incoherences
from tests.kernel.puppet import World, args

STEPS = 40


class Schedule:
    """One world and what befalls it."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.world = World("abc")
        self.world.run()
        for name in "abc":
            for other in "abc":
                self.world.import_root(name, other)
        self.puppeteer = Puppeteer(self.world, seed, naughty=self.rng.choice((0, 0, 0.03, 0.2)))
        self.events: list[Callable[[], None]] = [
            *(self.kick, self.kick, self.kick, self.steps, self.steps, self.steps, self.rest, self.reap),
            *(self.end, self.terminate, self.suspend, self.resume, self.lose),
        ]

    def run(self) -> None:
        for _ in range(STEPS):
            self.puppeteer.fuel = 30
            self.rng.choice(self.events)()
            assert [] == incoherences(self.world)
            assert [] == self.world.verify()
        self.world.run()

    def rows(self, state: str) -> list[VatRow]:
        rows = [self.world.core.state.vats.get(vat) for vat in self.world.vats.values()]
        return [row for row in rows if row is not None and row.state == state]

    def some(self, state: str, chance: float = 1) -> VatRow | None:
        rows = self.rows(state)
        return self.rng.choice(rows) if rows and self.rng.random() < chance else None

    def kick(self) -> None:
        row = self.some("live")
        if row is not None:
            result = self.rng.choice((None, f"p+{self.puppeteer.fresh() + 1000}"))
            self.world.host(syscalls.Send(self.world.host_ref(row.id), "kick", args(), result))

    def steps(self) -> None:
        for _ in range(self.rng.randrange(6)):
            crank = self.world.core.next_crank()
            if crank is None:
                break
            if crank.vat is not None:
                if self.rng.random() < 0.05:
                    self.world.core.abandon()  # the process stops while the vat works
                    return self.end(always=True)
                self.world.core.finish(crank, self.world.answer(crank))
        if self.rng.random() < 0.5:
            self.world.effects += self.world.core.commit()
        return None

    def rest(self) -> None:
        self.world.run()

    def reap(self) -> None:
        row = self.some("live")
        if row is not None:
            self.world.core.collector.schedule_reap(row.id)

    def end(self, *, always: bool = False) -> None:
        if always or self.rng.random() < 0.4:
            self.world.restart(crash=self.rng.random() < 0.5)

    def terminate(self) -> None:
        row = self.some("live", 0.1)
        if row is not None:
            self.world.core.between_cranks(lambda: self.world.core.lifecycle.terminate(row, "for the test"))

    def suspend(self) -> None:
        row = self.some("live", 0.3)
        if row is not None:
            self.world.core.between_cranks(lambda: self.world.core.lifecycle.suspend(row, "for the test"))

    def resume(self) -> None:
        for row in self.rows("suspended"):
            self.world.core.between_cranks(partial(self.world.core.lifecycle.resume, row))

    def lose(self) -> None:
        row = self.some("live", 0.3)
        if row is not None and row.id in self.world.core.running:
            self.world.core.between_cranks(lambda: self.world.core.end(row.id, "its worker died"))


SEEDS = (
    [int(os.environ["OCAP_SEED"])] if "OCAP_SEED" in os.environ else range(int(os.environ.get("OCAP_SCHEDULES", "20")))
)


@pytest.mark.parametrize("first", SEEDS[:: max(1, len(SEEDS) // 20)])
def test_nothing_breaks_the_books(first: Any) -> None:
    for seed in SEEDS[SEEDS.index(first) : SEEDS.index(first) + max(1, len(SEEDS) // 20)]:
        try:
            Schedule(seed).run()
        except BaseException:
            print(f"repeat with OCAP_SEED={seed}")
            raise
        puppet.worlds.pop().backend.close()
