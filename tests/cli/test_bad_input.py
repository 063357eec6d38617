"""Bad input gets one clear line and a non-zero exit, never a traceback, and changes nothing.

Long, as it is a list: each kind of bad input with the line it gets.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ocap.cli.app import run_app
from ocap.config import MAX_FILE
from ocap.host.kernel import Kernel
from ocap.store.schema import VERSION
from ocap.store.sqlite import SqliteBackend
from ocap.verify import verify
from tests.commands import ENVIRONMENT, OCAP, ocap, start_ocap
from tests.stores import rows_of

EXCHANGE = Path(__file__).parents[1] / "clusters" / "exchange" / "exchange.toml"
BANK = Path(__file__).parents[2] / "examples" / "bank" / "bank.toml"

GOOD = """
from vats import Exo

class Root(Exo):
    async def bootstrap(self, vats, services):
        return "ok"

def build_root_object(vat_powers, parameters, baggage):
    return Root()
"""
CLUSTER = """
[subclusters.c]
bootstrap = "a"
{cluster}
[subclusters.c.vats.a]
source = "a.py"
{vat}
"""


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that holds a subcluster."""
    db = tmp_path_factory.mktemp("kept") / "k.db"
    assert ocap("run", EXCHANGE, "--db", db).returncode == 0
    return db


