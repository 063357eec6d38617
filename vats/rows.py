"""Durable values as rows of the vatstore, and the counts of the references in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from ocap.protocol import refs
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import NotPassableError
from ocap.protocol.marshal import PromiseLike, Remotable, encode
from vats.keys import decode_key
from vats.presence import Presence

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

SCALARS = frozenset({type(None), bool, int, float, str, bytes})
"""What is its own copy."""


class Rows:
    """Values in, rows out, and back. Every reference in a row is counted: once a row."""

    __slots__ = ("_vat", "unreferenced")

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self.unreferenced: dict[str, None] = {}  # vrefs whose count came to 0 since the last reap, in order

    def check(self, references: list[Any], value: Any, where: str) -> None:
        """Raises `NotPassableError`, the storer's fault, when a reference in `value` would not outlive the vat."""
        for reference in references:
            if not is_durable(reference):
                if isinstance(reference, PromiseLike):
                    reason = "a promise cannot be stored; await it and store what it settles to"
                else:
                    reason = f"a {type(reference).__name__} lives on the heap and cannot be stored; use a DurableExo"
                raise NotPassableError(where + (_path_to(reference, value) or ""), reason)

    def admit(self, value: Any, where: str) -> Any:
        """`value` as a durable object may hold it: a copy, which its giver cannot change.

        Raises:
            NotPassableError: it cannot be stored; the storer's fault.
        """
        if type(value) in SCALARS:
            return value
        body, references = encode(value, where)
        self.check(references, value, where)
        return self._vat.slots.decode_copy(body, references)

    def to_row(self, value: Any, where: str) -> bytes:
        """Raises `NotPassableError`, the storer's fault: it cannot be stored."""
        body, references = encode(value, where)
        if not references:
            return b"\n" + body
        self.check(references, value, where)
        slots = [self._vat.slots.name_durable(reference) for reference in references]
        return ",".join(slots).encode() + b"\n" + body

    def from_row(self, row: bytes) -> Any:
        """Raises `MissingKindError`: an object in it is of a class that the vat no longer has."""
        head, _, body = row.partition(b"\n")
        return self._vat.slots.decode(CapData(body, tuple(head.decode().split(",")) if head else ()))

    def replace(self, old: bytes | None, new: bytes | None) -> None:
        """Count the references when row `old` becomes `new`."""
        before, after = _slots(old), _slots(new)
        if before != after:
            for vref in sorted(after - before, key=vref_order):
                self.count(vref, 1)
            for vref in sorted(before - after, key=vref_order):
                self.count(vref, -1)

    def count(self, vref: str, change: int) -> None:
        key = b"r" + vref.encode()
        row = self._vat.store.get(key)
        number, _, interface = (row or b"0").partition(b" ")
        total = int(number) + change
        if total == 0 or row is None:
            self._vat.pillars.touch(vref)
        if total == 0:
            self._vat.store.put(key, None)
            self.unreferenced[vref] = None
            return
        if row is None:
            interface = self._vat.slots.interface_of(vref).encode()
        self._vat.store.put(key, b"%d %s" % (total, interface))

    def is_referenced(self, vref: str) -> bool:
        return self._vat.store.get(b"r" + vref.encode()) is not None

    def names_in_object(self, vref: str) -> frozenset[str]:
        """The references in the fields of a durable object."""
        return _slots(self._vat.store.get(b"s" + vref.encode()))

    def names_in_store(self, number: int) -> frozenset[str]:
        """The references in the keys and values of a store."""
        prefix = b"m%d " % number
        names: set[str] = set()
        for key, row in self._vat.store.scan(prefix):
            decode_key(key[len(prefix) :], names.add)
            names |= _slots(row)
        return frozenset(names)

    def stored_interface(self, vref: str) -> str:
        """The interface that an import alleged when it was stored."""
        row = self._vat.store.get(b"r" + vref.encode()) or b""
        return row.partition(b" ")[2].decode() or "object"


def vref_order(vref: str) -> tuple[int, int, int]:
    """Sorts vrefs of objects: by number, then durable ones by kind and instance."""
    if refs.is_durable(vref) and vref != refs.ROOT:
        return (1, *refs.durable_parts(vref))
    return (0, refs.number_of(vref), 0)


def is_durable(value: object) -> bool:
    """Whether a reference outlives the incarnation: objects elsewhere, durable exos and stores."""
    return isinstance(value, Presence) or bool(getattr(type(value), "_ocap_durable", False))


def _slots(row: bytes | None) -> frozenset[str]:
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
