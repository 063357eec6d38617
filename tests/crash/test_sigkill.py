"""Killed at any moment and run again, a kernel loses nothing it acknowledged, does nothing twice, and stays sound.

Money moves between the purses of three vats, partly by itself and partly as a host program asks. The
host's parent reads the acknowledgements, kills at random moments, and verifies the store after each kill.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocap.verify import verify
from tests.commands import REPOSITORY, ocap, start_ocap
from tests.crash.runs import SEED, Ledger, Teller, problems_of

pytestmark = pytest.mark.slow

CASES = 8
KILLS = 27
ENOUGH = 8  # runs that did something, so that a slow machine tests as much as a fast one
BANK = REPOSITORY / "examples" / "bank" / "bank.toml"
EXCHANGE = REPOSITORY / "tests" / "clusters" / "exchange" / "exchange.toml"


def moments(random_: random.Random) -> Iterator[dict[str, Any]]:
    """When to kill: while it starts, launches or runs, and around commits."""
    while True:
        yield {"seconds": random_.uniform(0.0, 0.06)}  # opening, launching, resuming
        yield {"commit": random_.randrange(30), "after": random_.random() < 0.5}
        yield {"seconds": random_.uniform(0.03, 0.4)}


@pytest.mark.parametrize("case", range(CASES))
def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(case: int, tmp_path: Path) -> None:
    print(f"OCAP_CRASH_SEED={SEED}")
    db = tmp_path / "bank.db"
    ledger = Ledger()
    kills = 0
    with Teller(db, "power" if case % 4 == 0 else "process") as teller:
        for moment in moments(random.Random(SEED + case)):
            said = teller.run(**moment)
            assert said[-1] == {"ended": -9}, (moment, said[-1])
            ledger.enter(said)
            assert problems_of(db, is_new=not ledger.found) == [], moment
            kills += 1
            if kills >= KILLS and ledger.found >= ENOUGH and len(ledger.acknowledged) >= ENOUGH:
                break
            assert kills < 5 * KILLS, "runs are killed before they can do anything"
        ledger.close(teller, db)
    print(f"{kills} kills, {ledger.found} runs had begun to work, {len(ledger.acknowledged)} transfers acknowledged")


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
