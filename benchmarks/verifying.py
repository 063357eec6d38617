"""`python -m benchmarks.verifying N`: how fast `verify` reads a store.

One vat holds N references to objects of another, in two stores: to objects on the heap, whose books the
kernel keeps, and to durable ones, which have rows that refer to them too. Given are the rows of all
tables and how many of them are verified in a second of processor time, which other programs do not shorten.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import process_time

import trio

from benchmarks.vats.gatherer import MANY
from ocap import ClusterConfig, E, Kernel, VatConfig
from ocap.store.rowmap import MAPPINGS
from ocap.store.sqlite import open_read_only
from ocap.verify import verify

_GATHERER = "benchmarks.vats.gatherer"


async def gather(path: Path, count: int, *, is_durable: bool) -> None:
    """A store in which one vat holds `count` references."""
    async with Kernel(path, durability="none") as kernel:
        vats = {name: VatConfig(_GATHERER) for name in ("gatherer", "peer")}
        cluster = await kernel.launch_subcluster(ClusterConfig("gatherer", vats))
        for _ in range(0, count, 10 * MANY):
            await E(cluster.root).gather(10, is_durable, is_durable)


def rows_of(path: Path) -> int:
    db = open_read_only(path)
    counts: list[int] = [int(str(db.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])) for table in MAPPINGS]  # noqa: S608 - our own names
    db.close()
    return sum(counts)


def measure(path: Path) -> tuple[int, float]:
    """The rows of a store, and the seconds that it takes to verify them: the best of three."""
    best = float("inf")
    for _ in range(3):
        start = process_time()
        problems = verify(path)
        best = min(best, process_time() - start)
        if problems:
            raise RuntimeError(f"the store is broken: {problems[0]}")
    return rows_of(path), best


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verifying", description="How fast a store is verified.")
    parser.add_argument("count", metavar="N", type=int, nargs="?", default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(".run"), help="where the stores are made (default .run)")
    arguments = parser.parse_args(given)
    if arguments.count < 10 * MANY or arguments.count % (10 * MANY):
        parser.error(f"N must be a multiple of {10 * MANY}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for is_durable in (False, True):
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="verify-") as folder:
            path = Path(folder, "kernel.db")

            async def run(path: Path = path, is_durable: bool = is_durable) -> None:
                await gather(path, arguments.count, is_durable=is_durable)

            trio.run(run)
            rows, seconds = measure(path)
            name = "durable objects" if is_durable else "objects on a heap"
            print(f"{arguments.count:,} {name}: {rows:,} rows, {rows / seconds:,.0f} a second")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
