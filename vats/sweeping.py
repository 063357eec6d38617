"""Sweeping: deleting rows that nothing leads to any more, some in each crank.

There are two sorts: the entries of stores that were cleared or died, which a row `z` names, and
whatever virtual objects and stores of earlier incarnations left.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import TYPE_CHECKING

from vats.entries import prefix_of
from vats.keys import decode_key
from vats.rows import names_in, vref_order
from vats.vatstore import after_prefix

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


def sweep(vat: Liveslots, budget: int) -> int:
    """Delete at most `budget` rows of rubbish and release what they refer to; how many were deleted."""
    swept = 0
    for key, row in _left_by_earlier_incarnations(vat):
        if swept >= budget:
            return swept
        swept += 1
        vat.store.put(key, None)
        _release(vat, key.partition(b" ")[2], row)
    for own in (b"", vat.store.virtual):
        for marker, letter in vat.store.scan(own + b"z"):
            place = int(marker[len(own) + 1 :])
            prefix = prefix_of(own, letter, place)
            for key, row in vat.store.scan(prefix):
                if swept >= budget:
                    return swept
                swept += 1
                vat.store.put(key, None)
                if letter == b"m":
                    _release_entry(vat, key[len(prefix) :], row)
                else:
                    _cease(vat, own, place, key[len(prefix) :])
                    vat.rows.replace(row, None)
            vat.store.put(marker, None)
    return swept


def has_rubbish(vat: Liveslots) -> bool:
    """Whether there is anything to sweep."""
    store = vat.store
    return store.has_any(b"z") or store.has_any(store.virtual + b"z") or leftovers(vat)


def leftovers(vat: Liveslots) -> bool:
    """Whether an earlier incarnation left rows of virtual objects."""
    return next(_left_by_earlier_incarnations(vat), None) is not None


def _left_by_earlier_incarnations(vat: Liveslots) -> Iterator[tuple[bytes, bytes]]:
    store = vat.store
    return chain(store.between(b"v", store.virtual), store.between(after_prefix(store.virtual), b"w"))


def _release(vat: Liveslots, key: bytes, row: bytes) -> None:
    """Release what a row of an earlier incarnation refers to; what was virtual itself goes with its own rows."""
    match key[:1]:
        case b"s":
            vat.rows.release(row)
        case b"m":
            names: set[str] = set()
            decode_key(key.partition(b" ")[2], names.add)
            for name in sorted(names, key=vref_order):
                vat.rows.release_one(name)
            vat.rows.release(row)
        case b"q":
            vat.rows.release(row)
        case b"w":
            vat.weak.ceased[key[1:].rpartition(b" ")[0].decode()] = None


def _release_entry(vat: Liveslots, key: bytes, row: bytes) -> None:
    names: set[str] = set()
    decode_key(key, names.add)
    for name in sorted(names, key=vref_order):
        vat.rows.count(name, -1)
    vat.rows.replace(row, None)


def _cease(vat: Liveslots, own: bytes, place: int, key: bytes) -> None:
    names: set[str] = set()
    decode_key(key, names.add)
    for name in names:  # one
        vat.weak.note(name, place, own, is_there=False)


def names_in_store(vat: Liveslots, vref_number: int, own: bytes) -> Iterator[AbstractSet[str]]:
    """The references that a store keeps, by row: those in keys and values of a map or set, in values of a weak map."""
    moved = vat.store.get(own + b"g%d" % vref_number)
    number = vref_number if moved is None else int(moved)
    strong = prefix_of(own, b"m", number)
    for key, row in vat.store.scan(strong):
        names: set[str] = set()
        decode_key(key[len(strong) :], names.add)
        yield names | names_in(row)
    for _, row in vat.store.scan(prefix_of(own, b"q", number)):
        yield names_in(row)
