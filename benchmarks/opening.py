"""`python -m benchmarks.opening VATS`: how long it takes to open a store with so many vats, beside one with a hundred.

Each time is that of a fresh process, which has nothing of the store in its memory; the two stores take
turns. Told are the least and the median of several, and the ratio of the medians. Rows of the store that a kernel
reads when it is opened are counted too: they must not grow with the vats.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import trio
from attrs import asdict, frozen

from benchmarks.measure import MeasuringError
from ocap import ClusterConfig, E, Kernel, VatConfig
from ocap.verify import verify

FEW = 100
BATCH = 100
"""Vats of one subcluster; those of the next are made when these have no heap any more."""

_VAT = "benchmarks.vats.hoarder"

STEPS = ("open", "restart all", "enter", "first answer")


async def fill(kernel: Kernel, vats: int) -> None:
    """Make so many vats."""
    for start in range(0, vats, BATCH):
        names = [f"vat{number}" for number in range(start, min(start + BATCH, vats))]
        config = ClusterConfig(names[0], {name: VatConfig(_VAT) for name in names})
        made = await kernel.launch_subcluster(config)
        await kernel.restart_subcluster(made.id)


async def make(path: Path, vats: int) -> None:
    """A store with so many vats."""
    async with Kernel(path, durability="none") as kernel:
        await fill(kernel, vats)


@frozen
class Opening:
    """Seconds of each of `STEPS`, and the SQL statements until the first delivery."""

    seconds: tuple[float, ...]
    statements: int

    @property
    def until_running(self) -> float:
        """Opening the store and entering the kernel, without what is done only once."""
        return self.seconds[0] + self.seconds[2]


async def open_and_ask(path: Path, key: str | None = None) -> Opening:
    """Open a store, enter its kernel, and have one vat answer."""
    clock = [perf_counter()]
    kernel = Kernel(path)
    clock.append(perf_counter())
    statements = 0

    def count(*_: Any) -> bool:
        nonlocal statements
        statements += 1
        return True

    kernel._backend.connection.exec_trace = count
    if key is not None:
        kernel.restart_all_vats(key)
    clock.append(perf_counter())
    async with kernel:
        await kernel.idle()
        clock.append(perf_counter())
        counted = statements
        if await E(kernel.root("v1")).count() != (0, 0):
            raise MeasuringError("the vat answered something else")
        clock.append(perf_counter())
    return Opening(tuple(after - before for before, after in pairwise(clock)), counted)


def _report(path: Path, key: str, sender: Connection[Any, Any]) -> None:
    with sender:
        sender.send(trio.run(open_and_ask, path, key))


def measure(path: Path, key: str) -> Opening:
    """One opening, in a process of its own.

    Raises:
        MeasuringError: it failed.
    """
    context = multiprocessing.get_context("spawn")
    news, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(path, key, sender))
    process.start()
    sender.close()
    try:
        found: Opening = news.recv()
    except EOFError:
        raise MeasuringError(f"{path} could not be opened; see above") from None
    finally:
        news.close()
        process.join()
    return found


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.opening", description="How long it takes to open a store with many vats."
    )
    parser.add_argument("vats", metavar="VATS", type=int, nargs="?", default=10_000)
    parser.add_argument("--repeat", metavar="N", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--folder", type=Path, default=Path(".run"), help="where the stores are made (default .run)")
    arguments = parser.parse_args(given)
    if arguments.vats < FEW:
        parser.error(f"at least {FEW}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="opening-") as folder:
        stores = {count: Path(folder, f"{count}.db") for count in (arguments.vats, FEW)}
        for count, path in stores.items():
            trio.run(make, path, count)
        found: dict[int, list[Opening]] = {count: [] for count in stores}
        for turn in range(arguments.repeat):
            for count, path in stores.items():
                found[count].append(measure(path, f"turn {turn}"))
        problems = [problem for path in stores.values() for problem in verify(path)]
        sizes = {count: path.stat().st_size for count, path in stores.items()}
    middle = {count: median(it.until_running for it in openings) for count, openings in found.items()}
    ratio = middle[arguments.vats] / middle[FEW]
    if arguments.json:
        runs = {str(count): [asdict(it) for it in openings] for count, openings in found.items()}
        print(json.dumps({"vats": arguments.vats, "ratio": ratio, "openings": runs}))
    else:
        print(f"{'vats':>8} {'file':>9} {'until it runs':>14} {'least':>9} " + "".join(f"{it:>14}" for it in STEPS))
        for count, openings in found.items():
            steps = [median(it.seconds[step] for it in openings) for step in range(len(STEPS))]
            print(
                f"{count:>8,} {sizes[count] / 2**20:>6.1f} MB {1000 * middle[count]:>11.1f} ms "
                f"{1000 * min(it.until_running for it in openings):>6.1f} ms "
                + "".join(f"{1000 * seconds:>11.1f} ms" for seconds in steps)
                + f"  {openings[0].statements} statements"
            )
        print(f"ratio {ratio:.3f}")
    for problem in problems:
        print(f"verify: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
