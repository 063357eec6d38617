"""Cycles across vats: what keeps itself alive through several vats and nothing else reaches.

Counting cannot find these. On request every running vat is asked, in a crank of its own, which of
its exports lead to which references; the rest of the kernel's books say what is held from outside.
What no root leads to is taken from its owner, who forgets it; the usual collection does the rest.

Owns the search under way, in memory only: a process that ends leaves nothing half done.

Invariants:

1. Cranks go on between the reports. Every name that crosses the wall meanwhile counts as reached
   (`State.crossed`): an object that could still come to life has to be named to do so.
2. What cannot be asked (a vat without a worker, one that faulted) holds all it imports.
3. A vat forgets an export in the same crank in which the kernel takes it away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice

from ocap.kernel.state import State
from ocap.kernel.vat import VatKeeper
from ocap.protocol import deliveries
from ocap.protocol.refs import HOST, KERNEL, VatId, sort_key

BATCH = 250
"""Exports taken away in one crank."""

Work = tuple[VatId, deliveries.Delivery, deliveries.Delivery]
Edges = tuple[tuple[str, tuple[str, ...]], ...]
Keepers = Callable[[str], VatKeeper]


class CycleSearch:
    """One search at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._to_ask: dict[str, None] = {}
        self._asked: dict[str, None] = {}
        self._edges: dict[str, tuple[str, ...]] = {}
        self._roots: set[str] = set()
        self._garbage: dict[str, dict[str, None]] = {}
        self._has_taken = False
        self.to_reap: list[str] = []
        """Vats that should bring out their dead once all garbage is taken away: they may have found rings of their own."""

    @property
    def is_under_way(self) -> bool:
        return self._state.crossed is not None

    def start(self, running: Collection[str]) -> None:
        """Begin, unless a search is under way."""
        if not self.is_under_way:
            self._to_ask = dict.fromkeys(sorted({*running} - {HOST, KERNEL}, key=sort_key))
            self._asked = {}
            self._edges = {}
            self._roots = set()
            self._state.crossed = set()
            self._has_taken = False

    def next_work(self, running: Collection[str], keeper: Keepers) -> Work | None:
        if not self.is_under_way:
            return None
        while self._to_ask:
            vat = next(iter(self._to_ask))
            del self._to_ask[vat]
            if vat in running:
                return VatId(vat), deliveries.ReportEdges(), deliveries.ReportEdges()
        if self._asked:
            self._judge()
        while self._garbage:
            vat = next(iter(self._garbage))
            taken = self._take(keeper(vat)) if vat in running else []
            if taken:
                self._has_taken = True
                krefs, vrefs = zip(*taken, strict=True)
                return VatId(vat), deliveries.RetireExports(krefs), deliveries.RetireExports(vrefs)
            del self._garbage[vat]
        self._state.crossed = None
        if self._has_taken:  # what the kernel reached no longer may be part of a ring within one vat
            self.start(running)
            return self.next_work(running, keeper)
        return None

    def report(self, keeper: VatKeeper, edges: Edges) -> None:
        """What a vat answered. Names it does not hold are nobody's business."""
        self._asked[keeper.row.id] = None
        for source, targets in edges:
            rows = map(keeper.clist.by_vref, targets)
            krefs = tuple([row.kref for row in rows if row is not None])
            if source == "":
                self._roots.update(krefs)
            else:
                row = keeper.clist.by_vref(source)
                if row is not None:
                    self._edges[row.kref] = krefs

    def _judge(self) -> None:
        """Everything is reported: find what no root leads to."""
        state = self._state
        state.write()
        assert state.crossed is not None
        backend = state.backend
        roots = self._roots | state.crossed | set(backend.held_by_kernel())
        for vat in backend.vats():
            if vat not in self._asked:
                roots.update(backend.clist_rows(vat, "imports", -1))
        reached: set[str] = set()
        waiting = list(roots)
        while waiting:
            kref = waiting.pop()
            if kref not in reached:
                reached.add(kref)
                waiting.extend(self._edges.get(kref, ()))
        self._garbage = {}
        for vat in self._asked:
            lost = [
                kref for kref in backend.clist_rows(vat, "exports", -1) if kref in self._edges and kref not in reached
            ]
            if lost:
                self._garbage[vat] = dict.fromkeys(sorted(lost, key=sort_key))
        self.to_reap = list(self._asked)
        self._asked = {}

    def _take(self, keeper: VatKeeper) -> list[tuple[str, str]]:
        """Take the next exports of a vat away from it."""
        lost = self._garbage[keeper.row.id]
        taken: list[tuple[str, str]] = []
        for kref in list(islice(lost, BATCH)):
            del lost[kref]
            row = keeper.clist.by_kref(kref)
            export = self._state.objects.get(kref)
            if row is not None and export is not None and export.owner == keeper.row.id:
                taken.append((kref, row.vref))
                keeper.orphan(row, export, "it was part of a cycle that nothing reached")
        return taken
