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

A report is told in parts, each found in a crank of its own. Cranks of other vats go on between them;
user code of this vat has none, so that all parts speak of one state of its heap. How many there are
depends on neither addresses nor hash seeds, as what others do goes on meanwhile.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from ocap.protocol import refs
from ocap.protocol.marshal import Remotable
from vats.kinds import STORE_KINDS
from vats.offheap import OffHeap
from vats.presence import Presence
from vats.rows import SCALARS
from vats.slots import Entry
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

STEP = 5000
"""Objects that one step of a report looks at: 10 to 30 ms."""

PRICE = 10
"""What an export costs, or a row, in objects looked at."""

GROUP = 1000
"""Objects looked at together."""

_LEAVES = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType, Entry)

_Node = int | str
"""A Python object, by its id, or what has a name, by that: an off-heap object by that of the whole, not of a facet."""


def report_edges(vat: Liveslots) -> Generator[Edges, None, Edges]:
    """Every reference the kernel knows, by what reaches it without passing another export; some at a time.

    Between two steps the vat must not run: whoever delivers anything else to it begins a new report.
    Off-heap objects that nothing reaches are noted in `vat.slots.lost`, for reaping to delete.
    """
    vat.collect()
    graph = _Graph(vat)
    for _ in graph.walk():
        yield graph.take()
    return graph.take()


class _LeafTypes(dict[type, bool]):
    """Whether what is of a type is no step of any path: it holds nothing of the vat's, is everybody's, or is liveslots itself."""

    def __missing__(self, kind: type) -> bool:
        self[kind] = found = kind in SCALARS or issubclass(kind, _LEAVES)
        return found


