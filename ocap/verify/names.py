"""V4, V5, V6: every name in the store names something, and each clist is a bijection."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from ocap.protocol.refs import is_well_formed_vref
from ocap.verify.finding import Finding


def counted_names_exist(db: apsw.Connection) -> Iterator[Finding]:
    """Whatever is held is in the table of objects or of promises."""
    yield from db.execute(
        """
        SELECT t.kref, 'a row for what is held (' ||
            (SELECT group_concat(DISTINCT kind) FROM temp.holding h WHERE h.kref = t.kref) || ')', 'none'
        FROM temp.total t
        WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.kref = t.kref)
            AND NOT EXISTS (SELECT 1 FROM promises p WHERE p.kref = t.kref)
        """
    )


def other_names_exist(db: apsw.Connection) -> Iterator[Finding]:
    """So is what is named without being counted: exports, subscriptions, GC actions."""
    yield from db.execute(
        """
        SELECT vat || ' ' || vref, 'an object ' || kref, 'none' FROM clist c
        WHERE vref GLOB 'o+*' AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.kref = c.kref)
        UNION ALL
        SELECT 'subscriber ' || subscriber, 'a promise ' || promise, 'none' FROM subscribers s
        WHERE NOT EXISTS (SELECT 1 FROM promises p WHERE p.kref = s.promise)
        UNION ALL
        SELECT vat || ' ' || kind, 'an object ' || kref, 'none' FROM gc_actions g
        WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.kref = g.kref)
        """
    )


def dead_vats_leave_nothing(db: apsw.Connection) -> Iterator[Finding]:
    """What belongs to a vat belongs to one that exists; once cleaned up, it left no rows.

    Queued items and dead letters may name a vat that is gone: the items are dropped when their
    turn comes. A subcluster that is gone may be named only by vats that are being cleaned up.
    """
    yield from db.execute(
        """
        SELECT what, 'a vat ' || vat, 'none' FROM (
            SELECT DISTINCT 'clist' AS what, vat FROM clist
            UNION ALL SELECT DISTINCT 'gc_actions', vat FROM gc_actions
            UNION ALL SELECT DISTINCT 'exports', owner FROM objects WHERE owner IS NOT NULL
            UNION ALL SELECT DISTINCT 'decided promises', decider FROM promises WHERE decider IS NOT NULL
            UNION ALL SELECT DISTINCT 'subscriptions', subscriber FROM subscribers WHERE subscriber NOT GLOB 'kp*'
        ) WHERE NOT EXISTS (SELECT 1 FROM vats WHERE id = vat)
        UNION ALL
        SELECT id, 'a subcluster ' || subcluster, 'none' FROM vats v
        WHERE state <> 'terminated' AND subcluster IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM subclusters s WHERE s.id = v.subcluster)
        """
    )


def clists_are_bijections(db: apsw.Connection) -> Iterator[Finding]:
    """One kref, one vref, in each vat."""
    yield from db.execute(
        """
        SELECT vat || ' ' || vref, 'one kref', count(*) || ': ' || group_concat(kref, ' ') FROM clist
        GROUP BY vat, vref HAVING count(*) > 1
        UNION ALL
        SELECT vat || ' ' || kref, 'one vref', count(*) || ': ' || group_concat(vref, ' ') FROM clist
        GROUP BY vat, kref HAVING count(*) > 1
        """
    )


def vrefs_agree_with_krefs(db: apsw.Connection) -> Iterator[Finding]:
    """Both names of an entry are of one kind; an object's owner allocated its vref, and nobody else did.

    A promise is never half held: its flag is always up.
    """
    # SQL finds the few rows worth a look.
    query = """
        SELECT c.vat || ' ' || c.vref, c.kref, c.vref, c.reachable, c.heard, c.decided,
            o.kref IS NOT NULL, o.owner IS c.vat
        FROM clist c LEFT JOIN objects o ON o.kref = c.kref
        WHERE c.vref NOT GLOB '[op][-+][0-9]*' OR substr(c.vref, 4) GLOB '*[^0-9]*' OR c.vref GLOB '??0?*'
            OR length(c.vref) > 20 OR substr(c.kref, 2, 1) <> substr(c.vref, 1, 1) OR c.reachable NOT IN (0, 1)
            OR (c.vref GLOB 'p*' AND c.reachable <> 1) OR (c.vref GLOB 'o*' AND (c.heard OR c.decided))
            OR (o.kref IS NOT NULL AND (o.owner IS c.vat) <> (substr(c.vref, 2, 1) = '+'))
    """
    for key, kref, vref, reachable, heard, decided, is_object, owned in db.execute(query):
        if not is_well_formed_vref(vref):
            yield key, "a vref", repr(vref)
        elif kref[1:2] != vref[0]:
            yield key, f"a name of the same kind as {kref}", vref
        elif reachable not in ((0, 1) if vref[0] == "o" else (1,)):
            yield key, "a flag" if vref[0] == "o" else "a flag that is up", reachable
        elif vref[0] == "o" and (heard or decided):
            yield key, "an object's name, which is kept for no settlement", f"heard {heard}, decided {decided}"
        elif is_object and bool(owned) is not (vref[1] == "+"):
            yield key, f"an {'export' if owned else 'import'} of {kref}", vref


def one_exporter(db: apsw.Connection) -> Iterator[Finding]:
    """An object has an owner and its owner an entry for it, or neither, and then a reason why not."""
    yield from db.execute(
        """
        SELECT o.kref, 'an entry of its owner ' || o.owner, 'none' FROM objects o
        WHERE o.owner IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM clist c WHERE (c.vat, c.kref) = (o.owner, o.kref) AND c.vref GLOB 'o+*')
        UNION ALL
        SELECT kref, 'why it is gone', 'none' FROM objects WHERE owner IS NULL AND gone IS NULL
        UNION ALL
        SELECT kref, 'no reason to be gone but that it was revoked', gone
        FROM objects WHERE owner IS NOT NULL AND gone <> 'it was revoked'
        UNION ALL
        SELECT o.kref, 'an object of the kernel''s', coalesce(o.owner, 'an orphan') FROM objects o
        JOIN facets f ON f.kref = o.kref WHERE o.owner IS NOT 'kernel'
        UNION ALL
        SELECT o.kref, 'a facet', 'none' FROM objects o
        WHERE o.owner = 'kernel' AND NOT EXISTS (SELECT 1 FROM facets f WHERE f.kref = o.kref)
        UNION ALL
        SELECT 'facet ' || f.kref, 'an object', 'none' FROM facets f
        WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.kref = f.kref)
        """
    )


def roots_are_exported(db: apsw.Connection) -> Iterator[Finding]:
    """A vat that lives exports its root as o+0."""
    yield from db.execute(
        """
        SELECT v.id, 'its root ' || v.root || ' as o+0', coalesce(c.vref, 'no entry') FROM vats v
        LEFT JOIN clist c ON (c.vat, c.kref) = (v.id, v.root)
        WHERE v.state <> 'terminated' AND v.root IS NOT NULL AND c.vref IS NOT 'o+0'
        """
    )
