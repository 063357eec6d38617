"""The vat's view of its durable rows: what is committed, overlaid with this crank's own writes.

Rows, by the first letter of the key (`V` a vref, `N` a number)::

    c NAME   high-water mark of an id counter      decimal
    k N      the durable kind N                    name, then a line for each facet
    s V      fields of an object                   slots and body
    m N KEY  entry of a store, under prefix N      slots and body
    n N      number of entries of the store N      decimal
    g N      prefix of the store N, once cleared   decimal
    r V      references to V in rows               decimal, and the interface of an import
    x V      whether the kernel holds V            "r" reachable, "s" only recognisable
    u V      only the heap holds durable V         empty
    w V N    the weak store N recognises V         empty
    y V      import V is dropped, but recognised   empty
    z P      entries under prefix P are rubbish    what sort of store had them
    h P N    registration N to watch promise P     slots and body
    v I ROW  any of `s m n g r x w z` of a virtual object or store of incarnation I

The rows of virtual things stand under the number of their incarnation, so that the next one finds
and deletes them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Protocol

from ocap.protocol import refs

_BATCH = 64
"""Committed rows read at a time: an iteration never loads a whole collection."""

_ID_BLOCK = 1000
"""Ids reserved by one write of a counter, so that nearly all cranks write none."""


class VatstorePort(Protocol):
    """The committed rows of one vat."""

    def get(self, key: bytes, /) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes, limit: int, /, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """At most `limit` rows with start <= key < end, in key order, or the last ones, from the last back."""
        ...


class Vatstore:
    """Reads and writes of the current crank.

    Attributes:
        virtual: what the keys of this incarnation's virtual rows begin with.
    """

    __slots__ = ("_crank", "_fresh", "_keys", "_limit", "_port", "_raise_fault", "_size", "_writes", "virtual")

    def __init__(self, port: VatstorePort, limit: int, raise_fault: Callable[[str], None]) -> None:
        self._port = port
        self._limit = limit
        self._raise_fault = raise_fault
        self._size = 0
        self._crank = 0
        self._writes: dict[bytes, bytes | None] = {}
        self._keys: list[bytes] = []  # keys of _writes in order, without those in _fresh
        self._fresh: list[bytes] = []
        self.virtual = b"v0 "

    def key(self, letter: bytes, vref: str) -> bytes:
        """The key of a row about `vref`."""
        return self.virtual + letter + vref.encode() if refs.is_virtual(vref) else letter + vref.encode()

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._writes[key]
        except KeyError:
            return self._port.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a row; None deletes it."""
        try:
            self._size -= len(self._writes[key] or b"")
        except KeyError:
            self._fresh.append(key)
            self._size += len(key)
        self._writes[key] = value
        self._size += len(value or b"")
        if self._size > self._limit:
            self._raise_fault(f"wrote more than {self._limit} bytes to the vatstore in one crank")

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key starts with `prefix`, in key order, as they are when the iteration reaches them."""
        return self.between(prefix, after_prefix(prefix))

    def has_any(self, prefix: bytes) -> bool:
        """Whether any key starts with `prefix`."""
        return next(self.scan(prefix), None) is not None

    def between(self, start: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < end, in key order or from the last back, as they are when it reaches them.

        An iteration may go on in a later crank.
        """
        while True:
            crank = self._crank
            batch = self._port.scan(start, end, _BATCH, reverse=reverse)
            for key, value in batch:
                # This crank's own rows that come before the next committed one.
                for row in self._written(key + b"\0", end, reverse) if reverse else self._written(start, key, reverse):
                    yield row
                    start, end = (start, row[0]) if reverse else (row[0] + b"\0", end)
                    if self._crank != crank:
                        break
                if self._crank != crank:
                    break
                current = self._writes.get(key, value)
                start, end = (start, key) if reverse else (key + b"\0", end)
                if current is not None:
                    yield key, current
                    if self._crank != crank:
                        break
            else:
                if len(batch) < _BATCH:
                    for row in self._written(start, end, reverse):
                        yield row
                        start, end = (start, row[0]) if reverse else (row[0] + b"\0", end)
                        if self._crank != crank:
                            break
                    else:
                        return

    def _written(self, start: bytes, end: bytes, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        """This crank's rows with start <= key < end, also those written meanwhile."""
        while True:
            self._sort()
            index = bisect_left(self._keys, end) - 1 if reverse else bisect_left(self._keys, start)
            if not 0 <= index < len(self._keys):
                return
            key = self._keys[index]
            if not start <= key < end:
                return
            value = self._writes[key]
            start, end = (start, key) if reverse else (key + b"\0", end)
            if value is not None:
                yield key, value

    def _sort(self) -> None:
        if len(self._fresh) < 16:
            for key in self._fresh:
                insort(self._keys, key)
        else:
            self._keys += self._fresh
            self._keys.sort()
        self._fresh.clear()

    def discard(self) -> None:
        """Forget what was written since the last checkpoint."""
        if self._writes:
            self.take_checkpoint()

    def take_checkpoint(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """The crank's writes in key order, one a key; the next crank starts without any."""
        self._crank += 1
        if not self._writes:
            return ()
        checkpoint = tuple(sorted(self._writes.items()))
        self._writes = {}
        self._keys = []
        self._fresh = []
        self._size = 0
        return checkpoint


def after_prefix(prefix: bytes) -> bytes:
    """The first key behind all that start with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1])


class Counter:
    """Ids that are never handed out twice, in whatever incarnation."""

    __slots__ = ("_key", "_limit", "_next", "_store")

    def __init__(self, store: Vatstore, name: str) -> None:
        self._store = store
        self._key = b"c" + name.encode()
        self._next = self._limit = -1

    def allocate(self) -> int:
        if self._next == self._limit:
            if self._next < 0:
                self._next = int(self._store.get(self._key) or b"1")
            self._limit = self._next + _ID_BLOCK
            self._store.put(self._key, b"%d" % self._limit)
        number = self._next
        self._next += 1
        return number
