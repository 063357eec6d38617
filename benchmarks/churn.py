"""`python -m benchmarks.churn N`: N objects are made, called and let go of; store and memory stay flat.

One vat asks another for an object, calls it, and forgets it: two round trips and four cranks each, and
every tenth object is durable. Nobody asks for a collection: what is seen is what the kernel does of
itself. At ten points the rows of every table, the file and the process are measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import apsw
import trio
from attrs import frozen

from benchmarks.measure import CollectorClock, resident
from ocap import ClusterConfig, E, Kernel, VatConfig

CHECKPOINTS = 10
_CHURNER = "benchmarks.vats.churner"


@frozen
class Checkpoint:
    """How large everything was after `done` objects.

    Attributes:
        rows: by table; empty tables are left out.
        file: bytes of the database and its log.
        memory: bytes that the process holds; None where the system does not tell.
    """

    done: int
    seconds: float
    rows: dict[str, int]
    file: int
    memory: int | None


@frozen
class Churn:
    """A whole run; `end` is after a collection that was asked for."""

    checkpoints: list[Checkpoint]
    end: Checkpoint
    gc_seconds: float
    cranks: int


def _rows(path: Path) -> dict[str, int]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        tables = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        counts = {
            table: int(str(connection.execute(f'SELECT count(*) FROM "{table}"').fetchall()[0][0]))  # noqa: S608 - its own names
            for table in sorted(tables)
        }
        return {table: count for table, count in counts.items() if count}
    finally:
        connection.close()


def _bytes(path: Path) -> int:
    return sum(it.stat().st_size for it in path.parent.glob(f"{path.name}*") if not it.name.endswith("-shm"))


async def churn(count: int, path: Path) -> Churn:
    """Make, call and drop `count` objects.

    Raises:
        RuntimeError: an object answered wrongly, or the store is broken; the kernel's fault.
    """
    async with Kernel(path) as kernel:
        config = ClusterConfig("driver", {"driver": VatConfig(_CHURNER), "peer": VatConfig(_CHURNER)})
        root = (await kernel.launch_subcluster(config)).root
        before, seconds, checkpoints = kernel.stats()["cranks"], 0.0, []
        with CollectorClock().running() as collector:
            for index in range(CHECKPOINTS):
                start, stop = count * index // CHECKPOINTS, count * (index + 1) // CHECKPOINTS
                clock = perf_counter()
                total = await E(root).churn(start, stop - start)
                seconds += perf_counter() - clock
                if total != sum(range(start, stop)):
                    raise RuntimeError(f"the objects from {start} to {stop} answered {total} in sum")
                await kernel.idle()
                checkpoints.append(Checkpoint(stop, seconds, _rows(path), _bytes(path), resident()))
            gc_seconds = collector.seconds
        cranks = kernel.stats()["cranks"] - before
        kernel.collect_garbage()
        await kernel.idle()
        end = Checkpoint(count, seconds, _rows(path), _bytes(path), resident())
        problems = kernel.verify()
    if problems:
        raise RuntimeError(f"verify: {problems[0]}")
    return Churn(checkpoints, end, gc_seconds, cranks)


def _line(point: Checkpoint, note: str = "") -> str:
    rows = " ".join(f"{table}={count}" for table, count in point.rows.items())
    memory = "?" if point.memory is None else f"{point.memory / 2**20:.1f}"
    return f"{point.done:>10,} {point.seconds:>8.1f} s {point.file / 2**10:>8,.0f} KB {memory:>7} MB  {rows}{note}"


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.churn", description="Make, call and drop N objects.")
    parser.add_argument("count", metavar="N", type=int, nargs="?", default=200_000)
    parser.add_argument("--folder", type=Path, default=Path(".run"), help="where the store is made (default .run)")
    arguments = parser.parse_args(given)
    if arguments.count < CHECKPOINTS:
        parser.error(f"N must be at least {CHECKPOINTS}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="churn-") as folder:
        done = trio.run(churn, arguments.count, Path(folder, "kernel.db"))
    print(f"{'objects':>10} {'time':>10} {'file':>11} {'memory':>10}  rows")
    for point in done.checkpoints:
        print(_line(point))
    print(_line(done.end, "  (after collect_garbage)"))
    seconds = done.end.seconds
    print(
        f"{arguments.count / seconds:,.0f} objects/s, {done.cranks:,} cranks, {seconds / done.cranks * 1e6:.0f} us a crank; "
        f"Python's collector {done.gc_seconds / seconds:.1%}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
