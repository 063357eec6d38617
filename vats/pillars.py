"""What keeps a durable object: durable rows that refer to it, the kernel, or only the heap.

An object that only the heap holds would be left behind in the vatstore when the incarnation ends, as
nobody in the next one knows of it. So it has a marker row, and the next incarnation suspects all it
finds marked. Most objects are made and stored or sent in one crank, and never have one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ocap.protocol import refs
from vats.rows import vref_order

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


class Pillars:
    """The markers of one vat."""

    __slots__ = ("_marked", "_touched", "_vat", "_warned")

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._marked: dict[str, None] = {}
        self._touched: dict[str, None] = {}
        self._warned: set[type[Any]] = set()

    def load(self) -> list[str]:
        """What earlier incarnations held on their heaps alone."""
        marked = [key[1:].decode() for key, _ in self._vat.store.scan(b"u")]
        self._marked.update(dict.fromkeys(marked))
        return marked

    def marked(self) -> Iterable[str]:
        """The durable objects that only the heap holds, as of the last crank."""
        return self._marked

    def touch(self, vref: str) -> None:
        """Something about what keeps an object changed in this crank."""
        if refs.is_vat_allocated(vref) and refs.is_durable(vref) and vref != refs.ROOT:
            self._touched[refs.base_of(vref)] = None

    def warn(self) -> None:
        """Say loudly which durable objects would be lost if the incarnation ended now. Asked for when the vat is reaped."""
        for cls in self._vat.states.heap_only():
            if cls not in self._warned:
                self._warned.add(cls)
                self._vat.log(
                    f"WARNING: a durable {cls.__qualname__} is held only by the heap: neither baggage nor anybody outside "
                    "reaches it, and it will be gone with this incarnation. Keep it in baggage, or in what is reached from there."
                )

    def forget(self, vref: str) -> None:
        """The object is deleted."""
        self._touched.pop(vref, None)
        self._mark(vref, False)

    def settle(self) -> None:
        """At the end of a crank: bring the markers of what was touched up to date."""
        if self._touched:
            for vref in sorted(self._touched, key=vref_order):
                self._mark(vref, not self._vat.rows.is_referenced(vref) and not self._vat.slots.is_reached(vref))
            self._touched.clear()

    def _mark(self, vref: str, heap_only: bool) -> None:
        if heap_only and vref not in self._marked:
            self._marked[vref] = None
            self._vat.store.put(b"u" + vref.encode(), b"")
        elif not heap_only and vref in self._marked:
            del self._marked[vref]
            self._vat.store.put(b"u" + vref.encode(), None)
