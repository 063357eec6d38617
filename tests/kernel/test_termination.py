"""The end of a vat: at once for others, the rest in budgeted cranks, and nothing stays."""

from __future__ import annotations

from typing import Any

import pytest

from ocap.kernel.items import TerminateVat
from ocap.kernel.lifecycle import CLEANUP_BUDGET, VatSpec
from ocap.kernel.subclusters import LaunchSpec
from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import VatTerminatedError
from ocap.protocol.refs import HOST, KERNEL
from tests.kernel.puppet import World, data, messages, rejection, resolve, send, told


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


def terminate(world: World, name: str) -> None:
    row = world.core.state.vats[world.vats[name]]
    world.core.between_cranks(lambda: world.core.lifecycle.terminate(row, "for the test"))


def rows_naming(world: World, text: str) -> list[tuple[str, tuple[Any, ...]]]:
    return [(table, row) for table, rows in world.rows().items() for row in rows if text in row]


def test_promises_it_decided_reject(world: World) -> None:
    world.do("a", send(world.import_root("a", "b"), "m", "p+1"))
    terminate(world, "b")
    error = rejection(world.run(), "a", "p+1")
    assert (VatTerminatedError, "vat terminated") == (type(error), str(error))


def test_messages_on_their_way_to_it_are_answered(world: World) -> None:
    world.on("a", lambda d: [send(world.import_root("a", "b"), "m", "p+1")] if messages([("", d)]) else [])
    world.host(send(world.host_ref(world.vats["a"]), "go"))
    world.step()
    terminate(world, "b")
    assert isinstance(rejection(world.run(), "a", "p+1"), ConnectionError)


def test_what_was_parked_at_it_is_answered_in_order(world: World) -> None:
    row = world.core.state.vats[world.vats["b"]]
    world.core.between_cranks(lambda: world.core.lifecycle.suspend(row, "for the test"))
    root = world.import_root("a", "b")
    world.do("a", send(root, "m1", "p+1"), send(root, "m2", "p+2"))
    terminate(world, "b")
    assert ["p+1", "p+2"] == [s.promise for s in told(world.run(), "a")]


def test_its_imports_are_let_go(world: World) -> None:
    world.introduce("a", "o+5", "b")
    terminate(world, "b")
    assert [("a", deliveries.DropExports(("o+5",))), ("a", deliveries.RetireExports(("o+5",)))] == world.run()


def test_a_promise_it_only_subscribed_to_goes_on(world: World) -> None:
    world.introduce("a", "p+1", "b")
    in_c = world.introduce("a", "p+1", "c")
    terminate(world, "b")
    world.run()
    assert [in_c] == [s.promise for s in told(world.do("a", resolve(("p+1", data()))), "c")]


def test_a_notify_on_its_way_to_it_is_dropped(world: World) -> None:
    world.introduce("a", "p+1", "b")
    world.on("a", lambda d: [resolve(("p+1", data()))] if messages([("", d)]) else [])
    world.host(send(world.host_ref(world.vats["a"]), "go"))
    world.step()
    terminate(world, "b")
    assert [] == world.run()
    assert [] == world.rows()["queue"]


def test_no_row_names_it_afterwards_but_its_subcluster(world: World) -> None:
    b = world.vats["b"]
    there = world.introduce("b", "o+5", "a")
    world.introduce("a", "p+1", "b")
    world.introduce("a", "o+6", "b")
    world.on("b", lambda d: syscalls.Outcome((), ((b"k", b"v"),)) if messages([("", d)]) else [])
    world.do("a", send(world.import_root("a", "b")))
    terminate(world, "b")
    world.run()
    assert [] == rows_naming(world, b)
    orphan = world.core.state.objects[world.kref("a", there)]
    assert (None, "its vat was terminated") == (orphan.owner, orphan.gone)


def test_cleanup_goes_in_steps_and_is_not_undone_by_the_end_of_the_process(world: World) -> None:
    count = 2 * CLEANUP_BUDGET + 10
    slots = tuple(f"o+{n}" for n in range(1, count + 1))
    world.do("b", send(world.import_root("b", "a"), "take", slots=slots))
    terminate(world, "b")
    cranks = 0
    while world.core.lifecycle.dying:
        assert world.step().vat is None
        cranks += 1
        if cranks == 1:
            world.restart()
    assert 3 <= cranks <= 5


def test_the_dead_are_cleaned_up_in_the_order_of_their_death(world: World) -> None:
    terminate(world, "c")
    terminate(world, "b")
    assert [world.vats["c"], world.vats["b"]] == list(world.core.lifecycle.dying)


def test_an_object_of_the_dead_that_nobody_reaches_any_more_is_not_told_to_the_dead(world: World) -> None:
    there = world.introduce("b", "o+5", "a")
    world.on("a", lambda d: [syscalls.DropImports((there,))] if messages([("", d)]) else [])
    world.host(send(world.host_ref(world.vats["a"]), "go"))
    terminate(world, "b")
    crank = world.core._queue_crank()
    assert crank is not None  # a drops it before the cleanup had its turn
    world.core.finish(crank, world.answer(crank))
    assert [] == world.rows()["gc_actions"]
    assert [("a", deliveries.RetireImports((there,)))] == world.run()


