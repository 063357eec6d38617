"""A step of the kernel that takes long is told of, while it lasts and when it is over."""

from __future__ import annotations

import logging
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from ocap import ClusterConfig, E, Kernel, SlowStep, VatConfig
from ocap.log.entry import OPS
from ocap.metrics import exposition
from ocap.ring.scheduler import COMMIT
from ocap.ring.watchdog import Doing, Watchdog

STALLING = Path(__file__).with_name("stalling.py")
HELD = next(n for n, line in enumerate(STALLING.read_text().splitlines(), 1) if "held here" in line)
SHORT = 0.2
"""Seconds that are slow in these tests."""


@define
class Watched:
    """Something that says what it does."""

    doing: Doing
    cranks: int = 0
    commits: int = 0


class Told:
    """What a watchdog tells; lets the vat go after some of it."""

    def __init__(self, gate: Path, times: int = 3) -> None:
        self.steps: list[SlowStep | None] = []
        self.over = threading.Event()
        self._gate = gate
        self._times = times

    def __call__(self, step: SlowStep | None) -> None:
        self.steps.append(step)
        if step is None:
            self.over.set()
        elif len(self.steps) >= self._times:
            self._gate.touch()

    async def step(self) -> SlowStep:
        """The last that was told, when it is over."""
        with trio.fail_after(10):
            while not self.over.is_set():  # noqa: ASYNC110 - it is a thread's
                await trio.sleep(0.01)
        assert self.steps[-1] is None
        assert all(it is not None for it in self.steps[:-1])
        last = self.steps[-2]
        assert last is not None
        return last


def config(**parameters: Any) -> ClusterConfig:
    return ClusterConfig("desk", {"desk": VatConfig(str(STALLING), parameters=parameters, imports=["*"])})


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]


async def test_slow_crank_is_told_with_vat_method_and_place(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate, began = tmp_path / "gate", time.time()
    told = Told(gate, times=30)
    async with Kernel(path, slow_crank=SHORT) as kernel:
        kernel.watch(told)
        desk = (await kernel.launch_subcluster(config())).root
        assert "let go" == await E(desk).hold(str(gate))
        assert 1 == await E(desk).quick()
        step = await told.step()
    assert ("v1", "desk", "method hold") == (step.vat, step.name, step.doing)
    assert step.where is not None
    assert re.fullmatch(rf"{re.escape(str(STALLING))}:({HELD}|{HELD - 1})", step.where)
    assert 0 < step.crank
    assert began - SHORT < step.since < time.time()
    assert step.seconds >= SHORT
    said = lines(caplog)
    assert said[0].startswith(f"the kernel has been in vat v1 desk, method hold, for 0 s (crank {step.crank}, at ")
    assert said[0].endswith("; nothing else runs meanwhile")
    assert said[-1].startswith("the kernel goes on: it was in vat v1 desk, method hold, for ")
    assert 3 <= len(said) < 8  # 0.2 s, 0.4 s…: ever more rarely, though it was looked at thirty times


async def test_values_are_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gate = tmp_path / "secret-gate"
    told = Told(gate)
    async with Kernel(slow_crank=SHORT) as kernel:
        kernel.watch(told)
        await E((await kernel.launch_subcluster(config())).root).hold(str(gate))
        step = await told.step()
    assert "secret" not in f"{step!r} {lines(caplog)}"


async def test_start_of_a_vat_is_told_as_one(tmp_path: Path) -> None:
    told = Told(tmp_path / "gate")
    async with Kernel(slow_crank=SHORT) as kernel:
        kernel.watch(told)
        await kernel.launch_subcluster(config(start=str(tmp_path / "gate")))
        step = await told.step()
    assert ("v1", "start") == (step.vat, step.doing)
    assert "start" in OPS.values()


@pytest.mark.parametrize("doing", [COMMIT, None])
def test_quick_steps_and_rest_are_not_told(doing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many steps there are, and however long the kernel rests."""
    told: list[SlowStep | None] = []
    watched, now = Watched(doing), 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    dog = Watchdog(watched, SHORT)
    dog.tell = told.append
    for _ in range(100):
        now += 0.9 * SHORT
        watched.commits += doing is not None
        dog._look()
    assert [] == told
    watched.doing = COMMIT  # and it goes on to look
    for _ in range(3):
        now += 0.9 * SHORT
        dog._look()
    assert [COMMIT] == list({it.doing for it in told if it is not None})


async def test_program_that_holds_the_thread_is_not_taken_for_the_vat(tmp_path: Path) -> None:
    """While a crank is under way, another task may run in its thread: here, one that blocks it."""
    told = Told(tmp_path / "gate", times=1)

    async with Kernel(slow_crank=SHORT) as kernel:
        kernel.watch(told)
        desk = (await kernel.launch_subcluster(config())).root
        for _ in range(100):  # until it comes between a delivery and its outcome
            E.send_only(desk).quick()
            while kernel._scheduler.doing is None or isinstance(kernel._scheduler.doing, str):
                await trio.lowlevel.checkpoint()
                if kernel.status()["idle"]:
                    break
            else:
                deadline = time.monotonic() + 20
                while not told.steps and time.monotonic() < deadline:
                    pass
                break
        step = await told.step()
    assert (0, None, "the program's own code") == (step.crank, step.vat, step.doing)
    assert step.where is not None
    assert step.where.startswith(__file__)


async def test_long_commit_is_told_as_one(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    told = Told(gate)
    async with Kernel(path, slow_crank=SHORT) as kernel:
        await kernel.launch_subcluster(config())
        kernel.watch(told)
        commit = kernel._core.commit

        def slow_commit() -> Any:
            while not gate.exists():
                time.sleep(0.01)
            return commit()

        monkeypatch.setattr(kernel._core, "commit", slow_commit)
        await kernel.suspend_vat("v1")
        step = await told.step()
    assert (0, None, COMMIT, None) == (step.crank, step.vat, step.doing, step.where)
    assert re.match(r"the kernel has been in a commit for \d s$", str(step))


@pytest.mark.parametrize("never", [0, None])
def test_kernel_can_be_left_alone(never: float | None) -> None:
    async def main() -> None:
        async with Kernel(slow_crank=never):
            assert "ocap watchdog" not in [it.name for it in threading.enumerate()]

    trio.run(main)


async def test_thread_is_there_while_the_kernel_runs() -> None:
    def threads() -> list[str]:
        return [it.name for it in threading.enumerate() if it.name == "ocap watchdog"]

    before = threads()
    kernel = Kernel()
    assert before == threads()
    async with kernel:
        assert [*before, "ocap watchdog"] == threads()
    assert before == threads()


@pytest.mark.parametrize("wrong", [-1, float("nan")])
def test_limit_has_to_be_one(wrong: float) -> None:
    with pytest.raises(ValueError, match="slow_crank is a number of seconds"):
        Kernel(slow_crank=wrong)


async def test_slow_cranks_are_counted(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with Kernel(slow_crank=SHORT) as kernel:
        kernel.watch(Told(gate))
        kernel.tally()
        desk = (await kernel.launch_subcluster(config())).root
        for _ in range(3):
            await E(desk).quick()
        await E(desk).hold(str(gate))
        assert 'ocap_slow_cranks_total{vat="v1"} 1.0\n' in (await exposition(kernel)).decode()
