"""Every vat that ends has one entry in the message log, which says why, in the crank that ended it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ocap import E, Kernel, LaunchError, SubclusterNotFoundError
from ocap.kernel.effects import Event
from ocap.protocol.deliveries import Message, StartVat
from tests.lifecycle.clusters import change, counters, edit, variant, without

BROKEN = ("def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")

Ends = list[tuple[str, str]]
Way = Callable[[Kernel, Path], Awaitable[object]]


async def by_host(kernel: Kernel, _: Path) -> None:
    await kernel.terminate_vat("v2", "enough")


async def with_its_subcluster(kernel: Kernel, _: Path) -> None:
    await kernel.terminate_subcluster("s1")


async def by_reload(kernel: Kernel, _: Path) -> None:
    await kernel.reload_subcluster("s1")


async def by_update(kernel: Kernel, _: Path) -> None:
    await kernel.update_subcluster("s1", without(kernel.get_subcluster("s1").config, "b"))


async def by_bootstrap(kernel: Kernel, source: Path) -> None:
    edit(source, 'return "ready"', "raise ValueError('not today')")
    with pytest.raises(LaunchError):
        await kernel.launch_subcluster(counters(source, "xy"))


async def by_code(kernel: Kernel, source: Path) -> None:
    config = change(counters(source, "xy"), "y", source=str(variant(source, "bad", *BROKEN)))
    with pytest.raises(LaunchError):
        await kernel.launch_subcluster(config)


async def by_code_in_an_update(kernel: Kernel, source: Path) -> None:
    bad = variant(source, "bad", *BROKEN)
    await kernel.update_subcluster("s1", change(kernel.get_subcluster("s1").config, "y", source=str(bad)))


async def by_code_of_a_dynamic_vat(kernel: Kernel, source: Path) -> None:
    variant(source, "bad", *BROKEN)
    with pytest.raises(LaunchError):
        await E(kernel.root("v1")).create("bad.py", name="y")


async def by_reload_of_what_ended(kernel: Kernel, _: Path) -> None:
    ended = kernel._core.subclusters
    kernel._scheduler.submit(
        lambda: kernel._core.between_cranks(lambda: ended.terminate(kernel._core.state.subclusters["s1"]))
    )
    with pytest.raises(SubclusterNotFoundError):
        await kernel.reload_subcluster("s1")


async def by_exit(kernel: Kernel, _: Path) -> None:
    E.send_only(kernel.root("v2")).leave("bye")


async def by_failure(kernel: Kernel, _: Path) -> None:
    E.send_only(kernel.root("v2")).fail("no")


async def by_admin(kernel: Kernel, _: Path) -> None:
    made = await E(kernel.root("v1")).create("counter.py", name="y")
    await E(made[1]).terminate("in my way")


BAD = "the code cannot be loaded: RuntimeError: no"
WAYS: dict[str, tuple[Way, Ends]] = {
    "the host program": (by_host, [("b", "enough")]),
    "the end of its subcluster": (
        with_its_subcluster,
        [("a", "its subcluster was terminated"), ("b", "its subcluster was terminated")],
    ),
    "a reload": (
        by_reload,
        [("a", "its subcluster was reloaded, as s2"), ("b", "its subcluster was reloaded, as s2")],
    ),
    "an update": (by_update, [("b", "its subcluster's new config has it no more")]),
    "a launch whose bootstrap raises": (by_bootstrap, [("x", "its launch failed"), ("y", "its launch failed")]),
    "a launch of which a vat fails": (
        by_code,
        [("y", f"it could not be created: {BAD}"), ("x", "its launch failed")],
    ),
    "an update of which a vat fails": (by_code_in_an_update, [("y", f"it could not be created: {BAD}")]),
    "a creation by a vat that fails": (by_code_of_a_dynamic_vat, [("y", f"it could not be created: {BAD}")]),
    "a reload of what has ended": (
        by_reload_of_what_ended,
        [("a", "its subcluster was terminated"), ("b", "its subcluster was terminated")],
    ),
    "an exit": (by_exit, [("b", "it exited")]),
    "an exit with failure": (by_failure, [("b", "it exited with failure")]),
    "its administrator": (by_admin, [("y", "in my way")]),
}


@pytest.mark.parametrize("way", WAYS)
async def test_it_says_why(path: Path, source: Path, way: str) -> None:
    operate, expected = WAYS[way]
    found: Ends = []
    kernel = Kernel(path, durability="none")

    def log(event: Event) -> None:
        if event.kind == "terminate":
            assert event.vat is not None
            found.append((kernel.vat_name(event.vat), (event.text or "").partition(" (")[0]))

    async with kernel:
        await kernel.launch_subcluster(counters(source, "ab", services=["vat_admin"]))
        await kernel.idle()
        kernel.observe(log)
        await operate(kernel, source)
        await kernel.idle()
    assert expected == found


async def test_a_launch_that_was_interrupted(path: Path, source: Path) -> None:
    edit(source, 'return "ready"', "await make_promise_kit().promise")
    async with Kernel(path, durability="none") as kernel:
        core = kernel._core
        spec, _ = kernel._control._spec(counters(source, "xy"), False, None)
        await kernel._apply(lambda: core.subclusters.launch(spec))
        await kernel.idle()
    found: list[Event] = []
    async with Kernel(path, durability="none", log=found.append) as kernel:
        await kernel.idle()
    ends = [(event.vat, event.text) for event in found if event.kind == "terminate"]
    assert [("v1", "its launch was interrupted"), ("v2", "its launch was interrupted")] == ends


async def test_it_is_in_the_crank_that_ended_the_vat(path: Path, source: Path) -> None:
    """So whoever asks the log why comes to what made it happen."""
    bad = variant(source, "bad", *BROKEN)
    found: list[Event] = []
    async with Kernel(path, durability="none", log=found.append) as kernel:
        await kernel.launch_subcluster(counters(source, "ab"))
        await kernel.idle()
        found.clear()
        await kernel.reload_subcluster("s1")
        await kernel.idle()
        first, second = (event for event in found if event.kind == "terminate")
        (answer,) = [
            e for e in found if isinstance(e.kernel, Message) and e.kernel.method == "bootstrap" and e.vat == "v3"
        ]
        assert (answer.crank, answer.cause) == (first.crank, first.cause) == (second.crank, second.cause)
        found.clear()
        config = change(kernel.get_subcluster("s2").config, "c", source=str(bad))
        await kernel.update_subcluster("s2", config)
        await kernel.idle()
        (end,) = (event for event in found if event.kind == "terminate")
        (fault,) = (event for event in found if event.kind == "fault")
        assert isinstance(fault.vat_side, StartVat)
        assert (fault.crank, fault.cause, fault.vat) == (end.crank, end.cause, end.vat)
