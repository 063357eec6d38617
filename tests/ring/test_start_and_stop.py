"""`async with kernel` starts everything and stops everything, whatever happens inside it."""

from __future__ import annotations

import gc
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from ocap import E, Kernel, KernelClosedError, StoreFailedError, StoreInUseError
from ocap.protocol.syscalls import Outcome
from ocap.ring.supervisor import TaskSupervisor
from ocap.store.sqlite import SqliteBackend
from ocap.verify import verify
from tests.ring.clusters import launch, peers


async def test_nothing_runs_before_the_kernel_is_entered(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        E.send_only(a).bounce(10)
    kernel = Kernel(path)
    queued = kernel.status()["run_queue"]
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    assert kernel.status() | {"running": False, "workers": 0, "run_queue": queued} == kernel.status()
    kernel.close()


async def test_leaving_stops_every_task(path: Path) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with Kernel(path) as kernel:
        await launch(kernel, "abcd")
        assert (
            trio.lowlevel.current_statistics().tasks_living == before + 6
        )  # one a vat, the scheduler, and the services
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert not kernel.status()["running"]


async def test_leaving_lets_go_of_the_file(path: Path) -> None:
    async with Kernel(path):
        with pytest.raises(StoreInUseError):
            Kernel(path)
    Kernel(path).close()


async def test_what_was_sent_before_leaving_is_kept(path: Path) -> None:
    async with Kernel(path) as kernel:
        subcluster, a, _ = await launch(kernel)
        E.send_only(a).increase()
    async with Kernel(path) as kernel:
        assert await E(kernel.get_subcluster(subcluster.id).root).increase() == 2


async def test_unfinished_work_goes_on_in_the_next_run(path: Path) -> None:
    async with Kernel(path) as kernel:
        subcluster, a, _ = await launch(kernel)
        await E(a).bounce(500)
    async with Kernel(path) as kernel:
        await kernel.idle()
        a = kernel.get_subcluster(subcluster.id).root
        assert [await E(a).increase(), await E(await E(a).get("other")).increase()] == [252, 251]


async def test_idle_waits_for_all_work(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, b = await launch(kernel)
        E.send_only(a).bounce(400)
        await kernel.idle()
        assert kernel.status() == {
            "running": True,
            "idle": True,
            "run_queue": 0,
            "workers": 2,
            "service_calls": 0,
            "unanswered": 0,
            "path": str(path),
        }
        assert [await E(a).increase(), await E(b).increase()] == [202, 201]


async def test_idle_of_an_idle_kernel_returns_at_once() -> None:
    async with Kernel() as kernel:
        await kernel.idle()
        with trio.fail_after(5):
            for _ in range(3):
                await kernel.idle()


async def test_several_can_wait_for_idle(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        async with trio.open_nursery() as nursery:
            E.send_only(a).bounce(50)
            for _ in range(3):
                nursery.start_soon(kernel.idle)
        assert kernel.status()["idle"]


async def test_hard_cancel_in_the_middle_of_traffic_loses_nothing_and_does_nothing_twice(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        E.send_only(a).bounce(5999)  # more than five times what is done until three answers have come
    for _ in range(5):
        with trio.CancelScope() as scope:
            async with Kernel(path) as kernel:
                b = await E(kernel.get_subclusters()[0].root).get("b")
                for _ in range(3):
                    await E(b).increase()
                assert not kernel.status()["idle"]
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert verify(path) == []
    async with Kernel(path) as kernel:
        await kernel.idle()
        a = kernel.get_subclusters()[0].root
        b = await E(a).get("b")
        assert [await E(a).increase(), await E(b).increase()] == [3001, 3016]


@pytest.mark.parametrize("checkpoints", range(0, 60, 3))
async def test_cancel_at_any_checkpoint_leaves_a_sound_store(path: Path, checkpoints: int) -> None:
    with trio.CancelScope() as scope:
        async with Kernel(path, durability="process") as kernel, trio.open_nursery() as nursery:

            async def traffic() -> None:
                _, a, _ = await launch(kernel)
                E.send_only(a).bounce(10**6)

            nursery.start_soon(traffic)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert verify(path) == []
    async with Kernel(path) as kernel:
        assert (await launch(kernel))[0].result == "open"


async def test_exception_of_the_body_comes_out_as_itself(path: Path) -> None:
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with Kernel(path) as kernel:
            await launch(kernel)
            raise error
    assert caught.value is error
    assert error.__context__ is None


async def test_exception_group_of_the_body_comes_out_as_itself() -> None:
    group = ExceptionGroup("mine", [LookupError("one"), KeyError("two")])
    with pytest.raises(ExceptionGroup) as caught:
        async with Kernel():
            raise group
    assert caught.value is group


async def test_rejection_in_the_body_comes_out_as_itself(path: Path) -> None:
    with pytest.raises(LookupError, match="nope"):
        async with Kernel(path) as kernel:
            _, a, _ = await launch(kernel)
            await E(a).fail("nope")


async def test_failing_commit_comes_out_of_the_kernel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: SqliteBackend) -> None:
        raise StoreFailedError("the disk is full")

    reached = False
    with pytest.raises(StoreFailedError, match="the disk is full"):
        async with Kernel(path) as kernel:
            _, a, _ = await launch(kernel)
            with monkeypatch.context() as patch:
                patch.setattr(SqliteBackend, "commit", fail)
                await E(a).increase()
                reached = True
    assert not reached
    assert verify(path) == []
    async with Kernel(path) as kernel:
        (subcluster,) = kernel.get_subclusters()
        assert await E(subcluster.root).increase() == 1  # what was not acknowledged did not happen


async def test_defect_of_the_log_comes_out_of_the_kernel() -> None:
    def log(_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with Kernel(log=log) as kernel:
            await kernel.launch_subcluster(peers())


async def test_defect_of_a_supervisor_costs_the_vat_not_the_kernel(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Kernel(path) as kernel:
        _, a, b = await launch(kernel)
        with monkeypatch.context() as patch:

            def defect(*_: Any) -> Outcome:
                raise ZeroDivisionError("our mistake")

            patch.setattr(TaskSupervisor, "deliver", defect)
            with pytest.raises(ConnectionError, match="vat faulted"):
                await E(a).increase()
        assert "our mistake" in caplog.text
        assert await E(a).increase() == 1  # in its next incarnation
        assert await E(b).increase() == 1


async def test_pending_answers_say_that_the_kernel_was_left(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        promise = E(a).later("never")
        await E(a).increase()
    with pytest.raises(KernelClosedError, match="before the answer came"):
        await promise


async def test_who_waits_in_another_task_when_the_kernel_is_left_is_told() -> None:
    told = []

    async def wait(what: Any) -> None:
        with pytest.raises(KernelClosedError):
            await what
        told.append(True)

    async with trio.open_nursery() as nursery, Kernel() as kernel:
        _, a, _ = await launch(kernel)
        nursery.start_soon(wait, E(a).later("never"))
        never = peers(never=True)
        nursery.start_soon(lambda: wait(kernel.launch_subcluster(never)))
        await trio.testing.wait_all_tasks_blocked()
    assert told == [True, True]


async def test_closed_kernel_says_so_whatever_it_is_asked(path: Path) -> None:
    kernel = Kernel(path)
    for ask in (kernel.idle, lambda: kernel.launch_subcluster(peers()), lambda: kernel.terminate_subcluster("s1")):
        with pytest.raises(KernelClosedError, match="async with"):
            await ask()
    assert kernel.get_subclusters() == []  # may be looked at before it runs
    assert kernel.get_vats() == []
    async with kernel:
        subcluster, a, _ = await launch(kernel)
        promise = E(a).increase()
        with pytest.raises(KernelClosedError, match="entered once"):
            await kernel.__aenter__()
        with pytest.raises(KernelClosedError, match="before entering"):
            kernel.provide("late", object())
        await promise
    for look in (
        kernel.get_subclusters,
        kernel.get_vats,
        kernel.census,
        lambda: kernel.get_subcluster(subcluster.id),
        lambda: kernel.get_vat("v1"),
        lambda: kernel.provide("late", object()),
        kernel.collect_garbage,
    ):
        with pytest.raises(KernelClosedError):
            look()
    for ask in (kernel.idle, lambda: kernel.launch_subcluster(peers()), lambda: kernel.terminate_subcluster("s1")):
        with pytest.raises(KernelClosedError):
            await ask()
    with pytest.raises(KernelClosedError):
        E(a).increase()
    with pytest.raises(KernelClosedError):
        E(promise).anything()
    with pytest.raises(KernelClosedError, match="entered once"):
        await kernel.__aenter__()
    assert await promise == 1  # what was answered stays answered
    assert repr(a).startswith("<Ref ")
    kernel.close()  # again does nothing


async def test_many_kernels_run_side_by_side(tmp_path: Path) -> None:
    async with Kernel(tmp_path / "1.db") as first, Kernel(tmp_path / "2.db") as second, Kernel() as third:
        for kernel in (first, second, third):
            _, a, _ = await launch(kernel)
            assert await E(a).increase() == 1
            assert kernel.verify() == []


async def test_interrupt_from_the_keyboard_is_for_the_host_program(path: Path) -> None:
    """KeyboardInterrupt is raised in the body, not in a vat's behaviour."""
    with pytest.raises(KeyboardInterrupt):
        async with Kernel(path) as kernel:
            _, a, _ = await launch(kernel)
            E.send_only(a).bounce(10**6)
            await E(a).increase()
            signal.raise_signal(signal.SIGINT)
            await trio.lowlevel.checkpoint()
    assert verify(path) == []


async def test_kernel_in_memory_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Kernel() as kernel:
        await launch(kernel)
        assert kernel.verify() == []
    gc.collect()
    assert list(tmp_path.iterdir()) == []
