"""What may stand where a store is to be opened: each case one clear error, and nothing changed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import apsw
import pytest

from ocap.kernel.core import Core
from ocap.protocol.errors import NotOurStoreError, StoreError, StoreFailedError, StoreInUseError, StoreVersionError
from ocap.store.schema import APPLICATION_ID, VERSION
from ocap.store.sqlite import SqliteBackend, open_read_only
from tests.kernel.puppet import World
from tests.store.faulty import Countdown, faulty


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernel.db"


def refused(path: Path, kind: type[Exception], text: str) -> None:
    """Opening fails, in one line that names the file, and the file stays as it is."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(kind, match=text) as caught:
        SqliteBackend(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else None)


def test_a_new_file_is_made_and_marked(path: Path) -> None:
    SqliteBackend(path).close()
    db = open_read_only(path)
    assert (APPLICATION_ID, VERSION, "wal") == tuple(map(db.pragma, ("application_id", "user_version", "journal_mode")))
    db.close()


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    SqliteBackend(path).close()


@pytest.mark.parametrize(("durability", "level"), [("power", 2), ("process", 1), ("none", 0)])
def test_durability_is_what_sqlite_calls_synchronous(path: Path, durability: Any, level: Any) -> None:
    backend = SqliteBackend(path, durability)
    assert level == backend._db.pragma("synchronous")
    backend.close()


def test_text_is_refused(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)
    refused(path, NotOurStoreError, "not a database at all")


def test_somebody_elses_database_is_refused(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE diary (entry)")
    db.close()
    refused(path, NotOurStoreError, "not a database of this program")


def test_somebody_elses_empty_database_is_refused(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.pragma("application_id", 42)
    db.close()
    refused(path, NotOurStoreError, "not a database of this program")


def test_a_newer_version_is_refused(path: Path) -> None:
    SqliteBackend(path).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", VERSION + 1)
    db.close()
    refused(path, StoreVersionError, "newer version")
    path.with_name("kernel.db.lock").unlink()
    refused(path, StoreVersionError, "newer version")
    assert [path] == list(path.parent.iterdir())


def test_a_version_no_migration_starts_from_is_refused(path: Path) -> None:
    SqliteBackend(path).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", 0)
    db.close()
    refused(path, StoreVersionError, "too old")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, StoreError, "is a folder; name a file")
    refused(Path(), StoreError, "is a folder; name a file")


def test_what_is_made_is_for_its_owner_alone(path: Path) -> None:
    backend = SqliteBackend(path)
    core = Core(backend)
    core.between_cranks(lambda: core.state.next_number("crank"))
    core.commit()
    made = {it.name: oct(it.stat().st_mode & 0o777) for it in path.parent.iterdir()}
    assert dict.fromkeys([f"{path.name}{end}" for end in ("", "-shm", "-wal", ".lock")], "0o600") == made
    backend.close()


def test_a_file_that_is_there_keeps_its_mode(path: Path) -> None:
    path.touch(0o640)
    path.chmod(0o640)
    SqliteBackend(path).close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent" / "kernel.db", StoreError, "cannot be opened")


class TestLock:
    def test_a_second_kernel_in_this_process_is_refused(self, path: Path) -> None:
        first = SqliteBackend(path)
        with pytest.raises(StoreInUseError, match="stop it first"):
            SqliteBackend(path)
        first.close()
        SqliteBackend(path).close()

    def test_a_second_kernel_in_another_process_is_refused(self, path: Path) -> None:
        first = SqliteBackend(path)
        code = f"from ocap.store.sqlite import SqliteBackend; SqliteBackend({str(path)!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "StoreInUseError" in done.stderr
        first.close()

    def test_the_lock_goes_with_the_process_that_held_it(self, path: Path) -> None:
        child = os.fork()
        if child == 0:
            SqliteBackend(path)
            os._exit(9)
        os.waitpid(child, 0)
        SqliteBackend(path).close()

    def test_a_failed_opening_leaves_no_lock(self, path: Path) -> None:
        path.write_text("Dear diary, " * 1000)
        refused(path, NotOurStoreError, "not a database")
        path.unlink()
        SqliteBackend(path).close()

    def test_a_lock_that_is_taken_away_meanwhile_is_taken_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By one who could not open the database; else the next kernel would lock another file than this one."""
        flock, taken_away = fcntl.flock, list[bool]()

        def slow(lock: IO[bytes], how: int) -> None:
            if not taken_away:
                path.with_name("kernel.db.lock").unlink()
                taken_away.append(True)
            flock(lock, how)

        monkeypatch.setattr(fcntl, "flock", slow)
        first = SqliteBackend(path)
        with pytest.raises(StoreInUseError, match="stop it first"):
            SqliteBackend(path)
        first.close()

    def test_a_reader_does_not_need_it(self, path: Path) -> None:
        world = World("a", path=path)
        world.run()
        reader = open_read_only(path)
        assert [("v1",)] == reader.execute("SELECT id FROM vats WHERE subcluster IS NOT NULL").fetchall()
        with pytest.raises(apsw.ReadOnlyError):
            reader.execute("DELETE FROM vats")
        reader.close()
        world.backend.close()


class TestReadOnly:
    """The superuser, as who tests may run, writes everywhere: the file system is made to refuse."""

    @pytest.fixture(autouse=True)
    def empty(self, path: Path) -> None:
        path.touch()

    def test_a_folder_that_cannot_be_written(self, path: Path) -> None:
        fault = Countdown("write", apsw.ReadOnlyError)
        fault.armed = True
        with faulty(fault):
            refused(path, StoreError, "read-only")

    def test_a_file_that_cannot_be_opened(self, path: Path) -> None:
        fault = Countdown("open", apsw.CantOpenError)
        fault.armed = True
        with faulty(fault):
            refused(path, StoreError, "cannot be opened")

    def test_nothing_is_left_of_a_new_file_that_could_not_be_made(self, path: Path) -> None:
        path.unlink()
        fault = Countdown("write", apsw.IOError)
        fault.armed = True
        with faulty(fault):
            refused(path, StoreFailedError, "made to fail|disk I/O")
        assert [] == list(path.parent.iterdir())

    def test_a_disk_that_fails_while_it_is_made(self, path: Path) -> None:
        fault = Countdown("write", apsw.IOError)
        fault.armed = True
        with faulty(fault):
            refused(path, StoreFailedError, "made to fail|disk I/O")
        SqliteBackend(path).close()
