"""The benchmarks run, check what they measure, and say so when it is wrong. How fast they are is no test."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from benchmarks import panel, verifying
from benchmarks.cases import CASES, STORES, Case, WrongResultError
from benchmarks.drop import drop
from benchmarks.layers import LAYERS, layer_of
from benchmarks.vats.gatherer import MANY
from ocap import Kernel, VatConfig
from vats.reaping import REAP_BUDGET

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_every_case_runs_in_both_stores(tmp_path: Path) -> None:
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


def test_the_table_has_a_row_of_the_case(tmp_path: Path) -> None:
    done = run("--quick", "--gc", "--only", "ping-pong/durable", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "ping-pong" in done.stdout
    assert "round trips" in done.stdout
    assert "deposit" not in done.stdout


def test_a_profile_shares_out_all_the_time() -> None:
    done = run("--quick", "--json", "--profile", "ping-pong")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sum(found["profiled"].values()) == pytest.approx(1)
    assert set(LAYERS) == set(found["sampled"])
    assert found["profiled"]["kernel core"] > 0.1
    assert found["profiled"]["rest"] < 0.1


def test_an_unknown_case_is_one_clear_line() -> None:
    done = run("--only", "ping")
    assert done.returncode == 2
    assert "invalid choice: 'ping'" in done.stderr
    assert "Traceback" not in done.stderr


IDLE_ANSWERER = """
from benchmarks.vats import answerer

class Loop(answerer.Link):
    async def next(self):
        return self

class Lazy(answerer.Checked):
    async def weigh(self, number, text, weights):
        return number

class Idle(answerer.Answerer):
    async def ping(self, number):
        return number

    async def checked(self):
        return Lazy()

    async def unchecked(self):
        return Lazy()

    async def deposit(self, amount):
        return amount

    async def stamp(self, rows, number):
        return rows

    async def first(self):
        return Loop(0, None)

    async def take(self, number):
        return 0

def build_root_object(vat_powers, parameters, baggage):
    return Idle(baggage.provide("account", answerer.Account))
"""

IDLE_RECRUIT = """
from benchmarks.vats import recruit

class Idle(recruit.Recruit):
    async def number(self):
        return -1

def build_root_object(vat_powers, parameters, baggage):
    return Idle(0)
"""


@pytest.mark.parametrize("name", CASES)
async def test_a_case_notices_work_that_was_not_done(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant, source in (("_ANSWERER", IDLE_ANSWERER), ("_RECRUIT", IDLE_RECRUIT)):
        path = tmp_path / f"{constant.strip('_').lower()}.py"
        path.write_text(source)
        monkeypatch.setattr(f"benchmarks.cases.{constant}", str(path))
    monkeypatch.setattr("benchmarks.cases.VatConfig", partial(VatConfig, imports=["benchmarks"]))
    async with Kernel() as kernel:
        case = CASES[name](kernel)
        await case.prepare()
        with pytest.raises(WrongResultError):
            await work_twice(case)


async def work_twice(case: Case) -> None:
    for _ in range(2):
        await case.work(case.step)
        await case.clear()


def test_a_failed_case_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("where the store should be made is a file")
    done = run("--quick", "--only", "ping-pong/durable", "--folder", str(tmp_path / "folder"))
    assert done.returncode == 1
    assert "ping-pong/durable failed" in done.stderr
    assert done.stdout == ""


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
def test_layer_of_a_place(layer: str | None, place: str) -> None:
    assert layer == layer_of(place)


@pytest.mark.slow
async def test_all_that_is_dropped_is_collected_of_itself(tmp_path: Path) -> None:
    """A small run of `python -m benchmarks.drop`, which raises if anything is left or `verify` finds fault."""
    phases = await drop(10 * MANY, "heap", tmp_path / "kernel.db")
    assert phases[-1].cranks > 10 * MANY // REAP_BUDGET


def test_the_stores_that_verifying_is_measured_on_are_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small run of `python -m benchmarks.verifying`, which raises if `verify` finds fault."""
    assert 0 == verifying.main([str(10 * MANY), "--folder", str(tmp_path)])
    assert ["10,000 objects on a heap:", "10,000 durable objects:"] == [
        line.split(":")[0] + ":" for line in capsys.readouterr().out.splitlines()
    ]


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where panels and who looks at them are started: with sockets of their own."""
    with tempfile.TemporaryDirectory(prefix="ocap-") as runtime:
        monkeypatch.setenv("OCAP_RUNTIME_DIR", f"{runtime}/run")
        monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
        monkeypatch.chdir(REPOSITORY)
        yield


@pytest.mark.slow
async def test_somebody_looks_while_the_cost_of_looking_is_measured(tmp_path: Path, apart: None) -> None:
    """A small run of `python -m benchmarks.panel`, which raises if the looker saw nothing."""
    found = await panel.main(1, 1000, tmp_path)
    assert {"everything", "a method", "the log file"} == found.keys()
    for way in found.values():
        assert 1 == len(way["pairs"])
        assert way["clock"]["median"] > 0.1
    assert 8 * panel.SLICES == found["a method"]["count"]  # all that fits, however busy the kernel is


@pytest.mark.slow
async def test_crowds_come_while_their_cost_is_measured(
    tmp_path: Path, apart: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small run of `python -m benchmarks.panel --hostile`, which raises if nobody came."""
    monkeypatch.setattr("benchmarks.panel.CROWD", 200)
    found = await panel.main(
        1, 400, tmp_path, ("slow requests to the panel", "silent connections to the control socket")
    )
    for way in found.values():
        assert 1 == len(way["pairs"])
        assert way["count"] >= 200
