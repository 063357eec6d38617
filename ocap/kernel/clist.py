"""A vat's clist: its names for what it can reach, and the kernel's names for the same things.

Owns the rows of one vat.

Invariants:

1. A bijection: one kref, one vref.
2. An import's row counts for the object (`refcounts`); an export's does not, a promise's always.
3. The store is asked only for names it can know: a kref born since the cache was last emptied
   has no row there that the cache lacks.
"""

from __future__ import annotations

from collections.abc import Container

from ocap.kernel.journal import Journal
from ocap.kernel.rows import ClistRow
from ocap.kernel.tables import Backend
from ocap.protocol.refs import Kref, VatId, Vref, is_promise_vref, is_well_formed_vref


class Clist:
    """The two maps of one vat."""

    __slots__ = (
        "_born",
        "_by_kref",
        "_by_vref",
        "_changed",
        "_departed",
        "_dirty",
        "_fresh",
        "_journal",
        "_load",
        "_load_promises",
        "_promises_known",
        "vat",
    )

    def __init__(
        self, vat: VatId, journal: Journal, backend: Backend, born: Container[str], changed: dict[str, Clist]
    ) -> None:
        self.vat = vat
        self._load = backend.load_clist
        self._load_promises = backend.promise_rows
        self._promises_known = False
        self._changed = changed  # where a clist with rows to write enters itself
        self._journal = journal
        self._born = born
        self._by_kref: dict[str, ClistRow | None] = {}
        self._by_vref: dict[str, ClistRow | None] = {}
        self._dirty: dict[str, None] = {}
        self._fresh: set[str] = set()
        self._departed: list[str] = []

    def by_kref(self, kref: str) -> ClistRow | None:
        try:
            return self._by_kref[kref]
        except KeyError:
            if kref in self._born:
                return None
            return self._learn(self._by_kref, kref, self._load(self.vat, "kref", kref))

    def by_vref(self, vref: str) -> ClistRow | None:
        try:
            return self._by_vref[vref]
        except KeyError:
            if not is_well_formed_vref(vref):
                return None  # a vat may name anything: not every text is fit to look for
            if is_promise_vref(vref):
                if self._promises_known:
                    return None
                self._learn_promises()
                return self._by_vref.get(vref)
            return self._learn(self._by_vref, vref, self._load(self.vat, "vref", vref))

    def _learn_promises(self) -> None:
        """Every send names a new promise, and few promises are pending: know them all."""
        for row in self._load_promises(self.vat):
            if row.vref not in self._by_vref:
                self._learn(self._by_vref, row.vref, row)
        self._promises_known = True

    def _learn(self, index: dict[str, ClistRow | None], ref: str, row: ClistRow | None) -> ClistRow | None:
        if row is None:
            index[ref] = None
            return None
        # The other index may know a newer state of the same row.
        known = self._by_kref.get(row.kref, row) if index is self._by_vref else self._by_vref.get(row.vref, row)
        if known is None:
            index[ref] = None
            return None
        self._by_kref[known.kref] = self._by_vref[known.vref] = known
        return known

    def add(self, kref: Kref, vref: Vref) -> ClistRow:
        """A new row, reachable. Both names are known to have none."""
        row = ClistRow(self.vat, kref, vref)
        if kref not in self._dirty:
            self._fresh.add(kref)
        self._journal.note(self._restore, kref, vref, None)
        self._restore(kref, vref, row)
        return row

    def remove(self, row: ClistRow) -> None:
        self._journal.note(self._restore, row.kref, row.vref, row)
        self._restore(row.kref, row.vref, None)
        self._departed.append(row.vref)

    def set_reachable(self, row: ClistRow, reachable: bool) -> None:
        self._set(row, "reachable", reachable)

    def keep(self, row: ClistRow, *, decision: bool) -> None:
        """Let a promise's name outlive the incarnation."""
        self._set(row, "decided" if decision else "heard", True)

    def _set(self, row: ClistRow, field: str, value: bool) -> None:
        self._journal.note(self._restore_field, row, field, getattr(row, field))
        self._restore_field(row, field, value)

    def _restore(self, kref: str, vref: str, row: ClistRow | None) -> None:
        self._by_kref[kref] = self._by_vref[vref] = row
        self._dirty[kref] = None
        self._changed[self.vat] = self

    def _restore_field(self, row: ClistRow, field: str, value: bool) -> None:
        setattr(row, field, value)
        self._dirty[row.kref] = None
        self._changed[self.vat] = self

    def take_changes(self) -> list[tuple[tuple[VatId, str], ClistRow | None]]:
        changes: list[tuple[tuple[VatId, str], ClistRow | None]] = []
        for kref in self._dirty:
            row = self._by_kref[kref]
            if row is None:
                del self._by_kref[kref]
                if kref in self._fresh:
                    continue
            changes.append(((self.vat, kref), row))
        for vref in self._departed:
            if self._by_vref.get(vref, self) is None:
                del self._by_vref[vref]
        self._dirty.clear()
        self._fresh.clear()
        self._departed.clear()
        return changes

    def __len__(self) -> int:
        """How many rows are in memory."""
        return len(self._by_kref)
