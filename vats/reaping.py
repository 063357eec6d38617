"""Reaping: what bringOutYourDead does. The only delivery that acts on what the collector did."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ocap.protocol import refs
from ocap.protocol.syscalls import DropImports, RetireExports, RetireImports
from vats.durable import STORE_KIND
from vats.keys import decode_key
from vats.rows import vref_order

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


REAP_BUDGET = 1000
"""Suspects looked at and entries deleted in one crank: some milliseconds, so that nobody waits for it."""


def reap(vat: Liveslots) -> bool:
    """Delete durable objects that nobody can reach, and tell the kernel what the vat no longer holds.

    An object is dead when no representative is alive, no durable row refers to it and the kernel
    does not reach it. Deleting one may leave others dead, hence the rounds. Runs no user code.

    Returns:
        Whether the budget ended it, so that the vat should be asked again.
    """
    dropped: list[str] = []
    retired: list[str] = []
    if not vat.is_reaping:  # else this goes on with what the last crank left
        vat.collect()
    budget = REAP_BUDGET
    slots, rows = vat.slots, vat.rows
    while budget > 0:
        slots.bury()
        slots.suspect(rows.unreferenced)
        rows.unreferenced.clear()
        suspects = sorted(islice(slots.possibly_dead, budget), key=vref_order)
        if not suspects:
            break
        budget -= len(suspects)
        for vref in suspects:
            del slots.possibly_dead[vref]
            if slots.find(vref) is not None or rows.is_referenced(vref):
                continue
            if not refs.is_vat_allocated(vref):
                dropped.append(vref)
            elif not refs.is_durable(vref):
                if slots.forget_status(vref):
                    retired.append(vref)
            elif not slots.is_reached(vref):
                if slots.forget_status(vref):
                    retired.append(vref)
                budget -= _delete(vat, vref, budget)
    if dropped:
        vat.syscall(DropImports(tuple(dropped)), 0)
        vat.syscall(RetireImports(tuple(dropped)), 0)
    if retired:
        vat.syscall(RetireExports(tuple(retired)), 0)
    return bool(slots.possibly_dead or rows.unreferenced)


def _delete(vat: Liveslots, vref: str, budget: int) -> int:
    """Delete an object's rows, a store's only as far as the budget goes; how many were deleted."""
    kind, number = refs.durable_parts(vref)
    deleted = 0
    if kind != STORE_KIND:
        key = b"s" + vref.encode()
        vat.rows.replace(vat.store.get(key), None)
        vat.store.put(key, None)
    else:
        prefix = b"m%d " % number
        for key, row in vat.store.scan(prefix):
            if deleted >= max(budget, 1):
                vat.slots.suspect([vref])
                return deleted
            deleted += 1
            names: set[str] = set()
            decode_key(key[len(prefix) :], names.add)
            for name in sorted(names, key=vref_order):
                vat.rows.count(name, -1)
            vat.rows.replace(row, None)
            vat.store.put(key, None)
        vat.store.put(b"n%d" % number, None)
    vat.pillars.forget(vref)
    return deleted
