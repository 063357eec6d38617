"""Recognition: which weak stores know an object, so that their entries go when it does.

Rules:

1. An entry of a weak store has one record, under the name of its key.
2. An import that nothing but weak stores knows is dropped, which a row notes, and not retired.
   When the last entry goes it is retired; when the kernel introduces it again the row goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocap.protocol import refs
from vats.entries import prefix_of
from vats.keys import encode_reference

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


class Recognition:
    """The records of one vat.

    Attributes:
        ceased: imports that a weak store no longer recognises since the last reap, in order.
    """

    __slots__ = ("_any_dropped", "_used", "_vat", "ceased")

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._used: dict[bytes, None] = {}
        """Under what there may be records: most vats have none, and each dead object is asked about."""
        self._any_dropped = False
        self.ceased: dict[str, None] = {}

    def load(self) -> None:
        if self._vat.store.has_any(b"w"):
            self._used[b""] = None
        self._any_dropped = self._vat.store.has_any(b"y")

    @property
    def is_used(self) -> bool:
        """Whether there may be any record."""
        return bool(self._used)

    def note(self, vref: str, number: int, own: bytes, *, is_there: bool) -> None:
        """The weak store `number`, with rows under `own`, has an entry for `vref`, or no longer."""
        key = own + b"w%s %d" % (vref.encode(), number)
        self._vat.store.put(key, b"" if is_there else None)
        if is_there:
            self._used[own] = None
        else:
            self.ceased[vref] = None

    def recognises(self, vref: str) -> bool:
        """Whether any weak store has an entry for `vref`."""
        return any(self._vat.store.has_any(own + b"w%s " % vref.encode()) for own in self._used)

    def forget(self, base: str) -> None:
        """An object is gone: so are the entries about it and its facets."""
        store = self._vat.store
        for own in self._used:
            for separator in (b" ", b":") if refs.is_vat_allocated(base) else (b" ",):
                for key, _ in store.scan(own + b"w" + base.encode() + separator):
                    vref, _, number = key[len(own) + 1 :].rpartition(b" ")
                    entry = prefix_of(own, b"q", int(number)) + encode_reference(vref.decode())
                    self._vat.rows.replace(store.get(entry), None)
                    store.put(entry, None)
                    store.put(key, None)

    # Imports that are only recognised

    def introduced(self, vref: str) -> None:
        """The kernel told of an import for which there was no presence."""
        if self._any_dropped and self.is_dropped(vref):
            self._vat.store.put(b"y" + vref.encode(), None)

    def is_dropped(self, vref: str) -> bool:
        """Whether an import was dropped and not retired."""
        return self._vat.store.get(b"y" + vref.encode()) is not None

    def keep_dropped(self, vref: str) -> None:
        """An import is dropped, and must not be retired yet."""
        self._any_dropped = True
        self._vat.store.put(b"y" + vref.encode(), b"")

    def retire(self, vref: str) -> None:
        """The kernel no longer knows an import of this vat, whoever gave it up."""
        if self.is_dropped(vref):
            self._vat.store.put(b"y" + vref.encode(), None)
