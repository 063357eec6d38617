"""`ocap upgrade --check` says whether new code fits, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocap.verify import verify
from tests.commands import ocap
from tests.stores import rows_of

CLUSTER = """
[subclusters.c]
bootstrap = "a"
[subclusters.c.vats.a]
source = "a.py"
[subclusters.c.vats.b]
source = "a.py"
"""
CODE = """
from vats import DurableExo, Exo

class Note(DurableExo):
    text: str

class Root(Exo):
    def __init__(self, baggage):
        self.note = baggage.provide("note", lambda: Note(text="x"))

    async def bootstrap(self, vats, services):
        return "ok"

def build_root_object(vat_powers, parameters, baggage):
    return Root(baggage)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upgrade")
    (path / "a.py").write_text(CODE)
    (path / "c.toml").write_text(CLUSTER)
    (path / "changed.py").write_text(CODE.replace("class Note", "class Letter").replace(" Note(", " Letter("))
    assert ocap("run", path / "c.toml", "--db", path / "k.db").returncode == 0
    return path


@pytest.fixture
def db(folder: Path) -> Iterator[Path]:
    before = rows_of(folder / "k.db")
    yield folder / "k.db"
    assert before == rows_of(folder / "k.db")
    assert verify(folder / "k.db") == []


def test_code_that_fits_is_0_and_code_that_does_not_is_1(db: Path, folder: Path) -> None:
    done = ocap("upgrade", "--check", "--db", db, "v1", folder / "a.py")
    assert (0, "the code can take over\n", "") == (done.returncode, done.stdout, done.stderr)
    done = ocap("upgrade", "--check", "--db", db, "a", folder / "changed.py")
    text = "Note (1 stored, such as o+d10/1): stored objects are of class Note, which this vat no longer defines"
    assert done.stdout.startswith(text)
    assert (1, "") == (done.returncode, done.stderr)


def test_json_is_one_line(db: Path, folder: Path) -> None:
    done = ocap("upgrade", "--check", "--db", db, "v2", folder / "changed.py", "--json")
    (misfit,) = json.loads(done.stdout)["misfits"]
    assert ("Note", 1, "o+d10/1") == (misfit["kind"], misfit["count"], misfit["example"])
    assert json.loads(ocap("upgrade", "--check", "--db", db, "v2", folder / "a.py", "--json").stdout) == {"misfits": []}


def test_missing_code_is_told_with_its_place(db: Path, folder: Path) -> None:
    done = ocap("upgrade", "--check", "--db", db, "v1", folder / "nothing.py")
    assert (1, "") == (done.returncode, done.stderr)
    assert "nothing.py: No such file or directory" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("upgrade", "--check", "--db", "no.db", "v1", "a.py"), "no.db: no such file"),
        (("upgrade", "--check", "--db", "a.py", "v1", "a.py"), "a.py: "),
        (("upgrade", "--check", "--db", "k.db", "v9", "a.py"), "there is no vat v9"),
        (("upgrade", "v1", "a.py"), "no daemon is running"),
        (("upgrade", "--check", "--db", "k.db", "v1"), "SOURCE"),
    ],
)
def test_bad_input_is_one_line_and_2(db: Path, folder: Path, arguments: tuple[str, ...], text: str) -> None:
    done = ocap(*arguments, cwd=folder)
    assert done.returncode == 2
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
