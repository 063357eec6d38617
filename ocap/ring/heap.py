"""When Python's own collector runs: rarely, since every run walks the heaps of all vats at once.

A vat that brings out its dead wants cycles on its heap gone first. One run serves every vat of the
process, so it is skipped when the last one is recent. How recent is counted in cranks, not seconds:
two runs of the same program collect at the same cranks.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

CRANKS_APART = 1000
CRANKS_APART_PER_VAT = 100
"""A run takes some 10 ms and 0.08 ms more a running vat: this keeps it below a microsecond or two a crank
for many vats, and below ten for few."""


class Heap:
    """The process's heap.

    Args:
        cranks: how many cranks were run so far.
        vats: how many vats are running.
    """

    def __init__(self, cranks: Callable[[], int], vats: Callable[[], int]) -> None:
        self._cranks = cranks
        self._vats = vats
        self._next = 0

    def collect(self) -> None:
        """Run the collector, unless it ran a short while ago."""
        now = self._cranks()
        if now >= self._next:
            self._next = now + CRANKS_APART + CRANKS_APART_PER_VAT * self._vats()
            gc.collect()

    def demand(self) -> None:
        """Run the collector when a vat next asks for it."""
        self._next = 0
