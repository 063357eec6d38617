"""GC actions: what vats are to be told about their exports and imports, as a set.

Owns the set, by vat. `refcounts` adds to it, `gc` takes from it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice

from ocap.kernel.journal import Journal
from ocap.kernel.rows import GcKind
from ocap.kernel.tables import Table
from ocap.protocol.refs import sort_key

GcKey = tuple[str, str, str]

KINDS: tuple[GcKind, ...] = ("drop_export", "retire_export", "retire_import")
"""In the order in which a vat hears of them."""


class GcActions:
    """What vats are to be told: a set of (vat, kind, kref), by vat and kind."""

    def __init__(
        self, journal: Journal, rows: Table[GcKey, bool], load: Callable[[str], list[tuple[str, str]]]
    ) -> None:
        self._journal = journal
        self._rows = rows
        self._load = load
        # In order, so that to look at the first of very many does not lead over all that were taken away before.
        self._by_vat: dict[str, dict[str, OrderedDict[str, None]]] = {}
        self._active: set[str] = set()
        """Vats that may have actions waiting, as far as is known without asking the store."""
        self._in_order: list[tuple[tuple[str, int], str]] = []  # a heap of these, and of some that were

    def add(self, vat: str, kind: str, kref: str) -> None:
        actions = self._of(vat)[kind]
        if kref not in actions:
            self._rows.insert((vat, kind, kref), True)
            self._journal.note(actions.pop, kref)
            actions[kref] = None
        self.activate(vat)

    def activate(self, vat: str) -> None:
        """The vat may have something waiting."""
        if vat not in self._active:
            self._active.add(vat)
            heappush(self._in_order, (sort_key(vat), vat))

    def deactivate(self, vat: str) -> None:
        """Nothing waits for the vat that it could be told now."""
        self._active.discard(vat)

    def next_active(self) -> str | None:
        """The first vat, by its number, that may have something waiting."""
        while self._in_order and self._in_order[0][1] not in self._active:
            heappop(self._in_order)
        return self._in_order[0][1] if self._in_order else None

    def remove(self, vat: str, kind: str, kref: str) -> None:
        actions = self._of(vat)[kind]
        self._rows.replace((vat, kind, kref), True, None)
        self._journal.note(actions.__setitem__, kref, None)
        del actions[kref]

    def first(self, vat: str, kind: str, limit: int) -> list[str]:
        """Some of what the vat is to be told, the longest waiting first."""
        return list(islice(self._of(vat)[kind], limit))

    def wait_for(self, vat: str) -> bool:
        """Whether anything waits to be told to the vat."""
        return any(self._of(vat).values())

    def discard(self, vat: str, kref: str) -> None:
        """The vat's entry for `kref` goes: there is nothing more to tell about it."""
        for kind, actions in self._of(vat).items():
            if kref in actions:
                self.remove(vat, kind, kref)

    def clear(self, vat: str) -> None:
        """The vat is dead: there is nobody to tell."""
        for kind, actions in self._of(vat).items():
            for kref in list(actions):
                self.remove(vat, kind, kref)

    def forget(self, vat: str) -> None:
        """The vat is gone, and nothing waits for it."""
        if vat in self._by_vat:
            self._journal.note(self._by_vat.__setitem__, vat, self._by_vat.pop(vat))

    def _of(self, vat: str) -> dict[str, OrderedDict[str, None]]:
        actions = self._by_vat.get(vat)
        if actions is None:
            actions = self._by_vat[vat] = {kind: OrderedDict() for kind in KINDS}
            for kind, kref in self._load(vat):
                actions[kind][kref] = None
        return actions
