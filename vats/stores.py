"""Stores: collections in the vatstore, of any size, and the baggage."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, TypeVar, cast

from ocap.protocol import refs
from ocap.protocol.marshal import Remotable
from vats import running
from vats.durable import STORE_KIND
from vats.keys import decode_key, encode_key

if TYPE_CHECKING:
    from typing import Self

    from vats.liveslots import Liveslots

_K = TypeVar("_K")
_V = TypeVar("_V")


class MapStore(Remotable, MutableMapping[_K, _V]):
    """A mapping that survives restart and upgrade and may be larger than memory.

    Keys are scalars, datetimes, UUIDs, references and tuples of those, and come in their order (see
    `keys`). Values are whatever a durable object may hold. What is read is a copy: change it and
    assign it back. Entries may change during an iteration, which then sees the store as it is when
    it gets there. A store may itself be stored and passed.

    Args:
        durable: True, the form there is.

    Raises:
        NotPassableError: at an assignment, what cannot be stored; the assigner's fault.
    """

    __slots__ = ("__weakref__", "_number", "_ocap_vat", "_ocap_vref", "_prefix")
    _ocap_machinery: ClassVar[bool] = True
    _ocap_durable: ClassVar[bool] = True
    _ocap_vat: Liveslots
    _ocap_vref: str

    def __init__(self, *, durable: Literal[True]) -> None:
        if durable is not True:
            raise TypeError("MapStore is durable only: MapStore(durable=True)")
        vat = running.current("MapStore()")
        self._bind(vat, vat.states.new_instance(STORE_KIND))
        vat.slots.register(self)

    @classmethod
    def _ocap_at(cls, vat: Liveslots, vref: str) -> Self:
        """The representative of a store that exists."""
        self = cls.__new__(cls)
        self._bind(vat, vref)
        return self

    def _bind(self, vat: Liveslots, vref: str) -> None:
        self._ocap_vat = vat
        self._ocap_vref = vref
        self._number = refs.durable_parts(vref)[1]
        self._prefix = b"m%d " % self._number

    def _live_vat(self) -> Liveslots:
        if self._ocap_vat is not running.vat:
            raise RuntimeError("a store can be used only while its vat runs")
        return self._ocap_vat

    def _find(self, key: Any) -> bytes | None:
        """The row key of `key`; None when it mentions an object that was never stored."""
        try:
            return self._prefix + encode_key(key, _known_name)
        except _NeverStoredError:
            return None

    def _key(self, row_key: bytes) -> Any:
        slots = self._ocap_vat.slots
        return decode_key(row_key[len(self._prefix) :], slots.to_stored_object)

    def __getitem__(self, key: _K) -> _V:
        vat = self._live_vat()
        row_key = self._find(key)
        row = None if row_key is None else vat.store.get(row_key)
        if row is None:
            raise KeyError(key)
        return cast("_V", vat.rows.from_row(row))

    def __contains__(self, key: object) -> bool:
        vat = self._live_vat()
        row_key = self._find(key)
        return row_key is not None and vat.store.get(row_key) is not None

    def __setitem__(self, key: _K, value: _V) -> None:
        vat = self._live_vat()
        row = vat.rows.to_row(value, "value")
        names: list[str] = []
        row_key = self._prefix + encode_key(key, lambda reference: self._name(reference, names))
        old = vat.store.get(row_key)
        if old == row:
            return
        vat.store.put(row_key, row)
        vat.rows.replace(old, row)
        if old is None:
            self._resize(1)
            for vref in names:
                vat.rows.count(vref, 1)

    def __delitem__(self, key: _K) -> None:
        vat = self._live_vat()
        row_key = self._find(key)
        old = None if row_key is None else vat.store.get(row_key)
        if row_key is None or old is None:
            raise KeyError(key)
        vat.store.put(row_key, None)
        vat.rows.replace(old, None)
        self._resize(-1)
        names: list[str] = []
        encode_key(key, lambda reference: self._name(reference, names))
        for vref in names:
            vat.rows.count(vref, -1)

    def __len__(self) -> int:
        return int(self._live_vat().store.get(b"n%d" % self._number) or b"0")

    def __iter__(self) -> Iterator[_K]:
        for row_key, _ in self._live_vat().store.scan(self._prefix):
            yield self._key(row_key)

    def items(self) -> ItemsView[_K, _V]:
        """Keys and values, in key order."""
        return _Items(self)

    def values(self) -> ValuesView[_V]:
        """The values, in key order."""
        return _Values(self)

    def clear(self) -> None:
        """Remove every entry."""
        for key in self:
            del self[key]

    def _rows(self) -> Iterator[tuple[_K, _V]]:
        vat = self._live_vat()
        for row_key, row in vat.store.scan(self._prefix):
            yield self._key(row_key), vat.rows.from_row(row)

    def _resize(self, change: int) -> None:
        size = len(self) + change
        self._ocap_vat.store.put(b"n%d" % self._number, b"%d" % size if size else None)

    def _name(self, reference: Any, names: list[str]) -> str:
        vat = self._ocap_vat
        vat.rows.check([reference], reference, "key")
        vref = vat.slots.name_durable(reference)
        if vref not in names:
            names.append(vref)
        return vref

    def _eventual_send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool) -> Any:
        return running.current("E(a store)").sends.to_local(self, method, args, kwargs, wants_result)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store is passed by reference; it cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    if TYPE_CHECKING:

        def _ref_(self) -> Self: ...


class Baggage(MapStore[str, Any]):
    """What a vat hands to its next incarnation: a store that is always there."""

    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True

    def provide(self, key: str, make: Callable[[], Any]) -> Any:
        """The stored value; if there is none, what `make()` returns, stored now."""
        if key not in self:
            self[key] = make()
        return self[key]

    def provide_map(self, key: str) -> MapStore[Any, Any]:
        """The stored map; if there is none, an empty one, stored now.

        Raises:
            TypeError: something else is stored under `key`; the caller's fault.
        """
        found = self.provide(key, lambda: MapStore(durable=True))
        if not isinstance(found, MapStore):
            raise TypeError(f"baggage[{key!r}] is a {type(found).__name__}, not a MapStore")
        return found


class _NeverStoredError(Exception):
    """The key mentions an object without a name, so no row has it."""


def _known_name(reference: Any) -> str:
    vref = getattr(type(reference), "_ocap_vref", None) and reference._ocap_vref
    if vref is None:
        raise _NeverStoredError
    return cast("str", vref)


class _Items(ItemsView[_K, _V]):
    _mapping: MapStore[_K, _V]

    def __iter__(self) -> Iterator[tuple[_K, _V]]:
        return self._mapping._rows()


class _Values(ValuesView[_V]):
    _mapping: MapStore[Any, _V]

    def __iter__(self) -> Iterator[_V]:
        return (value for _, value in self._mapping._rows())
