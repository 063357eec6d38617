"""V13: what waits in the queues."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from ocap.verify.finding import Finding


def items_are_whole(db: apsw.Connection) -> Iterator[Finding]:
    """Each kind of item has its columns and no others."""
    yield from db.execute(
        """
        SELECT 'item ' || seq, 'the columns of a ' || kind,
            concat_ws(', ', 'vat ' || vat, 'target ' || target, 'method ' || method, 'slots ' || slots,
                'result ' || result, 'source ' || source, 'reason ' || reason)
        FROM queue
        WHERE (kind = 'send') <> (method IS NOT NULL)
            OR (kind = 'send' AND body IS NULL)
            OR (kind NOT IN ('send', 'upgrade', 'terminate') AND body IS NOT NULL)
            OR (body IS NULL) <> (slots IS NULL)
            OR (kind IN ('send', 'notify')) <> (target IS NOT NULL)
            OR (kind <> 'send') <> (vat IS NOT NULL)
            OR (kind = 'terminate') <> (reason IS NOT NULL)
            OR (kind <> 'upgrade' AND (source IS NOT NULL OR options IS NOT NULL))
            OR (kind = 'ping' AND result IS NULL)
            OR (kind IN ('notify', 'terminate') AND result IS NOT NULL)
            OR (kind = 'notify' AND target NOT GLOB 'kp*')
            OR result NOT GLOB 'kp*'
        """
    )


def places_exist(db: apsw.Connection) -> Iterator[Finding]:
    """What is parked waits at a promise, as messages do, or at a vat that is suspended."""
    yield from db.execute(
        """
        SELECT 'item ' || seq, 'a place to wait', place || ', where nothing is' FROM queue q
        WHERE place <> '' AND NOT EXISTS (SELECT 1 FROM vats v WHERE v.id = q.place)
            AND NOT EXISTS (SELECT 1 FROM promises p WHERE p.kref = q.place)
        UNION ALL
        SELECT 'item ' || seq, 'a message to a promise', kind || ' to ' || target || ' at ' || place FROM queue
        WHERE place GLOB 'kp*' AND (kind <> 'send' OR target NOT GLOB 'kp*')
        UNION ALL
        SELECT 'item ' || seq, 'a suspended vat ' || place, v.state FROM queue JOIN vats v ON v.id = place
        WHERE v.state <> 'suspended'
        """
    )
