"""V16: what vats store. The rows are those that `vats.vatstore` describes; a vat without liveslots may have others.

Only references that outlive an incarnation are counted here, imports and durable objects: rows of
virtual things go with theirs, and are swept a batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import apsw

from ocap.protocol import refs
from ocap.protocol.errors import OcapError
from ocap.verify.finding import Finding
from vats.keys import REFERENCE, decode_key
from vats.kinds import FIRST_CLASS_KIND
from vats.rows import names_in

_HOLDERS = b"smqh"
_BATCH = 1000


def vatstores_have_vats(db: apsw.Connection) -> Iterator[Finding]:
    """Each vatstore belongs to a vat."""
    yield from db.execute(
        """
        SELECT 'vatstore', 'a vat ' || vat, 'none' FROM (SELECT DISTINCT vat FROM vatstore)
        WHERE NOT EXISTS (SELECT 1 FROM vats WHERE id = vat)
        """
    )


def references_in_rows_are_counted(db: apsw.Connection) -> Iterator[Finding]:
    """The count of a reference is how many rows of the vat hold it."""
    _collect(db)
    yield from db.execute(
        """
        SELECT vat || ' r' || vref, total(held) || ' rows', total(counted) || ' counted' FROM (
            SELECT vat, vref, count(*) AS held, 0 AS counted FROM temp.row_reference GROUP BY vat, vref
            UNION ALL
            SELECT vat, CAST(substr(key, 2) AS TEXT), 0, CAST(CAST(value AS TEXT) AS INTEGER) FROM vatstore
            WHERE key >= x'72' AND key < x'73'
        ) JOIN vats ON id = vat AND state != 'terminated'
        GROUP BY vat, vref HAVING total(held) != total(counted)
        """
    )


def durable_objects_in_rows_exist(db: apsw.Connection) -> Iterator[Finding]:
    """A durable object that a row refers to has a row itself, and its kind a name."""
    for vat, vref in db.execute(
        "SELECT DISTINCT vat, vref FROM temp.row_reference JOIN vats ON id = vat AND state != 'terminated'"
    ):
        if refs.is_vat_allocated(vref) and refs.durable_parts(vref)[0] >= FIRST_CLASS_KIND:
            for key in (f"s{vref}", f"k{refs.durable_parts(vref)[0]}"):
                if not db.execute("SELECT 1 FROM vatstore WHERE vat = ? AND key = ?", (vat, key.encode())).fetchall():
                    yield f"{vat} {key}", f"a row, as rows refer to {vref}", "none"


def _collect(db: apsw.Connection) -> None:
    """Note each reference in each row."""
    db.execute("CREATE TEMP TABLE row_reference (vat TEXT, vref TEXT)")
    rows = db.execute(
        """
        SELECT vat, key, value FROM vatstore
        WHERE substr(key, 1, 1) IN (x'73', x'6d', x'71', x'68', x'76') AND (instr(value, x'0a') > 1 OR instr(key, ?))
        """,
        (REFERENCE,),
    )
    while batch := list(islice(rows, _BATCH)):
        found = [(vat, refs.base_of(vref)) for vat, key, value in batch for vref in _held_by(key, value)]
        db.executemany("INSERT INTO temp.row_reference VALUES (?, ?)", found)


def _held_by(key: bytes, value: bytes) -> Iterator[str]:
    """The references that a row holds and that outlive the incarnation; none, if it is not of liveslots."""
    if key[:1] == b"v":
        key = key.partition(b" ")[2]
    if key[:1] not in _HOLDERS:
        return
    names: list[str] = []
    try:
        names += names_in(value)
        if key[:1] == b"m":
            keys: set[str] = set()
            decode_key(key.partition(b" ")[2], keys.add)
            names += keys
    except (OcapError, ValueError, IndexError):
        return
    for name in names:
        is_elsewhere = refs.is_well_formed_vref(name) and not refs.is_vat_allocated(name)
        if is_elsewhere or (refs.is_well_formed_vref(name) and refs.is_off_heap(name) and not refs.is_virtual(name)):
            yield name
