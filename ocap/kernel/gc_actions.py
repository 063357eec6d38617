"""GC actions: what vats are to be told about their exports and imports, as a set.

Owns the set, by vat. `refcounts` adds to it, `gc` takes from it.
"""

from __future__ import annotations

from collections.abc import Callable

from ocap.kernel.journal import Journal
from ocap.kernel.rows import GcKind
from ocap.kernel.tables import Table

GcKey = tuple[str, str, str]

KINDS: tuple[GcKind, ...] = ("drop_export", "retire_export", "retire_import")
"""In the order in which a vat hears of them."""


class GcActions:
    """What vats are to be told: a set of (vat, kind, kref), by vat."""

    def __init__(self, journal: Journal, rows: Table[GcKey, bool], load: Callable[[str], list[tuple[str, str]]]) -> None:
        self._journal = journal
        self._rows = rows
        self._load = load
        self._by_vat: dict[str, dict[tuple[str, str], None]] = {}
        self.active: dict[str, None] = {}
        """Vats that may have actions waiting, as far as is known without asking the store."""

    def add(self, vat: str, kind: str, kref: str) -> None:
        actions = self.of(vat)
        if (kind, kref) not in actions:
            self._rows.insert((vat, kind, kref), True)
            self._journal.note(actions.pop, (kind, kref))
            actions[kind, kref] = None
        self.active[vat] = None

    def remove(self, vat: str, kind: str, kref: str) -> None:
        actions = self.of(vat)
        self._rows.replace((vat, kind, kref), True, None)
        self._journal.note(actions.__setitem__, (kind, kref), None)
        del actions[kind, kref]

    def of(self, vat: str) -> dict[tuple[str, str], None]:
        actions = self._by_vat.get(vat)
        if actions is None:
            actions = self._by_vat[vat] = dict.fromkeys(self._load(vat))
        return actions

    def discard(self, vat: str, kref: str) -> None:
        """The vat's entry for `kref` goes: there is nothing more to tell about it."""
        actions = self.of(vat)
        for kind in KINDS:
            if (kind, kref) in actions:
                self.remove(vat, kind, kref)

    def clear(self, vat: str) -> None:
        """The vat is dead: there is nobody to tell."""
        for kind, kref in list(self.of(vat)):
            self.remove(vat, kind, kref)
