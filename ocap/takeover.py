"""A dry run of an upgrade: whether code fits what a vat in a database has stored. Changes nothing, starts nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import apsw

from ocap.protocol.capdata import CapData
from ocap.protocol.deliveries import StartVat
from ocap.protocol.errors import VatNotFoundError
from ocap.protocol.refs import HOST
from ocap.store.rowmap import split
from ocap.store.sqlite import open_read_only
from vats.liveslots import Liveslots
from vats.loader import VatSource
from vats.takeover import Misfit, check_takeover

_FORWARDS = "SELECT key, value FROM vatstore WHERE vat = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
_BACKWARDS = _FORWARDS.replace("ORDER BY key", "ORDER BY key DESC")


Told = Callable[[int, int, str], None]
"""Is told how many rows were read, of how many, and what they are."""


def check_upgrade(path: str | os.PathLike[str], vat: str, source: str, told: Told | None = None) -> list[Misfit]:
    """What of the stored state of `vat` the code at `source` cannot take over.

    Args:
        path: a database, in use or not; it is read as it is at this moment.
        vat: the vat's id, or its name if no other vat has it.
        source: a file, which ends in `.py`, or a dotted module path. The code is run, with the parameters the vat has.
        told: is told how far it is.

    Returns:
        Nothing if all is well. It takes some 50 microseconds for each stored object.

    Raises:
        VatNotFoundError: there is no such vat, or there are several of that name; the caller's fault.
        StoreError: (or a subclass) the file cannot be read.
    """
    db = open_read_only(path)
    try:
        db.execute("BEGIN")
        found = _find(db, vat)
        incarnation, parameters, imports = _start_of(db, found)
        code = VatSource(source, found, imports)
        try:
            liveslots = Liveslots(found, _Rows(db, found, told), code, registry=code.registry)
            return check_takeover(liveslots, StartVat(incarnation + 1, parameters))
        finally:
            code.unload()
    finally:
        db.close()


def _find(db: apsw.Connection, vat: str) -> str:
    query = "SELECT id FROM vats WHERE (id = ?1 OR name = ?1) AND state <> 'terminated' AND id <> ?2"
    ids = [str(name) for (name,) in db.execute(query, (vat, HOST))]
    if vat in ids:
        return vat
    if len(ids) != 1:
        raise VatNotFoundError(
            f"there are {len(ids)} vats {vat}: {', '.join(ids)}; give an id" if ids else f"there is no vat {vat}"
        )
    return ids[0]


def _start_of(db: apsw.Connection, vat: str) -> tuple[int, CapData, list[str]]:
    query = "SELECT incarnation, parameters, parameter_slots, options ->> 'imports' FROM vats WHERE id = ?"
    ((incarnation, body, slots, imports),) = db.execute(query, (vat,))
    to_vref = "SELECT vref FROM clist WHERE vat = ? AND kref = ?"
    vrefs = [str(vref) for kref in split(str(slots)) for (vref,) in db.execute(to_vref, (vat, kref))]
    return int(str(incarnation)), CapData(bytes(body), tuple(vrefs)), json.loads(str(imports or "[]"))


class _Rows:
    """The committed rows of one vat, which nothing changes."""

    __slots__ = ("_count", "_db", "_read", "_told", "_vat")

    def __init__(self, db: apsw.Connection, vat: str, told: Told | None) -> None:
        self._db = db
        self._vat = vat
        self._told = told
        self._read = 0
        self._count = 0
        if told is not None:
            for (count,) in db.execute("SELECT count(*) FROM vatstore WHERE vat = ?", (vat,)):
                self._count = int(str(count))

    def get(self, key: bytes, /) -> bytes | None:
        found = self._db.execute("SELECT value FROM vatstore WHERE vat = ? AND key = ?", (self._vat, key)).fetchone()
        return None if found is None else found[0]

    def scan(self, start: bytes, end: bytes, limit: int, /, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        rows: list[Any] = self._db.execute(
            _BACKWARDS if reverse else _FORWARDS, (self._vat, start, end, limit)
        ).fetchall()
        self._read += len(rows)
        if self._told is not None:
            self._told(min(self._read, self._count), self._count, "rows")
        return rows
