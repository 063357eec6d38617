"""All the kernel knows, as one object: tables, clists, queue, counters, and how to undo or keep them.

Owns the unit of work: a crank, or a change between cranks. `rollback` undoes it, `keep` ends it well,
`write` hands the store what changed (queries then see it), `commit` makes it last. Its effects share
its fate, and wait for the commit.

Invariants:

1. An id is allocated from a persisted counter and never given twice.
2. `born` holds the krefs allocated since the caches were last emptied: about these the store
   knows nothing the caches do not.
"""

from __future__ import annotations

from typing import Any

from ocap.kernel.clist import Clist
from ocap.kernel.effects import Effect, Event
from ocap.kernel.gc_actions import GcActions, GcKey
from ocap.kernel.journal import Journal
from ocap.kernel.queue import Queue, QueueRow
from ocap.kernel.rows import DeadLetterRow, FacetRow, ObjectRow, PromiseRow, SubclusterRow, VatRow
from ocap.kernel.tables import CACHE_LIMIT, READ_LIMIT, Backend, RowTable, T, Table
from ocap.protocol.refs import Kref, SubclusterId, VatId, object_kref, promise_kref, subcluster_id, vat_id

Changes = dict[str, list[tuple[Any, Any]]]

BORN_LIMIT = 20_000
"""Names of new objects and promises kept after a commit, most of which are gone again: some 2 MB."""

CLISTS_A_COMMIT = 16
"""Clists whose sizes a commit may look up, on average."""


