"""The end of the process: what was committed goes on, what lived on heaps is told to be gone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import ObjectGoneError
from ocap.protocol.refs import HOST
from tests.kernel.puppet import World, args, data, host_kref, messages, reference, rejection, resolve, send


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World("abc", path=tmp_path / "kernel.db")
    world.run()
    return world


def test_the_queue_goes_on_where_it_stopped(world: World) -> None:
    for n in range(4):
        world.host(syscalls.Send(world.host_ref(world.vats["b"]), f"m{n}", args()))
    world.step()
    world.restart()
    assert [("b", "m1"), ("b", "m2"), ("b", "m3")] == messages(world.run())


def test_what_was_not_committed_did_not_happen(world: World) -> None:
    world.core.commit()
    world.do("a", send(world.import_root("a", "b"), "before"))
    world.host(syscalls.Send(world.host_ref(world.vats["b"]), "after", args()))
    before = world.rows()["counters"]
    world.restart(crash=True)
    assert [] == messages(world.run())
    assert before >= world.rows()["counters"]


def test_nothing_is_started_before_it_is_needed(world: World) -> None:
    world.restart()
    assert [] == world.run()
    seen = world.do("b")
    assert [deliveries.StartVat(1, data({}))] == [d for _, d in seen]


def test_the_host_holds_nothing_afterwards(world: World) -> None:
    vref = world.host_ref(world.vats["a"])
    world.host(send(vref, "m", "p+1", slots=("o+5",)))
    world.run()
    assert 3 <= len([row for row in world.rows()["clist"] if row[0] == HOST])
    world.restart()
    assert [] == [row for row in world.rows()["clist"] if row[0] == HOST]


def test_an_object_of_the_host_is_gone_and_says_why(world: World) -> None:
    world.host(send(world.host_ref(world.vats["a"]), "take", slots=("o+5",)))
    world.run()
    there = world.vref("a", host_kref(world, "o+5"))
    world.restart()
    error = rejection(world.do("a", send(there, "m", "p+1")), "a", "p+1")
    assert isinstance(error, ObjectGoneError)
    assert "the host program ended" in str(error)


def test_promises_decided_by_lost_heaps_reject(world: World) -> None:
    world.do(
        "a", send(world.import_root("a", "b"), "m", "p+1"), send(world.import_root("a", "c"), "look", slots=("p+1",))
    )
    in_c = next(slot for _, d in reversed(world.seen) if messages([("", d)]) for slot in d.args.slots)
    assert world.kref("c", in_c)
    world.restart()
    assert [] == world.run()  # who is to be told is gone as well
    assert [row for row in world.rows()["promises"] if row[1] == "unresolved"] == []
    assert None is world.kref("c", in_c)


def test_what_was_sent_to_such_a_promise_is_answered(world: World) -> None:
    world.do("a", send(world.import_root("a", "b"), "m", "p+1"), send("p+1", "later"))
    world.restart()
    world.run()
    assert [] == world.rows()["queue"]


def test_a_caller_that_runs_again_before_the_news_does_not_hear_of_old_promises(world: World) -> None:
    world.do("a", send(world.import_root("a", "b"), "m", "p+1"))
    world.restart()
    seen = world.do("a")
    assert [deliveries.StartVat] == [type(d) for _, d in seen]


def test_durable_objects_and_roots_survive(world: World) -> None:
    durable, root = world.introduce("b", "o+d1/1", "a"), world.import_root("a", "b")
    world.restart()
    seen = world.do("a", send(durable, "m1"), send(root, "m2"))
    arrived = [(name, d.target) for name, d in seen if isinstance(d, deliveries.Message)]
    assert [("b", "o+d1/1"), ("b", "o+0")] == arrived


def test_objects_of_a_lost_heap_are_gone_and_say_why(world: World) -> None:
    heap = world.introduce("b", "o+5", "a")
    world.restart()
    error = rejection(world.do("a", send(heap, "m", "p+1")), "a", "p+1")
    assert isinstance(error, ObjectGoneError)
    assert "incarnation 0 of v2 ended: the kernel was restarted" in str(error)


def test_a_promise_that_settled_to_a_lost_object_says_the_same(world: World) -> None:
    world.do("a", send(world.import_root("a", "b"), "get", "p+1"))
    answer = world.asked("b")
    world.on("b", lambda d: [resolve((answer, reference("o+5")))] if messages([("", d)]) else [])
    world.host(syscalls.Send(world.host_ref(world.vats["b"]), "go", args()))
    world.host(syscalls.Send(world.host_ref(world.vats["a"]), "then", args()))
    world.step()
    world.restart()
    world.run()
    assert [] == [row for row in world.rows()["promises"] if row[1] == "unresolved"]


def test_ids_are_never_used_again(world: World) -> None:
    heap = world.introduce("b", "o+5", "a")
    used = {row[0] for table in ("objects", "promises", "vats", "subclusters") for row in world.rows()[table]}
    world.do("a", syscalls.DropImports((heap,)), syscalls.RetireImports((heap,)))
    row = world.core.state.vats[world.vats["c"]]
    world.core.between_cranks(lambda: world.core.lifecycle.terminate(row, "for the test"))
    world.run()
    world.restart()
    world.run()
    again = world.introduce("b", "o+6", "a")
    assert heap != again
    assert world.kref("a", again) not in used


def test_numbers_of_cranks_go_on(world: World) -> None:
    world.do("a")
    before = world.core.state.counter("crank")
    world.restart()
    world.do("a")
    assert before + 2 == world.core.state.counter("crank")  # its start, and the message


def test_a_vat_that_died_stays_dead(world: World) -> None:
    world.do("b", syscalls.Exit(False, data()))
    there = world.import_root("a", "c")
    world.restart()
    assert [] == world.run()
    assert None is world.core.state.vats.get(world.vats["b"])
    assert [("c", "m")] == messages(world.do("a", send(there, "m")))


def test_many_restarts_cost_one_incarnation_each_that_ran(world: World) -> None:
    for _ in range(3):
        world.restart()
        world.run()
    assert 0 == world.core.state.vats[world.vats["b"]].incarnation
    world.do("b")
    assert 1 == world.core.state.vats[world.vats["b"]].incarnation


def test_a_vat_whose_disconnection_waits_may_be_terminated_meanwhile(world: World) -> None:
    for name in "bc":
        world.do("a", send(world.import_root("a", name), "m", "p+1" if name == "b" else "p+2"))
    world.restart()
    assert world.step().vat is None
    for name in "bc":
        row = world.core.state.vats[world.vats[name]]
        world.core.between_cranks(partial(world.core.lifecycle.terminate, row, "for the test"))
    world.run()
    assert None is world.core.state.vats.get(world.vats["b"])


def test_the_host_may_have_recognised_what_is_gone(world: World) -> None:
    """News for the host that it never got is of no use to the next."""
    there = world.introduce("a", "o+5", "b")
    kref = world.kref("a", "o+5")
    vref = world.core.between_cranks(lambda: world.core.lifecycle.keeper(HOST).to_vat(kref))
    world.do("b", syscalls.DropImports((there,)), syscalls.RetireImports((there,)))
    world.do("a", syscalls.AbandonExports(("o+5",)))
    world.host(syscalls.DropImports((vref,)))
    assert [(HOST, "retire_import", kref)] == world.rows()["gc_actions"]
    world.restart()
    assert [] == world.rows()["gc_actions"]
    assert None is world.core.state.objects.get(kref)


def test_an_undone_start_leaves_the_disconnection_to_the_next(world: World) -> None:
    """Everything a failed start did, after rows were already written to the store, is taken back."""
    world.introduce("b", "o+5", "a")
    world.do("a", send(world.import_root("a", "b"), "m", "p+1"))
    world.restart()
    world.core._to_disconnect = []  # so that the start has it all to do
    world.on("b", lambda _: syscalls.Outcome(fault="no"))
    seen = world.do("b")
    assert [deliveries.StartVat] == [type(d) for _, d in seen]
    assert "suspended" == world.core.state.vats[world.vats["b"]].state
    world.restart()
    world.run()
    assert [] == [row for row in world.rows()["promises"] if row[1] == "unresolved"]
