"""What leads to what inside a vat: which of its exports reach which references, and what else does.

For the kernel's search for cycles across vats, and for cycles within this one. The kernel reaches an
export by a pin, rows reach a heap exo by a hold; whether anything else keeps it is a question that
Python's own collector answers for cycles: an object has a holder outside a set if it has more
references than come from within the set. So the set here is the closure of what is pinned and held,
and what has references from elsewhere (a module, a suspended behaviour, C code) is a root. Whatever
cannot be looked into counts as a holder outside: the answer may keep too much, never too little.

A path goes through Python's objects and through rows, and ends at the first name that the kernel
knows: an import, or an export that it reaches, from which it goes on by itself. What several paths
go through gets a name for this report alone, and is told once: a report is as long as the heap is
large, however much is shared.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from ocap.protocol import refs
from ocap.protocol.marshal import Remotable
from vats.kinds import STORE_KINDS
from vats.offheap import OffHeap
from vats.presence import Presence
from vats.rows import SCALARS, vref_order
from vats.sweeping import names_in_store

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

Edges = tuple[tuple[str, tuple[str, ...]], ...]
"""From a vref, from `ROOTS` or from a name of the report's own, to such names and vrefs. Of one there may be several."""

ROOTS = ""
"""What holds without being held."""

INNER = "#"
"""What a name of the report's own begins with: something between that the kernel does not know."""

MANY = 1000
"""Names in one edge at most, so that a long list is thought over in slices."""

_LEAVES = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType)

_Node = int | str
"""A Python object, by its id, or what has a name, by that: an off-heap object by that of the whole, not of a facet."""


def report_edges(vat: Liveslots) -> Edges:
    """Every reference the kernel knows, by what reaches it without passing another export.

    One step, as Python's collector is: 2 us for each object on this vat's heap, 10 to 25 for each export.
    Off-heap objects that nothing reaches are noted in `vat.slots.lost`, for reaping to delete.
    """
    vat.collect()
    graph = _Graph(vat)
    graph.tell(ROOTS, graph.roots())
    for vref in vat.slots.pinned:
        graph.tell(vref, graph.beyond(vref))
    for vref in vat.slots.reached_off_heap():
        base = refs.base_of(vref)
        graph.tell(vref, graph.beyond(base), *graph.known(base))
    graph.tell_between()
    vat.slots.lost.extend(graph.unreached())
    return tuple(graph.edges)


class _LeafTypes(dict[type, bool]):
    """Whether what is of a type is no step of any path: it holds nothing of the vat's, or is everybody's."""

    def __missing__(self, kind: type) -> bool:
        self[kind] = found = kind in SCALARS or issubclass(kind, _LEAVES)
        return found


