"""The process dies between any two steps of an operation: afterwards it either happened or did not.

The kernel's core stops for good at one step, whatever it is: in the middle of a crank, after it,
before or after a commit. What was not committed is lost, as with a process that is killed; a new
kernel opens the store.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import ocap.ring.scheduler
from ocap import DisconnectedError, E, Kernel, KernelClosedError, UpgradeError
from ocap.verify import verify
from tests.lifecycle.clusters import change, counters, edit, variant, without

POINTS = ("in a crank", "after a crank", "before a commit", "after a commit")

Operation = Callable[[Kernel, Path], Awaitable[object]]
Observation = Callable[[Kernel, Path], Awaitable[str]]


class KilledError(Exception):
    """The process is no more."""


class Killer:
    """Stops the core of a kernel at the `number`th step of one kind."""

    def __init__(self, core: Any, point: str, number: int) -> None:
        self.steps = number
        self.has_killed = False
        next_crank, finish, commit = core.next_crank, core.finish, core.commit

        def in_crank() -> Any:
            crank = next_crank()
            if crank is not None:
                self.step()
            return crank

        def after_crank(*outcome: Any) -> None:
            finish(*outcome)
            self.step()

        def before_commit() -> Any:
            self.step()
            return commit()

        def after_commit() -> Any:
            effects = commit()
            self.step()
            return effects

        if point == "in a crank":
            core.next_crank = in_crank
        elif point == "after a crank":
            core.finish = after_crank
        else:
            core.commit = before_commit if point == "before a commit" else after_commit

    def step(self) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.has_killed = True
            raise KilledError


async def base(kernel: Kernel, source: Path) -> None:
    """What every store has before the operation: a subcluster of two, the first of which may create vats."""
    made = await kernel.launch_subcluster(counters(source, "ab", services=["vat_admin"]))
    assert await E(made.root).count() == [1, 1]
    assert await E(made.root).ask("b", "count") == [1, 1]
    await kernel.idle()


async def killed(path: Path, source: Path, operate: Operation, point: str, number: int) -> tuple[bool, bool]:
    """Run an operation until the process dies; whether it did, and whether the operation was acknowledged."""
    kernel = Kernel(path, durability="none")
    killers = []
    acknowledged = False
    try:
        async with kernel:
            await kernel.idle()
            killers.append(Killer(kernel._core, point, number))
            await operate(kernel, source)
            acknowledged = True
            await kernel.idle()
    except (KilledError, KernelClosedError):
        assert killers
    return killers[0].has_killed, acknowledged


async def kill_at_each_step(
    path: Path, source: Path, operate: Operation, observe: Observation, allowed: tuple[str, ...], point: str
) -> set[str]:
    """Kill at each step there is; `allowed` are what is seen when it did not happen, and when it did."""
    text = source.read_text()
    seen = set()
    for number in range(1, 200):
        shutil.copy(path.with_name("base.db"), path)
        source.write_text(text)
        was_killed, acknowledged = await killed(path, source, operate, point, number)
        assert verify(path) == [], (point, number)
        async with Kernel(path, durability="none") as kernel:
            await kernel.idle()
            found = await observe(kernel, source)
            assert found in allowed, (point, number)
            assert not acknowledged or found == allowed[-1], (point, number)
            seen.add(found)
            assert {vat.state for vat in kernel.get_vats()} <= {"live", "suspended"}
            assert (0, 0) == (kernel.status()["run_queue"], len(kernel._core.state.launching))
            # The kernel is as good as ever.
            await kernel.launch_subcluster(counters(source))
        assert verify(path) == [], (point, number)
        if not was_killed:
            return seen
    raise AssertionError("it never ends")


async def launch(kernel: Kernel, source: Path) -> None:
    await kernel.launch_subcluster(counters(source, "abc"))


async def see_subclusters(kernel: Kernel, _: Path) -> str:
    names = [sorted(it.vats) for it in kernel.get_subclusters()]
    assert sorted(vat.id for it in kernel.get_subclusters() for vat in it.vats.values()) == sorted(
        vat.id for vat in kernel.get_vats()
    )
    return str(names)


async def reload(kernel: Kernel, source: Path) -> None:
    await kernel.reload_subcluster("s1")


async def see_reload(kernel: Kernel, _: Path) -> str:
    """One of the two, whole: the old one with its state, or the new one without."""
    (made,) = kernel.get_subclusters()
    return f"{made.id} {sorted(made.vats)} {[await E(kernel.root(vat.id)).get_total() for vat in kernel.get_vats()]}"


async def upgrade(kernel: Kernel, source: Path) -> None:
    other = variant(source, "other")
    await kernel.upgrade_vat("v2", source=str(other), parameters={"x": kernel.root("v1")})


async def failing_upgrade(kernel: Kernel, source: Path) -> None:
    bad = variant(source, "bad", "def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")
    with pytest.raises(UpgradeError):
        await kernel.upgrade_vat("v2", source=str(bad), parameters={"x": kernel.root("v1")})


async def see_upgrade(kernel: Kernel, _: Path) -> str:
    """Version and parameters go together, in the vat and in the config, and durable state stays."""
    root, config = kernel.root("v2"), kernel.get_subcluster("s1").config.vats["b"]
    assert await E(root).get_parameters() == config.parameters
    version = {"counter": "one", "other": "two"}[Path(config.source).stem]
    assert version == await E(root).get_version()
    return f"{version} {list(config.parameters)} {await E(root).get_total()}"


async def terminate_vat(kernel: Kernel, _: Path) -> None:
    await kernel.terminate_vat("v2")


async def terminate_subcluster(kernel: Kernel, _: Path) -> None:
    await kernel.terminate_subcluster("s1")


async def exit_(kernel: Kernel, _: Path) -> None:
    with pytest.raises(DisconnectedError):
        await E(kernel.root("v2")).fail("enough")


async def see_vats(kernel: Kernel, _: Path) -> str:
    return str([vat.id for vat in kernel.get_vats()])


async def suspend(kernel: Kernel, _: Path) -> None:
    await kernel.suspend_vat("v2")


async def see_states(kernel: Kernel, _: Path) -> str:
    return str([vat.state for vat in kernel.get_vats()])


async def create(kernel: Kernel, source: Path) -> None:
    await E(kernel.root("v1")).create("counter.py", name="c", parameters={"x": kernel.root("v2")})


async def see_creation(kernel: Kernel, _: Path) -> str:
    """A vat that is there is whole; the answer may have been lost with the heap that waited for it."""
    names = [vat.name for vat in kernel.get_vats()]
    if "c" in names:
        assert list(await E(kernel.root("v3")).get_parameters()) == ["x"]
    return str(names)


async def update(kernel: Kernel, source: Path) -> None:
    config = kernel.get_subcluster("s1").config
    changed = change(change(config, "a", parameters={"x": 1}), "c")
    await kernel.update_subcluster("s1", without(changed, "b"))


async def failing_update(kernel: Kernel, source: Path) -> None:
    bad = variant(source, "bad", "def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")
    config = change(kernel.get_subcluster("s1").config, "a", parameters={"x": 1})
    await kernel.update_subcluster("s1", change(without(config, "b"), "c", source=str(bad)))


async def see_update(kernel: Kernel, _: Path) -> str:
    """Everything the new config asks for, or nothing; a vat that cannot be created is in neither."""
    made = kernel.get_subcluster("s1")
    return f"{sorted(made.config.vats)} {sorted(made.vats)} {await E(made.root).get_parameters()}"


OPERATIONS: dict[str, tuple[Operation, Observation, tuple[str, ...]]] = {
    "launch": (launch, see_subclusters, ("[['a', 'b']]", "[['a', 'b'], ['a', 'b', 'c']]")),
    "reload": (reload, see_reload, ("s1 ['a', 'b'] [1, 1]", "s2 ['a', 'b'] [0, 0]")),
    "upgrade": (upgrade, see_upgrade, ("one [] 1", "two ['x'] 1")),
    "upgrade that fails": (failing_upgrade, see_upgrade, ("one [] 1",)),
    "termination of a vat": (terminate_vat, see_vats, ("['v1', 'v2']", "['v1']")),
    "termination of a subcluster": (terminate_subcluster, see_vats, ("['v1', 'v2']", "[]")),
    "exit": (exit_, see_vats, ("['v1', 'v2']", "['v1']")),
    "suspension": (suspend, see_states, ("['live', 'live']", "['live', 'suspended']")),
    "creation by a vat": (create, see_creation, ("['a', 'b']", "['a', 'b', 'c']")),
    "update of which a vat fails": (failing_update, see_update, ("['a', 'b'] ['a', 'b'] {}", "['a'] ['a'] {'x': 1}")),
    "update": (update, see_update, ("['a', 'b'] ['a', 'b'] {}", "['a', 'c'] ['a', 'c'] {'x': 1}")),
}


@pytest.mark.parametrize("commits", ["each crank", "many cranks"])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_it_either_happened_or_did_not(
    path: Path, source: Path, operation: str, commits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if commits == "each crank":
        monkeypatch.setattr(ocap.ring.scheduler, "GROUP_CRANKS", 1)
    edit(
        source,
        "    async def get_version",
        "    async def get_total(self) -> int:\n        return int(self.baggage.get('total', 0))\n\n    async def get_version",
    )
    operate, observe, allowed = OPERATIONS[operation]
    async with Kernel(path.with_name("base.db"), durability="none") as kernel:
        await base(kernel, source)
    seen = set()
    for point in POINTS:
        seen |= await kill_at_each_step(path, source, operate, observe, allowed, point)
    assert set(allowed) == seen


@pytest.mark.parametrize("point", POINTS)
async def test_a_restart_of_all_vats_happens_once(path: Path, source: Path, point: str) -> None:
    """However often the process dies after, before or within it: the program asks for it at each start."""
    async with Kernel(path, durability="none") as kernel:
        await base(kernel, source)
    asked = []
    for number in range(1, 12):
        kernel = Kernel(path, durability="none")
        killer = Killer(kernel._core, point, number)
        try:
            asked.append(kernel.restart_all_vats("one"))
            async with kernel:
                assert await E(kernel.root("v1")).ask("b", "count")
                await kernel.idle()
        except (KilledError, KernelClosedError):
            kernel.close()
        assert killer.has_killed or number > 1
        assert verify(path) == []
    kernel = Kernel(path, durability="none")
    assert not kernel.restart_all_vats("one")
    assert 1 == kernel._core.state.counter("epoch") - 1
    assert 1 == sum(asked) or (point == "after a commit" and 0 == sum(asked))  # it was, but nobody was told
    kernel.close()


async def test_an_answer_to_who_created_a_vat_is_not_lost_with_the_process(path: Path, source: Path) -> None:
    """What waits durably hears of the vat after the restart."""
    config = counters(source, "a", services=["vat_admin"])
    edit(source, "    async def get_version", ASKER)
    edit(source, "class Scrap(Exo)", CLERK)
    edit(source, "make_promise_kit\n", "make_promise_kit, watch\n")
    async with Kernel(path, durability="none") as kernel:
        await kernel.launch_subcluster(config)
    for number in range(1, 8):
        kernel = Kernel(path, durability="none")
        try:
            async with kernel:
                Killer(kernel._core, "in a crank", number)
                E.send_only(kernel.root("v1")).order(number)
                await kernel.idle()
        except (KilledError, KernelClosedError):
            pass
    async with Kernel(path, durability="none") as kernel:
        await kernel.idle()
        ordered, arrived = await E(kernel.root("v1")).orders()
        assert sorted(arrived) == sorted(ordered)
        assert len(kernel.get_vats()) == 1 + len(arrived)


ASKER = '''
    async def order(self, number: int) -> None:
        """Ask for a vat; that it was created is noted by a durable object, in whichever incarnation."""
        self.baggage["ordered"] = [*self.baggage.get("ordered", []), number]
        if "clerk" not in self.baggage:
            self.baggage["clerk"] = Clerk()
        watch(E(self.baggage["vat_admin"]).create_vat("counter.py", name=str(number)), self.baggage["clerk"], number)

    async def orders(self) -> list[list[int]]:
        return [list(self.baggage.get("ordered", [])), list(self.baggage["clerk"].arrived) if "clerk" in self.baggage else []]

    async def get_version'''


CLERK = """class Clerk(DurableExo):
    arrived: tuple[int, ...] = ()

    async def on_fulfilled(self, _: Any, number: int) -> None:
        self.arrived = (*self.arrived, number)


class Scrap(Exo)"""
