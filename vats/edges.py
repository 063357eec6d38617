"""What leads to what inside a vat: which of its exports reach which references, and what else does.

For the kernel's search for cycles across vats. A pinned export is alive because the kernel may reach
it; whether anything else keeps it is a question that Python's own collector answers for cycles: an
object has a holder outside a set if it has more references than come from within the set. So the
set here is the closure of the pinned exports, and what has references from elsewhere (a module, a
suspended behaviour, C code) is a root. Whatever cannot be looked into counts as a holder outside:
the answer may keep too much, never too little.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from ocap.protocol import refs
from vats.kinds import STORE_KINDS
from vats.presence import Presence
from vats.rows import SCALARS, vref_order
from vats.sweeping import names_in_store

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

Edges = tuple[tuple[str, tuple[str, ...]], ...]
"""From a vref, or from "" for what holds without being held, to the vrefs it reaches."""

ROOTS = ""

_LEAVES = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType)


def report_edges(vat: Liveslots) -> Edges:
    """Every reference the kernel knows, by what reaches it without passing another export."""
    vat.collect()
    heap = _Heap(vat)
    rows = _Rows(vat)
    roots = set(heap.rooted_names())
    roots |= vat.rows.names_in_watches()
    found: dict[str, set[str]] = {ROOTS: rows.closure({*roots, vat.baggage_vref})}
    for vref, export in vat.slots.pinned.items():
        found[vref] = rows.closure(heap.names_from(export))
    for vref in vat.slots.reached_off_heap():
        found[vref] = rows.closure(rows.named_by(vref))
    return tuple((vref, tuple(sorted(names, key=vref_order))) for vref, names in found.items())


class _Heap:
    """The objects that the pinned exports reach, and which of them are held from elsewhere too."""

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._objects: dict[int, Any] = {}
        self._children: dict[int, list[int]] = {}
        inside = self._explore()  # whose own variables are gone when references are counted
        self._rooted = self._closure([key for key in self._objects if self._references(key) > inside[key]])

    def _explore(self) -> dict[int, int]:
        """Find the closure of the pinned exports; how many references to each object come from within."""
        inside: dict[int, int] = {}
        waiting = list(self._vat.slots.pinned.values())
        for export in waiting:
            inside[id(export)] = inside.get(id(export), 0) + 1  # the pin itself
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

    def _closure(self, keys: Iterable[int]) -> set[int]:
        seen: set[int] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key not in seen:
                seen.add(key)
                waiting.extend(self._children[key])
        return seen

    def rooted_names(self) -> set[str]:
        """What is held by anything but pinned exports: references found from elsewhere, or not found at all."""
        names = {name for key in self._rooted if (name := self._name(self._objects[key]))}
        for vref, alive in self._vat.slots.alive():
            if id(alive) not in self._objects:
                names.add(vref)
        return names

    def names_from(self, export: Any) -> set[str]:
        """The references that an export reaches, each path ending at the first one."""
        names: set[str] = set()
        seen = {id(export)}
        waiting = list(self._children[id(export)])
        while waiting:
            key = waiting.pop()
            if key in seen:
                continue
            seen.add(key)
            name = self._name(self._objects[key])
            if name is not None:
                names.add(name)
            else:
                waiting.extend(self._children[key])
        return names

    def _name(self, thing: Any) -> str | None:
        if type(thing) is Presence or getattr(thing, "_ocap_vat", None) is self._vat:
            vref: str | None = thing._ocap_vref
            return vref
        return None


class _Rows:
    """The references in rows."""

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._named: dict[str, frozenset[str]] = {}

    def named_by(self, vref: str) -> frozenset[str]:
        """The references in the rows of an off-heap object."""
        if vref not in self._named:
            kind, number = refs.durable_parts(vref)
            if kind in STORE_KINDS:
                own = self._vat.store.virtual if refs.is_virtual(vref) else b""
                self._named[vref] = names_in_store(self._vat, number, own)
            else:
                self._named[vref] = self._vat.rows.names_in_object(vref)
        return self._named[vref]

    def closure(self, names: Iterable[str]) -> set[str]:
        """`names`, with what off-heap objects among them reach that the kernel does not know itself."""
        known: set[str] = set()
        seen: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            has_rows = refs.is_off_heap(name)
            if not has_rows or self._vat.slots.is_reached(name):
                known.add(name)
            if has_rows and not self._vat.slots.is_reached(name):
                waiting.extend(self.named_by(name))
        return known
