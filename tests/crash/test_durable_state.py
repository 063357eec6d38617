"""Durable objects, stores, watchers and promises end as they would have, however often everything is killed.

Two vats work by themselves (`keeping`). Their kernel is killed at random cranks and moments, incarnations are ended, and
their code is upgraded; what they have at the end is compared with a run that nothing disturbed.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ocap.verify import verify
from tests.crash.runs import SEED, Teller, problems_of

pytestmark = pytest.mark.slow

KILLS = 200
STEPS = 3600


def end_of(path: Path, random_: random.Random, kills: int) -> dict[str, Any]:
    """What the workload comes to, if it is killed so often."""
    with Teller(path, "process", "keep") as teller:
        for number in range(kills):
            disturb = random_.choice([None, random_.randrange(1000)])
            how: dict[str, Any] = {"crank": random_.randrange(70)}
            if number % 10 == 9:
                how = {"seconds": random_.uniform(0, 0.1)}
            said = teller.run(steps=STEPS, disturb=disturb, upgrading=number > kills // 2, **how)
            assert said == [{"ended": -9}], (number, how)
            assert problems_of(path, is_new=number < 5) == [], (number, how)
        if not kills:
            assert teller.run(steps=STEPS, seconds=250) == [{"ended": 0}]
        found, end = teller.run(steps=STEPS, closing=True, seconds=250)
    assert end == {"ended": 0}
    assert verify(path) == []
    assert found.pop("problems") == []
    return found


def test_the_end_is_as_without_kills(tmp_path: Path) -> None:
    print(f"OCAP_CRASH_SEED={SEED}")
    calm = end_of(tmp_path / "calm.db", random.Random(SEED), 0)
    assert sum(report["steps"] for report in calm["reports"]) == STEPS
    assert all(len(report["scribe"]) > STEPS / 10 for report in calm["reports"])
    killed = end_of(tmp_path / "killed.db", random.Random(SEED), KILLS)
    assert min(killed.pop("incarnations")) > KILLS / 2 > max(calm.pop("incarnations"))
    assert calm == killed
