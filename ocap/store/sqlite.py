"""The kernel's backend on SQLite: WAL, one writer, a transaction per group of cranks.

Owns the one connection that writes, on the thread that opened it.

Invariants:

1. Between `open` and `commit` everything written is in one transaction; a dead process leaves
   the last commit and nothing of what came after.
2. With durability `power`, a commit that returned survives the loss of power (synchronous=FULL:
   NORMAL lost acknowledged work in simulated power cuts); `process` survives the loss of the
   process; `none` survives nothing, and is for tests.
3. One kernel at a time: an exclusive lock on a file beside the database, held while it is open.
   SQLite's own locks would come and go with transactions.
4. The files are their user's alone when they are made, and are not those that another user has laid there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

import apsw

from ocap.kernel.items import Item
from ocap.kernel.rows import ClistRow
from ocap.protocol.errors import NotOurStoreError, StoreError, StoreFailedError, StoreInUseError, StoreVersionError
from ocap.reasons import reason as os_reason
from ocap.store.marks import CLOCK, Marker
from ocap.store.owner import stranger
from ocap.store.rowmap import MAPPINGS, clist_row, split, to_item
from ocap.store.schema import APPLICATION_ID, MIGRATIONS, TABLES, VERSION

Durability = Literal["power", "process", "none"]
_SYNCHRONOUS: dict[Durability, str] = {"power": "FULL", "process": "NORMAL", "none": "OFF"}

_CLIST = "vat, kref, vref, reachable, heard, decided"

_HOLDERS = (
    "SELECT slots FROM queue WHERE slots <> ''",
    "SELECT target FROM queue WHERE target IS NOT NULL",
    "SELECT slots FROM promises WHERE slots <> ''",
    "SELECT root FROM vats WHERE root IS NOT NULL",
    "SELECT parameter_slots FROM vats WHERE parameter_slots <> ''",
    "SELECT kref FROM services",
    "SELECT kref FROM pins",
    "SELECT json_extract(e.value, '$[1]') FROM vats, json_each(options, '$.endowments') e",
    "SELECT json_extract(e.value, '$[1]') FROM queue, json_each(options, '$.endowments') e",
    "SELECT config_slots FROM subclusters WHERE config_slots <> ''",
    "SELECT target FROM dead_letters",
    "SELECT slots FROM dead_letters WHERE slots <> ''",
)
"""Where the kernel itself keeps references: each gives krefs separated by spaces."""

_BEYOND = """
SELECT number FROM (
    SELECT number, count(*) OVER newest AS count, sum(length(body)) OVER newest AS size FROM dead_letters
    WINDOW newest AS (ORDER BY number DESC))
