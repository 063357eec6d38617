"""Cycles across vats: what keeps itself alive through several vats and nothing else reaches.

Counting cannot find these. On request every running vat is asked, in cranks of its own, which of
its exports lead to which references; the rest of the kernel's books say what is held from outside.
What no root leads to is taken from its owner, who forgets it; the usual collection does the rest.

Owns the search under way, in memory only: a process that ends leaves nothing half done.

Invariants:

1. Cranks go on between the reports, and while they are thought over in slices. Every name that
   crosses the wall meanwhile counts as reached (`State.crossed`): an object that could still come to
   life has to be named to do so. What nothing reaches when that is over, nothing will.
   A vat tells its report in parts, and only whole reports of one incarnation count. Until one is whole
   nothing else is begun that could change that vat's heap: messages for it, and all other collection, wait.
2. What cannot be asked (a vat without a worker, one that faulted) holds all it imports.
3. A vat forgets an export in the same crank in which the kernel takes it away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import chain, islice

from ocap.kernel.rows import VatRow
from ocap.kernel.state import State
from ocap.kernel.vat import VatFault, VatKeeper
from ocap.protocol import deliveries
from ocap.protocol.refs import HOST, KERNEL, VatId, sort_key
from ocap.protocol.syscalls import Outcome

BATCH = 100
"""Exports taken away in one crank."""

MAX_PARTS = 100_000
"""Parts of one report: far more than a heap that fits in memory takes."""

SLICE = 500
"""Names looked at in one crank: 10 to 20 ms."""

ROOTS, INNER = "", "#"
"""In a report: what holds without being held, and how names begin that mean something in that report only."""

Work = tuple[VatId, deliveries.Delivery, deliveries.Delivery]
Edges = tuple[tuple[str, tuple[str, ...]], ...]
Keepers = Callable[[str], VatKeeper]


class CycleSearch:
    """One search at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._to_ask: dict[str, None] = {}
        self._teller: tuple[str, int] | None = None
        self._parts: list[Edges] = []
        self._reports: dict[str, list[Edges]] = {}
        self._judgement: Iterator[None] | None = None
        self._garbage: dict[str, Iterator[str]] = {}
        self._has_taken = False
        self.reporting: VatId | None = None
        """Who is in the middle of its report, and must not run meanwhile."""
        self.to_reap: list[str] = []
        """Vats that should bring out their dead once all garbage is taken away: they may have found rings of their own."""

    @property
    def is_under_way(self) -> bool:
        return self._state.crossed is not None

    def start(self, running: Collection[str]) -> None:
        """Begin, unless a search is under way."""
        if not self.is_under_way:
            self._to_ask = dict.fromkeys(sorted({*running} - {HOST, KERNEL}, key=sort_key))
            self._reports = {}
            self._teller = None
            self._state.crossed = set()
            self._has_taken = False

    def think(self, keeper: Keepers) -> bool:
        """Think some of what was reported over, in a crank of the kernel's own; whether there was any need to."""
        if not self.is_under_way or self._to_ask or self.reporting is not None:
            return False
        if self._reports:
            reports, self._reports = self._reports, {}
            self._judgement = self._judge(reports, keeper)
        if self._judgement is None:
            return False
        self._state.write()
        try:
            next(self._judgement)
        except StopIteration:
            self._judgement = None
        return True

    def next_work(self, running: Collection[str], keeper: Keepers) -> Work | None:
        """Whom to ask, or what to take from whom; None while there is something to think over, or when all is done."""
        if not self.is_under_way:
            return None
        while self.reporting is not None or self._to_ask:
            # Who does not answer with another part is not asked for one.
            vat, self.reporting = self.reporting or VatId(next(iter(self._to_ask))), None
            self._to_ask.pop(vat, None)
            if vat in running:
                return vat, deliveries.ReportEdges(), deliveries.ReportEdges()
        if self._reports or self._judgement is not None:
            return None
        while self._garbage:
            owner = VatId(next(iter(self._garbage)))
            some = list(islice(self._garbage[owner], BATCH))
            if not some or owner not in running:
                del self._garbage[owner]
            elif taken := self._take(keeper(owner), some):
                self._has_taken = True
                krefs, vrefs = zip(*taken, strict=True)
                return owner, deliveries.RetireExports(krefs), deliveries.RetireExports(vrefs)
        self._state.crossed = None
        if self._has_taken:  # what the kernel reached no longer may be part of a ring within one vat
            self.start(running)
            return self.next_work(running, keeper)
        return None

    def check(self, row: VatRow, outcome: Outcome) -> None:
        """Raises `VatFault` for one more part of a report that has no end."""
        if outcome.unfinished and self._teller == (row.id, row.incarnation) and len(self._parts) >= MAX_PARTS:
            raise VatFault("its report of what leads to what has no end")

    def report(self, row: VatRow, edges: Edges, *, is_whole: bool) -> None:
        """What a vat answered, in its own names: some of it, or the last part."""
        teller = row.id, row.incarnation
        if teller != self._teller:
            self._teller, self._parts = teller, []
        self._parts.append(edges)
        if is_whole:
            self._reports[row.id] = self._parts
        else:
            self.reporting = row.id

    def _judge(self, reports: dict[str, list[Edges]], keeper: Keepers) -> Iterator[None]:
        """Find what no root leads to. The store is up to date each time this goes on."""
        state, backend = self._state, self._state.backend
        assert state.crossed is not None
        steps = 0
        waiting: list[str] = []
        edges: dict[str, list[str]] = {ROOTS: waiting}
        exports: dict[str, dict[str, None]] = {}
        for vat, reported in reports.items():
            exports[vat] = {}
            for source, targets in chain.from_iterable(reported):
                name = source and _known(keeper(vat), source)
                if name is None:
                    continue
                if name and not source.startswith(INNER):
                    exports[vat][name] = None
                leads_to = edges.setdefault(name, [])
                for target in targets:
                    known = _known(keeper(vat), target)
                    if known is not None:
                        leads_to.append(known)
                    steps += 1
                    if steps % SLICE == 0:
                        yield
                steps += 1
                if steps % SLICE == 0:
                    yield
        for krefs in backend.held_by_kernel():
            waiting += krefs
            yield
        for vat in backend.vats():
            after: str | None = None if vat in reports else ""
            while after is not None and (page := backend.imports_after(vat, after, SLICE)):
                waiting += page
                after = page[-1]
                yield
        reached: set[str] = set()
        while waiting:
            while waiting:
                kref = waiting.pop()
                if kref not in reached:
                    reached.add(kref)
                    waiting += edges.get(kref, ())
                steps += 1
                if steps % SLICE == 0:
                    yield
            waiting += state.crossed - reached
        for vat, krefs_of in exports.items():
            lost = []
            for kref in krefs_of:
                if kref not in reached:
                    lost.append(kref)
                steps += 1
                if steps % SLICE == 0:
                    yield
            self._garbage[vat] = iter(lost)
        self.to_reap = list(reports)

    def _take(self, keeper: VatKeeper, lost: list[str]) -> list[tuple[str, str]]:
        """Take these exports of a vat away from it, as far as they still are its own."""
        taken: list[tuple[str, str]] = []
        for kref in lost:
            row = keeper.clist.by_kref(kref)
            export = self._state.objects.get(kref)
            if row is not None and export is not None and export.owner == keeper.row.id:
                taken.append((kref, row.vref))
                keeper.orphan(row, export, "it was part of a cycle that nothing reached")
        return taken


def _known(keeper: VatKeeper, name: str) -> str | None:
    """What a name in a vat's report stands for here: a kref, or something within that vat; else nobody's business."""
    if name.startswith(INNER):
        return keeper.row.id + name
    row = keeper.clist.by_vref(name)
    return None if row is None else row.kref
