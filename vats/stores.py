"""Stores: maps and sets in the vatstore, of any size."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, MutableMapping, MutableSet, ValuesView
from types import EllipsisType
from typing import Any, ClassVar, Generic, TypeVar, cast

from vats.entries import Entries
from vats.keys import bounds_of, prefix_bounds_of
from vats.kinds import MAP, SET, WEAK_MAP, WEAK_SET
from vats.weak import WeakMapStore, WeakSetStore

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")
_PRESENT = b"\n"
"""The row of a member of a set: no slots, no body."""


class Span(Generic[_T]):
    """Part of a store, in the order of its keys: to be iterated, forwards or by `reversed`, as often as one likes."""

    __slots__ = ("_bounds", "_read", "_store")

    def __init__(self, store: Entries, bounds: tuple[bytes, bytes | None], read: Callable[[bytes, bytes], _T]) -> None:
        self._store = store
        self._bounds = bounds
        self._read = read

    def __iter__(self) -> Iterator[_T]:
        return (self._read(key, row) for key, row in self._store._scan(*self._bounds))

    def __reversed__(self) -> Iterator[_T]:
        return (self._read(key, row) for key, row in self._store._scan(*self._bounds, reverse=True))


class MapRange(Span[_K], Generic[_K, _V]):
    """Part of a map: iterating gives its keys, as a map does."""

    __slots__ = ()

    def keys(self) -> Span[_K]:
        return Span(self._store, self._bounds, self._read)

    def values(self) -> Span[_V]:
        return Span(self._store, self._bounds, cast("MapStore[_K, _V]", self._store)._read_value)

    def items(self) -> Span[tuple[_K, _V]]:
        return Span(self._store, self._bounds, cast("MapStore[_K, _V]", self._store)._read_item)


class MapStore(Entries, MutableMapping[_K, _V]):
    """A mapping that may be larger than memory, and survives restart and upgrade if it is durable.

    Keys are scalars, datetimes, UUIDs, Decimals, references, and tuples, frozensets and `@passable`
    records of those. They come in their order (see `keys`); keys of different types are different
    keys. Values are whatever a durable object may hold; those of a store that is not durable may be
    heap exos and virtual ones too. What is read is a copy: change it and assign it back. Entries may
    come and go during an iteration, which sees the store as it is when it gets there. A store may
    itself be stored and passed.

    Args:
        durable: whether it survives. One that does not is gone when the incarnation ends.
        key: the type of keys; `MapStore[str, int](durable=True)` says the same.
        value: the type of values. Both are checked when an entry is made. They belong to the code,
            not to the store: a later incarnation may declare others.

    Raises:
        TypeError: at an assignment, a key or value of another type; the assigner's fault.
        NotPassableError: at an assignment, what cannot be stored or be a key; the assigner's fault.
    """

    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True
    _ocap_kind: ClassVar[int] = MAP

    def __init__(self, *, durable: bool = False, key: type[_K] | None = None, value: type[_V] | None = None) -> None:
        self._make(durable, *(() if key is value is None else (key, value)))

    def declare(self, key: Any = None, value: Any = None) -> None:
        """Check these types from now on; None takes anything. What is stored already is left as it is."""
        self._declare((key, value))

    def __getitem__(self, key: _K) -> _V:
        row = self._get(key)
        if row is None:
            raise KeyError(key)
        return self._read_value(b"", row)

    def __contains__(self, key: object) -> bool:
        return self._get(key) is not None

    def __setitem__(self, key: _K, value: _V) -> None:
        self._check(0, key)
        self._check(1, value)
        self._write(key, self._live_vat().rows.to_row(value, "value", self._ocap_durable))

    def __delitem__(self, key: _K) -> None:
        if self._remove(key) is None:
            raise KeyError(key)

    def __len__(self) -> int:
        return self._size()

    def __iter__(self) -> Iterator[_K]:
        return (self._key(key) for key, _ in self._scan())

    def __reversed__(self) -> Iterator[_K]:
        return (self._key(key) for key, _ in self._scan(reverse=True))

    def keys(self) -> MapKeys[_K]:
        """The keys, in order."""
        return MapKeys(self)

    def items(self) -> MapItems[_K, _V]:
        """Keys and values, in key order."""
        return MapItems(self)

    def values(self) -> MapValues[_V]:
        """The values, in key order."""
        return MapValues(self)

    def range(self, low: _K | EllipsisType = ..., high: _K | EllipsisType = ...) -> MapRange[_K, _V]:
        """The entries with low <= key < high; `...` for no bound. Keys sort by type first, then by value."""
        return MapRange(self, bounds_of(low, high), self._read_key)

    def prefix(self, start: Any) -> MapRange[_K, _V]:
        """The entries whose key begins with `start`: a str, bytes, or a tuple, for keys that are such.

        Raises:
            TypeError: `start` is none of these; the caller's fault.
        """
        return MapRange(self, prefix_bounds_of(start), self._read_key)

    def clear(self) -> None:
        """Remove every entry, without loading any: their rows are deleted later, some at a time."""
        self._clear()

    def _read_key(self, key: bytes, _: bytes) -> _K:
        return cast("_K", self._key(key))

    def _read_value(self, _: bytes, row: bytes) -> _V:
        return cast("_V", self._declared(self._ocap_vat.rows.from_row(row)))

    def _read_item(self, key: bytes, row: bytes) -> tuple[_K, _V]:
        return self._read_key(key, row), self._read_value(key, row)


class SetStore(Entries, MutableSet[_K]):
    """A set that may be larger than memory, and survives restart and upgrade if it is durable.

    Its members are what may be a key of a `MapStore`, in the same order.

    Args:
        durable: whether it survives. One that does not is gone when the incarnation ends.
        key: the type of members; `SetStore[str](durable=True)` says the same.

    Raises:
        TypeError: when added, a member of another type; the adder's fault.
        NotPassableError: when added, what cannot be a key; the adder's fault.
    """

    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True
    _ocap_kind: ClassVar[int] = SET

    def __init__(self, *, durable: bool = False, key: type[_K] | None = None) -> None:
        self._make(durable, *(() if key is None else (key,)))

    @classmethod
    def _from_iterable(cls, it: Any) -> Any:
        return set(it)  # of `store | other` and the like: a plain set

    def declare(self, key: Any = None) -> None:
        """Check this type from now on; None takes anything. What is stored already is left as it is."""
        self._declare((key,))

    def __contains__(self, key: object) -> bool:
        return self._get(key) is not None

    def add(self, value: _K) -> None:
        self._check(0, value)
        self._write(value, _PRESENT)

    def discard(self, value: _K) -> None:
        self._remove(value)

    def __len__(self) -> int:
        return self._size()

    def __iter__(self) -> Iterator[_K]:
        return (self._key(key) for key, _ in self._scan())

    def __reversed__(self) -> Iterator[_K]:
        return (self._key(key) for key, _ in self._scan(reverse=True))

    def range(self, low: _K | EllipsisType = ..., high: _K | EllipsisType = ...) -> Span[_K]:
        """The members with low <= member < high; `...` for no bound. They sort by type first, then by value."""
        return Span(self, bounds_of(low, high), self._read)

    def prefix(self, start: Any) -> Span[_K]:
        """The members that begin with `start`: a str, bytes, or a tuple, for members that are such.

        Raises:
            TypeError: `start` is none of these; the caller's fault.
        """
        return Span(self, prefix_bounds_of(start), self._read)

    def clear(self) -> None:
        """Remove every member, without loading any: their rows are deleted later, some at a time."""
        self._clear()

    def _read(self, key: bytes, _: bytes) -> _K:
        return cast("_K", self._key(key))


STORES: dict[int, type[Entries]] = {MAP: MapStore, SET: SetStore, WEAK_MAP: WeakMapStore, WEAK_SET: WeakSetStore}


class MapKeys(KeysView[_K]):
    """The keys of a map, in order; also `reversed`."""

    _mapping: MapStore[_K, Any]

    def __reversed__(self) -> Iterator[_K]:
        return reversed(self._mapping)


class MapItems(ItemsView[_K, _V]):
    """Keys and values of a map, in key order; also `reversed`."""

    _mapping: MapStore[_K, _V]

    def __iter__(self) -> Iterator[tuple[_K, _V]]:
        return iter(self._mapping.range().items())

    def __reversed__(self) -> Iterator[tuple[_K, _V]]:
        return reversed(self._mapping.range().items())


class MapValues(ValuesView[_V]):
    """The values of a map, in key order; also `reversed`."""

    _mapping: MapStore[Any, _V]

    def __iter__(self) -> Iterator[_V]:
        return iter(self._mapping.range().values())

    def __reversed__(self) -> Iterator[_V]:
        return reversed(self._mapping.range().values())
