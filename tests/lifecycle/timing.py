"""`python -m tests.lifecycle.timing SEED`: a program with many vats at once, whose tasks run as the seed says; prints its message log.

Whenever the scheduler hands over a delivery or has an outcome, it waits for a random number of turns
of trio's loop, in which everybody else may run; and meanwhile idle tasks come and go.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import trio
from attrs import evolve

from ocap import ClusterConfig, E, Event, Kernel, VatConfig
from ocap.ring.workers import Workers

SOURCE = str(Path(__file__).with_name("director.py"))


def disturb(seed: int) -> None:
    lots = random.Random(seed)
    deliver = Workers.deliver

    async def disturbed(self: Workers, *args: Any, **kwargs: Any) -> Any:
        for _ in range(lots.choice((0, 0, 1, 2, 5))):
            await trio.lowlevel.checkpoint()
        outcome = await deliver(self, *args, **kwargs)
        for _ in range(lots.choice((0, 0, 1, 3))):
            await trio.lowlevel.checkpoint()
        return outcome

    Workers.deliver = disturbed  # type: ignore[method-assign]  # other timing


async def main(seed: int) -> None:
    lots = random.Random(seed)
    log: list[Event] = []
    config = ClusterConfig("a", {"a": VatConfig(SOURCE), "other": VatConfig(SOURCE)}, ["vat_admin"])

    async def fidget() -> None:
        while True:  # noqa: ASYNC110 - it waits for nothing, and only takes turns
            await trio.sleep(lots.uniform(0, 0.002))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(fidget)
        async with Kernel(log=log.append) as kernel:
            made = [await kernel.launch_subcluster(config) for _ in range(2)]
            await kernel.idle()
            for each in made:
                E.send_only(each.root).go(3)
            await kernel.idle()
            assert kernel.verify() == []
        nursery.cancel_scope.cancel()
    for event in log:
        print(evolve(event, time=None, took=None))


if __name__ == "__main__":
    disturb(int(sys.argv[1]))
    trio.run(main, int(sys.argv[1]))
