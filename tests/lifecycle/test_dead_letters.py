"""Dead letters: messages whose delivery faulted their vat, kept until they are retried or dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ocap import DeadLetterNotFoundError, DisconnectedError, E, Kernel, KernelClosedError
from tests.lifecycle.clusters import counters, edit


def mend(source: Path) -> None:
    edit(source, "        while True:\n            await make_settled()", "        return None")


async def fault(kernel: Kernel, method: str = "break_down", *args: object) -> None:
    with pytest.raises(DisconnectedError, match="vat faulted"):
        await getattr(E(kernel.root("v1")), method)(*args)


async def test_one_says_what_it_was_and_why(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made = await kernel.launch_subcluster(counters(source, "ab"))
        await fault(kernel)
        (letter,) = kernel.get_dead_letters()
        assert (1, "v1", "break_down", (), {}) == (letter.number, letter.vat, letter.method, letter.args, letter.kwargs)
        assert letter.target is made.root
        assert "used more than 100000 turns" in letter.reason
        assert letter.crank == kernel.stats()["last_crank"] - 1  # the last told the host


async def test_they_survive_the_process_with_what_they_hold(path: Path, source: Path) -> None:
    edit(source, "async def break_down(self)", "async def break_down(self, *things: Any, **more: Any)")
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source, "ab"))
        note = await E(kernel.root("v2")).get_note()
        with pytest.raises(DisconnectedError):
            await E(kernel.root("v1")).break_down(note, [1, {"x": note}], color="red")
        kref = note.kref
        del note
        kernel.collect_garbage()
        await kernel.idle()
    for _ in range(2):
        async with Kernel(path, durability="process") as kernel:
            (letter,) = kernel.get_dead_letters()
            note, nested = letter.args
            assert (kref, True, {"color": "red"}) == (note.kref, nested[1]["x"] is note, letter.kwargs)
            assert await E(note).get_text() == "durable"


async def test_one_that_is_retried_is_answered(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source))
        await fault(kernel)
        mend(source)
        await kernel.restart_vat("v1")
        assert await kernel.retry_dead_letter(1) is None
        assert [] == kernel.get_dead_letters()


async def test_one_that_faults_again_is_one_again_with_a_new_number(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source, fault_limit=10))
        await fault(kernel)
        for number in (1, 2, 3):
            with pytest.raises(DisconnectedError, match="vat faulted"):
                await kernel.retry_dead_letter(number)
            assert [number + 1] == [it.number for it in kernel.get_dead_letters()]


async def test_one_of_a_suspended_vat_waits_with_the_others(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made = await kernel.launch_subcluster(counters(source, fault_limit=1))
        await fault(kernel)
        assert "suspended" == kernel.get_vat("v1").state
        before = E(made.root).count()
        mend(source)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.retry_dead_letter, 1)
            await kernel.idle()
            await kernel.resume_vat("v1")
        assert await before == [1, 1]


async def test_one_of_a_terminated_vat_is_answered_so(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source, "ab"))
        await fault(kernel)
        await kernel.terminate_vat("v1")
        await kernel.idle()
        assert 1 == len(kernel.get_dead_letters())
        with pytest.raises(DisconnectedError):
            await kernel.retry_dead_letter(1)
        assert [] == kernel.get_dead_letters()


async def test_one_that_is_dropped_lets_go_of_what_it_held(path: Path, source: Path) -> None:
    edit(source, "async def break_down(self)", "async def break_down(self, *things: Any)")
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source, "ab"))
        await kernel.idle()
        census = kernel.census()
        scrap = await E(kernel.root("v2")).get_scrap()
        await fault(kernel, "break_down", scrap)
        kref = scrap.kref
        del scrap
        kernel.collect_garbage()
        await kernel.idle()
        assert kernel.ref(kref).kref == kref
        await kernel.drop_dead_letter(1)
        kernel.collect_garbage()
        await kernel.idle()
        assert ([], census["objects"]) == (kernel.get_dead_letters(), kernel.census()["objects"])
        with pytest.raises(LookupError):
            kernel.ref(kref)


async def test_one_with_promises_in_it_can_be_read_and_retried(path: Path, source: Path) -> None:
    """Its target may be a promise too, and what it was sent with may have settled since."""
    edit(source, "async def break_down(self) -> None", "async def break_down(self, *things: Any) -> Any")
    async with Kernel(path, durability="process") as kernel:
        made = await kernel.launch_subcluster(counters(source, "ab"))
        pending = E(kernel.root("v2")).wait_durably()
        late = E(kernel.root("v2")).get("a_later_one")
        await fault(kernel, "break_down", pending, [late])
        (letter,) = kernel.get_dead_letters()
        assert letter.args[0] is pending
        with pytest.raises(KeyError):
            await late
        await E(kernel.root("v2")).settle("at last")
        assert await letter.args[0] == "at last"
        (letter,) = kernel.get_dead_letters()
        assert (await letter.args[0], made.root) == ("at last", letter.target)
        with pytest.raises(KeyError):
            await letter.args[1][0]
        edit(
            source,
            "        while True:\n            await make_settled()",
            "        return [await things[0], len(things)]",
        )
        await kernel.restart_vat("v1")
        assert await kernel.retry_dead_letter(1) == ["at last", 2]


async def test_one_sent_to_a_promise_has_it_as_its_target(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made = await kernel.launch_subcluster(counters(source, "ab"))
        with pytest.raises(DisconnectedError):
            await E(E(made.root).get("b")).break_down()
        (letter,) = kernel.get_dead_letters()
        assert letter.vat == "v2"
        mend(source)
        await kernel.restart_vat("v2")
        assert await E(letter.target).count() == [1, 1]
        assert await kernel.retry_dead_letter(letter.number) is None


async def test_one_that_is_not_there(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source))
        await fault(kernel)
        await kernel.drop_dead_letter(1)
        for number in (0, 1, 2, -1, 2**70):
            with pytest.raises(DeadLetterNotFoundError, match=f"there is no dead letter {number}"):
                await kernel.retry_dead_letter(number)
            with pytest.raises(DeadLetterNotFoundError):
                await kernel.drop_dead_letter(number)
    with pytest.raises(KernelClosedError):
        await kernel.retry_dead_letter(1)
    with pytest.raises(KernelClosedError):
        await kernel.drop_dead_letter(1)
