"""`ocap why`, `ocap promises`, `ocap gc`, and `ocap suspend` of a database that no kernel has open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trio

from ocap.cli import tables
from ocap.cli.progress import Told, progress
from ocap.daemon.client import naming_the_daemon
from ocap.daemon.commands import Commands
from ocap.daemon.tap import Tap
from ocap.host.kernel import Kernel
from ocap.legible import safe_text
from ocap.protocol.errors import OcapError
from ocap.store.sqlite import check_is_there
from ocap.waiting import waiting
from ocap.why import why


class NoSuchReferenceError(OcapError, LookupError):
    """The database has no object or promise of that kref; the asker's fault."""


def explain(path: Path, kref: str, *, as_json: bool) -> int:
    """Print who keeps `kref`; 1 if nobody does.

    Raises:
        StoreError: the database cannot be read.
        NoSuchReferenceError: there is no such kref.
    """
    check_is_there(path)
    try:
        holders = why(path, kref)
    except LookupError as error:
        raise NoSuchReferenceError(str(error)) from None
    if as_json:
        print(json.dumps({"kref": kref, "holders": [{"depth": it.depth, "text": it.text} for it in holders]}))
    else:
        print(safe_text(kref))
        for holder in holders:
            print(safe_text(str(holder)))
        if not holders:
            print("nobody holds it: it goes at the next collection")
    return 0 if holders else 1


def suspend_at_rest(path: Path, what: str) -> Any:
    """Suspend a vat, or each of a subcluster, in a database that no kernel has open; as the command answers it.

    Raises:
        StoreError: the database cannot be used.
        OcapError: there is no such vat or subcluster.
    """
    with naming_the_daemon(path):
        kernel = Kernel(path)
    try:
        return Commands(kernel, Tap(kernel), {}).suspend_nowait(what)
    finally:
        kernel.close()


def collect(path: Path, *, cycles: bool, as_json: bool) -> int:
    """Collect garbage in a database that no kernel has open, and print what went."""
    check_is_there(path)
    with naming_the_daemon(path), progress("gc") as told:
        before, after = trio.run(_collect, path, cycles, told)
    if as_json:
        print(json.dumps({"before": before, "after": after}))
    else:
        for what, count in before.items():
            print(f"{what}: {count} before, {after[what]} after")
    return 0


async def _collect(path: Path, cycles: bool, told: Told) -> tuple[dict[str, int], dict[str, int]]:
    async with Kernel(path) as kernel, trio.open_nursery() as nursery:
        nursery.start_soon(_watch, kernel, told)
        await kernel.idle()
        before = kernel.census()
        for round_ in range(2):
            # Starting the vats and dropping what their last incarnations left comes first, so that a
            # search for cycles sees only what is really held.
            kernel.collect_garbage(cycles=cycles and round_ > 0)
            await kernel.idle()
        nursery.cancel_scope.cancel()
        return before, kernel.census()


async def _watch(kernel: Kernel, told: Told) -> None:
    while True:
        told(0, None, f"{kernel.stats()['cranks']:,} cranks")
        await trio.sleep(0.2)


def list_promises(path: Path, *, as_json: bool) -> int:
    """Print the promises that are not settled.

    Raises:
        StoreError: the database cannot be read.
    """
    check_is_there(path)
    found = waiting(path)
    if as_json:
        print(json.dumps({"promises": [it.to_json() for it in found]}))
    else:
        tables.promises(found)
    return 0
