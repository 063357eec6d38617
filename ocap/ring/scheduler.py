"""The scheduler: one task that runs crank after crank and commits them in groups.

Owns the moment of the commit, and so of everything the outside sees.

Invariants:

1. Input from outside is applied between cranks, never inside one, and after everything the
   outside was still to be told: the names in it are then the names both sides know.
2. Effects are released after the commit that covers them, in order.
3. There is no await between taking a crank's outcome and applying it whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from ocap.kernel.core import Core
from ocap.kernel.crank import Crank
from ocap.kernel.effects import Effect
from ocap.protocol.errors import CriticalVatError
from ocap.ring.heap import QUIET, Heap
from ocap.ring.tally import Histogram, Tally
from ocap.ring.watchdog import Doing
from ocap.ring.workers import Workers

GROUP_CRANKS = 256
"""Cranks in one commit at most: beyond some hundred the cost of a commit is lost in theirs."""

GROUP_SECONDS = 0.020
"""Age of the oldest uncommitted crank at most; what a host may wait longer for its answer."""

OWN_WORK, COMMIT, COLLECT = "work of its own", "a commit", "Python's collector"
"""What the kernel does when it runs no vat."""

BREATHE_CRANKS = 32
BREATHE_SECONDS = 0.005
"""Cranks without a vat, and time that they took, after which other tasks are let in."""


class Scheduler:
    """Drives the core.

    Args:
        core: the kernel core.
        release: does what the effects of committed cranks ask for; must not raise or wait.
        heap: is told when there is work.
    """

    def __init__(self, core: Core, release: Callable[[list[Effect]], None], heap: Heap) -> None:
        self._core = core
        self._release = release
        self._heap = heap
        self._inbox: deque[Callable[[], None]] = deque()
        self._to_tell: list[Callable[[], None]] = []
        self._wake = trio.Event()
        self._idle_waiters: list[trio.Event] = []
        self._stopping = False
        self.finished = trio.Event()
        self.cranks = 0
        self.commits = 0
        self.took = Histogram()
        """How long the cranks of vats took, from the choice of the work to its being applied."""
        self.tally: Tally | None = None
        """What is counted, once somebody asks for it."""
        self.spans: dict[int, tuple[float, float]] = {}
        """While the log has messages: when each crank since the last commit began and ended, by trio's clock."""
        self.is_idle = False
        self.doing: Doing = None
        """For whoever watches that it gets on."""

    def submit(self, change: Callable[[], None]) -> None:
        """Have `change` applied to the core between two cranks. It must not raise."""
        self._inbox.append(change)
        self.is_idle = False
        self._wake.set()

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Have `tell` called once all that was done so far is committed. It must not raise."""
        self._to_tell.append(tell)

    def stop(self) -> None:
        """Finish the crank under way, take what was submitted, commit, and end."""
        self._stopping = True
        self._wake.set()

    async def idle(self) -> None:
        """Wait until there is nothing to do and all that was done is committed."""
        if self.finished.is_set() or (self.is_idle and not self._inbox):
            await trio.lowlevel.checkpoint()
            return
        waiter = trio.Event()
        self._idle_waiters.append(waiter)
        await waiter.wait()

    @trio.lowlevel.enable_ki_protection  # Ctrl-C is for the host program, between cranks
    async def run(self, workers: Workers) -> None:
        core = self._core
        breathed = 0.0
        self._heap.work()
        try:
            while not self._stopping:
                self.doing = OWN_WORK
                self._take_input()
                began = trio.current_time()
                crank = core.next_crank()
                while core.stopped:  # by the last crank, by input, or by this one
                    workers.stop(core.stopped.pop())
                if crank is None:
                    await self._rest()
                    continue
                if crank.vat is not None:
                    assert crank.delivery is not None
                    self.doing = crank
                    outcome = await workers.deliver(crank.vat, crank.delivery, beside=crank.is_upgrade)
                    core.finish(crank, outcome)
                    if self.tally is not None:
                        self.tally.crank(crank.vat, crank.delivery, outcome)
                    while core.upgraded:
                        workers.conclude(*core.upgraded.pop())
                    if core.panic is not None:
                        self._commit()
                        raise CriticalVatError(core.panic)
                elif self.cranks % BREATHE_CRANKS == 0 or began >= breathed + BREATHE_SECONDS:
                    breathed = began
                    await trio.lowlevel.checkpoint()
                self._count(crank, began)
            self._take_input()
            self._commit()
        except trio.Cancelled:
            # The crank under way has no outcome and never happened; those before it did.
            core.abandon()
            self._take_input()
            self._commit()
            raise
        finally:
            self.doing = None
            self._heap.rest()
            self.finished.set()
            self._wake_idle()

    def _take_input(self) -> None:
        if not self._inbox:
            return
        if self._core.host_waits:
            self._commit()
        while self._inbox:
            self._inbox.popleft()()

    def _count(self, crank: Crank, began: float) -> None:
        self.cranks += 1
        now = trio.current_time()
        if crank.vat is not None:
            self.took.add(now - began)
            if self.tally is not None:
                self.tally.took(crank.vat, now - began)
        if self._core.traced:
            self.spans[crank.number] = (began, now)
        if self._uncommitted == 0:
            self._deadline = now + GROUP_SECONDS
        self._uncommitted += 1
        if self._uncommitted >= GROUP_CRANKS or now >= self._deadline:
            self._commit()

    _uncommitted = 0
    _deadline = 0.0

    def _commit(self) -> None:
        self.doing = COMMIT
        if self.tally is None:
            effects = self._core.commit()
        else:
            began = trio.current_time()
            effects = self._core.commit()
            self.tally.commits.add(trio.current_time() - began)
        self._uncommitted = 0
        self.commits += 1
        self.doing = OWN_WORK
        self._release(effects)
        self.spans.clear()
        to_tell, self._to_tell = self._to_tell, []
        for tell in to_tell:
            tell()

    async def _rest(self) -> None:
        """Nothing to do: commit, and wait for input. What is released may be the input."""
        self._commit()
        if self._inbox or self._stopping:
            return
        self._wake = trio.Event()
        self.is_idle = True
        self.doing = None
        self._wake_idle()
        self._heap.rest()
        if self._heap.is_owed:
            with trio.move_on_after(0 if self._heap.is_pressing else QUIET):
                await self._wake.wait()
            if not self._wake.is_set():
                self.doing = COLLECT
                self._heap.collect_all()
                self.doing = None
        await self._wake.wait()
        self._heap.work()
        self.is_idle = False

    def _wake_idle(self) -> None:
        for waiter in self._idle_waiters:
            waiter.set()
        self._idle_waiters.clear()
