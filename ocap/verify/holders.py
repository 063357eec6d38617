"""Who holds what, recounted: temporary tables that the rules join with the store's own.

`slot(holder, id, kref)`: each slot of each stored body.
`holding(kref, kind, reach)`: each counted reference; `reach` is 0 where an import is only recognised.
`total(kref, reach, recognise)`: the same, summed.
"""

from __future__ import annotations

import apsw

_TABLES = """
CREATE TEMP TABLE slot (holder TEXT, id TEXT, kref TEXT);
CREATE TEMP TABLE holding (kref TEXT, kind TEXT, reach INTEGER);
CREATE TEMP TABLE total (kref TEXT PRIMARY KEY, reach INTEGER, recognise INTEGER) WITHOUT ROWID;
"""

_BODIES = """
SELECT 'item' AS holder, CAST(seq AS TEXT) AS id, slots FROM queue WHERE slots <> ''
UNION ALL SELECT 'settled', kref, slots FROM promises WHERE slots <> ''
UNION ALL SELECT 'parameters', id, parameter_slots FROM vats WHERE parameter_slots <> ''
UNION ALL SELECT 'config', id, config_slots FROM subclusters WHERE config_slots <> ''
UNION ALL SELECT 'dead letter', CAST(number AS TEXT), slots FROM dead_letters WHERE slots <> ''
"""

_FILL = f"""
INSERT INTO temp.slot SELECT holder, id, slots FROM ({_BODIES}) WHERE instr(slots, ' ') = 0;
INSERT INTO temp.slot
    SELECT b.holder, b.id, j.value FROM ({_BODIES}) b, json_each('[' || replace(json_quote(b.slots), ' ', '","') || ']') j
    WHERE instr(b.slots, ' ') > 0;
INSERT INTO temp.holding
    SELECT kref, 'clist', reachable FROM clist WHERE kref GLOB 'kp*' OR vref GLOB '?-*'
    UNION ALL SELECT kref, holder, 1 FROM temp.slot
    UNION ALL SELECT target, kind, 1 FROM queue WHERE target IS NOT NULL
    UNION ALL SELECT result, 'result', 1 FROM queue WHERE result IS NOT NULL
    UNION ALL SELECT target, 'follower', 1 FROM promises WHERE target IS NOT NULL
    UNION ALL SELECT result, 'subcluster', 1 FROM subclusters
    UNION ALL SELECT root, 'root', 1 FROM vats WHERE root IS NOT NULL
    UNION ALL SELECT done, 'done', 1 FROM vats WHERE done IS NOT NULL
    UNION ALL SELECT done, 'facet', 1 FROM facets WHERE done IS NOT NULL
    UNION ALL SELECT json_extract(e.value, '$[1]'), 'endowment', 1 FROM vats, json_each(options, '$.endowments') e
    UNION ALL SELECT json_extract(e.value, '$[1]'), 'endowment', 1 FROM queue, json_each(options, '$.endowments') e
    UNION ALL SELECT kref, 'service', 1 FROM services
    UNION ALL SELECT kref, 'pin', 1 FROM pins
    UNION ALL SELECT target, 'dead letter', 1 FROM dead_letters;
INSERT INTO temp.total SELECT kref, sum(reach), count(*) FROM temp.holding WHERE kref IS NOT NULL GROUP BY kref;
"""


def count_holders(db: apsw.Connection) -> None:
    for script in (_TABLES, _FILL):
        for _ in db.execute(script):
            pass


def holders_of(db: apsw.Connection, kref: str) -> str:
    """By kind, for the report of a wrong count."""
    db.execute("CREATE INDEX IF NOT EXISTS temp.holding_by_kref ON holding (kref)")
    query = "SELECT kind, sum(reach), count(*) FROM temp.holding WHERE kref = ? GROUP BY kind ORDER BY kind"
    kinds = []
    for kind, reach, count in db.execute(query, (kref,)):
        kinds.append(f"{kind} {count}" if reach == count else f"{kind} {count}, of them {reach} reachable")
    return "; ".join(kinds) or "nobody"
