"""The states of a vat's off-heap objects: read on the first access, written when the crank ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import attrs

from ocap.protocol.errors import NotPassableError
from vats.kinds import Kinds
from vats.rows import SCALARS, vref_order
from vats.schema import VERSION, adapt

if TYPE_CHECKING:
    from vats.liveslots import Liveslots
    from vats.offheap import OffHeap

_set_attribute = object.__setattr__
_MUTABLE = (list, dict, set)

WATCHED = 1000
"""Objects whose state is compared with its row at the end of the crank. Beyond that those that are
no longer in use are compared at once, so that a scan of a million objects does not hold them all."""


MANY_HEAP_ONLY = 1000
"""Objects looked at for a warning: it is given when a vat is reaped, where time is short."""


class States:
    """The states of one vat."""

    __slots__ = ("_is_flushing", "_limit", "_watched", "kinds", "rows", "unnamed", "vat")

    def __init__(self, vat: Liveslots) -> None:
        self.vat = vat
        self.rows = vat.rows
        self.kinds = Kinds(vat)
        self._watched: dict[str, OffHeap] = {}  # may differ from their rows; held, so that no change is lost
        self._limit = WATCHED
        self._is_flushing = False
        self.unnamed: WeakSet[OffHeap] = WeakSet()  # durable objects made and not stored yet

    def reanimate(self, vref: str) -> OffHeap:
        """A representative of a stored object. Reads nothing: the state comes with the first access.

        Raises:
            MissingKindError: the vat no longer has its class.
        """
        found: OffHeap = self.kinds.class_of(vref)._ocap_at(self.vat, vref)
        return found

    def load(self, instance: OffHeap) -> dict[str, Any]:
        """The state of an object.

        Raises:
            SchemaError: it does not fit the class; the class author's fault.
            LookupError: it was deleted.
        """
        vref = instance._ocap_vref
        row = None if vref is None else self.vat.store.get(self.vat.store.key(b"s", vref))
        if row is None:
            raise LookupError(f"the state of this {type(instance).__name__} was deleted")
        state, is_migrated = adapt(type(instance), self.rows.from_row(row), self.rows)
        _set_attribute(instance, "_ocap_row", row)
        _set_attribute(instance, "_ocap_state", state)
        if is_migrated:
            self.watch(instance)
        return state

    def heap_only(self) -> list[type[Any]]:
        """The classes of durable objects that are alive and that only the heap holds: of some, if there are very many."""
        named = map(self.vat.slots.find, islice(self.vat.pillars.marked(), MANY_HEAP_ONLY))
        unnamed = (thing for thing in islice(self.unnamed, MANY_HEAP_ONLY) if thing._ocap_vref is None)
        found = {type(thing): None for thing in chain(unnamed, named) if thing is not None}
        return sorted(found, key=lambda cls: cls.__qualname__)

    def watch(self, instance: OffHeap) -> None:
        """Compare the state with the row when the crank ends."""
        if not instance._ocap_is_dirty:
            _set_attribute(instance, "_ocap_is_dirty", True)
            self._watched[str(instance._ocap_vref)] = instance
            if len(self._watched) > self._limit and not self._is_flushing:
                self.flush()
                self._limit = max(WATCHED, 2 * len(self._watched))

    def flush(self) -> None:
        """Write the states that changed, in the order of their vrefs; objects that they refer to for the first time too.

        A value that was changed in place into something that cannot be stored is a fault, and so are fields that
        are too large together.
        """
        self._is_flushing = True
        try:
            self._flush()
        except NotPassableError as error:
            self.vat.turns.raise_fault(f"an object was changed in place, or grew, into what cannot be stored: {error}")
        finally:
            self._is_flushing = False

    def _flush(self) -> None:
        done: dict[str, OffHeap] = {}
        store = self.vat.store
        while self._watched:
            batch, self._watched = self._watched, {}
            for vref in sorted(batch, key=vref_order):
                instance = done[vref] = batch[vref]
                row = self._to_row(instance)
                if row != instance._ocap_row:
                    self._recheck(instance)
                    self.rows.replace(instance._ocap_row, row)
                    store.put(store.key(b"s", vref), row)
                    _set_attribute(instance, "_ocap_row", row)
        for vref, instance in done.items():
            state = instance._ocap_state
            assert state is not None
            # A list that a suspended behaviour holds may change in any later crank: keep comparing.
            if _is_aliased(state):
                self._watched[vref] = instance
            else:
                _set_attribute(instance, "_ocap_is_dirty", False)

    def _to_row(self, instance: OffHeap) -> bytes:
        cls, state = type(instance), instance._ocap_state
        assert state is not None
        stored = {VERSION: cls.schema_version, **state} if cls.schema_version else state
        return self.rows.to_row(stored, cls.__qualname__, instance._ocap_durable)

    def _recheck(self, instance: OffHeap) -> None:
        assert instance._ocap_state is not None
        for name, value in instance._ocap_state.items():
            if type(value) not in SCALARS:
                type(instance)._ocap_fields[name].recheck(value)


def _is_aliased(container: Any) -> bool:
    """Whether something mutable inside `container` is held by anything else."""
    if isinstance(container, dict):
        members: Iterator[Any] = iter(container.values())
    elif attrs.has(type(container)):
        members = (getattr(container, field.name) for field in attrs.fields(type(container)))
    else:
        members = iter(container)
    for member in members:
        # Held by its container, by `member` and by the argument of getrefcount itself.
        if isinstance(member, _MUTABLE) and sys.getrefcount(member) > 3:
            return True
        if (isinstance(member, (*_MUTABLE, tuple)) or attrs.has(type(member))) and _is_aliased(member):
            return True
    return False
