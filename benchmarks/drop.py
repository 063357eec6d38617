"""`python -m benchmarks.drop N`: N references are let go of at once; how long does any crank take on that account?

One vat gathers N references to objects of another and drops them in one statement; the host goes on
calling both vats until all are collected, which nobody asks for. Three sorts: objects on the heap,
durable ones, and durable ones that a weak store knows. Given for each phase are the longest crank, by
the clock and by the processor's time (which other programs do not lengthen), the longest run of
Python's collector within a crank and outside, the longest commit, and how long the host waited for an
answer. The baseline is the same calls before there is anything to collect, and what it takes to let go of
as many plain objects that came by message in turn with the references: the difference is what these cost.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeVar

import trio
from attrs import define, field

from benchmarks.vats.gatherer import MANY
from ocap import ClusterConfig, E, Kernel, VatConfig

_GATHERER = "benchmarks.vats.gatherer"
SORTS = {"heap": (False, False), "durable": (True, False), "weak": (True, True)}
BASELINE = 500
"""Calls before anything is dropped."""

T = TypeVar("T")


@define
class Phase:
    """What happened in one part of a run; seconds."""

    name: str
    cranks: int = 0
    clock: float = 0.0
    processor: float = 0.0
    kind: str = ""
    calls: list[float] = field(factory=list)
    collector: float = 0.0
    commit: float = 0.0
    at_rest: float = 0.0

    def note(self, kind: str, clock: float, processor: float) -> None:
        """A crank that delivered something of a kind."""
        self.cranks += 1
        self.clock = max(self.clock, clock)
        if processor > self.processor:
            self.processor, self.kind = processor, kind


class Watch:
    """Times every crank of a kernel, from when it is chosen until what came of it is kept."""

    def __init__(self, kernel: Kernel) -> None:
        self.phase = Phase("start")
        core = kernel._core
        choose, finish, commit = core.next_crank, core.finish, core.commit
        self._start = self._used = 0.0
        began = 0.0
        in_crank = False

        def next_crank() -> Any:
            nonlocal in_crank
            self._start, self._used, in_crank = perf_counter(), process_time(), True
            crank = choose()
            if crank is None or crank.vat is None:
                in_crank = False
                if crank is not None:
                    self.phase.note("routing", perf_counter() - self._start, process_time() - self._used)
            return crank

        def finished(crank: Any, outcome: Any) -> None:
            nonlocal in_crank
            finish(crank, outcome)
            self.phase.note(type(crank.delivery).__name__, perf_counter() - self._start, process_time() - self._used)
            in_crank = False

        def committed() -> Any:
            begun = perf_counter()
            effects = commit()
            self.phase.commit = max(self.phase.commit, perf_counter() - begun)
            return effects

        def collected(event: str, _: dict[str, int]) -> None:
            nonlocal began
            if event == "start":
                began = perf_counter()
            elif in_crank:
                self.phase.collector = max(self.phase.collector, perf_counter() - began)
            else:
                self.phase.at_rest = max(self.phase.at_rest, perf_counter() - began)

        core.next_crank, core.finish, core.commit = next_crank, finished, committed  # type: ignore[method-assign]  # timed here
        self._collected = collected

    def ask(self, question: Callable[[], T]) -> T:
        """Ask something that takes long, such as how many objects there are, as no part of the crank it falls into."""
        start, used = perf_counter(), process_time()
        answer = question()
        self._start += perf_counter() - start
        self._used += process_time() - used
        return answer

    @contextmanager
    def running(self) -> Iterator[None]:
        gc.callbacks.append(self._collected)
        try:
            yield
        finally:
            gc.callbacks.remove(self._collected)

    def begin(self, name: str) -> Phase:
        self.phase = Phase(name)
        return self.phase


async def drop(count: int, sort: str, path: Path, tell: Callable[[Phase], None] = lambda _: None) -> list[Phase]:
    """Gather `count` references of a sort and let go of them.

    Raises:
        RuntimeError: something is left over, or the store is broken; the kernel's fault.
    """
    is_durable, is_recognised = SORTS[sort]
    phases: list[Phase] = []
    async with Kernel(path) as kernel:
        watch = Watch(kernel)

        def begin(name: str) -> Phase:
            if phases:
                tell(phases[-1])
            phases.append(watch.begin(name))
            return phases[-1]

        async def call(phase: Phase) -> None:
            for root in roots:
                start = perf_counter()
                await E(root).ping()
                phase.calls.append(perf_counter() - start)

        with watch.running():
            config = ClusterConfig("gatherer", {"gatherer": VatConfig(_GATHERER), "peer": VatConfig(_GATHERER)})
            cluster = await kernel.launch_subcluster(config)
            root, roots = cluster.root, list(cluster.result.values())
            before = kernel.census()["objects"]
            phase = begin("baseline: calls")
            for _ in range(BASELINE):
                await call(phase)
            begin("gather both")
            for _ in range(0, count // MANY, 10):
                await E(root).gather(10, is_durable, is_recognised)
            await kernel.idle()
            if kernel.census()["objects"] < before + count:
                raise RuntimeError("the references were not gathered")
            begin("let go of plain objects")
            await E(root).let_go_of_plain()
            begin("let go of references")
            await E(root).let_go()
            phase = begin("collection, and calls")
            while watch.ask(kernel.census)["objects"] > before:  # of itself: nobody asks for it
                for _ in range(BASELINE):
                    await call(phase)
            await kernel.idle()
            tell(phase)
            left = kernel.census()["objects"] - before
        problems = kernel.verify()
    if left or problems:
        raise RuntimeError(f"{left} objects are left; verify: {problems[:1]}")
    return phases


def _line(phase: Phase) -> str:
    calls = sorted(phase.calls)
    waited = f"{calls[len(calls) // 2] * 1e3:>7.1f} {calls[-1] * 1e3:>7.1f}" if calls else f"{'':>15}"
    return (
        f"{phase.name:<24} {phase.cranks:>9,} {phase.clock * 1e3:>8.1f} {phase.processor * 1e3:>8.1f}  {phase.kind:<18} {phase.collector * 1e3:>9.1f} "
        f"{phase.at_rest * 1e3:>8.1f} {phase.commit * 1e3:>8.1f}  {waited}"
    )


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drop", description="Let go of N references at once.")
    parser.add_argument("count", metavar="N", type=int, nargs="?", default=100_000)
    parser.add_argument("--sort", choices=SORTS, action="append", help="of objects (default: each)")
    parser.add_argument("--folder", type=Path, default=Path(".run"), help="where the store is made (default .run)")
    arguments = parser.parse_args(given)
    if arguments.count < 10 * MANY or arguments.count % (10 * MANY):
        parser.error(f"N must be a multiple of {10 * MANY}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for sort in arguments.sort or SORTS:
        print(f"{arguments.count:,} {sort}; milliseconds, each the longest of its phase; of calls also the median")
        print(
            f"{'phase':<24} {'cranks':>9} {'crank':>8} {'used':>8}  {'delivering':<18} {'gc in one':>9} {'gc else':>8} {'commit':>8}  {'call':>15}"
        )
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="drop-") as folder:
            trio.run(
                drop, arguments.count, sort, Path(folder, "kernel.db"), lambda phase: print(_line(phase), flush=True)
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
