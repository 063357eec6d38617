"""Reaping: what bringOutYourDead does. The only delivery that acts on what the collector did."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from ocap.protocol import refs
from ocap.protocol.syscalls import DropImports, RetireExports, RetireImports
from vats.durable import STORE_KIND
from vats.keys import decode_key
from vats.rows import vref_order

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


def reap(vat: Liveslots) -> None:
    """Delete durable objects that nobody can reach, and tell the kernel what the vat no longer holds.

    An object is dead when no representative is alive, no durable row refers to it and the kernel
    does not reach it. Deleting one may leave others dead, hence the rounds. Runs no user code.
    """
    dropped: list[str] = []
    retired: list[str] = []
    gc.collect()
    while True:
        vat.slots.bury()
        suspects = vat.slots.possibly_dead | vat.rows.unreferenced
        if not suspects:
            break
        vat.slots.possibly_dead.clear()
        vat.rows.unreferenced.clear()
        for vref in sorted(suspects, key=vref_order):
            if vat.slots.find(vref) is not None or vat.rows.is_referenced(vref):
                continue
            if not refs.is_vat_allocated(vref):
                dropped.append(vref)
            elif not refs.is_durable(vref):
                if vat.slots.forget_status(vref):
                    retired.append(vref)
            elif not vat.slots.is_reached(vref):
                if vat.slots.forget_status(vref):
                    retired.append(vref)
                _delete(vat, vref)
    if dropped:
        vat.syscall(DropImports(tuple(dropped)), 0)
        vat.syscall(RetireImports(tuple(dropped)), 0)
    if retired:
        vat.syscall(RetireExports(tuple(retired)), 0)


def _delete(vat: Liveslots, vref: str) -> None:
    kind, number = refs.durable_parts(vref)
    if kind != STORE_KIND:
        key = b"s" + vref.encode()
        vat.rows.replace(vat.store.get(key), None)
        vat.store.put(key, None)
        return
    prefix = b"m%d " % number
    for key, row in vat.store.scan(prefix):
        names: set[str] = set()
        decode_key(key[len(prefix) :], names.add)
        for name in sorted(names, key=vref_order):
            vat.rows.count(name, -1)
        vat.rows.replace(row, None)
        vat.store.put(key, None)
    vat.store.put(b"n%d" % number, None)
