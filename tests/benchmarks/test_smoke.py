"""The benchmarks run, check what they measure, and say so when it is wrong. How fast they are is no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import CASES, STORES, WrongResultError
from benchmarks.layers import LAYERS, layer_of
from ocap import Kernel

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_every_case_runs_in_both_stores(tmp_path):
    done = run("--quick", "--json", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)["cases"]
    assert [(case, store) for case in CASES for store in STORES] == [(c["case"], c["store"]) for c in cases]
    for case in cases:
        assert 0 < case["ratio_least"] <= case["ratio"] <= case["ratio_greatest"]
        assert 0 <= case["gc_share"] < 1
        assert (case["syncs"] is not None) == (case["store"] == "durable")
        for repetition in case["repetitions"]:
            assert repetition["cranks"] >= repetition["size"]
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_a_row_of_the_case(tmp_path):
    done = run("--quick", "--gc", "--only", "ping-pong/durable", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "ping-pong" in done.stdout
    assert "round trips" in done.stdout
    assert "deposit" not in done.stdout


def test_a_profile_shares_out_all_the_time():
    done = run("--quick", "--json", "--profile", "ping-pong")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sum(found["profiled"].values()) == pytest.approx(1)
    assert set(LAYERS) == set(found["sampled"])
    assert found["profiled"]["kernel core"] > 0.1
    assert found["profiled"]["rest"] < 0.1


def test_an_unknown_case_is_one_clear_line():
    done = run("--only", "ping")
    assert done.returncode == 2
    assert "invalid choice: 'ping'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", CASES)
async def test_a_case_notices_work_that_was_not_done(name):
    """Each case is told that it did something it did not: its check must not pass."""
    async with Kernel() as kernel:
        case = CASES[name](kernel)
        await case.prepare()
        await case.work(case.step)
        await case.clear()
        for counter, wrong in (("done", 1000), ("made", 1000), ("rows", [{"serial": 0}])):
            if hasattr(case, counter) and not (counter == "done" and hasattr(case, "rows")):
                setattr(case, counter, wrong)
        with pytest.raises(WrongResultError):
            await sabotaged(case)


async def sabotaged(case):
    if hasattr(case, "rows"):
        case.root = Liar(case.root)
    await case.work(case.step)
    await case.clear()


class Liar:
    pass


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        ("codec", "/x/ocap/protocol/marshal.py"),
        ("codec", "<built-in method cbor2._cbor2.dumps>"),
        ("store", "<method 'executemany' of 'apsw.Connection' objects>"),
        ("liveslots", "/x/vats/turns.py"),
        ("vats' own code", "/x/benchmarks/vats/asker.py"),
        ("trio", "/x/site-packages/trio/_core/_run.py"),
        (None, "<built-in method builtins.len>"),
    ],
)
def test_layer_of_a_place(layer, place):
    assert layer == layer_of(place)
