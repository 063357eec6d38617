"""One case, measured in a process of its own: an anchor, a repetition, an anchor, a repetition, …

A fresh process for each case: what an earlier one left in Python's heap, in caches and in the
collector's oldest generation would otherwise be measured too.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import trio
from attrs import frozen

from benchmarks.anchor import disk_syncs, trio_round_trips
from benchmarks.cases import CASES, Case, Store
from ocap import Kernel


@frozen
class Task:
    """What to measure.

    Attributes:
        size: units of one repetition.
        folder: where a durable store is made.
    """

    case: str
    store: Store
    size: int
    repeat: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.case}/{self.store}"


@frozen
class Repetition:
    """One measured repetition.

    Attributes:
        anchor: trio round trips a second, just before.
        gc_seconds: how much of `seconds` Python's garbage collector took.
        cranks: cranks of the kernel meanwhile.
        memory: bytes by which the process has grown; None where the system does not tell.
    """

    size: int
    seconds: float
    anchor: float
    gc_seconds: float
    cranks: int
    commits: int
    memory: int | None

    @property
    def value(self) -> float:
        """Units a second."""
        return self.size / self.seconds

    @property
    def ratio(self) -> float:
        return self.value / self.anchor


@frozen
class Measurement:
    """All repetitions of one case.

    Attributes:
        syncs: 4 KB writes a second that the disk takes; None for a case in memory.
    """

    task: Task
    unit: str
    repetitions: list[Repetition]
    syncs: float | None

    def of(self, what: Callable[[Repetition], float]) -> tuple[float, float, float]:
        """Median, least and greatest of something over the repetitions."""
        found = [what(repetition) for repetition in self.repetitions]
        return median(found), min(found), max(found)


class CollectorClock:
    """Adds up the time of Python's garbage collector."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._start = perf_counter()
        else:
            self.seconds += perf_counter() - self._start

    @contextmanager
    def running(self) -> Iterator[CollectorClock]:
        gc.callbacks.append(self)
        try:
            yield self
        finally:
            gc.callbacks.remove(self)


class MeasuringError(RuntimeError):
    """The measuring process ended without a result; it has said why."""


def measure(task: Task, progress: Callable[[], None] = lambda: None) -> Measurement:
    """Measure `task` in a new process; `progress` is called after each repetition.

    Raises:
        MeasuringError: a case failed, usually because its result was wrong.
    """
    context = multiprocessing.get_context("spawn")
    news, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(task, sender), name=task.name)
    process.start()
    sender.close()
    try:
        while True:
            try:
                message = news.recv()
            except EOFError:
                raise MeasuringError(f"{task.name} failed; its process tells why above") from None
            if isinstance(message, Measurement):
                return message
            progress()
    finally:
        news.close()
        process.join()


def _report(task: Task, sender: Connection[Any, Any]) -> None:
    with sender:
        sender.send(trio.run(repeat, task, lambda: sender.send(None)))


@contextmanager
def store_at(task: Task) -> Iterator[Path | None]:
    """Where the store of `task` is to be made, while it is needed."""
    if task.store == "memory":
        yield None
        return
    task.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=task.folder, prefix="benchmark-") as folder:
        yield Path(folder, "kernel.db")


async def repeat(task: Task, progress: Callable[[], None]) -> Measurement:
    """Measure in this process."""
    with store_at(task) as path:
        syncs = None if path is None else disk_syncs(path.parent)
        repetitions = []
        async with Kernel(path) as kernel:
            case = CASES[task.case](kernel)
            await warm_up(case, task.size)
            for _ in range(task.repeat):
                repetitions.append(await _once(kernel, case, task.size))
                progress()
        return Measurement(task, case.unit, repetitions, syncs)


async def warm_up(case: Case, size: int) -> None:
    """A tenth of a repetition: code is imported, caches are filled, statements prepared."""
    await case.prepare()
    await case.work(max(case.step, size // 10 // case.step * case.step))
    await case.clear()


async def _once(kernel: Kernel, case: Case, size: int) -> Repetition:
    await kernel.idle()
    gc.collect()
    anchor = await trio_round_trips()
    before, memory = kernel.stats(), resident()
    with CollectorClock().running() as collector:
        start = perf_counter()
        await case.work(size)
        seconds = perf_counter() - start
    after, grown = kernel.stats(), resident()
    await case.clear()
    return Repetition(
        size=size,
        seconds=seconds,
        anchor=anchor,
        gc_seconds=collector.seconds,
        cranks=after["cranks"] - before["cranks"],
        commits=after["commits"] - before["commits"],
        memory=None if memory is None or grown is None else grown - memory,
    )


def resident() -> int | None:
    """Bytes of memory that the process holds."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
