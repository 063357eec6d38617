"""The vat's view of its durable rows: what is committed, overlaid with this crank's own writes.

Rows, by the first letter of the key (`V` a vref, `N` a number)::

    c NAME   high-water mark of an id counter      decimal
    k N      name of the durable kind N            text
    s V      fields of a durable object            slots and body
    m N KEY  entry of the store N                  slots and body
    n N      number of entries of the store N      decimal
    r V      references to V in durable rows       decimal, and the interface of an import
    x V      whether the kernel holds durable V    "r" reachable, "s" only recognisable
    u V      only the heap holds durable V         empty
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Protocol

_BATCH = 64
"""Committed rows read at a time: an iteration never loads a whole collection."""

_ID_BLOCK = 1000
"""Ids reserved by one write of a counter, so that nearly all cranks write none."""


class VatstorePort(Protocol):
    """The committed rows of one vat."""

    def get(self, key: bytes, /) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes, limit: int, /) -> list[tuple[bytes, bytes]]:
        """At most `limit` rows with start <= key < end, in key order."""
        ...


class Vatstore:
    """Reads and writes of the current crank."""

    __slots__ = ("_fresh", "_keys", "_limit", "_port", "_raise_fault", "_size", "_writes")

    def __init__(self, port: VatstorePort, limit: int, raise_fault: Callable[[str], None]) -> None:
        self._port = port
        self._limit = limit
        self._raise_fault = raise_fault
        self._size = 0
        self._writes: dict[bytes, bytes | None] = {}
        self._keys: list[bytes] = []  # keys of _writes in order, without those in _fresh
        self._fresh: list[bytes] = []

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
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        after = prefix
        while True:
            batch = self._port.scan(after, end, _BATCH)
            for key, value in batch:
                yield from self._written(after, key)
                if key in self._writes:
                    written = self._writes[key]
                    if written is not None:
                        yield key, written
                else:
                    yield key, value
                after = key + b"\0"
            if len(batch) < _BATCH:
                yield from self._written(after, end)
                return

    def _written(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """This crank's rows with start <= key < end, also those written meanwhile."""
        while True:
            self._sort()
            index = bisect_left(self._keys, start)
            if index >= len(self._keys) or self._keys[index] >= end:
                return
            key = self._keys[index]
            value = self._writes[key]
            start = key + b"\0"
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

    def take_checkpoint(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """The crank's writes in key order, one a key; the next crank starts without any."""
        if not self._writes:
            return ()
        checkpoint = tuple(sorted(self._writes.items()))
        self._writes = {}
        self._keys = []
        self._fresh = []
        self._size = 0
        return checkpoint


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
