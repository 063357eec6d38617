"""Cranks, each a unit of work: how one begins, and ends whole or undone.

Owns the numbers of cranks, and what is to become of workers.

Invariants:

1. A crank's changes are kept whole or undone whole, and its effects with them.
2. Each crank has one number, also when it faults.
"""

from __future__ import annotations

from attrs import define, field, frozen

from ocap.kernel.items import Item, UpgradeVat
from ocap.kernel.lifecycle import Lifecycle
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.state import State
from ocap.kernel.subclusters import Subclusters
from ocap.protocol import deliveries, syscalls
from ocap.protocol.refs import VatId


@frozen
class Crank:
    """One step of the kernel.

    Attributes:
        number: from 1.
        cause: the crank that queued what this one took up; 0 for the host.
        vat: who must answer `delivery`; None if the crank is over already.
        item: what was taken from the queue, if anything.
        kernel_side: the delivery in krefs, for the log.
        is_upgrade: the delivery is for a new worker beside the vat's own, which goes on if the new one fails.
    """

    number: int
    cause: int
    vat: VatId | None = None
    delivery: deliveries.Delivery | None = None
    item: Item | None = None
    kernel_side: deliveries.Delivery | None = field(default=None, eq=False)

    @property
    def is_upgrade(self) -> bool:
        return isinstance(self.item, UpgradeVat)


@define(eq=False)
class Cranks:
    """The unit of work under way."""

    _state: State
    _counts: Refcounts
    _lifecycle: Lifecycle
    _subclusters: Subclusters
    running: set[str] = field(init=False, factory=set)
    """Vats that have a worker, and the endpoints that need none."""
    stopped: list[VatId] = field(init=False, factory=list)
    """Vats whose worker is to be discarded at once: its heap is not to be used again."""
    upgraded: list[tuple[VatId, bool]] = field(init=False, factory=list)
    """Upgrades that are over, and whether the new worker takes the place of the old one."""
    panic: str | None = field(init=False, default=None)
    """Why the kernel must stop, once what was kept is committed."""

    def begin(self, cause: int) -> None:
        """A crank begins, of which `cause` queued what it takes up."""
        self._state.begin(self._state.next_number("crank"), cause)

    def end(self) -> None:
        """Settle accounts, and keep what was done."""
        if self._state.answered:
            self._subclusters.conclude_launches()
        self._counts.settle_accounts()
        self._state.keep()
        while self._lifecycle.terminated:
            vat = self._lifecycle.terminated.pop()
            if vat in self.running:
                self.discard_worker(vat)

    def undo(self) -> None:
        """Take everything since the last `end` back."""
        self._state.rollback()

    def complain(self, crank: Crank, outcome: syscalls.Outcome) -> None:
        """What the vat logged, for the log."""
        for line in outcome.log:
            self._state.tell("log", crank.vat, line)
        for error_id, text in outcome.complaints:
            self._state.tell("error", crank.vat, f"{error_id}\n{text}")

    def discard_worker(self, vat: VatId) -> None:
        self.running.discard(vat)
        self.stopped.append(vat)