def test_its_worker_is_discarded_at_once(world: World) -> None:
    terminate(world, "b")
    assert [world.vats["b"]] == world.core.stopped
    world.core.collector.schedule_reap(world.vats["b"])
    assert [] == world.run()


def test_exit_keeps_what_the_last_crank_did(world: World) -> None:
    seen = world.do("b", send(world.import_root("b", "a"), "goodbye", slots=("o+5",)), syscalls.Exit(False, data()))
    assert [("a", "goodbye")] == messages(seen)
    assert None is world.core.state.vats.get(world.vats["b"])


def test_exit_with_failure_undoes_it_and_rejects_the_message(world: World) -> None:
    root = world.import_root("b", "a")
    world.on("b", lambda d: [send(root, "goodbye"), syscalls.Exit(True, data())] if messages([("", d)]) else [])
    seen = world.do("a", send(world.import_root("a", "b"), "m", "p+1"))
    assert [("b", "m")] == messages(seen)
    assert isinstance(rejection(seen, "a", "p+1"), VatTerminatedError)


def test_a_queued_termination_takes_its_turn(world: World) -> None:
    b = world.vats["b"]
    world.host(send(world.host_ref(b), "before"))
    world.core.between_cranks(lambda: world.core.state.queue.push(TerminateVat(b, "for the test", 0)))
    world.core.between_cranks(lambda: world.core.state.queue.push(TerminateVat(b, "twice", 0)))
    world.host(send(world.host_ref(b), "after"))
    assert [("b", "before")] == messages(world.run())


def test_a_subcluster_goes_with_all_its_vats(world: World) -> None:
    before = world.count()
    spec = LaunchSpec("more", data(), "x", (VatSpec("x", "x.py", data()), VatSpec("y", "y.py", data())))
    row = world.core.between_cranks(lambda: world.core.subclusters.launch(spec))
    world.run()
    assert ["s1", "s2"] == [it[0] for it in world.rows()["subclusters"]]
    world.core.between_cranks(lambda: world.core.subclusters.terminate(row))
    world.run()
    assert before == world.count()


def test_a_subcluster_may_go_while_it_is_launched(world: World) -> None:
    before = world.count()
    spec = LaunchSpec("more", data(), "x", (VatSpec("x", "x.py", data()),))
    row = world.core.between_cranks(lambda: world.core.subclusters.launch(spec))
    world.core.between_cranks(lambda: world.core.subclusters.terminate(row))
    world.run()
    assert before == world.count()


def test_a_launch_taken_back_leaves_nothing_in_memory(world: World) -> None:
    before = world.rows()
    spec = LaunchSpec("more", data(), "x", (VatSpec("x", "x.py", data()),))

    def change() -> None:
        world.core.subclusters.launch(spec)
        raise KeyError

    with pytest.raises(KeyError):
        world.core.between_cranks(change)
    assert [] == world.run()
    after = world.rows()
    assert {**before, "counters": None} == {**after, "counters": None}


def test_parameters_are_held_while_the_vat_lives(world: World) -> None:
    kref = world.kref("a", "o+0")
    before = world.core.state.objects[kref].reachable
    parameters = data({}, slots=(kref,))
    spec = LaunchSpec("more", data(), "x", (VatSpec("x", "x.py", parameters),))
    row = world.core.between_cranks(lambda: world.core.subclusters.launch(spec))
    seen = world.run()
    (start,) = [d for _, d in seen if isinstance(d, deliveries.StartVat)]
    assert 1 == len(start.parameters.slots)
    assert before + 2 == world.core.state.objects[kref].reachable  # the parameters, and x's import
    world.core.between_cranks(lambda: world.core.subclusters.terminate(row))
    world.run()
    assert before == world.core.state.objects[kref].reachable


class TestSuspendedBeforeItIsCreated:
    """Its creation is queued, and has its turn."""

    @pytest.fixture
    def world(self) -> World:
        return World("ab")  # nothing has been stepped: both are new

    def hold(self, world: World, name: str) -> None:
        world.core.between_cranks(lambda: world.core.lifecycle.suspend(world.row(name), "for the test"))

    def test_it_is_built_once_and_what_is_for_it_is_held(self, world: World) -> None:
        self.hold(world, "a")
        seen = world.run()
        assert [("a", deliveries.StartVat), ("b", deliveries.StartVat)] == [
            (name, type(delivery)) for name, delivery in seen
        ]
        row = world.row("a")
        assert ("suspended", 0, True) == (row.state, row.incarnation, row.ended)
        assert {"s1"} == set(world.core.state.launching.values())
        world.core.between_cranks(lambda: world.core.lifecycle.resume(row))
        assert [("a", "bootstrap")] == messages(world.run())
        assert ("live", 1, None) == (row.state, row.incarnation, row.reason)
        assert {} == world.core.state.launching

    def test_resumed_before_its_turn_it_is_new_again(self, world: World) -> None:
        self.hold(world, "b")
        world.core.between_cranks(lambda: world.core.lifecycle.resume(world.row("b")))
        assert "new" == world.row("b").state
        world.run()
        assert ("live", 0) == (world.row("b").state, world.row("b").incarnation)

    def test_one_that_cannot_be_created_ends(self, world: World) -> None:
        world.on("b", lambda _: syscalls.Outcome(fault="no"))
        self.hold(world, "b")
        world.run()
        assert {} == world.core.state.launching
        assert {HOST, KERNEL} == set(world.backend.vats())
