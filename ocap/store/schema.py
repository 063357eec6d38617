"""The layout of the database file: its tables, its version, its mark.

STRICT tables, so that a value of a wrong type is refused when it is written. A new version comes
with a migration in `MIGRATIONS` and a test from the previous one.
"""

from __future__ import annotations

APPLICATION_ID = 0x6F636170
"""The four letters `ocap` in the file's header: how a file is known to be ours."""

VERSION = 1

TABLES = """
CREATE TABLE counters (
    kind TEXT PRIMARY KEY,          -- crank, object, promise, vat, subcluster, queue, dead_letter
    next INTEGER NOT NULL           -- the next id of the kind; only grows
) STRICT, WITHOUT ROWID;

CREATE TABLE subclusters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    bootstrap TEXT NOT NULL,        -- the vat whose root was bootstrapped
    result TEXT NOT NULL,           -- the promise for what bootstrap returned
    state TEXT NOT NULL CHECK (state IN ('launching', 'running'))
) STRICT, WITHOUT ROWID;

CREATE INDEX subclusters_launching ON subclusters (id) WHERE state = 'launching';

CREATE TABLE vats (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    subcluster TEXT,
    source TEXT NOT NULL,
    parameters BLOB NOT NULL,
    parameter_slots TEXT NOT NULL,  -- krefs, separated by spaces
    root TEXT,
    state TEXT NOT NULL CHECK (state IN ('new', 'live', 'suspended', 'terminated')),
    incarnation INTEGER NOT NULL,
    ended INTEGER NOT NULL,         -- 1: nobody waits for the current incarnation any more
    faults INTEGER NOT NULL,
    next_import INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX vats_by_subcluster ON vats (subcluster);
CREATE INDEX vats_terminated ON vats (id) WHERE state = 'terminated';

CREATE TABLE objects (
    kref TEXT PRIMARY KEY,
    owner TEXT,                     -- the exporting vat; NULL for an orphan
    reachable INTEGER NOT NULL CHECK (reachable >= 0),
    recognizable INTEGER NOT NULL CHECK (recognizable >= reachable),
    gone TEXT                       -- why an orphan has no owner
) STRICT, WITHOUT ROWID;

CREATE TABLE promises (
    kref TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('unresolved', 'fulfilled', 'rejected', 'forwarded')),
    decider TEXT,
    target TEXT,                    -- the promise a forwarded one follows
    refs INTEGER NOT NULL CHECK (refs >= 0),
    body BLOB,
    slots TEXT                      -- krefs, separated by spaces
) STRICT, WITHOUT ROWID;
CREATE INDEX promises_by_decider ON promises (decider) WHERE decider IS NOT NULL;

CREATE TABLE subscribers (
    promise TEXT NOT NULL,
    position INTEGER NOT NULL,
    subscriber TEXT NOT NULL,       -- a vat, or a promise that follows this one
    PRIMARY KEY (promise, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE clist (
    vat TEXT NOT NULL,
    kref TEXT NOT NULL,
    vref TEXT NOT NULL,
    reachable INTEGER NOT NULL,
    heard INTEGER NOT NULL,         -- a promise whose settlement any incarnation is to hear of
    decided INTEGER NOT NULL,       -- a promise that any incarnation decides
    PRIMARY KEY (vat, kref)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX clist_by_vref ON clist (vat, vref);
CREATE INDEX clist_by_kref ON clist (kref);

CREATE TABLE queue (
    seq INTEGER PRIMARY KEY,
    place TEXT NOT NULL,            -- '' the run queue; else the promise or vat it waits at
    kind TEXT NOT NULL CHECK (kind IN ('send', 'notify', 'create', 'terminate')),
    cause INTEGER NOT NULL,
    vat TEXT,
    target TEXT,                    -- send: object or promise; notify: the promise
    method TEXT,
    body BLOB,
    slots TEXT,
    result TEXT,
    reason TEXT
) STRICT;
CREATE INDEX queue_by_place ON queue (place, seq);

CREATE TABLE gc_actions (
    vat TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('drop_export', 'retire_export', 'retire_import')),
    kref TEXT NOT NULL,
    PRIMARY KEY (vat, kind, kref)
) STRICT, WITHOUT ROWID;

CREATE TABLE vatstore (
    vat TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (vat, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE services (
    name TEXT PRIMARY KEY,
    kref TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY,
    crank INTEGER NOT NULL,
    vat TEXT NOT NULL,
    target TEXT NOT NULL,
    method TEXT NOT NULL,
    body BLOB NOT NULL,
    slots TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
"""

MIGRATIONS: dict[int, str] = {}
"""From version n to n + 1: the statements to run, in one transaction."""
