"""Values as rows of the vatstore, and the counts of the references in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from ocap.protocol import refs
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import NotPassableError
from ocap.protocol.marshal import PromiseLike, Remotable, encode
from vats.presence import Presence

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

SCALARS = frozenset({type(None), bool, int, float, str, bytes})
"""What is its own copy."""


_SHORT = 10_000  # characters or bytes that are far below any limit


def check_scalar(value: Any, where: str) -> None:
    """Raises `NotPassableError`, the storer's fault: too large, or text that is not Unicode. Most need no look."""
    kind = type(value)
    if kind is str:
        is_plain = value.isascii() and len(value) < _SHORT
    elif kind is bytes:
        is_plain = len(value) < _SHORT
    else:
        is_plain = kind is not int or -(1 << 63) < value < 1 << 63
    if not is_plain:
        encode(value, where)


class Rows:
    """Values in, rows out, and back. Every reference in a row is counted: once a row."""

    __slots__ = ("_held", "_vat", "unreferenced")

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._held: dict[str, tuple[int, Any]] = {}  # heap exos in rows of virtual objects
        self.unreferenced: dict[str, None] = {}  # vrefs whose count came to 0 since the last reap, in order

    def check(self, references: list[Any], value: Any, where: str, durable: bool = True) -> None:
        """Raises `NotPassableError`, the storer's fault, when a reference in `value` would not live as long as the row."""
        for reference in references:
            if isinstance(reference, PromiseLike):
                reason = "a promise cannot be stored; await it and store what it settles to"
            elif durable and not is_durable(reference):
                name = type(reference).__name__
                if reference._ocap_off_heap:
                    reason = (
                        f"a {name} is virtual, gone when the incarnation ends, and cannot be stored; use a durable one"
                    )
                else:
                    reason = f"a {name} lives on the heap and cannot be stored; use a DurableExo"
            else:
                continue
            raise NotPassableError(where + (_path_to(reference, value) or ""), reason)

    def admit(self, value: Any, where: str, durable: bool = True) -> Any:
        """`value` as an off-heap object may hold it: a copy, which its giver cannot change.

        Raises:
            NotPassableError: it cannot be stored; the storer's fault.
        """
        if type(value) in SCALARS:
            check_scalar(value, where)
            return value
        body, references = encode(value, where)
        self.check(references, value, where, durable)
        return self._vat.slots.decode_copy(body, references)

    def to_row(self, value: Any, where: str, durable: bool = True) -> bytes:
        """Raises `NotPassableError`, the storer's fault: it cannot be stored."""
        body, references = encode(value, where)
        if not references:
            return b"\n" + body
        self.check(references, value, where, durable)
        slots = [self._vat.slots.name(reference) for reference in references]
        return ",".join(slots).encode() + b"\n" + body

    def from_row(self, row: bytes) -> Any:
        """Raises `MissingKindError`: an object in it is of a class that the vat no longer has."""
        head, _, body = row.partition(b"\n")
        return self._vat.slots.decode(CapData(body, tuple(head.decode().split(",")) if head else ()), stored=True)

    def replace(self, old: bytes | None, new: bytes | None) -> None:
        """Count the references when row `old` becomes `new`."""
        before, after = names_in(old), names_in(new)
        if before != after:
            for vref in sorted(after - before, key=vref_order):
                self.count(vref, 1)
            for vref in sorted(before - after, key=vref_order):
                self.count(vref, -1)

    def release(self, row: bytes) -> None:
        """A row of a virtual object of an earlier incarnation goes: what it referred to and is still there is released."""
        for vref in sorted(names_in(row), key=vref_order):
            self.release_one(vref)

    def release_one(self, vref: str) -> None:
        if not refs.is_vat_allocated(vref) or (refs.is_durable(vref) and vref != refs.ROOT):
            self.count(vref, -1)

    def count(self, vref: str, change: int) -> None:
        """Count a reference in a row to an object; to a facet is to its object."""
        if refs.is_vat_allocated(vref) and not refs.is_off_heap(vref):
            self._hold(vref, change)
            return
        vref = refs.base_of(vref)
        store = self._vat.store
        key = store.key(b"r", vref)
        row = store.get(key)
        number, _, interface = (row or b"0").partition(b" ")
        total = int(number) + change
        if total == 0 or row is None:
            self._vat.pillars.touch(vref)
        if total == 0:
            store.put(key, None)
            self.unreferenced[vref] = None
            return
        if row is None:
            interface = self._vat.slots.interface_of(vref).encode()
        store.put(key, b"%d %s" % (total, interface))

    def _hold(self, vref: str, change: int) -> None:
        """Rows of virtual objects refer to a heap exo, which cannot be made anew from its name: hold it."""
        number, thing = self._held.get(vref) or (0, self._vat.slots.find(vref))
        if number + change:
            self._held[vref] = (number + change, thing)
        else:
            del self._held[vref]

    def held(self) -> list[Any]:
        """The heap exos that rows refer to."""
        return [thing for _, thing in self._held.values()]

    def referenced(self) -> Iterator[str]:
        """What rows refer to, but for heap exos."""
        for prefix in (b"r", self._vat.store.virtual + b"r"):
            for key, _ in self._vat.store.scan(prefix):
                yield key[len(prefix) :].decode()

    def is_referenced(self, vref: str) -> bool:
        return vref in self._held or self._vat.store.get(self._vat.store.key(b"r", vref)) is not None

    def names_in_object(self, vref: str) -> frozenset[str]:
        """The references in the fields of an off-heap object."""
        return names_in(self._vat.store.get(self._vat.store.key(b"s", refs.base_of(vref))))

    def names_in_watches(self) -> Iterator[frozenset[str]]:
        """The references in each row of what waits for promises to settle."""
        return (names_in(row) for _, row in self._vat.store.scan(b"h"))

    def stored_interface(self, vref: str) -> str:
        """The interface that an import alleged when it was stored."""
        row = self._vat.store.get(b"r" + vref.encode()) or b""
        return row.partition(b" ")[2].decode() or "object"


def vref_order(vref: str) -> tuple[int, int, int, int]:
    """Sorts vrefs of objects: by number, then durable and virtual ones by kind, instance and facet."""
    if refs.is_off_heap(vref):
        facet = refs.facet_of(vref)
        return (2 if refs.is_virtual(vref) else 1, *refs.durable_parts(vref), -1 if facet is None else facet)
    return (0, abs(refs.number_of(vref)), int(refs.is_vat_allocated(vref)), 0)


def is_durable(value: Any) -> bool:
    """Whether a reference outlives the incarnation: objects elsewhere, durable exos, facets and stores."""
    return isinstance(value, Presence) or bool(getattr(value, "_ocap_durable", False))


def names_in(row: bytes | None) -> frozenset[str]:
    """The references in a row."""
    if row is None or row.startswith(b"\n"):
        return frozenset()
    return frozenset(row[: row.index(b"\n")].decode().split(","))


def _path_to(culprit: Any, value: Any) -> str | None:
    """Where in `value` the reference `culprit` stands."""
    if value is culprit:
        return ""
    if isinstance(value, Remotable | PromiseLike):
        return None
    for step, member in _members(value):
        path = _path_to(culprit, member)
        if path is not None:
            return step + path
    return None


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield f"[{key!r}]".replace("'", '"'), member
            yield f"[{key!r}]".replace("'", '"'), key
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield f"[{index}]", member
    elif isinstance(value, set | frozenset):
        for member in value:
            yield f"{{{member!r}}}", member
    elif isinstance(value, Exception):
        for index, member in enumerate(value.args):
            yield f".args[{index}]", member
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield f".{field.name}", getattr(value, field.name)
