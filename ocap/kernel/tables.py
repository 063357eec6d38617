"""Write-back tables: rows are read once, changed in memory, and written as their net change.

Owns the rows in memory, which of them differ from the store, and (through the journal) how to
undo the current crank.

Invariants:

1. A row that differs from the store is marked dirty; undoing a change marks it too, since it may
   have been written meanwhile.
2. A row born and deleted between two writes never reaches the store.
3. What the cache says (also: that there is no such row) is what the kernel believes; the store is
   asked only for keys the cache knows nothing of.
4. What does not differ from the store may be forgotten at any time, where rows are never changed in place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

import attrs

from ocap.kernel.items import Item
from ocap.kernel.journal import Journal
from ocap.kernel.rows import ClistRow, Row

K = TypeVar("K")
R = TypeVar("R")
T = TypeVar("T", bound=Row)

CACHE_LIMIT = 100_000
"""Rows kept in memory after a commit, all tables together: some 40 MB. To let go of them takes tens of
milliseconds, which somebody may be waiting for."""

READ_LIMIT = 50_000
"""Rows of vatstores kept in memory within a crank, some 20 MB: a behaviour may look at millions of objects."""

_SOME: Any = object()

RUN_QUEUE = ""
"""The place of the run queue. Other places hold what waits there: a promise's kref, a vat's id."""


class Backend(Protocol):
    """What the core needs of a store. Queries see everything written by `write`."""

    def load(self, table: str, key: Any) -> Any: ...
    def load_clist(self, vat: str, column: str, ref: str) -> ClistRow | None: ...
    def promise_rows(self, vat: str) -> list[ClistRow]: ...
    def load_counters(self) -> dict[str, int]: ...
    def load_place(self, place: str) -> list[tuple[int, Item]]: ...
    def read_vatstore(self, vat: str, key: bytes) -> bytes | None: ...
    def scan_vatstore(
        self, vat: str, start: bytes, end: bytes, limit: int, *, reverse: bool
    ) -> list[tuple[bytes, bytes]]: ...
    def write(self, changes: dict[str, list[tuple[Any, Any]]]) -> None: ...
    def commit(self) -> None: ...

    def deciders(self) -> list[str]: ...
    def decided_by(self, vat: str) -> list[str]: ...
    def clist_rows(self, vat: str, pattern: str, limit: int) -> list[str]: ...
    def imports_after(self, vat: str, kref: str, limit: int) -> list[str]: ...
    def importers(self, kref: str) -> list[str]: ...
    def vats_of(self, subcluster: str) -> list[str]: ...
    def vats(self) -> list[str]: ...
    def held_by_kernel(self) -> Iterator[list[str]]: ...
    def vats_in(self, state: str) -> list[str]: ...
    def subclusters(self) -> list[str]: ...
    def system_subclusters(self) -> list[str]: ...
    def dead_letters(self) -> list[int]: ...
    def dead_letters_beyond(self, count: int, size: int) -> list[int]: ...
    def launching(self) -> list[str]: ...
    def gc_actions_of(self, vat: str) -> list[tuple[str, str]]: ...
    def vatstore_keys(self, vat: str, limit: int) -> list[bytes]: ...


class Table(Generic[K, R]):
    """One table: keys to rows.

    Args:
        journal: what undoes a crank's changes.
        load: reads a row from the store.
        limit: how many rows to keep before some are forgotten (invariant 4); None for no limit.
    """

    __slots__ = ("_absent", "_dirty", "_enough", "_fresh", "_journal", "_limit", "_load", "_rows")

    def __init__(self, journal: Journal, load: Callable[[K], R | None], limit: int | None = None) -> None:
        self._journal = journal
        self._load = load
        self._limit = self._enough = sys.maxsize if limit is None else limit
        self._rows: dict[K, R | None] = {}
        self._dirty: dict[K, None] = {}  # a dict for its order
        self._fresh: set[K] = set()  # keys the store has no row for
        self._absent: list[K] = []  # asked for in vain since the last write; most are never asked for again

    def get(self, key: K) -> R | None:
        try:
            return self._rows[key]
        except KeyError:
            if len(self._rows) > self._enough:
                self._forget_clean()
            row = self._rows[key] = self._load(key)
            if row is None:
                self._absent.append(key)
            return row

    def _forget_clean(self) -> None:
        self._rows = {key: self._rows[key] for key in self._dirty}
        self._absent.clear()
        self._enough = max(self._limit, 2 * len(self._rows))

    def __getitem__(self, key: K) -> R:
        """The row that must be there: its absence would be the kernel's own mistake."""
        row = self._rows.get(key)
        if row is None:
            row = self.get(key)
            if row is None:
                raise KeyError(key)
        return row

    def insert(self, key: K, row: R) -> None:
        """A row under a key that is known to have none."""
        if key not in self._dirty:
            self._fresh.add(key)
        self._journal.note(self._restore, key, None)
        self._restore(key, row)

    def replace(self, key: K, old: R, new: R | None) -> None:
        """Another row, or none, in place of one that the caller knows, whether or not it is in memory."""
        self._journal.note(self._restore, key, old)
        self._restore(key, new)

    def put(self, key: K, row: R | None) -> None:
        """A row, or none, under any key, without reading what was there.

        What was there cannot be brought back once `write` has been called: a crank puts when
        nothing can undo it any more.
        """
        if key in self._rows:
            self._journal.note(self._restore, key, self._rows[key])
        else:
            self._journal.note(self._forget_key, key)
        self._restore(key, row)

    def delete(self, key: K) -> None:
        self._journal.note(self._restore, key, self._rows[key])
        self._restore(key, None)

    def _restore(self, key: K, row: R | None) -> None:
        self._rows[key] = row
        self._dirty[key] = None

    def _forget_key(self, key: K) -> None:
        del self._rows[key]
        del self._dirty[key]

    def take_changes(self) -> list[tuple[K, R | None]]:
        """What differs from the store, to be written now; None stands for a deleted row."""
        rows, fresh, changes = self._rows, self._fresh, []
        for key in self._dirty:
            row = rows[key]
            if row is None:
                del rows[key]
                if key in fresh:
                    continue
            changes.append((key, row))
        for key in self._absent:
            if rows.get(key, _SOME) is None:
                del rows[key]
        self._absent.clear()
        self._dirty.clear()
        fresh.clear()
        self._enough = self._limit
        return changes

    def __len__(self) -> int:
        """How many rows are in memory."""
        return len(self._rows)

    def clear(self) -> None:
        """Between cranks, with nothing dirty: let go of all rows."""
        self._rows.clear()
        self._absent.clear()


class RowTable(Table[K, T]):
    """A table whose rows are changed in place: `edit`, then assign."""

    __slots__ = ("_fields", "_fields_of")

    def __init__(self, journal: Journal, load: Callable[[K], T | None], kind: type[T]) -> None:
        super().__init__(journal, load)
        self._fields = [it.name for it in attrs.fields(kind) if it.name != "unit"]
        self._fields_of: Callable[[T], tuple[Any, ...]] = attrgetter(*self._fields)

    def insert(self, key: K, row: T) -> None:
        row.unit = self._journal.unit  # undoing the insertion undoes every later change
        super().insert(key, row)

    def edit(self, key: K, row: T) -> T:
        """Before fields of `row` are assigned: the journal keeps it as it is. Gives the row back."""
        unit = self._journal.unit
        if row.unit != unit:
            row.unit = unit
            self._journal.note(self._restore_fields, key, row, self._fields_of(row))
        self._dirty[key] = None
        return row

    def _restore_fields(self, key: K, row: T, values: tuple[Any, ...]) -> None:
        for name, value in zip(self._fields, values, strict=True):
            setattr(row, name, value)
        self._dirty[key] = None
