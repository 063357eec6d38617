"""Opening a store costs the same however many vats it has: nothing is loaded before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from benchmarks import opening
from ocap import E, Kernel
from ocap.verify import verify
from tests.effort import Effort
from tests.lifecycle.clusters import counters

COPIES = (
    ("vats", "id = 'v1'", ("id", "name"), ("root",)),
    ("objects", "kref = ?3", ("owner",), ("kref",)),
    ("clist", "vat = 'v1' AND kref = ?3", ("vat",), ("kref",)),
    ("vatstore", "vat = 'v1'", ("vat",), ()),
)
"""What one more vat is in the store: rows of the first one, with other names of the vat and of its root."""


async def make(path: Path, source: Path, vats: int) -> None:
    """A store with so many vats, all but one of them copies."""
    async with Kernel(path, durability="none") as kernel:
        root = (await kernel.launch_subcluster(counters(source))).root.kref
        await kernel.idle()
    db = apsw.Connection(str(path))
    with db:
        for table, which, of_vat, of_root in COPIES:
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            new = [{**dict.fromkeys(of_vat, "?1"), **dict.fromkeys(of_root, "?2")}.get(it, it) for it in columns]
            # All three are named, as SQLite wants as many values as the greatest number.
            copy = f"INSERT INTO {table} SELECT {','.join(new)} FROM {table} WHERE {which} AND ?1 <> ?2 AND ?3 <> ''"
            db.executemany(copy, [(f"v{number}", f"ko{10_000 + number}", root) for number in range(2, vats + 1)])
        for kind, following in (("vat", vats + 1), ("object", 10_000 + vats + 1)):
            db.execute("UPDATE counters SET next = ? WHERE kind = ?", (following, kind))
    db.close()
    assert verify(path) == []


async def effort(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Statements, and steps of SQLite's machine, until the kernel runs and is idle."""
    spent = Effort()
    with monkeypatch.context() as patch:
        connect = apsw.Connection

        def watched(*args: Any, **kwargs: Any) -> apsw.Connection:
            db = connect(*args, **kwargs)
            spent.watch(db)
            return db

        patch.setattr("ocap.store.sqlite.apsw.Connection", watched)
        patch.setattr("ocap.store.marks.SPACING", 10**9)  # whether a mark is due depends on the clock
        kernel = Kernel(path, durability="none")
        assert kernel.restart_all_vats("new platform")
        async with kernel:
            await kernel.idle()
            found = spent.statements, spent.steps
            assert await E(kernel.root("v1")).count() == [1, 1]
            assert await E(kernel.root("v90")).count() == [1, 1]
            assert sum(not vat.restart_due for vat in kernel.get_vats()) == 2
    return found


async def test_it_takes_as_many_steps_with_two_thousand_vats_as_with_a_hundred(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for vats in (100, 2000):
        path = tmp_path / f"{vats}.db"
        await make(path, source, vats)
        found.append(await effort(path, monkeypatch))
        assert verify(path) == []
    (few, few_steps), (many, many_steps) = found
    assert 0 < few == many
    assert few_steps <= many_steps <= 1.1 * few_steps


async def test_the_benchmark_opens_what_it_makes(tmp_path: Path) -> None:
    path = tmp_path / "vats.db"
    async with Kernel(path, durability="none") as kernel:
        await opening.fill(kernel, 7)
        assert 7 == len(kernel.get_vats())
    found = await opening.open_and_ask(path, "once")
    assert len(found.seconds) == len(opening.STEPS)
    assert 0 < found.until_running < sum(found.seconds)