class State:
    """The kernel's tables over one store."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.journal = journal = Journal()

        def table(name: str) -> Table[Any, Any]:
            return Table(journal, lambda key: backend.load(name, key))

        def rows(name: str, kind: type[T]) -> RowTable[str, T]:
            return RowTable(journal, lambda key: backend.load(name, key), kind)

        self.objects = rows("objects", ObjectRow)
        self.promises = rows("promises", PromiseRow)
        self.vats = rows("vats", VatRow)
        self.subclusters = rows("subclusters", SubclusterRow)
        self.dead_letters: Table[int, DeadLetterRow] = table("dead_letters")
        self.services: Table[str, Kref] = table("services")
        self.pins: Table[str, bool] = table("pins")
        self.facets: Table[str, FacetRow] = table("facets")
        self.events: Table[str, int] = table("events")
        gc_rows: Table[GcKey, bool] = table("gc_actions")
        self.gc = GcActions(journal, gc_rows, backend.gc_actions_of)
        self.vatstore: Table[tuple[str, bytes], bytes] = Table(
            journal, lambda key: backend.read_vatstore(*key), READ_LIMIT
        )
        self._items: Table[int, QueueRow] = table("queue")
        self._tables: dict[str, Table[Any, Any]] = {
            "objects": self.objects,
            "promises": self.promises,
            "vats": self.vats,
            "subclusters": self.subclusters,
            "dead_letters": self.dead_letters,
            "services": self.services,
            "pins": self.pins,
            "facets": self.facets,
            "events": self.events,
            "gc_actions": gc_rows,
            "vatstore": self.vatstore,
            "queue": self._items,
        }
        self._counters = backend.load_counters()
        self._written_counters = dict(self._counters)
        self.queue = Queue(journal, self._items, backend.load_place, self._counters.get("queue", 1))
        self.born: set[str] = set()
        self.crossed: set[str] | None = None
        """While cycles are searched for: the krefs of objects named by a delivery or syscall."""
        self._clists: dict[str, Clist] = {}
        self._changed: dict[str, Clist] = {}
        self._commits_to_count = 0
        self.crank = 0
        """The number of the crank under way, the cause of whatever it queues; 0 between cranks."""
        self.cause = 0
        """The crank that queued what the one under way took up; 0 for the host."""
        self._effects: list[Effect] = []
        self._kept = 0
        self.maybe_free: dict[str, None] = {}
        """Krefs whose count fell to zero in this crank. A dict for its order."""
        self.launching: dict[str, SubclusterId] = {}
        """Result promises of launches under way."""
        self.answered: list[str] = []
        """Those of them that settled in this crank."""

    # ---- ids ------------------------------------------------------------------------------

    def next_number(self, kind: str) -> int:
        number = self._counters.get(kind, 1)
        self.journal.note(self._counters.__setitem__, kind, number)
        self._counters[kind] = number + 1
        return number

    def counter(self, kind: str) -> int:
        """The number the next `kind` will get."""
        return self._counters.get(kind, 1)

    def new_object(self, owner: VatId) -> Kref:
        kref = object_kref(self.next_number("object"))
        self.born.add(kref)
        self.objects.insert(kref, ObjectRow(kref, owner))
        return kref

    def new_promise(self, decider: VatId | None) -> Kref:
        kref = promise_kref(self.next_number("promise"))
        self.born.add(kref)
        self.promises.insert(kref, PromiseRow(kref, decider))
        self.queue.born(kref)
        return kref

    def new_vat_id(self) -> VatId:
        return vat_id(self.next_number("vat"))

    def new_subcluster_id(self) -> SubclusterId:
        return subcluster_id(self.next_number("subcluster"))

    # ---- clists ---------------------------------------------------------------------------

    def clist(self, vat: str) -> Clist:
        clist = self._clists.get(vat)
        if clist is None:
            clist = self._clists[vat] = Clist(VatId(vat), self.journal, self.backend, self.born, self._changed)
        return clist

    def forget_vat(self, vat: str) -> None:
        """The last trace of a vat goes: nothing of its is looked for again."""
        if vat in self._clists:
            self.journal.note(self._clists.__setitem__, vat, self._clists.pop(vat))
        self.gc.forget(vat)
        self.queue.forget(vat)

    # ---- subscribers ----------------------------------------------------------------------

    def unsubscribe(self, promise: PromiseRow, subscriber: str) -> None:
        """Take a subscriber from a promise. They are copied but once in a unit of work, in which very many may go."""
        if subscriber in promise.subscribers:
            self.promises.edit(promise.kref, promise)
            if promise.copied != self.journal.unit:
                promise.copied = self.journal.unit
                promise.subscribers = promise.subscribers.copy()
            del promise.subscribers[subscriber]

    # ---- effects --------------------------------------------------------------------------

    def emit(self, effect: Effect) -> None:
        """An effect of this unit of work, released by the commit."""
        self._effects.append(effect)

    def tell(self, kind: str, vat: VatId | None, text: str) -> None:
        """Have the message log say what this unit of work did."""
        self._effects.append(Event(self.crank, self.cause, kind, vat, text=text))

    def take_effects(self) -> list[Effect]:
        """The effects of all units of work that were kept."""
        effects, self._effects = self._effects, []
        self._kept = 0
        return effects

    # ---- units of work --------------------------------------------------------------------

    def begin(self, crank: int, cause: int) -> None:
        """What comes now is part of that crank."""
        self.crank = crank
        self.cause = cause

    def rollback(self) -> None:
        """Undo everything since the last `keep`."""
        self.maybe_free.clear()
        self.answered.clear()
        self.journal.rollback()
        del self._effects[self._kept :]

    def keep(self) -> None:
        self.journal.clear()
        self._kept = len(self._effects)

    def write(self) -> None:
        """Bring the store's open transaction up to date, so that queries see every change."""
        changes: Changes = {}
        for name, table in self._tables.items():
            if rows := table.take_changes():
                changes[name] = rows
        clist_rows = [row for clist in self._changed.values() for row in clist.take_changes()]
        self._changed.clear()
        if clist_rows:
            changes["clist"] = clist_rows
        self._counters["queue"] = self.queue.next_seq
        if self._counters != self._written_counters:
            written = self._written_counters
            changes["counters"] = [it for it in self._counters.items() if written.get(it[0]) != it[1]]
            self._written_counters = dict(self._counters)
        if changes:
            self.backend.write(changes)

    def scan_vatstore(
        self, vat: str, start: bytes, end: bytes, limit: int, *, reverse: bool
    ) -> list[tuple[bytes, bytes]]:
        """A vat's entries from `start` up to, not including, `end`, in key order or from the last back."""
        if changes := self.vatstore.take_changes():
            self.backend.write({"vatstore": changes})
        return self.backend.scan_vatstore(vat, start, end, limit, reverse=reverse)

    def _is_crowded(self) -> bool:
        """Whether more rows are in memory than are to be. To count them takes a step for each clist, so with many it is done rarely."""
        self._commits_to_count -= 1
        if self._commits_to_count > 0:
            return False
        self._commits_to_count = len(self._clists) // CLISTS_A_COMMIT
        return sum(map(len, self._tables.values())) + sum(map(len, self._clists.values())) > CACHE_LIMIT

    def commit(self) -> None:
        """Between cranks: everything so far survives whatever happens next."""
        self.write()
        self.backend.commit()
        if self._is_crowded():
            # All at once: `born` vouches for every cache.
            for table in self._tables.values():
                table.clear()
            self._clists.clear()
            self.queue.clear_parked()
            self.born.clear()
        elif len(self.born) > BORN_LIMIT:
            self.born.clear()  # which costs a question to the store for each that is asked for again
