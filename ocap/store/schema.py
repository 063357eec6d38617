"""The layout of the database file: its tables, its version, its mark.

STRICT tables, so that a value of a wrong type is refused when it is written. A new version comes
with a migration in `MIGRATIONS` and a test from the previous one.
"""

from __future__ import annotations

APPLICATION_ID = 0x6F636170
"""The four letters `ocap` in the file's header: how a file is known to be ours."""

VERSION = 3

_QUEUE_2 = """
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY,
    place TEXT NOT NULL,            -- '' the run queue; else the promise or vat it waits at
    kind TEXT NOT NULL CHECK (kind IN ('send', 'notify', 'create', 'upgrade', 'ping', 'terminate')),
    cause INTEGER NOT NULL,
    vat TEXT,
    target TEXT,                    -- send: object or promise; notify: the promise
    method TEXT,
    body BLOB,                      -- send: arguments; upgrade: parameters; terminate: the reason in detail
    slots TEXT,
    result TEXT,
    source TEXT,                    -- upgrade
    options TEXT,                   -- upgrade: those it brings, as JSON
    reason TEXT                     -- terminate
) STRICT;
CREATE INDEX queue_by_place ON queue (place, seq);
"""

_NEW_IN_2 = """
CREATE TABLE pins (
    kref TEXT PRIMARY KEY           -- what the host program keeps alive
) STRICT, WITHOUT ROWID;

CREATE TABLE facets (
    kref TEXT PRIMARY KEY,          -- an object of the kernel's own
    kind TEXT NOT NULL CHECK (kind IN ('vat_admin', 'admin')),
    subject TEXT NOT NULL,          -- the subcluster or vat it administers
    done TEXT                       -- admin: the promise of how the vat ended
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    key TEXT PRIMARY KEY,           -- as the host program named it
    epoch INTEGER NOT NULL          -- the how manyth restart of all vats it was
) STRICT, WITHOUT ROWID;
"""

_NEW_IN_3 = """
CREATE TABLE marks (
    time INTEGER PRIMARY KEY,       -- in milliseconds since 1970, by a clock that is never set back
    crank INTEGER NOT NULL,         -- the next number of each kind, as it was then
    promise INTEGER NOT NULL,
    queue INTEGER NOT NULL
) STRICT;
"""

_REASON = "reason TEXT CHECK (reason IS NULL OR state = 'suspended')"

TABLES = f"""
CREATE TABLE counters (
    kind TEXT PRIMARY KEY,          -- crank, object, promise, vat, subcluster, queue, dead_letter, epoch
    next INTEGER NOT NULL           -- the next id of the kind; only grows. Also time and ahead: see marks.py
) STRICT, WITHOUT ROWID;

CREATE TABLE subclusters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    bootstrap TEXT NOT NULL,        -- the vat whose root was bootstrapped
    result TEXT NOT NULL,           -- the promise for what bootstrap returned
    state TEXT NOT NULL CHECK (state IN ('launching', 'running')),
    config_slots TEXT NOT NULL DEFAULT '',
    is_system INTEGER NOT NULL DEFAULT 0,  -- 1: declared by the host program at its start
    replaces TEXT                   -- the subcluster that ends when this one runs
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
    next_import INTEGER NOT NULL,
    options TEXT NOT NULL DEFAULT '{{}}',  -- JSON
    done TEXT,                      -- the promise of how the vat ends, if anybody may ask
    epoch INTEGER NOT NULL DEFAULT 0,  -- the restart of all vats that the current incarnation came after
    {_REASON}  -- why it is suspended, if that is known
) STRICT, WITHOUT ROWID;
CREATE INDEX vats_by_subcluster ON vats (subcluster);
CREATE INDEX vats_terminated ON vats (id) WHERE state = 'terminated';

CREATE TABLE objects (
    kref TEXT PRIMARY KEY,
    owner TEXT,                     -- the exporting vat; NULL for an orphan
    reachable INTEGER NOT NULL CHECK (reachable >= 0),
    recognizable INTEGER NOT NULL CHECK (recognizable >= reachable),
    gone TEXT                       -- why an orphan has no owner, or that it is revoked
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

{_QUEUE_2}
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
{_NEW_IN_2}{_NEW_IN_3}"""

_TO_2 = f"""
ALTER TABLE subclusters ADD COLUMN config_slots TEXT NOT NULL DEFAULT '';
ALTER TABLE subclusters ADD COLUMN is_system INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subclusters ADD COLUMN replaces TEXT;
ALTER TABLE vats ADD COLUMN options TEXT NOT NULL DEFAULT '{{}}';
ALTER TABLE vats ADD COLUMN done TEXT;
ALTER TABLE vats ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
DROP INDEX queue_by_place;
ALTER TABLE queue RENAME TO old_queue;
{_QUEUE_2}
INSERT INTO queue (seq, place, kind, cause, vat, target, method, body, slots, result, reason)
    SELECT seq, place, kind, cause, vat, target, method, body, slots, result, reason FROM old_queue;
DROP TABLE old_queue;
{_NEW_IN_2}
"""

_TO_3 = f"""
ALTER TABLE vats ADD COLUMN {_REASON};
{_NEW_IN_3}
"""

MIGRATIONS: dict[int, str] = {1: _TO_2, 2: _TO_3}
"""From version n to n + 1: the statements to run, in one transaction."""