WHERE count > ? OR size > ? ORDER BY number
"""

_COUNTS = """
SELECT 'subclusters', count(*) FROM subclusters WHERE state = 'running'
UNION ALL SELECT 'system_subclusters', count(*) FROM subclusters WHERE state = 'running' AND is_system
UNION ALL SELECT 'vats', count(*) FROM vats WHERE subcluster IS NOT NULL AND state <> 'terminated'
UNION ALL SELECT 'dead_letters', count(*) FROM dead_letters
"""

_WHICH = {
    "all": "1",
    "promises": "kref GLOB 'kp*'",
    "exports": "vref GLOB 'o+*'",
    "imports": "vref GLOB 'o-*'",
}
"""Parts of a clist, as SQL."""


class SqliteBackend:
    """The store of one kernel, open.

    Args:
        path: the database file, made if it does not exist; None for one in memory.
        durability: what a commit survives.
        clock: seconds since 1970, for the marks.

    Raises:
        StoreInUseError: another kernel has it open.
        NotOurStoreError: the file is something else.
        StoreVersionError: it was written by a newer version.
        StoreError: it cannot be opened or written at all.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        durability: Durability = "power",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = None if path is None else Path(path)
        self._lock: IO[bytes] | None = None
        if self.path is not None:
            _check_name(self.path)
            _check_owners(self.path)
            new = [] if _named(self.path, _LOCK).exists() else [_LOCK]
            self._lock = _lock(self.path)
            if _make(self.path):
                new = [*_PARTS]
        try:
            self._db = self._open(durability)
            with _mapped(str(self.path)):
                self._marker = Marker(self._db, clock)
        except BaseException:
            if self.path is not None:
                for part in new:  # while the lock is held: nobody else has taken them for theirs
                    _named(self.path, part).unlink(missing_ok=True)
            self._unlock()
            raise

    def _open(self, durability: Durability) -> apsw.Connection:
        name = ":memory:" if self.path is None else str(self.path)
        with _mapped(name):
            db = apsw.Connection(name)
            db.set_busy_timeout(5000)
            try:
                blank = _is_blank(db, name)
                if db.readonly("main"):
                    raise StoreError(f"{name}: the file or its folder is read-only")
                if self.path is not None:
                    db.pragma("journal_mode", "WAL")
                    db.pragma("synchronous", _SYNCHRONOUS[durability])
                _bring_up_to_date(db, name, blank=blank)
            except BaseException:
                db.close()
                raise
            return db

    @property
    def connection(self) -> apsw.Connection:
        """The writing connection, for reading a store in memory: there is no other to it."""
        return self._db

    def close(self) -> None:
        """Roll back what was not committed and let go of the file."""
        try:
            with _mapped(str(self.path)):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._db.close()
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # ---- rows ---------------------------------------------------------------------------------

    def load(self, table: str, key: Any) -> Any:
        mapping = MAPPINGS[table]
        values = self._first(mapping.select, *(key if type(key) is tuple else (key,)))
        if values is None:
            return None
        row = mapping.to_row(values)
        if table == "promises":
            query = "SELECT subscriber FROM subscribers WHERE promise = ? ORDER BY position"
            row.subscribers = dict.fromkeys(self._column(query, key))
        return row

    def load_clist(self, vat: str, column: str, ref: str) -> ClistRow | None:
        values = self._first(f"SELECT {_CLIST} FROM clist WHERE vat = ? AND {column} = ?", vat, ref)
        return None if values is None else clist_row(values)

    def promise_rows(self, vat: str) -> list[ClistRow]:
        query = f"SELECT {_CLIST} FROM clist WHERE vat = ? AND kref GLOB 'kp*'"
        return [clist_row(values) for values in self._rows(query, vat)]

    def load_counters(self) -> dict[str, int]:
        return {
            kind: following for kind, following in self._rows("SELECT kind, next FROM counters") if kind not in CLOCK
        }

    def load_place(self, place: str) -> list[tuple[int, Item]]:
        mapping = MAPPINGS["queue"]
        columns = ",".join(mapping.keys + mapping.columns)
        rows = self._rows(f"SELECT {columns} FROM queue WHERE place = ? ORDER BY seq", place)
        return [(values[0], to_item(values)) for values in rows]

    def read_vatstore(self, vat: str, key: bytes) -> bytes | None:
        values = self._first("SELECT value FROM vatstore WHERE vat = ? AND key = ?", vat, key)
        return None if values is None else values[0]

    def scan_vatstore(
        self, vat: str, start: bytes, end: bytes, limit: int, *, reverse: bool
    ) -> list[tuple[bytes, bytes]]:
        order = "DESC" if reverse else "ASC"
        query = f"SELECT key, value FROM vatstore WHERE vat = ? AND key >= ? AND key < ? ORDER BY key {order} LIMIT ?"
        return self._rows(query, vat, start, end, limit)

    def vatstore_keys(self, vat: str, limit: int) -> list[bytes]:
        return self._column("SELECT key FROM vatstore WHERE vat = ? LIMIT ?", vat, limit)

    # ---- writing ------------------------------------------------------------------------------

    def write(self, changes: dict[str, list[tuple[Any, Any]]]) -> None:
        """Write rows into the open transaction; a None row is a deletion."""
        with _mapped(str(self.path)):
            self._begin()
            if "counters" in changes:
                changes["counters"] += self._marker.note(changes["counters"])
            for table, rows in changes.items():
                mapping = MAPPINGS[table]
                gone = [(key if type(key) is tuple else (key,)) for key, row in rows if row is None]
                if gone:
                    self._db.executemany(mapping.delete, gone)
                kept = [mapping.to_values(key, row) for key, row in rows if row is not None]
                if kept:
                    self._db.executemany(mapping.upsert, kept)
            if promises := changes.get("promises"):
                self._write_subscribers(promises)

    def _write_subscribers(self, promises: list[tuple[Any, Any]]) -> None:
        self._db.executemany("DELETE FROM subscribers WHERE promise = ?", [(kref,) for kref, _ in promises])
        rows = [
            (kref, position, subscriber)
            for kref, row in promises
            if row is not None
            for position, subscriber in enumerate(row.subscribers)
        ]
        self._db.executemany("INSERT INTO subscribers (promise, position, subscriber) VALUES (?, ?, ?)", rows)

    def commit(self) -> None:
        if self._db.in_transaction:
            with _mapped(str(self.path)):
                self._marker.mark()
                self._db.execute("COMMIT")

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._marker.forget()
            self._db.execute("BEGIN IMMEDIATE")

    # ---- queries ------------------------------------------------------------------------------

    def deciders(self) -> list[str]:
        return self._column("SELECT DISTINCT decider FROM promises WHERE decider IS NOT NULL")

    def decided_by(self, vat: str) -> list[str]:
        return self._column("SELECT kref FROM promises WHERE decider = ?", vat)

    def clist_rows(self, vat: str, which: str, limit: int) -> list[str]:
        return self._column(f"SELECT kref FROM clist WHERE vat = ? AND {_WHICH[which]} LIMIT ?", vat, limit)

    def imports_after(self, vat: str, kref: str, limit: int) -> list[str]:
        query = (
            "SELECT kref FROM clist WHERE vat = ? AND kref > ? AND vref GLOB 'o-*' AND reachable ORDER BY kref LIMIT ?"
        )
        return self._column(query, vat, kref, limit)

    def importers(self, kref: str) -> list[str]:
        return self._column("SELECT vat FROM clist WHERE kref = ? ORDER BY vat", kref)

    def vats_of(self, subcluster: str) -> list[str]:
        return self._column("SELECT id FROM vats WHERE subcluster = ? ORDER BY length(id), id", subcluster)

    def vats(self) -> list[str]:
        return self._column("SELECT id FROM vats")

    def held_by_kernel(self) -> Iterator[list[str]]:
        """Krefs that anything but a clist holds: what waits in queues, settled data, roots, services…

        One kind of holder at a time, asked for when its turn comes.
        """
        for query in _HOLDERS:
            yield [kref for text in self._column(query) for kref in split(text)]

    def census(self) -> dict[str, int]:
        """How many rows the tables have that grow with what is held."""
        tables = ("objects", "promises", "clist", "queue", "vatstore")
        return {table: self._column(f"SELECT count(*) FROM {table}")[0] for table in tables}

    def vats_in(self, state: str) -> list[str]:
        return self._column("SELECT id FROM vats WHERE state = ? ORDER BY length(id), id", state)

    def subclusters(self) -> list[str]:
        return self._column("SELECT id FROM subclusters ORDER BY length(id), id")

    def system_subclusters(self) -> list[str]:
        return self._column("SELECT id FROM subclusters WHERE is_system ORDER BY length(id), id")

    def dead_letters(self) -> list[int]:
        return self._column("SELECT number FROM dead_letters ORDER BY number")

    def dead_letters_beyond(self, count: int, size: int) -> list[int]:
        """The oldest, if there are more than so many, or more than so many bytes of bodies."""
        return self._column(_BEYOND, count, size)

    def counts(self) -> dict[str, int]:
        """How many subclusters are launched, of these by the system, vats live, and dead letters are kept."""
        return dict(self._rows(_COUNTS))

    def launching(self) -> list[str]:
        return self._column("SELECT id FROM subclusters WHERE state = 'launching' ORDER BY length(id), id")

    def gc_actions_of(self, vat: str) -> list[tuple[str, str]]:
        return self._rows("SELECT kind, kref FROM gc_actions WHERE vat = ?", vat)

    def _first(self, query: str, *values: Any) -> Any:
        rows = self._rows(query, *values)
        return rows[0] if rows else None

    def _column(self, query: str, *values: Any) -> list[Any]:
        return [row[0] for row in self._rows(query, *values)]

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with _mapped(str(self.path)):
            return self._db.execute(query, values).fetchall()


