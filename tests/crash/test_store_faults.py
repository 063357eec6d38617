"""The disk fails, or the process dies, at any operation on the file: nothing acknowledged is lost, nothing is torn.

A file system of ours lies below SQLite in the process under test (`tests.store.faulty`); the parent
looks at the file with the usual one.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.runs import SEED, Ledger, Teller, problems_of

pytestmark = pytest.mark.slow

POINTS = 40
TRANSFERS = 60


@pytest.mark.parametrize("how", ["die", "io", "full"])
@pytest.mark.parametrize("durability", ["power", "process"])
def test_fault_at_any_operation_loses_nothing_acknowledged(how: str, durability: str, tmp_path: Path) -> None:
    print(f"OCAP_CRASH_SEED={SEED}")
    random_ = random.Random(SEED)
    db = tmp_path / "bank.db"
    ledger = Ledger()
    faults = 0
    # The first operations make the file and its tables; later points are spread over the work.
    points = [*range(0, 30, 2), *(random_.randrange(200) for _ in range(POINTS - 15))]
    with Teller(db, durability) as teller:
        for point in points:
            said = teller.run(operation=point, how=how, transfers=TRANSFERS)
            ledger.enter(said)
            if said[-1] == {"ended": -9 if how == "die" else 3}:
                faults += 1
            else:  # the work was done before the point was reached
                assert said[-1] == {"ended": 0}, (point, said)
            if how == "full" and said[-1] == {"ended": 3}:
                assert "the disk is full" in said[-2]["failed"]
            assert problems_of(db, is_new=not ledger.found) == [], point
            if point == points[-1] and not ledger.acknowledged:
                points.append(2 * max(points))  # on a busy machine each transfer takes more commits
        ledger.close(teller, db)
    print(f"{faults} faults, {ledger.found} runs had begun to work, {len(ledger.acknowledged)} transfers acknowledged")
    assert faults > POINTS / 2
    assert ledger.acknowledged
