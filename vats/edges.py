"""What leads to what inside a vat: which of its exports reach which references, and what else does.

For the kernel's search for cycles across vats, and for cycles within this one. The kernel reaches an
export by a pin, rows reach a heap exo by a hold; whether anything else keeps it is a question that
Python's own collector answers for cycles: an object has a holder outside a set if it has more
references than come from within the set. So the set here is the closure of what is pinned and held,
and what has references from elsewhere (a module, a suspended behaviour, C code) is a root. Whatever
cannot be looked into counts as a holder outside: the answer may keep too much, never too little.

A path goes through Python's objects and through rows, and ends at the first name that the kernel
knows: an import, or an export that it reaches, from which it goes on by itself.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from ocap.protocol import refs
from ocap.protocol.marshal import Remotable
from vats.kinds import STORE_KINDS
from vats.offheap import OffHeap
from vats.rows import SCALARS, vref_order
from vats.sweeping import names_in_store

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

Edges = tuple[tuple[str, tuple[str, ...]], ...]
"""From a vref, or from "" for what holds without being held, to the vrefs it reaches."""

ROOTS = ""

_LEAVES = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType)

_Node = int | str
"""A Python object, by its id, or what has a name, by that: an off-heap object by that of the whole, not of a facet."""


def report_edges(vat: Liveslots) -> Edges:
    """Every reference the kernel knows, by what reaches it without passing another export.

    Off-heap objects that nothing reaches are noted in `vat.slots.lost`, for reaping to delete.
    """
    vat.collect()
    graph = _Graph(vat)
    found = {ROOTS: graph.reach(graph.roots())}
    for vref in vat.slots.pinned:
        found[vref] = graph.reach(graph.beyond(vref))
    for vref in vat.slots.reached_off_heap():
        found[vref] = graph.reach(graph.beyond(refs.base_of(vref))) | set(graph.known(refs.base_of(vref)))
    vat.slots.lost.extend(graph.unreached())
    return tuple((vref, tuple(sorted(names, key=vref_order))) for vref, names in found.items())


class _Graph:
    """Python's objects and rows, and what leads from one to another."""

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._objects: dict[int, Any] = {}
        self._children: dict[int, list[int]] = {}
        self._in_rows: dict[str, frozenset[str]] = {}
        self._seen: set[str] = set()
        inside = self._explore()  # whose own variables are gone when references are counted
        self._rooted = [key for key in self._objects if self._references(key) > inside[key]]

    def _explore(self) -> dict[int, int]:
        """Find the closure of what is pinned and held; how many references to each object come from within."""
        inside: dict[int, int] = {}
        waiting = [*self._vat.slots.pinned.values(), *self._vat.rows.held()]
        for thing in waiting:
            inside[id(thing)] = inside.get(id(thing), 0) + 1  # the pin or hold itself
        while waiting:
            parent = waiting.pop()
            if id(parent) in self._objects:
                continue
            self._objects[id(parent)] = parent
            children = [child for child in gc.get_referents(parent) if not self._is_leaf(child)]
            self._children[id(parent)] = [id(child) for child in children]
            for child in children:
                inside[id(child)] = inside.get(id(child), 0) + 1
            waiting.extend(children)
        return inside

    def _is_leaf(self, thing: Any) -> bool:
        return type(thing) in SCALARS or isinstance(thing, _LEAVES) or thing is self._vat

    def _references(self, key: int) -> int:
        """How many references there are to an object, but for the one in this table."""
        return sys.getrefcount(self._objects[key]) - 2  # the table's, and the argument of getrefcount

    # Where paths begin

    def roots(self) -> list[_Node]:
        """What is held by anything but pins, holds and rows."""
        roots: list[_Node] = [*self._rooted, self._vat.baggage_vref]
        roots += map(refs.base_of, self._vat.rows.names_in_watches())
        roots += [refs.base_of(vref) for vref, alive in self._vat.slots.alive() if id(alive) not in self._objects]
        return roots

    # Where they go

    def reach(self, start: Iterable[_Node]) -> set[str]:
        """The names known to the kernel at the ends of all paths from `start`."""
        ends: set[str] = set()
        seen: set[_Node] = set()
        waiting = list(start)
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if isinstance(node, int):
                name = self._name(self._objects[node])
                waiting += self._children[node] if name is None else [name]
                continue
            self._seen.add(node)
            known = self.known(node)
            ends.update(known)
            if not known:
                waiting += self.beyond(node)
        return ends

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
        return [*self._children.get(id(self._vat.slots.find(name)), ())]  # what is not in the closure is a root

    def _names_in_rows(self, name: str) -> frozenset[str]:
        kind, number = refs.durable_parts(name)
        if kind in STORE_KINDS:
            return names_in_store(self._vat, number, self._vat.store.virtual if refs.is_virtual(name) else b"")
        return self._vat.rows.names_in_object(name)

    # Where none leads

    def unreached(self) -> list[str]:
        """The off-heap objects that rows or the objects here refer to, and no path led to."""
        candidates = {*self._vat.rows.referenced_off_heap()}
        candidates.update(refs.base_of(vref) for vref, _ in self._vat.slots.alive() if refs.is_off_heap(vref))
        return sorted(candidates - self._seen, key=vref_order)
