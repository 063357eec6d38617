"""Killed in the midst of launches, reloads, upgrades, updates and ends, each of these happened or did not."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest

from ocap.verify import verify
from tests.crash.runs import SEED, Teller, problems_of

pytestmark = pytest.mark.slow

KILLS = 24

World = dict[str, list[Any]]


def after(world: World, name: str, what: str, mark: int) -> World:
    """What an operation makes of what there was: in the config, in the vat, and the vat's state."""
    made = copy.deepcopy(world)
    here = made.get(name, [])
    match what:
        case "launch":
            made[name] = [mark, mark, "live"]
        case "reload":
            made[name] = [here[0], here[0], "live"]
        case "update" | "upgrade":
            here[0] = here[1] = mark
        case "suspend":
            here[2] = "suspended"
        case "resume":
            here[2] = "live"
        case "terminate":
            del made[name]
    return made


def shown(world: World) -> World:
    """As the program tells it: it cannot ask a suspended vat for its mark."""
    return {
        name: [config, None if state == "suspended" else mark, state] for name, (config, mark, state) in world.items()
    }


@pytest.mark.parametrize("case", range(2))
def test_each_operation_happened_or_did_not(case: int, tmp_path: Path) -> None:
    print(f"OCAP_CRASH_SEED={SEED}")
    random_ = random.Random(SEED + case)
    db = tmp_path / "k.db"
    possible: list[World] = [{}]
    happened: list[World] = []
    done = 0
    with Teller(db, "process", "manage") as teller:
        for number in range(KILLS + 1):
            is_last = number == KILLS
            how: dict[str, Any] = {"commit": random_.randrange(2, 25), "after": random_.random() < 0.5}
            if random_.random() < 0.4:
                how = {"seconds": random_.uniform(0.05, 0.3)}
            said = teller.run(number=number, **({"closing": True} if is_last else how))
            assert said[-1]["ended"] == (0 if is_last else -9), said[-1]
            assert problems_of(db, is_new=len(said) == 1) == [], how
            for line in said:
                if "found" in line:
                    possible = [world for world in possible if shown(world) == line["found"]]
                    assert possible, (line["found"], "is neither", possible)
                elif "doing" in line:
                    happened = [after(world, *line["doing"]) for world in possible]
                    possible = possible + happened
                elif "done" in line:
                    possible = happened
                    done += 1
    assert verify(db) == []
    assert done > KILLS
    print(f"{KILLS} kills, {done} operations acknowledged")
