"""The baggage: what a vat hands to its next incarnation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, overload

from vats.stores import MapStore, SetStore
from vats.weak import WeakMapStore, WeakSetStore

_K = TypeVar("_K")
_V = TypeVar("_V")


class Baggage(MapStore[str, Any]):
    """A durable map that is always there. What is reached from here, or by others, survives."""

    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True

    def provide(self, key: str, make: Callable[[], _V]) -> _V:
        """The stored value; if there is none, what `make()` returns, stored now."""
        if key not in self:
            self[key] = make()
        value: _V = self[key]
        return value

    @overload
    def provide_map(self, name: str, /) -> MapStore[Any, Any]: ...
    @overload
    def provide_map(self, name: str, /, *, key: type[_K], value: type[_V]) -> MapStore[_K, _V]: ...

    def provide_map(self, name: str, /, *, key: Any = None, value: Any = None) -> MapStore[Any, Any]:
        """The map stored under `name`; if there is none, an empty durable one, stored now.

        Args:
            name: its key in the baggage.
            key: the type of its keys, checked from now on, whatever was declared before.
            value: the type of its values.

        Raises:
            TypeError: something else is stored under `name`; the caller's fault.
        """
        found: MapStore[Any, Any] = self._provide(name, MapStore, key, value)
        return found

    @overload
    def provide_set(self, name: str, /) -> SetStore[Any]: ...
    @overload
    def provide_set(self, name: str, /, *, key: type[_K]) -> SetStore[_K]: ...

    def provide_set(self, name: str, /, *, key: Any = None) -> SetStore[Any]:
        """The set stored under `name`; if there is none, an empty durable one. Raises as `provide_map` does."""
        found: SetStore[Any] = self._provide(name, SetStore, key)
        return found

    @overload
    def provide_weak_map(self, name: str, /) -> WeakMapStore[Any, Any]: ...
    @overload
    def provide_weak_map(self, name: str, /, *, key: type[_K], value: type[_V]) -> WeakMapStore[_K, _V]: ...

    def provide_weak_map(self, name: str, /, *, key: Any = None, value: Any = None) -> WeakMapStore[Any, Any]:
        """The weak map stored under `name`; if there is none, an empty durable one. Raises as `provide_map` does."""
        found: WeakMapStore[Any, Any] = self._provide(name, WeakMapStore, key, value)
        return found

    @overload
    def provide_weak_set(self, name: str, /) -> WeakSetStore[Any]: ...
    @overload
    def provide_weak_set(self, name: str, /, *, key: type[_K]) -> WeakSetStore[_K]: ...

    def provide_weak_set(self, name: str, /, *, key: Any = None) -> WeakSetStore[Any]:
        """The weak set stored under `name`; if there is none, an empty durable one. Raises as `provide_map` does."""
        found: WeakSetStore[Any] = self._provide(name, WeakSetStore, key)
        return found

    def _provide(self, name: str, cls: Any, *types: Any) -> Any:
        found = self.provide(name, lambda: cls(durable=True))
        if type(found) is not cls:
            raise TypeError(f"baggage[{name!r}] is a {type(found).__name__}, not a {cls.__name__}")
        if types.count(None) < len(types):
            found.declare(*types)
        return found
