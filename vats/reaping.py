"""Reaping: what bringOutYourDead does. The only delivery that acts on what the collector did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ocap.protocol import refs
from ocap.protocol.syscalls import DropImports, RetireExports, RetireImports
from vats.kinds import MAP, SET, STORE_KINDS, MissingKindError
from vats.rows import vref_order
from vats.stores import STORES
from vats.sweeping import has_rubbish, sweep

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


REAP_BUDGET = 100
"""Suspects looked at and rows deleted in one crank: some milliseconds, so that nobody waits for it."""

WEAK_PRICE = 4
"""What a suspect costs in a vat with weak stores: whether one knows it takes several questions to the store."""


def reap(vat: Liveslots) -> bool:
    """Delete off-heap objects that nobody can reach, and tell the kernel what the vat no longer holds.

    An object is dead when no representative is alive, no row refers to it and the kernel does not
    reach it. Deleting one may leave others dead, hence the rounds. Runs no user code.

    Returns:
        Whether the budget ended it, so that the vat should be asked again.
    """
    if not vat.is_reaping:  # else this goes on with what the last crank left
        vat.collect()
        vat.pillars.warn()
    dropped: dict[str, None] = {}
    retired: list[str] = []
    budget = REAP_BUDGET
    slots, rows = vat.slots, vat.rows
    while budget > 0:
        price = WEAK_PRICE if vat.weak.is_used else 1
        suspects = slots.take_suspects(max(1, budget // price))
        if not suspects and slots.lost:
            for _ in range(min(len(slots.lost), budget)):
                retired += _forget(vat, slots.lost.popleft())  # which breaks the ring it is in
                budget -= 1
            continue
        if not suspects:
            swept = sweep(vat, budget)
            if not swept:
                break
            budget -= swept
            continue
        budget -= len(suspects) * price
        for vref in suspects:
            if slots.find(vref) is not None or rows.is_referenced(vref):
                continue
            if not refs.is_vat_allocated(vref):
                dropped[vref] = None
                continue
            if not (refs.is_off_heap(vref) and slots.is_reached(vref)):
                retired += _forget(vat, vref)
    forgotten = _imports_to_retire(vat, dropped)
    if dropped:
        vat.syscall(DropImports(_in_order(dropped)), 0)
    if forgotten:
        vat.syscall(RetireImports(_in_order(forgotten)), 0)
    if retired:
        vat.syscall(RetireExports(_in_order(retired)), 0)
    return slots.has_suspects or has_rubbish(vat)


def _forget(vat: Liveslots, vref: str) -> list[str]:
    """One of the vat's own objects is dead: what the kernel must be told of."""
    if refs.is_off_heap(vref):
        _delete(vat, vref)
    told = vat.slots.forget_status(vref)
    vat.weak.forget(vref)
    return told


def _in_order(vrefs: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(vrefs, key=vref_order))


def _imports_to_retire(vat: Liveslots, dropped: dict[str, None]) -> list[str]:
    """Imports that are dropped and that no weak store recognises."""
    ceased, vat.weak.ceased = vat.weak.ceased, {}
    retired = []
    for vref in dropped:
        if vat.weak.recognises(vref):
            vat.weak.keep_dropped(vref)
        else:
            retired.append(vref)
    for vref in sorted(ceased, key=vref_order):
        is_elsewhere = not refs.is_vat_allocated(vref) and vref not in dropped
        if is_elsewhere and vat.weak.is_dropped(vref) and not vat.weak.recognises(vref):
            vat.weak.retire(vref)
            retired.append(vref)
    return retired


def _delete(vat: Liveslots, vref: str) -> None:
    """Delete an object's row; the entries of a store become rubbish."""
    kind, number = refs.durable_parts(vref)
    store = vat.store
    if kind in STORE_KINDS:
        own = store.virtual if refs.is_virtual(vref) else b""
        moved = store.get(own + b"g%d" % number)
        store.put(own + b"z%d" % (number if moved is None else int(moved)), STORES[kind]._ocap_letter)
        if moved is not None:
            store.put(own + b"g%d" % number, None)
        if kind in (MAP, SET):
            store.put(own + b"n%d" % number, None)
    else:
        key = store.key(b"s", vref)
        row = store.get(key)
        _farewell(vat, vref, row)
        vat.rows.replace(row, None)
        store.put(key, None)
    vat.pillars.forget(vref)


def _farewell(vat: Liveslots, vref: str, row: bytes | None) -> None:
    """Let the machinery of a class know that one of its objects is deleted."""
    try:
        gone = getattr(vat.states.kinds.class_of(vref), "_ocap_gone", None)
    except MissingKindError:
        return
    if gone is not None and row is not None:
        gone(vat, vat.rows.from_row(row))
