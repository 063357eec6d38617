"""Keep: what a vat decides or listens to may outlive its incarnation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import VatTerminatedError
from tests.kernel.puppet import World, data, rejection, resolve, send, told, value_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A asked b, and both will remember."""
    world = World("abc", path=tmp_path / "kernel.db")
    world.run()
    world.do("a", send(world.import_root("a", "b"), "ask", "p+1"), syscalls.Keep("p+1", decision=False))
    world.do("b", syscalls.Keep(world.asked("b"), decision=True))
    return world


def test_a_kept_decision_is_made_by_a_later_incarnation_and_heard_by_one(world: World) -> None:
    asked = world.asked("b")
    world.restart()
    world.run()
    seen = world.do("b", resolve((asked, data("at last"))))
    assert [("b", deliveries.StartVat), ("a", deliveries.StartVat), ("a", deliveries.Notify)] == [
        (name, type(d)) for name, d in seen
    ]
    assert [("p+1", "at last")] == [(s.promise, value_of(s.data)) for s in told(seen, "a")]


def test_a_fault_does_not_end_it(world: World) -> None:
    asked = world.asked("b")
    for name in "ab":
        world.do(name, send("o-999"))
    assert ["at last"] == [value_of(s.data) for s in told(world.do("b", resolve((asked, data("at last")))), "a")]


def test_a_fault_over_the_news_holds_the_news_for_later_incarnations(world: World) -> None:
    crimes: list[deliveries.Delivery] = []

    def script(delivery: deliveries.Delivery) -> list[syscalls.Syscall]:
        if isinstance(delivery, deliveries.Notify):
            crimes.append(delivery)
            return [send("o-999")]
        return []

    world.on("a", script)
    world.do("b", resolve((world.asked("b"), data("at last"))))
    assert 3 == len(crimes)
    world.scripts.clear()
    world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats["v1"]))
    assert ["at last"] == [value_of(s.data) for s in told(world.run(), "a")]


def test_the_end_of_the_vat_does(world: World) -> None:
    row = world.core.state.vats[world.vats["b"]]
    world.core.between_cranks(lambda: world.core.lifecycle.terminate(row, "for the test"))
    assert isinstance(rejection(world.run(), "a", "p+1"), VatTerminatedError)


def test_the_end_of_the_listener_ends_its_listening(world: World) -> None:
    row = world.core.state.vats[world.vats["a"]]
    world.core.between_cranks(lambda: world.core.lifecycle.terminate(row, "for the test"))
    world.run()
    assert [] == world.rows()["subscribers"]


def test_a_suspended_listener_hears_of_it_when_it_is_resumed(world: World) -> None:
    row = world.core.state.vats[world.vats["a"]]
    world.core.between_cranks(lambda: world.core.lifecycle.suspend(row, "for the test"))
    world.do("b", resolve((world.asked("b"), data("at last"))))
    world.restart()
    world.run()
    world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats["v1"]))
    assert ["at last"] == [value_of(s.data) for s in told(world.run(), "a")]


def test_a_decision_passed_on_is_kept_no_longer(world: World) -> None:
    asked = world.asked("b")
    world.do("b", send(world.import_root("b", "c"), "decide", asked))
    world.core.between_cranks(lambda: world.core.end(world.vats["b"], "for the test"))
    assert None is world.kref("b", asked)
    seen = world.do("c", resolve((world.asked("c"), data("from c"))))
    assert {"a", "c"} >= {name for name, _ in seen}


@pytest.mark.parametrize("decision", [True, False])
def test_what_is_not_its_own_is_not_kept(world: World, decision: Any) -> None:
    before = len(world.faults())
    for vref in ("p-99", "o+0", "o-1"):
        world.do("c", syscalls.Keep(vref, decision))
        world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats[world.vats["c"]]))
    assert before + 3 == len(world.faults())


def test_what_others_decide_is_not_kept_as_a_decision(world: World) -> None:
    there = world.introduce("a", "p+7", "c")
    world.do("c", syscalls.Keep(there, decision=True))
    assert "which it does not decide" in world.faults()[-1]


def test_what_it_does_not_listen_to_is_not_kept_as_heard(world: World) -> None:
    world.do("a", send(world.import_root("a", "b"), "look", slots=("p+7",)), syscalls.Keep("p+7", decision=False))
    assert "to which it has none" in world.faults()[-1]
