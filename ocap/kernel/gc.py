"""Garbage collection, the kernel's half.

It tells vats what others no longer reach, and asks them what they no longer reach themselves.

Owns the queue of vats to be reaped, and takes actions from the set in `gc_actions`.

Invariants:

1. An action is checked again when it is taken: a reference introduced meanwhile negates it.
2. One vat and one kind a crank, drops before retirements, so a vat hears of both in that order.
3. A vat without a worker is told when it has one: nobody is started to be told of garbage, unless
   the host asks for everything.
4. Work is cut into batches, and between two batches a queued item has its turn: dropping a million
   references stalls nobody.
5. When the host asks for everything, a vat that is told something is asked again: what it gave up on
   that account is reported too, until nobody has anything more to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from ocap.kernel.gc_actions import KINDS, GcActions
from ocap.kernel.rows import VatRow
from ocap.kernel.vat import VatKeeper
from ocap.protocol import deliveries
from ocap.protocol.refs import HOST, KERNEL, VatId, sort_key

GC_BATCH = 50
"""References in one GC delivery."""

REAP_AFTER = 1000
"""Deliveries after which a vat is asked to bring out its dead. Each asking costs it a full run of
Python's collector; SwingSet, asking after each delivery, spent most of its time there. A kernel and a
vat may have other numbers."""

REFERENCES = 10
"""Times as many new references have a vat asked as well: who is given many in few messages is asked sooner."""

_NEVER = 1 << 60
"""Deliveries that no vat lives to see."""

Work = tuple[VatId, deliveries.Delivery, deliveries.Delivery]
"""Whom, and what in the kernel's names and in the vat's."""


class Collector:
    """Chooses what a vat is to be told or asked next."""

    def __init__(self, actions: GcActions, reap_after: int = REAP_AFTER) -> None:
        self._actions = actions
        self._reap_after = reap_after
        self._until_reap: dict[
            str, tuple[int, int]
        ] = {}  # by vat, deliveries to come, and the reference that comes first
        self._reap: dict[str, bool] = {}  # vats to be asked, and whether to the end
        self._audits: dict[str, str] = {}  # by vat, the last import it was asked about
        self._is_thorough = False
        self.has_more = False
        """Whether the last work was only part of what is due: others may come first now."""

    def started(self, row: VatRow, incarnation: int) -> None:
        """A worker runs the vat now: what waited for that can be told. What it is given counts from now on."""
        self._until_reap[row.id] = self._reap_when(row)
        if incarnation > 0:
            self._audits[row.id] = ""
        if self._actions.wait_for(row.id):
            self._actions.activate(row.id)

    def forget(self, vat: str) -> None:
        """The vat is gone."""
        self._until_reap.pop(vat, None)
        self._audits.pop(vat, None)

    def count_delivery(self, row: VatRow) -> None:
        """The vat took a delivery, which may be the one after which it is to be asked."""
        left, until = self._until_reap[row.id]
        if left == 1 or row.next_import >= until:
            self._until_reap[row.id] = self._reap_when(row)
            self._reap.setdefault(row.id, False)
        else:
            self._until_reap[row.id] = left - 1, until

    def _reap_when(self, row: VatRow) -> tuple[int, int]:
        own = row.options.reap_after
        after = (self._reap_after if own is None else own) or _NEVER
        return after, row.next_import + REFERENCES * after

    def schedule_reap(self, vat: str, *, to_the_end: bool = False) -> None:
        """Ask a vat to bring out its dead; `to_the_end`: it is started for that, and asked for everything."""
        self._reap[vat] = to_the_end or self._reap.get(vat, False)
        self._is_thorough = self._is_thorough or to_the_end

    @property
    def is_due(self) -> bool:
        """Whether there may be anything to tell or ask."""
        return bool(self._reap) or self._actions.next_active() is not None

    def asleep(self, running: Container[str]) -> str | None:
        """The vat that is to be reaped next, if it should be started for that."""
        vat, to_the_end = next(iter(self._reap.items()), ("", False))
        return vat if to_the_end and vat not in running else None

    def give_up(self, vat: str) -> None:
        """The vat cannot be started."""
        self._reap.pop(vat, None)

    def next_work(self, running: Container[str], keeper: Callable[[str], VatKeeper]) -> Work | None:
        """Whom to tell or ask what, in the kernel's names and the vat's."""
        self.has_more = False
        while (vat := self._actions.next_active()) is not None:
            found = self._next_action(keeper(vat)) if vat in running else None
            if found is not None:
                if self._is_thorough and vat not in (HOST, KERNEL):
                    self._reap.setdefault(vat, False)
                return found
            self._actions.deactivate(vat)
        while self._reap and self.asleep(running) is None:
            vat, to_the_end = next(iter(self._reap.items()))
            del self._reap[vat]
            if vat in running:
                krefs, vrefs = self._audit(keeper(vat))
                if to_the_end and vat in self._audits:
                    self._reap[vat] = True
                return VatId(vat), deliveries.BringOutYourDead(krefs), deliveries.BringOutYourDead(vrefs)
        self._is_thorough = self._is_thorough and bool(self._reap)
        return None

    def _audit(self, keeper: VatKeeper) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Imports that an earlier incarnation may have left: the next ones to ask the vat about."""
        vat = keeper.row.id
        after = self._audits.pop(vat, None)
        if after is None:
            return (), ()
        rows = keeper.imports(after, GC_BATCH)
        if len(rows) == GC_BATCH:
            self._audits[vat] = rows[-1].kref
        return tuple([row.kref for row in rows]), tuple([row.vref for row in rows])

    def _next_action(self, keeper: VatKeeper) -> Work | None:
        vat = keeper.row.id
        for kind in KINDS:
            told = []
            batch = self._actions.first(vat, kind, GC_BATCH)
            for kref in sorted(batch, key=sort_key):
                self._actions.remove(vat, kind, kref)
                vref = keeper.take_gc_action(kind, kref)
                if vref is not None:
                    told.append((kref, vref))
            if told:
                self.has_more = len(batch) == GC_BATCH
                delivery = _DELIVERIES[kind]
                return vat, delivery(tuple(kref for kref, _ in told)), delivery(tuple(vref for _, vref in told))
        return None


_DELIVERIES: dict[str, Callable[[tuple[str, ...]], deliveries.Delivery]] = {
    "drop_export": deliveries.DropExports,
    "retire_export": deliveries.RetireExports,
    "retire_import": deliveries.RetireImports,
}
