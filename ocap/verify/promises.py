"""V9 to V12: promises, who decides them, who follows them, who is told."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from ocap.verify.finding import Finding


def states(db: apsw.Connection) -> Iterator[Finding]:
    """Each state has its columns: data when settled, a target when forwarded, a decider at most when unresolved.

    Nobody waits on a settled promise: no subscribers, nothing parked.
    """
    yield from db.execute(
        """
        SELECT kref, 'the columns of a promise that is ' || state,
            concat_ws(', ', 'decider ' || decider, 'target ' || target,
                iif(body IS NULL, 'no body', 'a body'), iif(slots IS NULL, 'no slots', 'slots'))
        FROM promises
        WHERE (state IN ('fulfilled', 'rejected')) <> (body IS NOT NULL)
            OR (body IS NULL) <> (slots IS NULL)
            OR (state = 'forwarded') <> (target IS NOT NULL)
            OR (decider IS NOT NULL AND state <> 'unresolved')
        UNION ALL
        SELECT kref, 'nobody subscribed to a settled promise', group_concat(subscriber, ' ')
        FROM promises JOIN subscribers ON promise = kref
        WHERE state IN ('fulfilled', 'rejected') GROUP BY kref
        UNION ALL
        SELECT kref, 'nothing parked on a promise that is ' || state, 'item ' || seq
        FROM promises JOIN queue ON place = kref WHERE state <> 'unresolved'
        """
    )


def one_authority(db: apsw.Connection) -> Iterator[Finding]:
    """An unresolved promise is decided by a vat that lives and holds it, or is the result of one queued item, or tells how a vat ends."""
    yield from db.execute(
        """
        WITH carried AS MATERIALIZED (
            SELECT result, count(*) AS times FROM (
                SELECT result FROM queue WHERE result IS NOT NULL UNION ALL SELECT done FROM vats WHERE done IS NOT NULL
            ) GROUP BY result)
        SELECT p.kref, iif(decider IS NULL, 'to be the result of one queued message', 'no queued message to carry it'),
            coalesce(times, 0)
        FROM promises p LEFT JOIN carried ON result = p.kref
        WHERE state = 'unresolved' AND coalesce(times, 0) <> (decider IS NULL)
        UNION ALL
        SELECT p.kref, 'no queued message to carry what is ' || state, 'item ' || seq FROM queue q
        JOIN promises p ON p.kref = q.result WHERE state <> 'unresolved'
        UNION ALL
        SELECT p.kref, 'a decider that lives and holds it', decider FROM promises p
        WHERE decider IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM vats v JOIN clist c ON c.vat = v.id
            WHERE v.id = p.decider AND v.state <> 'terminated' AND c.kref = p.kref)
        """
    )


def no_cycles(db: apsw.Connection) -> Iterator[Finding]:
    """Following leads from any promise to one that follows nothing."""
    db.execute("CREATE TEMP TABLE follows (target TEXT, kref TEXT, PRIMARY KEY (target, kref)) WITHOUT ROWID")
    db.execute("INSERT INTO temp.follows SELECT target, kref FROM promises WHERE target IS NOT NULL")
    yield from db.execute(
        """
        WITH RECURSIVE ends (kref) AS (
            SELECT DISTINCT target FROM temp.follows f
            WHERE NOT EXISTS (SELECT 1 FROM promises p WHERE p.kref = f.target AND p.target IS NOT NULL)
            UNION
            SELECT f.kref FROM temp.follows f JOIN ends e ON f.target = e.kref
        )
        SELECT kref, 'a promise that can settle', 'a circle through ' || target FROM temp.follows
        WHERE kref NOT IN (SELECT kref FROM ends)
        """
    )


def subscribers_wait(db: apsw.Connection) -> Iterator[Finding]:
    """A vat that subscribed holds the promise; a promise that subscribed follows it; nobody is told twice."""
    yield from db.execute(
        """
        SELECT promise, subscriber || ' to hold it', 'no entry in its clist' FROM subscribers s
        WHERE subscriber NOT GLOB 'kp*'
            AND NOT EXISTS (SELECT 1 FROM clist c WHERE (c.vat, c.kref) = (s.subscriber, s.promise))
        UNION ALL
        SELECT promise, subscriber || ' to follow it', coalesce(p.target, 'nothing') || ' followed' FROM subscribers s
        LEFT JOIN promises p ON p.kref = s.subscriber
        WHERE subscriber GLOB 'kp*' AND p.target IS NOT s.promise
        UNION ALL
        SELECT promise, subscriber || ' once', count(*) FROM subscribers GROUP BY promise, subscriber HAVING count(*) > 1
        """
    )


def followers_are_subscribed(db: apsw.Connection) -> Iterator[Finding]:
    """Whoever follows will be settled: it is among the subscribers of what it follows."""
    yield from db.execute(
        """
        SELECT p.kref, 'to be a subscriber of ' || p.target, 'not' FROM promises p
        WHERE p.target IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM subscribers s WHERE (s.promise, s.subscriber) = (p.target, p.kref))
        """
    )


def notifies_name_settled(db: apsw.Connection) -> Iterator[Finding]:
    """A notify is queued when its promise settles, never before.

    Its vat need not want it any more: an earlier batch may have brought the promise along, or the
    vat may be gone. Such a notify is dropped when its turn comes.
    """
    yield from db.execute(
        """
        SELECT 'item ' || q.seq, 'a settled promise ' || q.target, coalesce(p.state, 'none') FROM queue q
        LEFT JOIN promises p ON p.kref = q.target
        WHERE q.kind = 'notify' AND coalesce(p.state, '') NOT IN ('fulfilled', 'rejected')
        """
    )


def settled_are_told(db: apsw.Connection) -> Iterator[Finding]:
    """A settled promise is in a vat's clist only while the notify that will take it out is queued.

    The settling vat loses its entry in the same step, and a vat subscribes to a promise in the
    crank that introduces it, so what settled before or after brings a notify. An entry without
    one would stay for good: what it holds leaks, and whoever awaits it hangs.
    Excepted are the host, which learns of a promise after the commit and subscribes later, and the dead.
    """
    yield from db.execute(
        """
        SELECT c.vat || ' ' || c.vref, 'a queued notify of ' || c.kref || ', which is ' || p.state, 'none'
        FROM promises p CROSS JOIN clist c ON c.kref = p.kref JOIN vats v ON v.id = c.vat
        WHERE p.state IN ('fulfilled', 'rejected') AND v.state <> 'terminated' AND v.id <> 'host'
            AND (c.vat, c.kref) NOT IN (SELECT vat, target FROM queue WHERE kind = 'notify' AND vat NOT NULL
                AND target NOT NULL)
        """
    )
