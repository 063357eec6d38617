"""Restart of all vats: an event with a number, which each vat notes when its next incarnation begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocap.kernel.options import FaultPolicy, VatOptions
from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import VatTerminatedError
from tests.kernel.puppet import World, data, messages, rejection, send


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World("abc", path=tmp_path / "kernel.db")
    world.run()
    return world


def restart_all(world: World, key: str) -> None:
    state = world.core.state
    world.core.between_cranks(lambda: state.events.insert(key, state.next_number("epoch")))


def epochs(world: World) -> list[int]:
    return [world.row(name).epoch for name in "abc"]


def test_vats_note_it_when_they_are_next_needed(world: World) -> None:
    assert [0, 0, 0] == epochs(world)
    world.restart()
    restart_all(world, "one")
    assert [] == world.run()
    assert [0, 0, 0] == epochs(world)
    world.do("b")
    assert [0, 1, 0] == epochs(world)
    world.restart()
    restart_all(world, "two")
    world.do("b")
    world.do("a")
    assert [2, 2, 0] == epochs(world)


def test_it_writes_two_rows_however_many_vats_there_are(world: World) -> None:
    before = world.rows()
    restart_all(world, "one")
    after = world.rows()
    changed = {table for table in after if before[table] != after[table]}
    assert {"events", "counters"} == changed
    assert [("one", 1)] == after["events"]


def test_a_crash_before_the_commit_undoes_it_whole(world: World) -> None:
    world.core.commit()
    restart_all(world, "one")
    world.restart(crash=True)
    assert ([], 1) == (world.rows()["events"], world.core.state.counter("epoch"))


def test_every_vat_gets_its_messages_after_it(world: World) -> None:
    for name in "abc":
        world.host(send(world.host_ref(world.vats[name]), f"m{name}"))
    world.restart()
    restart_all(world, "one")
    seen = world.run()
    assert [("a", "ma"), ("b", "mb"), ("c", "mc")] == messages(seen)
    assert [1, 1, 1] == [d.incarnation for _, d in seen if isinstance(d, deliveries.StartVat)]


@pytest.mark.parametrize("policy", ["suspend", "terminate"])
def test_one_that_fails_to_come_back_is_suspended_with_its_deliveries_held(tmp_path: Path, policy: FaultPolicy) -> None:
    """Whatever its policy: what fails is the new platform, and the vat has done nothing."""
    world = World("abc", path=tmp_path / "kernel.db", options={"b": VatOptions(on_fault=policy)})
    world.run()
    for name in "bbc":
        world.host(send(world.host_ref(world.vats[name]), "m"))
    world.restart()
    restart_all(world, "one")
    world.on("b", lambda _: syscalls.Outcome(fault="no"))
    seen = world.run()
    assert ("suspended", [("c", "m")]) == (world.row("b").state, messages(seen))
    world.scripts.clear()
    world.core.between_cranks(lambda: world.core.lifecycle.resume(world.row("b")))
    assert [("b", "m"), ("b", "m")] == messages(world.run())


def test_one_that_ends_itself_when_it_comes_back_has_ended(world: World) -> None:
    world.restart()
    restart_all(world, "one")
    world.on("b", lambda _: [syscalls.Exit(True, data("no more"))])
    error = rejection(world.do("a", send(world.import_root("a", "b"), "m", "p+1")), "a", "p+1")
    assert (VatTerminatedError, None) == (type(error), world.core.state.vats.get(world.vats["b"]))


def test_suspended_vats_come_back_when_they_are_resumed(world: World) -> None:
    world.core.between_cranks(lambda: world.core.lifecycle.suspend(world.row("b"), "for the test"))
    world.do("a", send(world.import_root("a", "b"), "held"))
    world.restart()
    restart_all(world, "one")
    assert [] == world.run()
    world.core.between_cranks(lambda: world.core.lifecycle.resume(world.row("b")))
    assert [("b", "held")] == messages(world.run())
    assert 1 == world.row("b").epoch
