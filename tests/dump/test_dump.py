"""`kernel.dump()`: what a kernel is doing, as lines for people."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ocap import DisconnectedError, E, Kernel
from ocap.dump import LINES, dump
from ocap.store.marks import Marks
from ocap.store.sqlite import SqliteBackend
from ocap.verify import verify
from tests.commands import REPOSITORY, start_ocap
from tests.ring.clusters import launch

STATUS = {"idle": True, "running": True, "path": None, "service_calls": 0, "unanswered": 0}
STATS = {"cranks": 1, "commits": 2, "last_crank": 3}


def parts(text: str) -> dict[str, list[list[str]]]:
    """The rows of each part, as words, without the titles of the columns."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in text.splitlines()[5:]:
        if line.startswith("  "):
            rows.append(line.split())
        else:
            rows = found[line.partition(":")[0]] = []
    return {title: rows[1:] for title, rows in found.items()}


async def test_dump_says_what_waits_and_for_what(tmp_path: Path) -> None:
    async with Kernel(tmp_path / "k.db") as kernel:
        subcluster, a, b = await launch(kernel)
        vats = {name: vat.id for name, vat in subcluster.vats.items()}
        waiting = E(a).later("x")
        await kernel.suspend_vat(vats["b"])
        E(b).get("other")
        await kernel.idle()
        text = kernel.dump()
        found = parts(text)
        assert text.startswith(f"kernel {tmp_path / 'k.db'}: idle\n  cranks {kernel.stats()['cranks']} since ")
        assert f"  vats with a heap: {vats['a']}\n" in text
        assert [row[:4] for row in found["vats"]] == [
            [vats["a"], "a", "s1", "live"],
            [vats["b"], "b", "s1", "suspended"],
        ]
        assert found["vats"][1][6] == "1"  # held back
        assert [vats["a"], "host", "0"] in [row[3:] for row in found["promises that wait"]]
        assert {"s"} == {row[2] for row in found["promises that wait"] if 0 <= int(row[1]) < 120}
        assert "the host asked for it" == " ".join(found["vats"][1][8:])
        assert "dead letters" not in found
        with pytest.raises(DisconnectedError):
            await E(a).flood(40_000_000)
        await kernel.idle()
        ((_, seconds, _, crank, vat, target, method, *reason),) = parts(kernel.dump())["dead letters"]
        assert (int(crank) <= kernel.stats()["last_crank"], vat, method) == (True, vats["a"], "flood")
        assert 0 <= int(seconds) < 60
        assert target.startswith("ko")
        assert " ".join(reason).startswith("sent more than ")
        with pytest.raises(DisconnectedError):
            await waiting
    assert verify(tmp_path / "k.db") == []


async def test_dump_of_a_kernel_in_memory() -> None:
    async with Kernel() as kernel:
        await launch(kernel)
        assert kernel.dump().startswith("kernel in memory: ")


async def test_dump_changes_nothing(tmp_path: Path) -> None:
    async with Kernel(tmp_path / "k.db") as kernel:
        _, a, _ = await launch(kernel)
        for _ in range(20):
            E(a).bounce(20)
            kernel.dump()
        await kernel.idle()
        assert kernel.verify() == []
    assert verify(tmp_path / "k.db") == []


def rows_of(count: int) -> str:
    backend = SqliteBackend()
    try:
        rows = [(number, 1, "v1", "ko1", "x\x1b[2J\u202e" + "y" * 200, b"", "", "why") for number in range(count)]
        backend.connection.executemany("INSERT INTO dead_letters VALUES (?,?,?,?,?,?,?,?)", rows)
        query = backend.connection.execute
        marks = Marks.read(backend.connection)
        return dump(
            lambda it: query(it).fetchall(), status=STATUS, stats=STATS, census={}, heaps=frozenset(), marks=marks
        )
    finally:
        backend.close()


@pytest.mark.parametrize("count", [1, LINES - 1, LINES, LINES + 1, 10 * LINES])
def test_dump_is_bounded_and_says_how_much_more_there_is(count: int) -> None:
    text = rows_of(count)
    assert f"dead letters: {count}\n" in text
    assert text.count(" why") == min(count, LINES)
    assert (f"\n  and {count - LINES} more" in text) == (count > LINES)


def test_dump_is_inert_on_a_terminal() -> None:
    assert all(line.isprintable() for line in rows_of(3).splitlines())
    assert max(map(len, rows_of(3).splitlines())) < 150


def test_signal_makes_a_run_dump(tmp_path: Path) -> None:
    bank = REPOSITORY / "examples/bank/bank.toml"
    with start_ocap("run", bank, "--db", tmp_path / "k.db") as run:
        try:
            assert run.stdout is not None
            assert run.stderr is not None
            assert run.stdout.readline() == 'bank: "open"\n'
            for _ in range(2):
                run.send_signal(signal.SIGUSR1)
                while not run.stderr.readline().startswith("kernel "):
                    assert run.poll() is None
            assert run.poll() is None
        finally:
            run.terminate()
            run.communicate(timeout=60)
    assert run.returncode == 130
    assert verify(tmp_path / "k.db") == []
