"""Weak stores: entries about objects that they do not keep, and that go when the object does."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, cast, overload

from ocap.protocol.errors import NotPassableError
from ocap.protocol.marshal import Remotable
from vats.entries import Entries
from vats.kinds import WEAK_MAP, WEAK_SET

_K = TypeVar("_K")
_V = TypeVar("_V")
_D = TypeVar("_D")
_PRESENT = b"\n"


class _WeakEntries(Entries):
    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True
    _ocap_letter: ClassVar[bytes] = b"q"

    def _entered(self, names: list[str], change: int) -> None:
        for vref in names:
            self._ocap_vat.weak.note(vref, self._number, self._own, is_there=change > 0)

    def _weakly(self, key: object) -> Any:
        if not isinstance(key, Remotable):
            raise NotPassableError("key", f"a {type(key).__name__} is no reference; only objects are recognised")
        self._check(0, key)
        return key


class WeakMapStore(_WeakEntries, Generic[_K, _V]):
    """What this vat knows of objects that others hold: an entry goes when its key does.

    Keys are references: to objects elsewhere, durable exos and facets; to heap and virtual ones if the
    store is not durable. The store recognises them and does not keep them; it keeps the values. It
    has no length and cannot be iterated: what it has depends on what others let go of.

    Args:
        durable: whether it survives. One that does not is gone when the incarnation ends.
        key: the type of keys; `WeakMapStore[Ref[Guest], int](durable=True)` says the same.
        value: the type of values.

    Raises:
        TypeError: at an assignment, a key or value of another type; the assigner's fault.
        NotPassableError: at an assignment, what cannot be stored or is no reference; the assigner's fault.
    """

    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True
    _ocap_kind: ClassVar[int] = WEAK_MAP

    def __init__(self, *, durable: bool = False, key: type[_K] | None = None, value: type[_V] | None = None) -> None:
        self._make(durable, *(() if key is value is None else (key, value)))

    def declare(self, key: Any = None, value: Any = None) -> None:
        """Check these types from now on; None takes anything. What is stored already is left as it is."""
        self._declare((key, value))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, Remotable) and self._get(key) is not None

    def __getitem__(self, key: _K) -> _V:
        row = self._get(key) if isinstance(key, Remotable) else None
        if row is None:
            raise KeyError(key)
        return cast("_V", self._declared(self._ocap_vat.rows.from_row(row)))

    @overload
    def get(self, key: _K, default: None = None, /) -> _V | None: ...
    @overload
    def get(self, key: _K, default: _D, /) -> _V | _D: ...

    def get(self, key: _K, default: Any = None, /) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: _K, value: _V) -> None:
        self._check(1, value)
        self._write(self._weakly(key), self._live_vat().rows.to_row(value, "value", self._ocap_durable))

    def __delitem__(self, key: _K) -> None:
        if key not in self:
            raise KeyError(key)
        self._remove(key)


class WeakSetStore(_WeakEntries, Generic[_K]):
    """Objects that this vat recognises and does not keep: a brand, a list of the revoked.

    Members are what may be a key of a `WeakMapStore`.

    Args:
        durable: whether it survives. One that does not is gone when the incarnation ends.
        key: the type of members; `WeakSetStore[Ref[Guest]](durable=True)` says the same.

    Raises:
        TypeError: when added, a member of another type; the adder's fault.
        NotPassableError: when added, what cannot be stored or is no reference; the adder's fault.
    """

    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True
    _ocap_kind: ClassVar[int] = WEAK_SET

    def __init__(self, *, durable: bool = False, key: type[_K] | None = None) -> None:
        self._make(durable, *(() if key is None else (key,)))

    def declare(self, key: Any = None) -> None:
        """Check this type from now on; None takes anything. What is stored already is left as it is."""
        self._declare((key,))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, Remotable) and self._get(key) is not None

    def add(self, key: _K) -> None:
        self._write(self._weakly(key), _PRESENT)

    def discard(self, key: _K) -> None:
        if key in self:
            self._remove(key)

    def remove(self, key: _K) -> None:
        """Raises `KeyError`, the caller's fault, if it is no member."""
        if key not in self:
            raise KeyError(key)
        self._remove(key)
