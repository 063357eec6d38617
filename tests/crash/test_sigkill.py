"""Killed at any moment and run again, a kernel loses nothing it acknowledged, does nothing twice, and stays sound.

Money moves between the purses of three vats, partly by itself and partly as a host program asks. The
host's parent reads the acknowledgements, kills at random moments, and verifies the store after each kill.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from ocap.protocol.errors import StoreError
from ocap.verify import Problem, verify
from tests.commands import ENVIRONMENT, REPOSITORY, ocap, start_ocap

pytestmark = pytest.mark.slow

CASES = 8
KILLS = 27
ENOUGH = 8  # runs that did something, so that a slow machine tests as much as a fast one
SEED = int(os.environ.get("OCAP_CRASH_SEED", random.randrange(2**32)))
BANK = REPOSITORY / "examples" / "bank" / "bank.toml"
EXCHANGE = REPOSITORY / "tests" / "clusters" / "exchange" / "exchange.toml"


class Teller:
    """The program under test, at the other end of two pipes."""

    def __init__(self, path: Path, durability: str) -> None:
        command = [sys.executable, "-m", "tests.crash.teller", str(path), durability]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=REPOSITORY
        )

    def run(self, **how: Any) -> list[dict[str, Any]]:
        """One run, to its end; what it said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(how) + "\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            said.append(json.loads(line))
            if "ended" in said[-1]:
                return said
        raise AssertionError("the server of runs died")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def moments(random_: random.Random) -> Iterator[dict[str, Any]]:
    """When to kill: while it starts, launches or runs, and around commits."""
    while True:
        yield {"seconds": random_.uniform(0.0, 0.06)}  # opening, launching, resuming
        yield {"commit": random_.randrange(30), "after": random_.random() < 0.5}
        yield {"seconds": random_.uniform(0.03, 0.4)}


def problems_of(db: Path, *, is_new: bool) -> list[Problem]:
    try:
        return verify(db)
    except StoreError:
        assert is_new  # killed before it had made the file, or the tables in it
        return []


def check(reports: list[dict[str, Any]], acknowledged: set[int]) -> None:
    received = {number: times for report in reports for number, times in report["received"].items()}
    assert [report["wrong"] for report in reports] == [[], [], []]
    assert set(received.values()) <= {1}
    lost = acknowledged - set(map(int, received))
    assert not lost


@pytest.mark.parametrize("case", range(CASES))
def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(case: int, tmp_path: Path) -> None:
    durability = "power" if case % 4 == 0 else "process"
    random_ = random.Random(SEED + case)
    print(f"OCAP_CRASH_SEED={SEED}")
    db = tmp_path / "bank.db"
    acknowledged: set[int] = set()
    found = kills = 0
    with Teller(db, durability) as teller:
        for moment in moments(random_):
            said = teller.run(**moment)
            assert said[-1] == {"ended": -9}, (moment, said[-1])
            for message in said:
                if "acknowledged" in message:
                    assert message["acknowledged"] not in acknowledged
                    acknowledged.add(message["acknowledged"])
                if "reports" in message:  # before this run asked for anything
                    check(message["reports"], acknowledged)
                    found += 1
            assert problems_of(db, is_new=not found) == [], moment
            kills += 1
            if kills >= KILLS and found >= ENOUGH and len(acknowledged) >= ENOUGH:
                break
            assert kills < 5 * KILLS, "runs are killed before they can do anything"
        final, end = teller.run(closing=True)
    assert end == {"ended": 0}
    reports = final["reports"]
    check(reports, acknowledged)
    assert sum(report["balance"] for report in reports) == 3000
    sent = {number for report in reports for number in report["sent"]}
    assert sent == {number for report in reports for number in report["received"]}
    assert verify(db) == []
    print(f"{kills} kills, {found} of runs that had begun to work, {len(acknowledged)} transfers acknowledged")


def killed_runs(cluster: Path, db: Path, random_: random.Random, kills: int) -> subprocess.CompletedProcess[str]:
    """Kill `ocap run` again and again, at moments from its first to beyond its last; then let it end."""
    for _ in range(kills):
        with start_ocap("run", cluster, "--db", db) as process:
            try:
                process.wait(random_.uniform(0.05, 1.0))
            except subprocess.TimeoutExpired:
                process.kill()
            _, error = process.communicate()
        assert process.returncode in (0, -9), error
        assert problems_of(db, is_new=True) == []
    return ocap("run", cluster, "--db", db)


def test_command_resumes_the_bank_of_the_examples(tmp_path: Path) -> None:
    print(f"OCAP_CRASH_SEED={SEED}")
    db = tmp_path / "bank.db"
    done = killed_runs(BANK, db, random.Random(SEED), 8)
    assert (done.returncode, done.stdout) == (0, 'bank: "open"\n')
    assert verify(db) == []
    *_, total = done.stderr.splitlines()
    assert total.endswith("day 1: all purses together hold 3000")


@pytest.mark.parametrize("case", range(2))
def test_command_comes_to_the_exact_result_of_the_exchange(case: int, tmp_path: Path) -> None:
    print(f"OCAP_CRASH_SEED={SEED}")
    random_ = random.Random(SEED + case)
    for attempt in range(3):
        db = tmp_path / f"{attempt}.db"
        done = killed_runs(EXCHANGE, db, random_, 6)
        result = {
            "alice": {"moola": 70, "simoleons": 7},
            "bob": {"moola": 30, "simoleons": 93},
            "cheat": "TypeError",
            "overdraft": "ValueError: insufficient funds",
        }
        assert (done.returncode, done.stdout, done.stderr) == (0, f"exchange: {json.dumps(result)}\n", "")
        assert verify(db) == []
