"""A vat of a million objects and a million entries costs no more memory, and starts no later, than one of ten.

`benchmarks.size` makes the stores, and asks in a process of its own each time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import WrongResultError
from benchmarks.size import FEW, SAMPLE, Answer, ask, grown, make, rows_of_things
from ocap.verify import verify

MB = 1024 * 1024
MANY = 1_000_000

pytestmark = pytest.mark.slow


@pytest.fixture
def few(tmp_path: Path) -> Path:
    path = tmp_path / "few.db"
    make(path, FEW, FEW)
    return path


def above(many: Answer, few: Answer) -> int:
    """Bytes of memory that the one took more than the other."""
    more = grown(many, few)
    assert more is not None
    return more


def test_a_vat_of_a_million_objects_starts_and_answers_as_one_of_ten(few: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    make(path, MANY, FEW)
    many, least = ask(path, "start", MANY, FEW), ask(few, "start", FEW, FEW)
    assert many.rows == least.rows, "what a start reads does not depend on how many objects there are"
    assert above(many, least) < 8 * MB
    assert verify(path) == []


def test_a_scan_of_a_million_entries_holds_constant_memory_and_clear_loads_none(few: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    make(path, FEW, MANY)
    scanned = ask(path, "scan_entries", FEW, MANY)
    assert MANY < scanned.rows < MANY + 20, "each is read once"
    assert above(scanned, ask(few, "scan_entries", FEW, FEW)) < 8 * MB
    assert ask(path, "last", FEW, MANY).rows < 20
    cleared, least = ask(path, "clear", FEW, MANY), ask(few, "clear", FEW, FEW)
    assert cleared.rows == least.rows
    assert above(cleared, least) < 8 * MB


def test_a_scan_of_objects_holds_constant_memory(few: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    make(path, 60_000, FEW)
    assert above(ask(path, "scan_things", 60_000, FEW), ask(few, "scan_things", FEW, FEW)) < 20 * MB
    assert ask(path, "sweep", 60_000, FEW).rows > 60_000
    assert verify(path) == []


def test_rows_that_the_vat_would_not_write_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.size.rows_of_things", lambda numbers: rows_of_things(range(1, len(numbers) + 1)))
    with pytest.raises(WrongResultError):
        make(tmp_path / "wrong.db", SAMPLE + 1, FEW)