_LOCK = ".lock"
_PARTS = ("", "-wal", "-shm", "-journal", _LOCK)
"""What is added to a database's name for the files it consists of."""


def _named(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)


def _check_owners(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; name a file")
    for part in _PARTS:
        name = _named(path, part)
        if (reason := stranger(name)) is not None:
            raise StoreError(f"{name}: {reason}")


def _make(path: Path) -> bool:
    """Make a file closed to other users, if there is none: SQLite gives those beside it the same mode."""
    with suppress(OSError):  # it is there, or SQLite says why it cannot be
        # Never opened if it is there: to close it again would let go of the locks of who has it open.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return True
    return False


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _lock(path: Path) -> IO[bytes]:
    while True:
        lock = _lock_once(path)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), _named(path, _LOCK).stat()):
                return lock
        lock.close()  # whoever had it could not open the database, and took it away


def _lock_once(path: Path) -> IO[bytes]:
    name = _named(path, _LOCK)
    try:
        lock = open(name, "ab", opener=_private)  # noqa: SIM115 - held until the store is closed
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {os_reason(error)}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise StoreError(f"{path}: cannot be locked: {os_reason(error)}") from error
        raise StoreInUseError(f"{path}: another kernel has this database open; stop it first") from None
    return lock


def _check_name(path: Path) -> None:
    """To SQLite names are UTF-8; to the system they are any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise StoreError(f"{path}: SQLite opens no file whose name is not UTF-8; choose another") from None


def check_is_there(path: Path) -> None:
    """Raises `StoreError` for what is no file, before it is opened or made."""
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; name a file")
    if not path.is_file():
        raise StoreError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise StoreError(f"{path}: this user may not read it")


def open_read_only(path: str | os.PathLike[str]) -> apsw.Connection:
    """A connection for readers, such as `verify`, to a database that may be in use.

    Raises:
        NotOurStoreError: the file is something else.
        StoreVersionError: it has the layout of another version.
        StoreError: it is not there or cannot be read.
    """
    name = os.fspath(path)
    _check_name(Path(name))
    check_is_there(Path(name))
    with _mapped(name):
        db = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            db.set_busy_timeout(5000)
            if _is_blank(db, name):
                raise NotOurStoreError(f"{name}: an empty file, no database of this program")
            _check_version(db, name, oldest=VERSION)
        except BaseException:
            db.close()
            raise
        return db


def _is_blank(db: apsw.Connection, name: str) -> bool:
    """Before anything is written: is this file empty (True), or ours?"""
    tables = db.execute("SELECT count(*) FROM main.sqlite_schema").fetchall()[0][0]
    mark = db.pragma("application_id")
    if mark != APPLICATION_ID and (tables or mark):
        raise NotOurStoreError(f"{name}: not a database of this program; choose another file")
    return tables == 0


def _check_version(db: apsw.Connection, name: str, oldest: int) -> int:
    found: int = db.pragma("user_version")
    if found > VERSION:
        raise StoreVersionError(
            f"{name}: written by a newer version (layout {found}, this program knows {VERSION}); upgrade the program"
        )
    if found < oldest and found in MIGRATIONS:
        raise StoreVersionError(
            f"{name}: has layout {found}; open it with a kernel first, which brings it up to layout {VERSION}"
        )
    if found < oldest:
        raise StoreVersionError(f"{name}: layout {found} is too old for this program (layout {VERSION})")
    return found


def _bring_up_to_date(db: apsw.Connection, name: str, *, blank: bool) -> None:
    if blank:
        scripts = [TABLES]
    else:
        found = _check_version(db, name, oldest=min(MIGRATIONS, default=VERSION))
        scripts = [MIGRATIONS[version] for version in range(found, VERSION)]
    if not scripts:
        return
    db.execute("BEGIN IMMEDIATE")
    for script in scripts:
        for _ in db.execute(script):
            pass
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", VERSION)
    db.execute("COMMIT")


@contextmanager
def _mapped(name: str) -> Iterator[None]:
    """Foreign errors become ours here, at the edge."""
    try:
        yield
    except apsw.Error as error:
        ours = _ours(error, name)
        if ours is None:
            raise
        raise ours from error


def _ours(error: apsw.Error, name: str) -> StoreError | None:
    """What a foreign error means to whoever opened the store; None if it is a mistake of the program."""
    match error:
        case apsw.NotADBError():
            return NotOurStoreError(f"{name}: not a database at all; choose another file")
        case apsw.FullError():
            return StoreFailedError(f"{name}: the disk is full; nothing after the last commit was kept")
        case apsw.ReadOnlyError():
            return StoreError(f"{name}: the file or its folder is read-only")
        case apsw.CantOpenError():
            return StoreError(f"{name}: cannot be opened; is its folder there and writable?")
        case apsw.BusyError() | apsw.LockedError():
            return StoreInUseError(f"{name}: another program is writing to this database")
        case apsw.CorruptError():
            return StoreFailedError(f"{name}: the file is damaged: {error}; restore a copy")
        case apsw.IOError():
            return StoreFailedError(f"{name}: {error}; nothing after the last commit was kept")
    return None