class _Graph:
    """Python's objects and rows, and what leads from one to another."""

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._is_leaf = _LeafTypes()
        self._objects: dict[int, Any] = {}
        self._in_rows: dict[str, frozenset[str]] = {}
        self._seen: set[str] = set()
        self._off_heap: set[str] = set()
        self._between: dict[_Node, str] = {}
        self._untold: list[_Node] = []
        self.edges: list[tuple[str, tuple[str, ...]]] = []
        self._inside = self._explore()  # whose own variables are gone when references are counted
        self._rooted = self._held_outside()

    def _explore(self) -> Counter[int]:
        """Find the closure of what is pinned and held; how many references to each object come from within.

        All of a vat's heap may be in it, so each of these lines does its work in C for a whole generation.
        """
        inside: Counter[int] = Counter()
        found = [*self._vat.slots.pinned.values(), *self._vat.rows.held()]
        while found:
            inside.update(map(id, found))  # a pin or hold is a reference like any other
            new = dict(zip(map(id, found), found, strict=True))
            for key in new.keys() & self._objects.keys():
                del new[key]
            self._objects.update(new)
            found = self._referents(new.values())
        return inside

    def _referents(self, things: Iterable[Any]) -> list[Any]:
        is_leaf, vat = self._is_leaf, self._vat
        return [thing for thing in gc.get_referents(*things) if not is_leaf[type(thing)] and thing is not vat]

    def _held_outside(self) -> set[int]:
        """Objects that have more references than come from within, and from the table of them here."""
        probe = object()
        self._objects[id(probe)] = probe
        counts = list(map(sys.getrefcount, self._objects.values()))
        del self._objects[id(probe)]
        ours = counts.pop() - 1  # which is the variable's
        inside = self._inside
        return {key for key, count in zip(self._objects, counts, strict=True) if count - ours > inside[key]}

    def _children(self, key: int) -> list[_Node]:
        found = self._referents((self._objects[key],))
        keys = [*map(id, found)]
        self._objects.update(zip(keys, found, strict=True))  # a finaliser, or Python itself, may have made some since
        return cast("list[_Node]", keys)

    # Where paths begin

    def roots(self) -> list[_Node]:
        """What is held by anything but pins, holds and rows."""
        roots: list[_Node] = [*self._rooted, self._vat.baggage_vref]
        roots += map(refs.base_of, self._vat.rows.names_in_watches())
        for vref, alive in self._vat.slots.alive():
            if id(alive) not in self._objects:
                roots.append(refs.base_of(vref))
            if refs.is_off_heap(vref):
                self._off_heap.add(refs.base_of(vref))
        return roots

    # Where they go

    def tell(self, source: str, start: Iterable[_Node], *also: str) -> None:
        """Edges from `source` to the ends of all paths from `start`, and to these names."""
        ends = dict.fromkeys(also)
        waiting = list(start)
        while waiting:
            node = waiting.pop()
            if isinstance(node, int):
                thing = self._objects[node]
                if type(thing) is Presence and thing._ocap_vat is self._vat:
                    ends[thing._ocap_vref] = None  # as below, but there are many
                    continue
                name = self._name(thing)
                if name is None and self._inside[node] == 1 and node not in self._rooted:
                    waiting += self._children(node)  # no other path leads through here
                    continue
                node = node if name is None else name
            ends.update(dict.fromkeys(self._ends_at(node)))
        names = tuple(ends)
        for first in range(0, len(names) or 1, MANY):
            self.edges.append((source, names[first : first + MANY]))

    def _ends_at(self, node: _Node) -> Iterable[str]:
        if isinstance(node, str):
            self._seen.add(node)
            known = self.known(node)
            if known:
                return known
        if node not in self._between:
            self._between[node] = f"{INNER}{len(self._between)}"
            self._untold.append(node)
        return (self._between[node],)

    def tell_between(self) -> None:
        """Edges from what the kernel does not know and several paths go through."""
        while self._untold:
            node = self._untold.pop()
            self.tell(self._between[node], self._children(node) if isinstance(node, int) else self.beyond(node))

    def _name(self, thing: Any) -> str | None:
        if not issubclass(type(thing), Remotable | OffHeap) or getattr(thing, "_ocap_vat", None) is not self._vat:
            return None
        return None if thing._ocap_vref is None else refs.base_of(thing._ocap_vref)

    def known(self, name: str) -> list[str]:
        """The names by which the kernel can reach an object: of a kit, those of some facets."""
        if not refs.is_vat_allocated(name):
            return [name]
        if not refs.is_off_heap(name):
            return [name] if name in self._vat.slots.pinned else []
        return self._vat.slots.reached_names_of(name)

    def beyond(self, name: str) -> list[_Node]:
        """One step from an object of this vat."""
        if refs.is_off_heap(name):
            if name not in self._in_rows:
                self._in_rows[name] = self._names_in_rows(name)
            return [refs.base_of(vref) for vref in self._in_rows[name]]
        key = id(self._vat.slots.find(name))
        return self._children(key) if key in self._objects else []  # what is not in the closure is a root

    def _names_in_rows(self, name: str) -> frozenset[str]:
        kind, number = refs.durable_parts(name)
        if kind in STORE_KINDS:
            return names_in_store(self._vat, number, self._vat.store.virtual if refs.is_virtual(name) else b"")
        return self._vat.rows.names_in_object(name)

    # Where none leads

    def unreached(self) -> list[str]:
        """The off-heap objects that rows or the objects here refer to, and no path led to."""
        self._off_heap.update(self._vat.rows.referenced_off_heap())
        return sorted(self._off_heap - self._seen, key=vref_order)
