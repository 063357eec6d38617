"""A database of an earlier layout, left in the midst of work, is brought up to date and goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from ocap import ClusterConfig, E, Kernel, VatConfig, VatTerminatedError
from ocap.protocol.errors import StoreVersionError
from ocap.store import sqlite
from ocap.store.marks import Marks
from ocap.store.rowmap import MAPPINGS
from ocap.store.schema import MIGRATIONS, VERSION
from ocap.store.sqlite import SqliteBackend
from ocap.verify import verify

SOURCE = "tests.store.old"


class Desk:
    async def ring(self) -> str:
        return "ding"


@pytest.fixture(params=sorted(MIGRATIONS))
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def path(tmp_path: Path, version: int) -> Iterator[Path]:
    path = tmp_path / "old.db"
    with apsw.Connection(str(path)) as db:
        db.execute((Path(__file__).parent / f"version_{version}.sql").read_text())
    db.close()
    yield path
    assert verify(path) == []


of_1 = pytest.mark.parametrize("version", [1], indirect=True)
of_2 = pytest.mark.parametrize("version", [2], indirect=True)


def kernel_over(path: Path) -> Kernel:
    kernel = Kernel(path, durability="process")
    kernel.provide("desk", Desk())
    return kernel


def rows(path: Path) -> dict[str, list[Any]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        return {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    finally:
        db.close()


def layout(path: Path) -> dict[str, Any]:
    """Columns and indexes of every table."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        indexes = set(db.execute("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index'"))
        columns = {table: {row[1:] for row in db.execute(f"PRAGMA table_info({table})")} for table in tables}
        return {"indexes": indexes, **columns}
    finally:
        db.close()


def test_the_old_file_has_rows_in_every_table(path: Path, version: int) -> None:
    before = rows(path)
    assert all(before.values())
    others = {"notify"} if version == 1 else {"upgrade", "ping"}
    assert {"send", "create", "terminate"} | others == {row[2] for row in before["queue"]}
    assert {"new", "live", "suspended", "terminated"} == {row[7] for row in before["vats"]}
    SqliteBackend(path, "none").close()


def test_no_row_is_lost_and_none_made_up(path: Path) -> None:
    before = rows(path)
    SqliteBackend(path, "none").close()
    after = rows(path)
    assert {table: len(found) for table, found in before.items()} == {
        table: len(found) for table, found in after.items() if table in before
    }
    assert [] == [row for table, found in after.items() if table not in before for row in found]
    for table in set(before) - {"vats", "subclusters", "queue"}:
        assert before[table] == after[table]


def test_the_layout_is_that_of_a_new_file(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    for file in (path, new):
        SqliteBackend(file, "none").close()
    assert layout(new) == layout(path)
    assert set(MAPPINGS) <= set(layout(new))


def test_one_that_fails_in_the_middle_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(path)
    broken = {version: f"{text}\nINSERT INTO nowhere VALUES (1);" for version, text in MIGRATIONS.items()}
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "MIGRATIONS", broken)
        with pytest.raises(apsw.SQLError):
            SqliteBackend(path, "none")
    assert before == rows(path)
    SqliteBackend(path, "none").close()


def test_readers_say_what_to_do_with_an_old_file(path: Path, version: int) -> None:
    with pytest.raises(StoreVersionError, match=f"has layout {version}; open it with a kernel .* layout {VERSION}"):
        verify(path)
    SqliteBackend(path, "none").close()


def test_opening_it_is_enough_for_verify(path: Path) -> None:
    Kernel(path, durability="process").close()
    assert verify(path) == []


@of_1
async def test_work_goes_on_where_it_was(path: Path) -> None:
    async with kernel_over(path) as kernel:
        await kernel.idle()
        made, ended = kernel.get_subclusters()  # one was being launched, of another all vats were ended
        assert ("s3", {}) == (ended.id, ended.vats)
        assert ("s1", "keep", "ready", {"a", "b", "sleeper", "ill"}) == (
            made.id,
            made.name,
            made.result,
            set(made.vats),
        )
        assert ("live", "suspended") == (made.vats["a"].state, made.vats["sleeper"].state)
        root, b = made.root, await E(made.root).get("b")
        assert await E(root).count() == 3  # the second was in the queue
        assert await E(root).get_parameters() == {"color": "red", "nested": [1, {"x": (2,)}]}
        assert await E(root).ask("b", "count") == 2
        assert await E(root).ask("note", "get_text") == "durable"
        assert await E(await E(b).get("late")).get_text() == "durable"
        assert await E(root).ask("desk", "ring") == "ding"
        with pytest.raises(VatTerminatedError):
            await E(root).ask("ending", "count")
        with pytest.raises(VatTerminatedError):
            await E(root).ask("orphan", "get_text")
        with pytest.raises(ConnectionError, match="incarnation 0 ended: it was restarted"):
            await E(root).ask("scrap", "get_text")


@of_1
async def test_what_a_suspended_vat_held_is_delivered(path: Path) -> None:
    async with kernel_over(path) as kernel:
        await kernel.idle()
        await kernel.resume_vat("v3")
        sleeper = kernel.root("v3")
        assert await E(sleeper).count() == 2
        assert await E(sleeper).ask("note", "get_text") == "durable"