class _Graph:
    """Python's objects and rows, and what leads from one to another.

    Its methods that look at many of them are iterators, each step of which is a short one.
    """

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._is_leaf = _LeafTypes({type(part): True for part in vat.machinery()})
        self._objects: dict[int, Any] = {}  # kept alive by this, so that no id is used twice
        self._inside: Counter[int] = Counter()
        self._roots: dict[_Node, None] = {}
        self._seen: set[str] = set()
        self._off_heap: dict[str, None] = {}
        self._between: dict[_Node, str] = {}
        self._untold: list[_Node] = []
        self._edges: list[tuple[str, tuple[str, ...]]] = []
        self._effort = 0

    def take(self) -> Edges:
        """What was found since the last time."""
        edges, self._edges = self._edges, []
        return tuple(edges)

    def walk(self) -> Iterator[None]:
        """Look at everything."""
        yield from self._explore()  # whose own variables are gone when references are counted
        yield from self._find_held_outside()
        yield from self._find_named_roots()
        yield from self._tell(ROOTS, iter(self._roots))
        for vref in list(self._vat.slots.pinned):
            yield from self._tell(vref, self._beyond(vref))
        for vref, is_reached in self._vat.slots.known_off_heap():
            base = refs.base_of(vref)
            if is_reached:
                yield from self._tell(vref, self._beyond(base), *self._known(base))
            elif self._is_enough(PRICE):
                yield
        while self._untold:
            node = self._untold.pop()
            beyond = self._children(node) if isinstance(node, int) else self._beyond(node)
            yield from self._tell(self._between[node], beyond)
        yield from self._find_lost()

    def _is_enough(self, effort: int) -> bool:
        """Whether, with this much more, a step is over."""
        self._effort += effort
        is_enough = self._effort >= STEP
        if is_enough:
            self._effort -= STEP  # not to 0, so that the number of steps does not depend on their order
        return is_enough

    def _explore(self) -> Iterator[None]:
        """Find the closure of what is pinned and held; how many references to each object come from within.

        All of a vat's heap may be in it, so each of these lines does its work in C for a whole group.
        """
        waiting = [[*self._vat.slots.pinned.values(), *self._vat.rows.held()]]
        while waiting:
            found = waiting.pop()
            for first in range(0, len(found), GROUP):
                some = found[first : first + GROUP]
                group = self._relevant(some)
                self._inside.update(map(id, group))  # a pin or hold is a reference like any other
                new = dict(zip(map(id, group), group, strict=True))
                for key in new.keys() & self._objects.keys():
                    del new[key]
                self._objects.update(new)
                if new:
                    waiting.append(gc.get_referents(*new.values()))
                if self._is_enough(len(some)):
                    yield

    def _relevant(self, things: Iterable[Any]) -> list[Any]:
        is_leaf = self._is_leaf
        return [thing for thing in things if not is_leaf[type(thing)]]

    def _find_held_outside(self) -> Iterator[None]:
        """Find the objects that have more references than come from within, and from the table of them here."""
        # What counting adds to a count: of an object that this table alone holds, and a variable.
        probe = object()
        ours = next(map(sys.getrefcount, {0: probe}.values())) - 1
        objects, inside = iter(self._objects.values()), self._inside
        keys = list(self._objects)
        for first in range(0, len(keys), GROUP):
            group = keys[first : first + GROUP]
            counts = list(map(sys.getrefcount, islice(objects, GROUP)))
            self._roots.update(
                (key, None) for key, count in zip(group, counts, strict=True) if count - ours > inside[key]
            )
            if self._is_enough(len(group)):
                yield

    def _find_named_roots(self) -> Iterator[None]:
        """Find what has a name and is held by anything but pins, holds and rows."""
        self._roots[self._vat.baggage_vref] = None
        for names in self._vat.rows.names_in_watches():
            self._roots.update(dict.fromkeys(map(refs.base_of, sorted(names))))
            if self._is_enough(PRICE):
                yield
        for vref, alive in self._vat.slots.alive():
            if refs.is_off_heap(vref):
                self._off_heap[refs.base_of(vref)] = None
            if id(alive) not in self._objects:
                self._roots[refs.base_of(vref)] = None
            if self._is_enough(1):
                yield

    # Where paths go

    def _children(self, key: int) -> Iterator[int]:
        return self._enter_all(gc.get_referents(self._objects[key]))

    def _enter_all(self, things: Sequence[Any]) -> Iterator[int]:
        for first in range(0, len(things), GROUP):
            yield from self._enter(things[first : first + GROUP])

    def _enter(self, things: Iterable[Any]) -> list[int]:
        """The ids of these objects, some of which a finaliser or Python itself may have made since."""
        found = self._relevant(things)
        keys = [*map(id, found)]
        self._objects.update(zip(keys, found, strict=True))
        return keys

    def _tell(self, source: str, start: Iterator[_Node | None], *also: str) -> Iterator[None]:
        """Edges from `source` to the ends of all paths from `start`, and to these names."""
        ends = dict.fromkeys(also)
        later = [start]
        while later:
            nodes = list(islice(later[-1], GROUP))
            if len(nodes) < GROUP:
                later.pop()
            while nodes:
                node = name = nodes.pop()
                if len(ends) >= MANY:
                    self._edges.append((source, tuple(ends)))
                    ends.clear()
                if self._is_enough(PRICE if node is None else 1):
                    yield
                if node is None:
                    continue
                if isinstance(node, int):
                    thing = self._objects[node]
                    if type(thing) is Presence and thing._ocap_vat is self._vat:
                        ends[thing._ocap_vref] = None  # as below, but there are many
                        continue
                    name = self._name(thing)
                    if name is None and self._inside[node] == 1 and node not in self._roots:
                        # No other path leads through here, and so none comes back to it.
                        children = gc.get_referents(thing)
                        if len(children) < GROUP:
                            nodes += self._enter(children)
                        else:
                            later.append(self._enter_all(children))
                        continue
                ends.update(dict.fromkeys(self._ends_at(node if name is None else name)))
        self._edges.append((source, tuple(ends)))
        if self._is_enough(PRICE):
            yield

    def _ends_at(self, node: _Node) -> Iterable[str]:
        self._effort += PRICE
        if isinstance(node, str):
            self._seen.add(node)
            known = self._known(node)
            if known:
                return known
        if node not in self._between:
            self._between[node] = f"{INNER}{len(self._between)}"
            self._untold.append(node)
        return (self._between[node],)

    def _name(self, thing: Any) -> str | None:
        if not issubclass(type(thing), Remotable | OffHeap) or getattr(thing, "_ocap_vat", None) is not self._vat:
            return None
        return None if thing._ocap_vref is None else refs.base_of(thing._ocap_vref)

    def _known(self, name: str) -> list[str]:
        """The names by which the kernel can reach an object: of a kit, those of some facets."""
        if not refs.is_vat_allocated(name):
            return [name]
        if not refs.is_off_heap(name):
            return [name] if name in self._vat.slots.pinned else []
        return self._vat.slots.reached_names_of(name)

    def _beyond(self, name: str) -> Iterator[_Node | None]:
        """One step from an object of this vat; None for each row, to read which takes time of its own."""
        if refs.is_off_heap(name):
            for names in self._rows_of(name):
                yield None
                yield from map(refs.base_of, sorted(names))
            return
        key = id(self._vat.slots.find(name))
        if key in self._objects:  # what is not in the closure is a root
            yield from self._children(key)

    def _rows_of(self, name: str) -> Iterable[AbstractSet[str]]:
        """The names in each of its rows."""
        kind, number = refs.durable_parts(name)
        if kind in STORE_KINDS:
            return names_in_store(self._vat, number, self._vat.store.virtual if refs.is_virtual(name) else b"")
        return (self._vat.rows.names_in_object(name),)

    # Where none leads

    def _find_lost(self) -> Iterator[None]:
        """Note the off-heap objects that rows or the objects here refer to, and no path led to."""
        for name in chain(self._off_heap, self._vat.rows.referenced()):
            if refs.is_off_heap(name) and name not in self._seen:
                self._seen.add(name)
                self._vat.slots.lost.append(name)
            if self._is_enough(PRICE):
                yield
