"""When Python's collector runs over everything."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from itertools import count

import pytest
import trio

from ocap import E, Kernel
from ocap.protocol.refs import VatId
from ocap.ring import heap as heaps
from ocap.ring.heap import BLOCKS_A_CRANK, CRANKS_APART, GROWN, LARGE, QUIET, Heap
from tests.ring.clusters import launch


@pytest.fixture
def full_runs() -> Iterator[list[int]]:
    """A list that grows by one with every full run of the collector."""
    runs: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            runs.append(1)

    gc.callbacks.append(note)
    yield runs
    gc.callbacks.remove(note)


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks the heap is said to have."""
    said = [LARGE // 2]
    monkeypatch.setattr(sys, "getallocatedblocks", lambda: said[0])
    return said


def test_runs_are_as_far_apart_as_they_are_long(full_runs: list[int], blocks: list[int]) -> None:
    cranks = count()
    runs = []
    for blocks[0] in (LARGE // 10, LARGE // 2):
        heap = Heap(lambda: next(cranks), lambda: 0)
        heap.collect()
        full_runs.clear()
        runs.append(0)
        while not full_runs:
            heap.collect()
            runs[-1] += 1
    assert [CRANKS_APART + LARGE // 10 // BLOCKS_A_CRANK, CRANKS_APART + LARGE // 2 // BLOCKS_A_CRANK] == runs


def test_a_large_heap_waits_for_rest(full_runs: list[int], blocks: list[int]) -> None:
    heap = Heap(lambda: 0, lambda: 0)
    blocks[0] = LARGE + 1
    heap.collect()
    assert ([], True) == (full_runs, heap.is_owed)
    heap.collect_all()
    assert ([1], False) == (full_runs, heap.is_owed)


def test_a_heap_that_has_grown_many_times_over_does_not_wait(full_runs: list[int], blocks: list[int]) -> None:
    now = 0
    heap = Heap(lambda: now, lambda: 0)
    blocks[0] = 2 * LARGE
    heap.collect_all()
    full_runs.clear()
    for times, expected in ((GROWN, ([], True, True)), (GROWN**2, ([1], False, False))):
        for blocks[0] in (2 * LARGE * times - 1, 2 * LARGE * times):
            now += 100 * LARGE
            heap.collect()
        assert expected == (full_runs, heap.is_owed, heap.is_pressing)


def test_at_work_python_begins_no_full_run_of_its_own() -> None:
    usual = gc.get_threshold()
    one, other = (Heap(lambda: 0, lambda: 0) for _ in range(2))
    one.work()
    other.work()
    assert (usual[:2], True) == (gc.get_threshold()[:2], gc.get_threshold()[2] > 1_000_000)
    one.rest()
    assert gc.get_threshold()[2] > 1_000_000
    other.rest()
    assert usual == gc.get_threshold()


async def test_what_is_owed_is_done_when_the_kernel_is_quiet(
    full_runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heaps, "LARGE", 0)
    usual = gc.get_threshold()
    async with Kernel() as kernel:
        _, root, _ = await launch(kernel)
        kernel._heap.collect_all()
        kernel._core.collector.schedule_reap(VatId("v1"))
        full_runs.clear()
        await E(root).echo(1)
        assert ([], True) == (full_runs, kernel._heap.is_owed)
        await kernel.idle()
        assert usual == gc.get_threshold()
        await trio.sleep(2 * QUIET)
        assert [1] == full_runs
        assert not kernel._heap.is_owed
    assert usual == gc.get_threshold()
