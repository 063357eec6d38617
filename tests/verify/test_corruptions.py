"""`verify` tested: a healthy store has no findings, and each corruption is found by its rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ocap.kernel.options import FAULT_LIMIT
from ocap.protocol import syscalls
from ocap.protocol.errors import NotOurStoreError, StoreError, StoreVersionError
from ocap.protocol.refs import HOST, Vref
from ocap.store.schema import MIGRATIONS, VERSION
from ocap.verify import RULES, Problem, verify, verify_connection
from tests.kernel.puppet import World, args, data, messages, reference, resolve, send


def rich(world: World) -> None:
    """Something of everything that a store can hold. a is v1, b v2, c v3, d v4, e v5, f v6."""
    world.run()
    core = world.core
    world.introduce("b", "o+1", "a")  # an import
    world.on("b", lambda d: syscalls.Outcome((), ((b"key", b"value"),)) if messages([("", d)]) else [])
    world.do("a", send(world.import_root("a", "b")))
    del world.scripts[world.vats["b"]]
    world.do("a", syscalls.DropImports((world.introduce("b", "o+2", "a"),)))  # one that is only recognised
    world.introduce("b", "o+3", "a")  # an orphan
    world.do("b", syscalls.AbandonExports(("o+3",)))
    world.introduce("b", "o+d1/1", "a")
    root = world.import_root("a", "b")
    world.do("a", send(root, "ask", "p+1"), send("p+1", "parked", "p+2", slots=("o+8", "p+3")))  # parked, with a result
    world.do("a", resolve(("p+3", data([1], slots=("o+9", "p+4")))))  # settled, named by what is parked
    answer = world.asked("b")
    world.do("a", send(root, "ask again", "p+5"), send("p+5", "twice", slots=("o+8",)))
    world.do("b", send(world.import_root("b", "f"), "on", "p+1"), syscalls.Forward(answer, "p+1"))  # a follower
    for _ in range(FAULT_LIMIT):
        world.do("d", send("o-999"))  # dead letters, and a suspended vat
    world.do("a", send(world.import_root("a", "d"), "held", slots=("o+8",)))
    core.between_cranks(lambda: provide(world))
    world.introduce("e", "o+1", "a")
    core.between_cranks(lambda: core.end(world.vats["e"], "for the test"))
    durable = world.introduce("c", "o+d1/1", "a")  # a GC action for a vat that does not run
    core.between_cranks(lambda: core.end(world.vats["c"], "for the test"))
    world.do("a", send(world.import_root("a", "b"), "get", "p+7"), syscalls.DropImports((durable,)))
    to_b = world.asked("b")
    world.on("b", lambda d: [resolve((to_b, reference("o+6")))] if messages([("", d)]) else [])
    world.host(send(world.host_ref(world.vats["b"]), "now"))  # leaves a notify in the run queue
    world.host(send(world.host_ref(world.vats["a"]), "then", "p+1"))
    world.step()
    world.effects += core.commit()


def provide(world: World) -> None:
    state = world.core.state
    kref = state.new_object(HOST)
    state.clist(HOST).add(kref, Vref("o+d1/1"))
    world.core.counts.incref(kref)
    state.services.insert("timer", kref)


@pytest.fixture(scope="module")
def store() -> Iterator[apsw.Connection]:
    world = World("abcdef")
    rich(world)
    db = world.backend._db
    db.pragma("ignore_check_constraints", True)
    yield db
    world.backend.close()


KP = "(SELECT kref FROM promises WHERE state = '{}' ORDER BY length(kref), kref LIMIT 1)"
UNRESOLVED, FULFILLED, FORWARDED = (KP.format(state) for state in ("unresolved", "fulfilled", "forwarded"))
DECIDED = "(SELECT kref FROM promises WHERE decider IS NOT NULL LIMIT 1)"
IMPORT = "(vat, kref) = (SELECT vat, kref FROM clist WHERE vref GLOB 'o-*' AND vat = 'v1' AND reachable LIMIT 1)"
EXPORT = "(vat, kref) = (SELECT vat, kref FROM clist WHERE vref = 'o+d1/1' AND vat = 'v2')"
PARKED = "seq = (SELECT seq FROM queue WHERE place GLOB 'kp*' LIMIT 1)"
NOTIFY = "seq = (SELECT seq FROM queue WHERE kind = 'notify' LIMIT 1)"
ORPHAN = "(SELECT kref FROM objects WHERE owner IS NULL LIMIT 1)"

CORRUPTIONS: list[tuple[str, str]] = [
    ("V1", f"UPDATE promises SET refs = refs + 1 WHERE kref = {UNRESOLVED}"),
    ("V1", f"UPDATE promises SET refs = refs - 1 WHERE kref = {FULFILLED}"),
    ("V1", "DELETE FROM clist WHERE vref GLOB 'p-*'"),
    ("V1", f"DELETE FROM queue WHERE {NOTIFY}"),
    ("V1", f"UPDATE promises SET target = NULL, state = 'unresolved' WHERE kref = {FORWARDED}"),
    ("V1", "DELETE FROM subclusters"),
    ("V1", f"UPDATE promises SET slots = slots || ' ' || {UNRESOLVED} WHERE kref = {FULFILLED}"),
    ("V2", "UPDATE objects SET recognizable = recognizable + 1 WHERE kref = 'ko1'"),
    ("V2", "UPDATE objects SET reachable = reachable + 1, recognizable = recognizable + 1 WHERE kref = 'ko1'"),
    ("V2", f"UPDATE clist SET reachable = 0 WHERE {IMPORT}"),
    ("V2", "UPDATE clist SET reachable = 1 WHERE vref GLOB 'o-*' AND NOT reachable"),
    ("V2", f"DELETE FROM clist WHERE {IMPORT}"),
    ("V2", f"UPDATE queue SET slots = '' WHERE {PARKED}"),
    ("V2", "DELETE FROM services"),
    ("V2", "UPDATE vats SET root = NULL WHERE id = 'v2'"),
    ("V2", "UPDATE vats SET parameter_slots = 'ko1' WHERE id = 'v2'"),
    ("V2", "DELETE FROM dead_letters"),
    ("V2", "UPDATE promises SET slots = 'ko1 ' || slots WHERE slots <> ''"),
    ("V3", "UPDATE objects SET reachable = -1 WHERE kref = 'ko1'"),
    ("V3", "UPDATE objects SET reachable = recognizable + 1 WHERE kref = 'ko1'"),
    ("V3", f"UPDATE promises SET refs = -1 WHERE kref = {UNRESOLVED}"),
    ("V4", "DELETE FROM objects WHERE kref = 'ko1'"),
    ("V4", f"DELETE FROM objects WHERE kref = (SELECT kref FROM clist WHERE {EXPORT})"),
    ("V4", f"DELETE FROM promises WHERE kref = {FULFILLED}"),
    ("V4", "DELETE FROM vats WHERE id = 'v5'"),
    ("V4", "DELETE FROM subclusters"),
    ("V4", "INSERT INTO clist VALUES ('v77', 'ko1', 'o-1', 1, 0, 0)"),
    ("V4", "INSERT INTO subscribers VALUES ('kp999', 0, 'v1')"),
    ("V4", f"INSERT INTO subscribers VALUES ({UNRESOLVED}, 99, 'v77')"),
    ("V4", "UPDATE objects SET owner = 'v77' WHERE kref = 'ko1'"),
    ("V5", f"UPDATE clist SET vref = 'p-70' WHERE {IMPORT}"),
    ("V5", f"UPDATE clist SET vref = 'o+70' WHERE {IMPORT}"),
    ("V5", f"UPDATE clist SET vref = 'o-70' WHERE {EXPORT}"),
    ("V5", f"UPDATE clist SET vref = 'o-070' WHERE {IMPORT}"),
    ("V5", f"UPDATE clist SET vref = 'o-7 ' WHERE {IMPORT}"),
    ("V5", f"UPDATE clist SET vref = kref WHERE {IMPORT}"),
    ("V5", f"UPDATE clist SET reachable = 2 WHERE {EXPORT}"),
    ("V5", "UPDATE clist SET reachable = 0 WHERE vref GLOB 'p*'"),
    ("V5", f"UPDATE clist SET heard = 1 WHERE {IMPORT}"),
    ("V5", "DROP INDEX clist_by_vref; UPDATE clist SET vref = 'o-1' WHERE vat = 'v1' AND vref GLOB 'o-*'"),
    ("V6", f"DELETE FROM clist WHERE {EXPORT}"),
    ("V6", "UPDATE objects SET owner = NULL WHERE kref = 'ko1'"),
    ("V6", f"UPDATE objects SET gone = NULL WHERE kref = {ORPHAN}"),
    ("V6", "UPDATE objects SET gone = 'why' WHERE kref = 'ko1'"),
    ("V6", f"UPDATE objects SET owner = 'v2' WHERE kref = {ORPHAN}"),
    ("V6", "UPDATE clist SET vref = 'o+44' WHERE vat = 'v2' AND vref = 'o+0'"),
    ("V7", "INSERT INTO promises VALUES ('kp1000', 'fulfilled', NULL, NULL, 0, x'f6', '')"),
    ("V7", "INSERT INTO objects VALUES ('ko1000', NULL, 0, 0, 'why')"),
    (
        "V7",
        "INSERT INTO objects VALUES ('ko1000', 'v1', 0, 0, NULL); INSERT INTO clist VALUES ('v1', 'ko1000', 'o+70', 1, 0, 0)",
    ),
    ("V7", "DELETE FROM gc_actions WHERE kind = 'drop_export'"),
    (
        "V7",
        f"UPDATE clist SET reachable = 0 WHERE kref = {ORPHAN}; UPDATE objects SET reachable = 0 WHERE kref = {ORPHAN}",
    ),
    ("V8", "INSERT INTO gc_actions VALUES ('v3', 'retire_import', 'ko3')"),
    ("V8", "UPDATE gc_actions SET vat = 'v1'"),
    ("V8", "UPDATE vats SET state = 'terminated' WHERE id = 'v3'"),
    ("V9", f"UPDATE promises SET decider = 'v1' WHERE kref = {FULFILLED}"),
    ("V9", f"UPDATE promises SET decider = NULL WHERE kref = {DECIDED}"),
    ("V9", f"UPDATE promises SET decider = 'v5' WHERE kref = {DECIDED}"),
    ("V9", f"UPDATE promises SET body = NULL, slots = NULL WHERE kref = {FULFILLED}"),
    ("V9", f"UPDATE promises SET state = 'unresolved' WHERE kref = {FULFILLED}"),
    ("V9", f"UPDATE promises SET body = x'f6', slots = '' WHERE kref = {UNRESOLVED}"),
    ("V9", f"INSERT INTO subscribers VALUES ({FULFILLED}, 0, 'v1')"),
    ("V9", f"UPDATE queue SET place = {FULFILLED} WHERE {PARKED}"),
    ("V9", f"UPDATE queue SET result = {DECIDED} WHERE {PARKED}"),
    ("V9", f"UPDATE queue SET result = {FULFILLED} WHERE {PARKED}"),
    ("V10", f"UPDATE promises SET target = kref WHERE kref = {FORWARDED}"),
    (
        "V10",
        f"""UPDATE promises SET state = 'forwarded', decider = NULL, target = {FORWARDED}
        WHERE kref = (SELECT target FROM promises WHERE state = 'forwarded')""",
    ),
    ("V11", f"INSERT INTO subscribers VALUES ({UNRESOLVED}, 99, 'v5')"),
    ("V11", "DELETE FROM subscribers WHERE subscriber GLOB 'kp*'"),
    ("V11", f"INSERT INTO subscribers VALUES ({UNRESOLVED}, 99, {FULFILLED})"),
    ("V11", "INSERT INTO subscribers SELECT promise, position + 99, subscriber FROM subscribers"),
    ("V12", f"UPDATE queue SET target = {UNRESOLVED} WHERE {NOTIFY}"),
    ("V12", f"DELETE FROM queue WHERE {NOTIFY}"),
    ("V12", f"INSERT INTO clist VALUES ('v4', {FULFILLED}, 'p-70', 1, 0, 0)"),
    ("V13", f"UPDATE queue SET method = NULL WHERE {PARKED}"),
    ("V13", f"UPDATE queue SET vat = 'v1' WHERE {PARKED}"),
    ("V13", f"UPDATE queue SET vat = NULL WHERE {NOTIFY}"),
    ("V13", f"UPDATE queue SET kind = 'terminate' WHERE {PARKED}"),
    ("V13", f"UPDATE queue SET kind = 'nonsense' WHERE {PARKED}"),
    ("V13", f"UPDATE queue SET result = 'ko1' WHERE {PARKED}"),
    ("V13", f"UPDATE queue SET place = 'kp999' WHERE {PARKED}"),
    ("V13", f"UPDATE queue SET place = 'v1' WHERE {PARKED}"),
    ("V13", f"UPDATE queue SET place = {UNRESOLVED} WHERE {NOTIFY}"),
    ("V13", "UPDATE vats SET state = 'live' WHERE id = 'v4'"),
    ("V14", f"UPDATE queue SET slots = 'o+1' WHERE {PARKED}"),
    ("V14", f"UPDATE queue SET slots = '\"] ko1' WHERE {PARKED}"),
    ("V14", f"UPDATE promises SET body = x'd9ca018105' WHERE kref = {FULFILLED}"),
    ("V14", f"UPDATE promises SET body = x'd9ca0105' WHERE kref = {FULFILLED}"),
    ("V14", f"UPDATE promises SET body = x'f6f6' WHERE kref = {FULFILLED}"),
    ("V14", f"UPDATE queue SET body = x'ff' WHERE {PARKED}"),
    ("V14", f"UPDATE queue SET body = x'd81c80' WHERE {PARKED}"),
    ("V14", "UPDATE dead_letters SET body = x'd9ca00820061'"),
    ("V14", "UPDATE vats SET parameters = zeroblob(5000000) WHERE id = 'v1'"),
    ("V15", "UPDATE counters SET next = 2"),
    ("V15", "DELETE FROM counters WHERE kind = 'object'"),
    ("V15", "UPDATE counters SET next = (SELECT max(seq) FROM queue) WHERE kind = 'queue'"),
    ("V15", "UPDATE counters SET next = 5 WHERE kind = 'vat'"),
    ("V15", "UPDATE counters SET next = 1 WHERE kind = 'crank'"),
    ("V15", "UPDATE vats SET next_import = 1 WHERE id = 'v1'"),
    ("V15", "INSERT INTO marks SELECT time + 1, crank, promise + 100, queue FROM marks LIMIT 1"),
    ("V15", "INSERT INTO marks SELECT time - 1, crank, promise, queue + 1 FROM marks LIMIT 1"),
    ("V15", "UPDATE marks SET time = time + 1000000000"),
    ("V15", "UPDATE marks SET crank = 0"),
    ("V16", "UPDATE vatstore SET vat = 'v77'"),
    ("V19", "CREATE TABLE mine (x)"),
    ("V19", "CREATE TRIGGER mine AFTER DELETE ON vats BEGIN DELETE FROM clist; END"),
    ("V19", "DROP INDEX clist_by_kref"),
    ("V19", "DROP TABLE subscribers"),
    ("V19", "ALTER TABLE vats ADD COLUMN mine TEXT"),
    ("V19", "PRAGMA user_version = 77"),
    ("V19", "PRAGMA application_id = 77"),
]


def found_after(db: apsw.Connection, script: str) -> list[Problem]:
    db.execute("BEGIN")
    try:
        changed = db.total_changes()
        for _ in db.execute(script):
            pass
        if script.startswith(("UPDATE", "DELETE", "INSERT")):
            assert db.total_changes() > changed, "corrupts nothing"
        return verify_connection(db)
    finally:
        db.execute("ROLLBACK")


def test_a_healthy_store_has_no_findings(store: apsw.Connection) -> None:
    assert [] == list(map(str, verify_connection(store)))


@pytest.mark.parametrize(("rule", "script"), CORRUPTIONS, ids=[f"{rule} {script[:70]}" for rule, script in CORRUPTIONS])
def test_a_corruption_is_found_by_its_rule(store: apsw.Connection, rule: str, script: str) -> None:
    found = found_after(store, script)
    assert rule in {problem.rule for problem in found}
    for problem in found:
        assert str(problem).startswith(f"{problem.rule} {problem.key}: expected ")
        assert "\n" not in str(problem)


def test_verifying_changes_nothing(store: apsw.Connection) -> None:
    before = store.execute("SELECT count(*) FROM temp.sqlite_schema").fetchall(), store.total_changes()
    verify_connection(store)
    assert before[0] == store.execute("SELECT count(*) FROM temp.sqlite_schema").fetchall()
    assert not store.in_transaction


def test_every_rule_is_tested_and_says_what_it_asserts() -> None:
    assert {number for number, _ in RULES} == {rule for rule, _ in CORRUPTIONS}
    assert all(rule.__doc__ for _, rule in RULES)
    assert len({script for _, script in CORRUPTIONS}) >= 100


def test_a_wrong_count_comes_with_its_holders(store: apsw.Connection) -> None:
    (problem,) = found_after(store, "UPDATE objects SET recognizable = recognizable + 1 WHERE kref = 'ko2'")
    assert ("V2", "ko2") == (problem.rule, problem.key)
    assert "clist " in problem.expected
    assert "root 1" in problem.expected


class TestFiles:
    def test_a_store_in_use_is_verified_as_of_its_last_commit(self, tmp_path: Path) -> None:
        path = tmp_path / "kernel.db"
        world = World("abcdef", path=path)
        rich(world)
        world.host(syscalls.Send(world.host_ref(world.vats["a"]), "more", args()))
        world.core.state.write()
        world.backend._db.execute("DELETE FROM clist")
        assert [] == verify(path)
        world.backend.close()
        assert [] == verify(path)

    def test_a_corrupted_file_is_a_finding(self, tmp_path: Path) -> None:
        path = tmp_path / "kernel.db"
        world = World("abcdef", path=path)
        world.run()
        world.backend.close()
        raw = bytearray(path.read_bytes())
        half = len(raw) // 2 // 4096 * 4096
        raw[half : half + 4096] = b"\xff" * 4096
        path.write_bytes(raw)
        assert "V19" in {problem.rule for problem in verify(path)}

    def test_what_is_no_store_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("not a database, but long enough to have a header " * 10)
        (tmp_path / "empty").touch()
        other = apsw.Connection(str(tmp_path / "other"))
        other.execute("CREATE TABLE x (y)")
        other.close()
        for name in ("text", "empty", "other"):
            with pytest.raises(NotOurStoreError, match=name):
                verify(tmp_path / name)
        with pytest.raises(StoreError, match="no such file"):
            verify(tmp_path / "absent")
        assert ["empty", "other", "text"] == sorted(it.name for it in tmp_path.iterdir())

    def test_another_version_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "kernel.db"
        World("a", path=path).backend.close()
        for version in (0, *MIGRATIONS, VERSION + 1):
            db = apsw.Connection(str(path))
            db.pragma("user_version", version)
            db.close()
            with pytest.raises(StoreVersionError, match="layout"):
                verify(path)
