"""Restart of all vats: an event, done once per key, which vats pay for when they are next needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocap import E, Kernel, KernelClosedError
from tests.lifecycle.clusters import counters, edit, states


async def test_it_is_done_once_per_key_however_often_the_host_starts(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source, "ab"))
    done = []
    for key in ("python-3.14", "python-3.14", "python-3.15", "python-3.14"):
        kernel = Kernel(path, durability="process")
        done.append(kernel.restart_all_vats(key))
        done.append(kernel.restart_all_vats(key))
        kernel.close()
    assert [True, False, False, False, True, False, False, False] == done


def test_a_program_may_ask_for_it_before_trio_runs(path: Path) -> None:
    kernel = Kernel(path, durability="process")
    assert kernel.restart_all_vats("one")
    kernel.close()


async def test_it_is_durable_before_it_returns(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source))
    kernel = Kernel(path, durability="process")
    assert kernel.restart_all_vats("one")
    kernel._backend._db.close()  # as if the process died here
    kernel._backend._unlock()
    kernel = Kernel(path, durability="process")
    assert not kernel.restart_all_vats("one")
    assert kernel.get_vat("v1").restart_due
    kernel.close()


async def test_vats_come_back_when_they_are_next_needed(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made = await kernel.launch_subcluster(counters(source, "abc"))
        assert await E(made.root).count() == [1, 1]
        answer = E(made.root).wait_durably()
        assert not answer.is_settled
        await kernel.idle()
    edit(source, '"one"', '"two"')
    kernel = Kernel(path, durability="process")
    kernel.restart_all_vats("two")
    assert [True] * 3 == [vat.restart_due for vat in kernel.get_vats()]
    async with kernel:
        await kernel.idle()
        assert (0, [True] * 3) == (kernel.status()["workers"], [vat.restart_due for vat in kernel.get_vats()])
        root = kernel.get_subcluster(made.id).root
        assert await E(root).get_version() == "two"
        assert await E(root).count() == [1, 2]
        assert [False, True, True] == [vat.restart_due for vat in kernel.get_vats()]
        assert [1, 0, 0] == [vat.incarnation for vat in kernel.get_vats()]


async def test_one_that_does_not_come_back_is_suspended_and_nothing_is_lost(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made = await kernel.launch_subcluster(counters(source, "ab", on_fault="terminate"))
        assert await E(made.root).ask("b", "count") == [1, 1]
    good = source.read_text()
    edit(source, "def build_root_object", "raise RuntimeError('new platform')\n\n\ndef build_root_object")
    kernel = Kernel(path, durability="process")
    kernel.restart_all_vats("two")
    async with kernel:
        first, second = E(kernel.root("v2")).count(), E(kernel.root("v2")).count()
        await kernel.idle()
        assert {"v1": "live", "v2": "suspended"} == states(kernel)
        source.write_text(good)
        await kernel.resume_vat("v2")
        assert [[1, 2], [2, 3]] == [await first, await second]


async def test_a_suspended_vat_comes_back_when_it_is_resumed(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source))
        await kernel.suspend_vat("v1")
    kernel = Kernel(path, durability="process")
    kernel.restart_all_vats("two")
    async with kernel:
        answer = E(kernel.root("v1")).count()
        await kernel.idle()
        assert (True, "suspended") == (kernel.get_vat("v1").restart_due, kernel.get_vat("v1").state)
        await kernel.resume_vat("v1")
        assert await answer == [1, 1]
        assert not kernel.get_vat("v1").restart_due


async def test_vats_created_after_it_are_not_due(path: Path, source: Path) -> None:
    kernel = Kernel(path, durability="process")
    assert kernel.restart_all_vats("one")
    async with kernel:
        await kernel.launch_subcluster(counters(source))
        assert not kernel.get_vat("v1").restart_due


async def test_only_before_the_kernel_is_entered(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        with pytest.raises(KernelClosedError, match="before entering"):
            kernel.restart_all_vats("one")
    with pytest.raises(KernelClosedError, match="before entering"):
        kernel.restart_all_vats("one")


@pytest.mark.parametrize("key", ["", "x" * 10_000, "schlüssel\n"])
async def test_any_text_is_a_key(path: Path, key: str) -> None:
    kernel = Kernel(path, durability="process")
    assert [True, False] == [kernel.restart_all_vats(key), kernel.restart_all_vats(key)]
    kernel.close()


async def test_what_is_no_text_is_refused(path: Path) -> None:
    kernel = Kernel(path, durability="process")
    for key in (None, 3, b"x", ["x"]):
        with pytest.raises(TypeError, match="key"):
            kernel.restart_all_vats(key)  # type: ignore[arg-type]
    kernel.close()
