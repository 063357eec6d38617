"""When Python's own collector runs over everything: rarely, and never while a large heap is at work.

A full run of CPython's collector is one step, which visits every container of the process: about 40 ns
for each allocated block, 80 ms for a million small objects. Nothing makes it shorter, so what is
chosen is when it comes.

Rules:

1. While cranks are run Python does not begin a full run of its own; the young generations, which
   cost microseconds, it collects as ever. When there is nothing to do its own rules hold again.
2. A vat that brings out its dead wants cycles on its heap gone first. One run serves every vat of
   the process, so it is left out when the last one is recent. How recent is counted in cranks and
   in what a run costs, not in seconds: two runs of the same program collect at the same cranks.
3. On a large heap it waits until the kernel has been at rest for a moment. If the heap has grown
   many times over since the last full run, as it may be all cycles, any moment of rest will do; and
   if it has grown so once more, there is none, and no waiting.
4. What the host asks for is done at once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import ClassVar

CRANKS_APART = 1000
CRANKS_APART_PER_VAT = 100
BLOCKS_A_CRANK = 50
"""A crank takes some 100 us, and a full run 40 ns a block: this keeps it to about two per cent of the time."""

LARGE = 500_000
"""Allocated blocks from which a full run may take more than some 30 ms. A small program has 120,000."""

GROWN = 4
"""Times by which a heap has grown when a full run waits no longer for quiet: its memory would have no bound."""

QUIET = 0.1
"""Seconds without work after which the kernel is taken to be at rest."""

_NEVER = 1 << 30  # young collections until Python begins a full run: some months


class Heap:
    """The process's heap.

    Args:
        cranks: how many cranks were run so far.
        vats: how many vats are running.
    """

    _busy: ClassVar[set[int]] = set()  # which heaps of this process are at work: they share one collector
    _usual: ClassVar[tuple[int, int, int]] = gc.get_threshold()

    def __init__(self, cranks: Callable[[], int], vats: Callable[[], int]) -> None:
        self._cranks = cranks
        self._vats = vats
        self._next = 0
        self._expected = LARGE
        self.is_owed = False
        """Whether a full run waits until the kernel is at rest."""
        self.is_pressing = False
        """Whether it waits for any moment of rest, however short."""

    def collect(self) -> None:
        """A vat wants cycles gone: run the collector, unless it ran a short while ago or would take long."""
        now = self._cranks()
        if now < self._next:
            return
        blocks = sys.getallocatedblocks()
        self._next = now + CRANKS_APART + CRANKS_APART_PER_VAT * self._vats() + blocks // BLOCKS_A_CRANK
        if LARGE < blocks < self._expected * GROWN**2:
            self.is_owed = True
            self.is_pressing = blocks >= self._expected * GROWN
            gc.collect(1)
        else:
            self.collect_all()

    def collect_all(self) -> None:
        """A full run, now."""
        gc.collect()
        self.is_owed = self.is_pressing = False
        self._expected = max(LARGE, sys.getallocatedblocks())

    def work(self) -> None:
        """Cranks are run from now on: no full run but ours."""
        if not Heap._busy:
            Heap._usual = gc.get_threshold()
            gc.set_threshold(*Heap._usual[:2], _NEVER)
        Heap._busy.add(id(self))

    def rest(self) -> None:
        """No crank is run for now."""
        Heap._busy.discard(id(self))
        if not Heap._busy:
            gc.set_threshold(*Heap._usual)