@pytest.fixture
def db(kept: Path, tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "k.db"
    shutil.copy(kept, copy)
    yield copy
    assert verify(copy) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good cluster, c.toml, and its vat, a.py."""
    (tmp_path / "a.py").write_text(GOOD)
    (tmp_path / "c.toml").write_text(CLUSTER.format(cluster="", vat=""))
    return tmp_path


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """The bank of the examples, on a quiet day."""
    text = BANK.read_text().replace('source = "', f'source = "{BANK.parent}/').replace("= 2000", "= 200")
    quiet = tmp_path / "bank.toml"
    quiet.write_text(text)
    return quiet


def the_line(error: str) -> str:
    (line,) = error.splitlines()
    assert line.startswith("ocap: ")
    return line.removeprefix("ocap: ")


def refused(db: Path, capfd: pytest.CaptureFixture[str], *, code: int = 2, cluster: Path | None = None) -> str:
    """Run c.toml, which must be refused with one line, and must not change the database."""
    cluster = cluster or db.with_name("c.toml")
    raw, before = db.read_bytes(), rows_of(db)
    assert run_app(["run", str(cluster), "--db", str(db)]) == code
    out, error = capfd.readouterr()
    assert out == ""
    assert rows_of(db) == before
    if code == 2:
        assert db.read_bytes() == raw
    return the_line(error).replace(str(db.parent) + os.sep, "")


# ---- the cluster file ---------------------------------------------------------------------------


def test_good_cluster_is_not_refused(folder: Path, db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app(["run", str(folder / "c.toml"), "--db", str(db)]) == 0
    assert capfd.readouterr() == ('c: "ok"\n', "")


def test_no_such_cluster_file(db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(db, capfd, cluster=db.with_name("nope.toml")) == "nope.toml: no such file"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[subclusters.c\n", "line 1, column 15"),
        ("[subclusters.c]\nbootstrap = a\n", "line 2, column 13"),
        ("[a]\n[a]\n", "line 2, column 3"),
    ],
)
def test_toml_error_has_line_and_column(
    text: str, place: str, folder: Path, db: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.toml").write_text(text)
    line = refused(db, capfd)
    assert line.startswith("c.toml: not valid TOML: ")
    assert line.endswith(f"(at {place})")


@pytest.mark.parametrize("command", ["run", "launch"])
def test_cluster_file_has_an_end(command: str, db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = f"/dev/zero: longer than {MAX_FILE:,} bytes: this describes no subclusters"
    assert run_app([command, "/dev/zero", "--db", str(db)]) == 2
    assert the_line(capfd.readouterr().err) == line


def test_cluster_file_must_be_utf_8(folder: Path, db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "c.toml").write_bytes(b"# caf\xe9\n")
    assert refused(db, capfd) == "c.toml: not UTF-8 text: invalid continuation byte at byte 5"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "subclusters: at least one [subclusters.NAME] is needed"),
        ("[clusters.c]", "clusters: unknown key; known here: services, subclusters, system"),
        ("[subclusters]", "subclusters: at least one [subclusters.NAME] is needed"),
        ("subclusters = 3", "subclusters: must be a table, not int"),
        (
            CLUSTER.format(cluster="boot = 1", vat=""),
            "subclusters.c.boot: unknown key; known here: bootstrap, services, vats",
        ),
        (
            CLUSTER.format(cluster="", vat="sauce = 1"),
            "subclusters.c.vats.a.sauce: unknown key; known here: critical, endowments, fault_limit, imports, on_fault, parameters, reap_after, source",
        ),
        (CLUSTER.format(cluster="services = 'x'", vat=""), "subclusters.c.services: must be a list of service names"),
        (CLUSTER.format(cluster="", vat="parameters = 3"), "subclusters.c.vats.a.parameters: must be a table, not int"),
        ('[subclusters.c]\nbootstrap = "a"', "subclusters.c.vats: is missing"),
        ('[subclusters.c]\nbootstrap = "a"\nvats = {}', "subclusters.c.vats: at least one vat is needed"),
        ("[subclusters.c.vats.a]\nsource = 'a.py'", "subclusters.c.bootstrap: must name one of the vats"),
        (
            CLUSTER.format(cluster="", vat="").replace('= "a"', '= "b"'),
            "subclusters.c.bootstrap: there is no vat 'b'; there are: a",
        ),
        (
            CLUSTER.format(cluster="services = ['clock']", vat=""),
            "subclusters.c.services: there is no service 'clock'; provided here: http, log, random, timer, vat_admin",
        ),
    ],
)
def test_wrong_config_names_the_place(
    text: str, line: str, folder: Path, db: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.toml").write_text(text)
    assert refused(db, capfd) == f"c.toml: {line}"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nope.py", "nope.py: no such file"),
        ("sub/nope.py", "sub/nope.py: no such file"),
        ("nope.module", "no module nope.module: No module named 'nope'"),
        ("sys", "no module sys that is a Python file"),
        ("nope", "no module nope that is a Python file"),
        ("./c.toml", "c.toml: must be a Python file, its name ending in .py, or a dotted module path"),
    ],
)
def test_missing_source(source: str, reason: str, folder: Path, db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = CLUSTER.format(cluster="", vat="").replace("a.py", source)
    (folder / "c.toml").write_text(text)
    assert refused(db, capfd) == f"c.toml: subclusters.c.vats.a.source: {reason}"


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("x = 1\n\ndef f(:\n", "a.py:3: invalid syntax"),
        ("x = 1\0", "a.py: source code string cannot contain null bytes"),
    ],
)
def test_syntax_error_has_file_and_line(
    code: str, place: str, folder: Path, db: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.py").write_text(code)
    assert refused(db, capfd) == f"c.toml: subclusters.c.vats.a.source: {place}"


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("2026-01-02", '["d"]: a datetime.date'),
        ("10:00:00", '["d"]: a datetime.time'),
        ("[1, { t = 10:00:00 }]", '["d"][1]["t"]: a datetime.time'),
    ],
)
def test_parameters_that_cannot_pass(
    value: str, place: str, folder: Path, db: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.toml").write_text(CLUSTER.format(cluster="", vat=f"parameters = {{ d = {value} }}"))
    line = refused(db, capfd)
    reason = "is not passable; pass a datetime, or its isoformat()"
    assert line == f"c.toml: subclusters.c.vats.a.parameters{place} {reason}"


@pytest.mark.parametrize("value", ["2026-01-02T10:00:00Z", "2026-01-02T10:00:00+02:00", "2026-01-02T10:00:00"])
def test_datetimes_pass_as_parameters(value: str, folder: Path, db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = GOOD.replace('"ok"', "self.when").replace("return Root()", "Root.when = parameters['d']\n    return Root()")
    (folder / "a.py").write_text(code)
    (folder / "c.toml").write_text(CLUSTER.format(cluster="", vat=f"parameters = {{ d = {value} }}"))
    assert run_app(["run", str(folder / "c.toml"), "--db", str(db)]) == 0
    assert capfd.readouterr() == (f'c: "{value.replace("Z", "+00:00")}"\n', "")


# ---- what a launch finds wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "x = 1",
            "the code cannot be loaded: LoadError: a.py defines no build_root_object(vat_powers, parameters, baggage)",
        ),
        (
            "import vats.nosuch",
            "the code cannot be loaded: ModuleNotFoundError: No module named 'vats.nosuch' (a.py, line 1)",
        ),
        (
            "import os",
            (
                "the code cannot be loaded: LoadError: a.py:1: this vat may not import os; "
                'its config would have to say imports = ["os"] (a.py, line 1)'
            ),
        ),
        ("1 / 0", "the code cannot be loaded: ZeroDivisionError: division by zero (a.py, line 1)"),
        ("raise SystemExit(3)", "StartVat ended in SystemExit: 3 (a.py, line 1)"),
        (
            "def build_root_object(p, q, r):\n    raise ValueError('no\\nluck')",
            "build_root_object raised ValueError: no luck (a.py, line 2)",
        ),
        (
            "def build_root_object(p):\n    pass",
            "build_root_object raised TypeError: build_root_object() takes 1 positional argument but 3 were given",
        ),
        ("def build_root_object(p, q, r):\n    return 3", "build_root_object returned a int, not an Exo"),
        ("def build_root_object(p, q, r):\n    pass", "build_root_object returned a NoneType, not an Exo"),
    ],
)
def test_vat_that_cannot_be_built_undoes_the_launch(
    code: str, reason: str, folder: Path, db: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.py").write_text(code)
    assert refused(db, capfd, code=1) == f"c: vats.a: {reason}"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("raise KeyError('zut')", "bootstrap raised KeyError: 'zut'"),
        ("return object()", "bootstrap raised NotPassableError: result: a object is not passable"),
        (
            "await make_promise_kit().promise",
            "bootstrap waits for an answer that nobody can give; the launch is undone",
        ),
    ],
)
def test_bootstrap_without_a_good_answer_undoes_the_launch(
    answer: str, reason: str, folder: Path, db: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = GOOD.replace('return "ok"', answer).replace("import Exo", "import Exo, make_promise_kit")
    (folder / "a.py").write_text(code)
    assert refused(db, capfd, code=1).startswith(f"c: {reason}")


def test_root_without_bootstrap_undoes_the_launch(folder: Path, db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "a.py").write_text(GOOD.replace("bootstrap", "start"))
    reason = "bootstrap raised AttributeError: Root has no method bootstrap; available: start"
    assert refused(db, capfd, code=1) == f"c: {reason}"


def test_one_failed_launch_leaves_the_others(folder: Path, db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "b.py").write_text("1 / 0")
    text = CLUSTER.format(cluster="", vat="")
    (folder / "c.toml").write_text(text + text.replace("subclusters.c", "subclusters.bad").replace("a.py", "b.py"))
    assert run_app(["run", str(folder / "c.toml"), "--db", str(db), "--json"]) == 1
    out, error = capfd.readouterr()
    assert out == '{"c": "ok"}\n'
    assert the_line(error).startswith("bad: vats.a: the code cannot be loaded: ZeroDivisionError")


def test_command_prints_no_traceback_for_a_failed_launch(folder: Path, db: Path) -> None:
    (folder / "a.py").write_text("1 / 0")
    done = ocap("run", folder / "c.toml", "--db", db)
    assert (done.returncode, done.stdout) == (1, "")
    assert the_line(done.stderr).startswith("c: vats.a: the code cannot be loaded: ZeroDivisionError")


# ---- the database ---------------------------------------------------------------------------------


def refused_store(path: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Run with a database, and verify it; both must say the same one line."""
    before = path.read_bytes()
    assert run_app(["run", str(folder / "c.toml"), "--db", str(path)]) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert path.read_bytes() == before
    assert not list(path.parent.glob(f"{path.name}-*"))
    return the_line(error).replace(str(path.parent) + os.sep, "")


@pytest.mark.parametrize("text", ["hello\n" * 500, "hi"])
def test_text_file_is_no_database(text: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "notes.txt"
    path.write_text(text)
    line = "notes.txt: not a database at all; choose another file"
    assert refused_store(path, folder, capfd) == line
    assert run_app(["verify", str(path)]) == 2
    assert the_line(capfd.readouterr().err).endswith(line)


@pytest.mark.parametrize("mark", [0, 77])
def test_database_of_another_program_is_refused(mark: int, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.execute(f"PRAGMA application_id = {mark}")
    other.commit()
    other.close()
    line = "other.db: not a database of this program; choose another file"
    assert refused_store(path, folder, capfd) == line
    assert run_app(["verify", str(path)]) == 2
    assert the_line(capfd.readouterr().err).endswith(line)


def test_newer_layout_is_refused(folder: Path, kept: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "k.db"
    shutil.copy(kept, path)
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.commit()
    newer.close()
    line = f"k.db: written by a newer version (layout {VERSION + 1}, this program knows {VERSION}); upgrade the program"
    assert refused_store(path, folder, capfd) == line
    assert run_app(["verify", str(path)]) == 2
    assert the_line(capfd.readouterr().err).endswith(line)


def test_database_open_elsewhere_is_refused_and_can_be_verified(
    folder: Path, db: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kernel = Kernel(db)
    try:
        assert run_app(["run", str(folder / "c.toml"), "--db", str(db)]) == 2
        out, error = capfd.readouterr()
        assert out == ""
        assert the_line(error) == f"{db}: another kernel has this database open; stop it first"
        assert run_app(["verify", str(db)]) == 0
    finally:
        kernel.close()


def test_database_open_in_another_process_is_refused(folder: Path) -> None:
    db = folder / "bank.db"
    with start_ocap("run", BANK, "--db", db) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == 'bank: "open"\n'
        second = ocap("run", BANK, "--db", db)
        assert ocap("verify", db).returncode == 0  # while money moves
        first.kill()
    assert (second.returncode, second.stdout) == (2, "")
    assert the_line(second.stderr) == f"{db}: another kernel has this database open; stop it first"


@pytest.mark.parametrize("command", ["run", "verify", "why", "promises", "gc"])
def test_name_that_sqlite_does_not_take_is_refused(
    command: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    db = folder / os.fsdecode(b"\xff.db")
    if command != "run":
        db.touch()
    words = {"run": [str(folder / "c.toml"), "--db", str(db)], "why": [str(db), "ko1"]}
    before = sorted(folder.iterdir())
    assert run_app([command, *words.get(command, [str(db)])]) == 2
    reason = "SQLite opens no file whose name is not UTF-8; choose another"
    assert the_line(capfd.readouterr().err) == f"{folder}/\\udcff.db: {reason}"
    assert sorted(folder.iterdir()) == before


def test_folder_that_is_not_there(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    db = folder / "nowhere" / "k.db"
    assert run_app(["run", str(folder / "c.toml"), "--db", str(db)]) == 2
    assert the_line(capfd.readouterr().err) == f"{db}: cannot be opened: no such file"


def _obey_permissions() -> None:
    """Take from root what lets it read and write anywhere; for others there is nothing to take."""
    drop_from_bounding_set, override, read_search = 24, 1, 2
    for capability in (override, read_search):
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_read_only_database_is_refused(what: str, folder: Path, db: Path) -> None:
    before = db.read_bytes()
    locked = db if what == "file" else folder
    mode = locked.stat().st_mode
    locked.chmod(mode & ~0o222)
    try:
        done = ocap("run", folder / "c.toml", "--db", db, within=_obey_permissions)
    finally:
        locked.chmod(mode)
    assert (done.returncode, done.stdout) == (2, "")
    reason = {"file": "the file or its folder is read-only", "folder": "cannot be opened: permission denied"}[what]
    assert the_line(done.stderr) == f"{db}: {reason}"
    assert db.read_bytes() == before


def test_full_disk_stops_the_run_with_one_line(
    folder: Path, db: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = GOOD.replace('return "ok"', "baggage['big'] = 'x' * 1_000_000").replace(
        "return Root", "globals()['baggage'] = baggage; return Root"
    )
    (folder / "a.py").write_text(code)
    before = rows_of(db)
    opened = SqliteBackend._open

    def open_on_a_small_disk(self: SqliteBackend, durability: str) -> apsw.Connection:
        connection = opened(self, durability)  # type: ignore[arg-type]
        connection.pragma("max_page_count", connection.pragma("page_count") + 20)
        return connection

    monkeypatch.setattr(SqliteBackend, "_open", open_on_a_small_disk)
    assert run_app(["run", str(folder / "c.toml"), "--db", str(db)]) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert the_line(error) == f"{db}: the disk is full; nothing after the last commit was kept"
    monkeypatch.undo()
    assert run_app(["run", str(EXCHANGE), "--db", str(db)]) == 0  # undoes the launch that was cut short
    assert rows_of(db) == before


def test_failing_write_stops_the_run_with_one_line(folder: Path, bank: Path) -> None:
    db = folder / "bank.db"

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = ocap("run", bank, "--db", db, within=limit_files)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "  log  " not in line]
    assert the_line("\n".join(lines)).startswith(f"{db}: disk I/O error")
    assert verify(db) == []
    assert ocap("run", bank, "--db", db).returncode == 0


def test_verify_of_no_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app(["verify", str(tmp_path / "nope.db")]) == 2
    assert the_line(capfd.readouterr().err) == f"{tmp_path / 'nope.db'}: no such file"


def test_verify_of_a_file_that_may_not_be_read(db: Path) -> None:
    mode = db.stat().st_mode
    db.chmod(0)
    try:
        done = ocap("verify", db, within=_obey_permissions)
    finally:
        db.chmod(mode)
    assert (done.returncode, done.stdout) == (2, "")
    assert the_line(done.stderr) == f"{db}: this user may not read it"


def test_verify_prints_a_line_for_each_broken_invariant(
    db: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.db"
    shutil.copy(db, broken)
    connection = sqlite3.connect(broken)
    connection.execute(
        "UPDATE objects SET recognizable = recognizable + 1 WHERE kref = (SELECT min(kref) FROM objects)"
    )
    connection.commit()
    connection.close()
    assert run_app(["verify", str(broken)]) == 1
    out, error = capfd.readouterr()
    assert error == ""
    assert out.splitlines()
    assert all(line.startswith("V") for line in out.splitlines())


# ---- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["frob"], 'Unknown command "frob"'),
        (["run"], 'Command "run" parameter CLUSTER.toml requires an argument'),
        (["run", "c.toml", "--nope"], "Unknown option: --nope"),
        (["verify"], 'Command "verify" parameter FILE requires an argument'),
    ],
)
def test_unknown_arguments(arguments: list[str], line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app(arguments) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert the_line(error).startswith(line)
    assert error.endswith(f"(see: ocap {'' if arguments == ['frob'] else arguments[0] + ' '}--help)\n")


@pytest.mark.parametrize("other", [True, False])
def test_no_log_is_appended_to_a_database(
    folder: Path, db: Path, capfd: pytest.CaptureFixture[str], other: bool
) -> None:
    """Which would be renamed and removed as the log is rotated."""
    before = db.read_bytes()
    words = ["run", str(folder / "c.toml"), "--db", str(folder / "new.db" if other else db), "--log-json", str(db)]
    assert run_app([*words, "--log-keep-size", "64k"]) == 2
    reason = "is a database; name another file" if other else "is what --db names; name another file"
    assert the_line(capfd.readouterr().err) == f"--log-json: {db}: {reason}"
    assert db.read_bytes() == before
    assert not (folder / "new.db").exists()


def test_log_file_that_cannot_be_opened(folder: Path, db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = db.read_bytes()
    log = folder / "nowhere" / "log"
    assert run_app(["run", str(folder / "c.toml"), "--db", str(db), "--log-json", str(log)]) == 2
    assert the_line(capfd.readouterr().err) == f"--log-json: {log}: no such file"
    assert db.read_bytes() == before


@pytest.mark.parametrize("option", [[], ["--json"], ["--log-json", "/dev/full"]])
def test_full_disk_under_the_output(option: list[str], folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*OCAP, "run", str(folder / "c.toml"), *option],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env=ENVIRONMENT,
        )
    assert done.returncode == 2
    assert the_line(done.stderr) == "output could not be written: no space left on device"


@pytest.mark.parametrize("option", [[], ["--json"], ["--log"]])
def test_broken_pipe_ends_quietly(option: list[str], folder: Path) -> None:
    with start_ocap("run", folder / "c.toml", *option) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        error = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in error
    assert [line for line in error.splitlines() if line.startswith("ocap:")] == []


@pytest.mark.parametrize(("missing", "arguments"), [("cyclopts", ["verify", "x"]), ("rich", ["--help"])])
def test_missing_extra_says_what_to_install(missing: str, arguments: list[str]) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from ocap.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    way = "the extra ocap[cli] brings it: pip install '.[cli]' in the source's folder"
    assert the_line(done.stderr) == f"the command line needs {missing}, which is not installed; {way}"


def test_unknown_log_level(folder: Path) -> None:
    done = subprocess.run(
        [*OCAP, "run", str(folder / "c.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT | {"OCAP_LOG_LEVEL": "LOUD"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert the_line(done.stderr) == "OCAP_LOG_LEVEL=LOUD: Unknown level: 'LOUD'"


# ---- being stopped --------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_stops_cleanly_and_the_next_run_goes_on(sign: signal.Signals, bank: Path, tmp_path: Path) -> None:
    db = tmp_path / "bank.db"
    with start_ocap("run", bank, "--db", db) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'bank: "open"\n'
        process.send_signal(sign)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "ocap: stopped; run the same command again to go on"
    assert "Traceback" not in error
    assert not list(tmp_path.glob("*-wal"))  # closed, not abandoned
    assert verify(db) == []
    done = ocap("run", bank, "--db", db)
    assert done.returncode == 0
    assert "all purses together hold 3000" in done.stderr


def test_interrupt_of_a_run_that_waits_for_nothing_but_itself(folder: Path) -> None:
    """A vat that keeps itself busy for ever can be stopped between two of its cranks."""
    code = GOOD.replace(
        'return "ok"',
        "E.send_only(self).go()\n        return 'ok'\n\n    async def go(self):\n        E.send_only(self.other).go()",
    )
    code = code.replace("import Exo", "import Exo, E").replace(
        "E.send_only(self).go()", "self.other = vats['b']; E.send_only(vats['b']).go(self)"
    )
    code = code.replace(
        "async def go(self):\n        E.send_only(self.other).go()",
        "async def go(self, other):\n        E.send_only(other).go(self)",
    )
    (folder / "a.py").write_text(code)
    text = CLUSTER.format(cluster="", vat="") + '[subclusters.c.vats.b]\nsource = "a.py"\n'
    (folder / "c.toml").write_text(text)
    with start_ocap("run", folder / "c.toml") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'c: "ok"\n'
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert the_line(error) == "stopped; without --db nothing is kept"
