"""V1, V2, V3, V7, V8: reference counts, and who must be told that one is zero."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from ocap.verify.finding import Finding
from ocap.verify.holders import holders_of


def promise_references(db: apsw.Connection) -> Iterator[Finding]:
    """A promise's count is the number of its holders."""
    query = """
        SELECT kref, coalesce(recognise, 0), refs FROM promises LEFT JOIN temp.total USING (kref)
        WHERE refs <> coalesce(recognise, 0)
    """
    for kref, held, stored in db.execute(query):
        yield kref, f"{held} references ({holders_of(db, kref)})", stored


def object_counts(db: apsw.Connection) -> Iterator[Finding]:
    """An object's counts are the numbers of those who reach and who recognise it."""
    query = """
        SELECT o.kref, coalesce(t.reach, 0), coalesce(t.recognise, 0), o.reachable, o.recognizable
        FROM objects o LEFT JOIN temp.total t USING (kref)
        WHERE o.reachable <> coalesce(t.reach, 0) OR o.recognizable <> coalesce(t.recognise, 0)
    """
    for kref, reach, recognise, *stored in db.execute(query):
        yield kref, f"reachable {reach}, recognizable {recognise} ({holders_of(db, kref)})", "{}, {}".format(*stored)


def counts_in_order(db: apsw.Connection) -> Iterator[Finding]:
    """0 <= reachable <= recognizable, and no promise's count is negative."""
    yield from db.execute(
        """
        SELECT kref, '0 <= reachable <= recognizable', reachable || ', ' || recognizable FROM objects
        WHERE NOT (0 <= reachable AND reachable <= recognizable)
        UNION ALL SELECT kref, 'refs >= 0', refs FROM promises WHERE refs < 0
        """
    )


def nothing_unheld(db: apsw.Connection) -> Iterator[Finding]:
    """What nobody holds is gone: promises and orphans at once, an export when its vat was told.

    A dead vat's exports stay until its cleanup comes to them.
    """
    yield from db.execute(
        """
        SELECT kref, 'no promise that nobody holds', state FROM promises WHERE refs = 0
        UNION ALL
        SELECT kref, 'no orphan that nobody holds', gone FROM objects WHERE owner IS NULL AND recognizable = 0
        UNION ALL
        SELECT o.kref, 'a retire_export waiting for ' || o.owner, 'none' FROM objects o
        JOIN vats v ON v.id = o.owner
        WHERE o.recognizable = 0 AND v.state <> 'terminated' AND NOT EXISTS (
            SELECT 1 FROM gc_actions g WHERE (g.vat, g.kind, g.kref) = (o.owner, 'retire_export', o.kref))
        """
    )


def unheld_is_told(db: apsw.Connection) -> Iterator[Finding]:
    """Who must let go of an object that nobody reaches was told, or is about to be.

    The exporter of an unreachable object: its entry's flag is down, or a drop_export waits.
    Whoever recognises an unreachable orphan: a retire_import waits.
    """
    yield from db.execute(
        """
        SELECT o.kref, 'a drop_export waiting for ' || o.owner, 'none' FROM objects o
        JOIN vats v ON v.id = o.owner JOIN clist c ON (c.vat, c.kref) = (o.owner, o.kref)
        WHERE o.reachable = 0 AND c.reachable AND v.state <> 'terminated' AND NOT EXISTS (
            SELECT 1 FROM gc_actions g WHERE (g.vat, g.kind, g.kref) = (o.owner, 'drop_export', o.kref))
        UNION ALL
        SELECT o.kref, 'a retire_import waiting for ' || c.vat, 'none' FROM objects o
        JOIN clist c ON c.kref = o.kref JOIN vats v ON v.id = c.vat
        WHERE o.reachable = 0 AND o.owner IS NULL AND v.state <> 'terminated' AND NOT EXISTS (
            SELECT 1 FROM gc_actions g WHERE (g.vat, g.kind, g.kref) = (c.vat, 'retire_import', o.kref))
        """
    )


def actions_name_entries(db: apsw.Connection) -> Iterator[Finding]:
    """An action waits for a vat that lives, about an export or import in its clist.

    It may be stale, as the object may have been introduced again: it is checked when it is taken.
    """
    yield from db.execute(
        """
        SELECT g.vat || ' ' || g.kind || ' ' || g.kref,
            'an ' || iif(g.kind = 'retire_import', 'import', 'export') || ' of a living vat',
            coalesce(c.vref, 'no entry') || ' of a ' || coalesce(v.state, 'missing') || ' vat'
        FROM gc_actions g LEFT JOIN vats v ON v.id = g.vat
        LEFT JOIN clist c ON (c.vat, c.kref) = (g.vat, g.kref)
        WHERE v.state IS NULL OR v.state = 'terminated' OR c.vref IS NULL
            OR c.vref NOT GLOB iif(g.kind = 'retire_import', 'o-*', 'o+*')
        """
    )
