"""V15, V19: the file itself, its tables, and the counters that ids come from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import apsw

from ocap.store.schema import APPLICATION_ID, TABLES, VERSION
from ocap.verify.finding import Finding


def file_is_sound(db: apsw.Connection) -> Iterator[Finding]:
    """SQLite finds its own structures in order, and the file's marks are ours."""
    for (line,) in db.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield "integrity_check", "ok", line
    for mark, ours in (("application_id", APPLICATION_ID), ("user_version", VERSION)):
        found = db.pragma(mark)
        if found != ours:
            yield mark, ours, found


def tables_are_ours(db: apsw.Connection) -> Iterator[Finding]:
    """The tables and indexes are those of this version, to the letter, and no others."""
    ours, found = _our_layout(), _layout(db)
    for name in sorted(ours.keys() | found.keys()):
        if ours.get(name) != found.get(name):
            yield name, ours.get(name, "nothing of this name"), found.get(name, "nothing")


@cache
def _our_layout() -> dict[str, str]:
    model = apsw.Connection(":memory:")
    for _ in model.execute(TABLES):
        pass
    layout = _layout(model)
    model.close()
    return layout


def _layout(db: apsw.Connection) -> dict[str, str]:
    rows = db.execute("SELECT type || ' ' || name, coalesce(sql, '') FROM main.sqlite_schema")
    # SQLite makes the sqlite_ tables by itself, for ANALYZE and the like.
    return {name: _plain(sql) for name, sql in rows if " sqlite_" not in name}


def _plain(sql: str) -> str:
    """A definition without its comments and spacing, in which one that was altered may differ."""
    words = " ".join(re.sub(r"--[^\n]*", "", sql).split())
    return re.sub(r" ?([(),]) ?", r"\1", words)


def counters_are_ahead(db: apsw.Connection) -> Iterator[Finding]:
    """No id that a counter will give was given before: not to what is there, nor to what is named as gone."""
    yield from db.execute(
        """
        WITH given (kind, number) AS (
            SELECT 'object', max(CAST(substr(kref, 3) AS INTEGER)) FROM objects
            UNION ALL SELECT 'promise', max(CAST(substr(kref, 3) AS INTEGER)) FROM promises
            UNION ALL SELECT 'vat', max(CAST(substr(id, 2) AS INTEGER)) FROM vats WHERE subcluster IS NOT NULL
            UNION ALL SELECT 'vat', max(CAST(substr(vat, 2) AS INTEGER)) FROM queue WHERE vat IS NOT NULL
            UNION ALL SELECT 'vat', max(CAST(substr(vat, 2) AS INTEGER)) FROM dead_letters
            UNION ALL SELECT 'vat', max(CAST(substr(bootstrap, 2) AS INTEGER)) FROM subclusters
            UNION ALL SELECT 'subcluster', max(CAST(substr(id, 2) AS INTEGER)) FROM subclusters
            UNION ALL SELECT 'subcluster', max(CAST(substr(subcluster, 2) AS INTEGER)) FROM vats
            UNION ALL SELECT 'epoch', max(epoch) FROM vats
            UNION ALL SELECT 'epoch', max(epoch) FROM events
            UNION ALL SELECT 'queue', max(seq) FROM queue
            UNION ALL SELECT 'crank', max(cause) FROM queue
            UNION ALL SELECT 'crank', max(crank) FROM dead_letters
            UNION ALL SELECT 'dead_letter', max(number) FROM dead_letters
            UNION ALL SELECT 'crank', max(crank) - 1 FROM marks
            UNION ALL SELECT 'promise', max(promise) - 1 FROM marks
            UNION ALL SELECT 'queue', max(queue) - 1 FROM marks
            UNION ALL SELECT 'time', max(time) - 1 FROM marks
        )
        SELECT 'counter ' || kind, 'more than ' || max(number), coalesce(next, 'none') FROM given
        LEFT JOIN counters USING (kind) GROUP BY kind HAVING max(number) >= coalesce(next, 1)
        UNION ALL
        SELECT 'next_import of ' || id, 'more than ' || max(CAST(substr(vref, 3) AS INTEGER)), next_import
        FROM clist JOIN vats ON id = vat WHERE vref GLOB '?-*'
        GROUP BY id HAVING max(CAST(substr(vref, 3) AS INTEGER)) >= next_import
        """
    )


def marks_are_in_order(db: apsw.Connection) -> Iterator[Finding]:
    """Numbers only grow: from one mark to the next none falls."""
    yield from db.execute(
        """
        SELECT 'mark ' || time, 'no number below those of ' || before, crank || ', ' || promise || ', ' || queue FROM (
            SELECT *, lag(time) OVER ages AS before, crank < lag(crank) OVER ages OR promise < lag(promise) OVER ages
                OR queue < lag(queue) OVER ages AS falls FROM marks WINDOW ages AS (ORDER BY time))
        WHERE falls
        UNION ALL
        SELECT 'mark ' || time, 'numbers from 1', crank || ', ' || promise || ', ' || queue FROM marks
        WHERE min(crank, promise, queue) < 1
        """
    )