@of_1
async def test_a_promise_that_a_vat_keeps_is_still_its_own(path: Path) -> None:
    """A message waits for it. It is rejected when its vat has no resolver for it any more."""
    query = "SELECT decider, state FROM promises WHERE kref = 'kp23'"
    async with kernel_over(path) as kernel:
        await kernel.idle()
        assert [("v2", "unresolved")] == kernel._backend.connection.execute(query).fetchall()
        assert 1 == kernel._core.state.queue.waiting_at("kp23")
        kernel.collect_garbage()
        await kernel.idle()
        assert [] == kernel._backend.connection.execute(query).fetchall()
        assert 0 == kernel._core.state.queue.waiting_at("kp23")


@of_1
async def test_garbage_and_dead_letters_are_there(path: Path) -> None:
    async with kernel_over(path) as kernel:
        (letter,) = kernel.get_dead_letters()
        assert ("v4", "break_down", kernel.root("v4")) == (letter.vat, letter.method, letter.target)
        assert await E(letter.args[0]).get_text() == "durable"
        del letter
        await kernel.drop_dead_letter(1)
        assert "ko12" in {row[0] for row in kernel._backend.connection.execute("SELECT kref FROM objects")}
        kernel.collect_garbage()
        await kernel.idle()
        assert "ko12" not in {row[0] for row in kernel._backend.connection.execute("SELECT kref FROM objects")}
        assert [] == kernel._backend.connection.execute("SELECT * FROM gc_actions").fetchall()


@of_1
async def test_what_is_new_works_on_what_is_old(path: Path) -> None:
    kernel = kernel_over(path)
    assert kernel.restart_all_vats("layout 2")
    async with kernel:
        await kernel.idle()
        made = kernel.get_subcluster("s1")
        await kernel.upgrade_vat("v1", parameters={"friend": kernel.root("v2")})
        assert (await E(made.root).get_parameters())["friend"] is kernel.root("v2")
        note = await E(made.root).get("note")
        await kernel.pin(note)
        await kernel.ping_vat("v2")
        update = await kernel.update_subcluster(
            "s1", ClusterConfig("a", {**made.config.vats, "new": VatConfig(SOURCE)}, made.config.services, "keep")
        )
        assert ({"new": None}, {"a": None}) == (update.added, update.upgraded)  # `a` as it was configured
        powerful = await kernel.launch_subcluster(ClusterConfig("a", {"a": VatConfig(SOURCE)}, ["vat_admin"]))
        root, admin = await E(await E(powerful.root).get("vat_admin")).create_vat(SOURCE)
        assert (1, True) == (await E(root).count(), await E(admin).ping())
        again = await kernel.reload_subcluster("s1")
        assert await E(again.root).count() == 1
        await kernel.revoke(note)
    async with kernel_over(path) as kernel:
        await kernel.idle()
        assert ["ending", "", "keep"] == [it.name for it in kernel.get_subclusters()]


@of_2
async def test_an_event_of_layout_2_is_not_repeated(path: Path) -> None:
    kernel = kernel_over(path)
    assert [False, True] == [kernel.restart_all_vats(key) for key in ("first", "second")]
    kernel.close()


@of_2
async def test_work_of_layout_2_goes_on_where_it_was(path: Path) -> None:
    async with kernel_over(path) as kernel:
        await kernel.idle()
        keep, power, ending = kernel.get_subclusters()  # one was being launched, of another all vats were ended
        assert ("s1", {"a", "b", "sleeper", "ill"}) == (keep.id, set(keep.vats))
        assert ("s3", {}) == (ending.id, ending.vats)
        assert {"color": "blue"} == await E(keep.root).get_parameters()  # the upgrade was in the queue
        assert (3, "ding") == (await E(keep.root).count(), await E(keep.root).ask("desk", "ring"))
        admin = await E(power.root).get("admin")
        assert (True, 2) == (await E(admin).ping(), await E(power.root).ask("child", "count"))
        await kernel.resume_vat("v3")
        assert await E(kernel.root("v3")).ask("note", "get_text") == "durable"
        (letter,) = kernel.get_dead_letters()
        assert ("v4", "break_down") == (letter.vat, letter.method)
        del letter
        await kernel.drop_dead_letter(1)


async def test_what_was_there_has_been_there_at_least_since(path: Path) -> None:
    """No times were kept: ages count from the first start with the new layout, and say so."""
    async with kernel_over(path) as kernel:
        await kernel.idle()
        await kernel.suspend_vat("v2")
        E.send_only(kernel.root("v2")).count()
        await kernel.idle()
        db = kernel._backend.connection
        marks = Marks.read(db, lambda: time.time() + 7300)
        found: Any = db.execute("SELECT min(seq), max(seq) FROM queue").fetchall()
        assert ["over 2 h", "2 h"] == [str(marks.age("queue", number)) for number in found[0]]
        assert "over 2 h" == str(marks.age("promise", 1))


async def test_why_a_vat_was_suspended_is_not_known_of_an_old_one(path: Path) -> None:
    async with kernel_over(path) as kernel:
        await kernel.suspend_vat("v2")
        db = kernel._backend.connection
        found = db.execute("SELECT id, reason FROM vats WHERE state = 'suspended' ORDER BY id").fetchall()
        assert [("v2", "the host asked for it"), ("v3", None)] == found
