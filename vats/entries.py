"""Entries: what stores have in common. An entry is a row: its key has the order of the store's keys.

Rules:

1. Nothing but the entry asked for is loaded; an iteration reads some rows at a time and keeps none.
2. An iteration sees the store as it is when it gets there, also after `clear`, and in later cranks.
3. `clear` gives the store a new prefix; the rows under the old one are rubbish, deleted by reaping.
4. Types are declared by the code, each incarnation anew, and checked when an entry is made.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from ocap.protocol import refs
from ocap.protocol.errors import NotPassableError
from ocap.protocol.marshal import Remotable
from vats import running
from vats.guards import Check, check_of
from vats.keys import decode_key, encode_key
from vats.kinds import MAP
from vats.vatstore import after_prefix

if TYPE_CHECKING:
    from typing import Self

    from vats.liveslots import Liveslots


class Entries(Remotable):
    """Base of the stores."""

    __slots__ = (
        "__weakref__", "_checks", "_hints", "_number", "_ocap_durable", "_ocap_vat", "_ocap_vref", "_own", "_prefix",
    )  # fmt: skip
    _ocap_machinery: ClassVar[bool] = True
    _ocap_off_heap: ClassVar[bool] = True
    _ocap_kind: ClassVar[int]
    _ocap_letter: ClassVar[bytes] = b"m"
    _ocap_vat: Liveslots
    _ocap_vref: str
    _ocap_durable: bool
    _own: bytes
    _prefix: bytes | None
    _hints: tuple[Any, ...]
    _checks: tuple[Check | None, ...]

    def _make(self, durable: bool, *hints: Any) -> None:
        vat = running.current(f"{type(self).__name__}()")
        self._bind(vat, vat.states.kinds.new_store(self._ocap_kind, durable=durable))
        vat.slots.register(self)
        self._declare(hints)

    @classmethod
    def _ocap_at(cls, vat: Liveslots, vref: str) -> Self:
        """The representative of a store that exists."""
        self = cls.__new__(cls)
        self._bind(vat, vref)
        return self

    def _bind(self, vat: Liveslots, vref: str) -> None:
        self._ocap_vat = vat
        self._ocap_vref = vref
        self._ocap_durable = not refs.is_virtual(vref)
        self._number = refs.durable_parts(vref)[1]
        self._own = b"" if self._ocap_durable else vat.store.virtual
        self._prefix = None
        self._hints = ()
        self._checks = (None, None)

    # Types

    @property
    def __orig_class__(self) -> Any:
        """`MapStore[str, int]`, of a store made by calling that."""
        if not self._hints:
            raise AttributeError("__orig_class__")
        return type(self)[self._hints]  # type: ignore[index]  # the subclasses are generic

    @__orig_class__.setter
    def __orig_class__(self, alias: Any) -> None:
        self._ocap_redeclare(alias)

    def _ocap_redeclare(self, alias: Any) -> None:
        """Check what `alias`, such as `MapStore[str, int]`, says from now on; anything else says nothing."""
        if isinstance(self, typing.get_origin(alias) or ()) and isinstance(typing.get_origin(alias), type):
            hints = typing.get_args(alias)
            if hints != self._hints:
                self._declare(hints)

    def _declare(self, hints: tuple[Any, ...]) -> None:
        self._hints = tuple([Any if hint is None else hint for hint in hints])
        checks = [check_of(hint, type(self)) for hint in self._hints]
        self._checks = (*checks, None, None)[:2]

    def _check(self, index: int, value: Any) -> None:
        check = self._checks[index]
        complaint = None if check is None else check(value)
        if complaint is not None:
            raise TypeError(f"{self._label()}: {('key', 'value')[index]}{complaint}")

    def _label(self) -> str:
        names = ", ".join(
            h.__name__ if isinstance(h, type) and not typing.get_args(h) else str(h).rpartition("typing.")[2]
            for h in self._hints
        )
        return f"{type(self).__name__}[{names}]" if names else type(self).__name__

    def _declared(self, value: Any) -> Any:
        """A value as it is handed out: a store among the values has the types that this one declares."""
        if isinstance(value, Entries) and len(self._hints) > 1:
            value._ocap_redeclare(self._hints[1])
        return value

    # Keys

    def _live_vat(self) -> Liveslots:
        if self._ocap_vat is not running.vat:
            raise RuntimeError("a store can be used only while its vat runs")
        return self._ocap_vat

    def _place(self) -> bytes:
        """What the keys of the entries begin with."""
        if self._prefix is None:
            moved = self._live_vat().store.get(self._own + b"g%d" % self._number)
            self._prefix = prefix_of(self._own, self._ocap_letter, self._number if moved is None else int(moved))
        return self._prefix

    def _find(self, key: Any) -> bytes | None:
        """The row key of `key`; None when it mentions an object that was never stored."""
        try:
            return self._place() + encode_key(key, _known_name)
        except _NeverStoredError:
            return None

    def _get(self, key: Any) -> bytes | None:
        vat = self._live_vat()
        row_key = self._find(key)
        return None if row_key is None else vat.store.get(row_key)

    def _key(self, encoded: bytes) -> Any:
        vat = self._ocap_vat
        return decode_key(encoded, vat.slots.to_stored_object, vat.slots.registry)

    def _name(self, reference: Any, names: list[str]) -> str:
        vat = self._ocap_vat
        vat.rows.check([reference], reference, "key", self._ocap_durable)
        vref = vat.slots.name(reference)
        if vref not in names:
            names.append(vref)
        return vref

    # Entries

    def _write(self, key: Any, row: bytes) -> None:
        vat = self._live_vat()
        names: list[str] = []
        row_key = self._place() + encode_key(key, lambda reference: self._name(reference, names))
        old = vat.store.get(row_key)
        if old == row:
            return
        vat.store.put(row_key, row)
        vat.rows.replace(old, row)
        if old is None:
            self._entered(names, 1)

    def _remove(self, key: Any) -> bytes | None:
        """The row that was removed; None if there is none."""
        vat = self._live_vat()
        row_key = self._find(key)
        old = None if row_key is None else vat.store.get(row_key)
        if row_key is not None and old is not None:
            vat.store.put(row_key, None)
            vat.rows.replace(old, None)
            names: list[str] = []
            encode_key(key, lambda reference: self._name(reference, names))
            self._entered(names, -1)
        return old

    def _entered(self, names: list[str], change: int) -> None:
        """An entry came (1) or went (-1); its key mentions `names`."""
        vat = self._ocap_vat
        for vref in names:
            vat.rows.count(vref, change)
        size = self._size() + change
        vat.store.put(self._own + b"n%d" % self._number, b"%d" % size if size else None)

    def _size(self) -> int:
        return int(self._live_vat().store.get(self._own + b"n%d" % self._number) or b"0")

    def _clear(self) -> None:
        if self._size():
            store = self._live_vat().store
            place = self._place()
            number = self._ocap_vat.states.kinds.new_instance(MAP)
            store.put(self._own + b"z" + place[len(self._own) + 1 : -1], self._ocap_letter)
            store.put(self._own + b"g%d" % self._number, b"%d" % number)
            store.put(self._own + b"n%d" % self._number, None)
            self._prefix = prefix_of(self._own, self._ocap_letter, number)

    def _scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Encoded keys and rows with start <= key < end, in key order or from the last back."""
        while True:
            prefix = self._place()
            last = after_prefix(prefix) if end is None else prefix + end
            for key, row in self._live_vat().store.between(prefix + start, last, reverse=reverse):
                encoded = key[len(prefix) :]
                yield encoded, row
                self._live_vat()
                start, end = (start, encoded) if reverse else (encoded + b"\0", end)
                if self._prefix is not prefix:
                    break
            else:
                return

    # A thing among things

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


def prefix_of(own: bytes, letter: bytes, number: int) -> bytes:
    """What the keys of a store's entries begin with."""
    return own + letter + b"%d " % number


class _NeverStoredError(Exception):
    """The key mentions an object without a name, so no row has it."""


def _known_name(reference: Any) -> str:
    try:
        vref = reference._ocap_vref
    except AttributeError:
        raise NotPassableError("key", f"a {type(reference).__name__} cannot be a key") from None
    if vref is None:
        raise _NeverStoredError
    return cast("str", vref)
