"""Upgrade: one crank that builds the next incarnation from other code, or never happened."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from ocap.kernel.items import TerminateVat, UpgradeVat, slots_of
from ocap.kernel.options import VatOptions
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import IncarnationEndedError, ObjectGoneError, UpgradeError, VatTerminatedError
from ocap.protocol.refs import Kref
from tests.kernel.puppet import (
    Script,
    Slot,
    World,
    args,
    data,
    messages,
    rejection,
    resolve,
    send,
    told,
    value_of,
    whole,
)


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


def ask(world: World, name: str = "b", parameters: CapData | None = None) -> str:
    def make(result: Kref) -> UpgradeVat:
        if parameters is not None:
            world.core.counts.incref_slots(parameters)
        return UpgradeVat(world.vats[name], "new.py", parameters, result, 0)

    return world.ask(make)


def only(world: World, name: str = "b", parameters: CapData | None = None) -> None:
    """Queue an upgrade that nobody waits for, so that it leaves no trace but its own."""

    def change() -> None:
        if parameters is not None:
            world.core.counts.incref_slots(parameters)
        world.core.state.queue.push(UpgradeVat(world.vats[name], "new.py", parameters, None, 0))

    world.core.between_cranks(change)


def at_start(outcome: Any) -> Script:
    return lambda d: outcome if isinstance(d, deliveries.StartVat) else []


FAILURES: dict[str, Any] = {
    "a fault of the worker": syscalls.Outcome(fault="build_root_object raised ValueError: no"),
    "an illegal syscall": [send("o-999")],
    "an illegal syscall after legal ones": [
        send("o+0", "m", "p+9", slots=("o+5", "p+8")),
        resolve(("p+8", data())),
        send("o-999"),
    ],
    "an exit with failure": [syscalls.Exit(True, data("no"))],
    "an exit with failure after other syscalls": [send("o+0", "m", "p+9", slots=("o+5",)), syscalls.Exit(True, data())],
    "too much for its store": syscalls.Outcome((), ((b"k", bytes(33 * 1024 * 1024)),)),
    "a store written before a fault": syscalls.Outcome((), ((b"k", b"v"),), fault="later"),
}


def entangle(world: World) -> None:
    """Give b something of everything an upgrade would end."""
    world.introduce("b", "o+5", "a")
    world.introduce("b", "o+d1/1", "a")
    world.introduce("a", "p+1", "b")
    world.introduce("a", "o+7", "b")
    world.do("a", send(world.import_root("a", "b"), "m", "p+2", slots=("p+2",)))
    world.on("b", lambda d: syscalls.Outcome((), ((b"k", b"old"),)) if messages([("", d)]) else [])
    world.do("a", send(world.import_root("a", "b")))
    world.scripts.clear()


class TestOneThatSucceeds:
    def test_it_starts_the_next_incarnation_and_tells_who_asked(self, world: World) -> None:
        result = ask(world, parameters=data({"x": 1}))
        assert [("b", deliveries.StartVat(1, data({"x": 1})))] == world.run()
        assert 1 == world.answer_to(result)
        row = world.row("b")
        assert ("new.py", 1, "live", False) == (row.source, row.incarnation, row.state, row.ended)
        assert [(row.id, True)] == world.core.upgraded

    def test_parameters_that_are_not_given_stay(self, world: World) -> None:
        ask(world, parameters=data({"x": 1}))
        ask(world)
        assert [1, 2] == [d.incarnation for _, d in world.run()]
        assert data({"x": 1}) == world.row("b").parameters

    def test_what_the_old_incarnation_decided_rejects_with_its_number_and_the_reason(self, world: World) -> None:
        world.do("a", send(world.import_root("a", "b"), "m", "p+1"))
        ask(world)
        error = rejection(world.run(), "a", "p+1")
        assert isinstance(error, IncarnationEndedError)
        assert (world.vats["b"], 0, "it was upgraded") == (error.vat, error.incarnation, error.reason)

    def test_its_heap_is_gone_its_root_and_durable_objects_stay(self, world: World) -> None:
        heap, durable = world.introduce("b", "o+5", "a"), world.introduce("b", "o+d1/1", "a")
        ask(world)
        world.run()
        seen = world.do("a", send(heap, "m", "p+1"), send(durable, "m"), send(world.import_root("a", "b"), "m2"))
        error = rejection(seen, "a", "p+1")
        assert (ObjectGoneError, True) == (type(error), "incarnation 0 of v2 ended: it was upgraded" in str(error))
        assert [("b", "m"), ("b", "m2")] == messages(seen)

    def test_a_decision_it_kept_is_the_new_ones(self, world: World) -> None:
        world.do("a", send(world.import_root("a", "b"), "m", "p+1"))
        promise = world.asked("b")
        world.do("b", syscalls.Keep(promise, True))
        ask(world)
        assert [] == told(world.run(), "a")
        assert ["p+1"] == [it.promise for it in told(world.do("b", resolve((promise, data()))), "a")]

    def test_a_subscription_it_kept_is_the_new_ones_any_other_is_not(self, world: World) -> None:
        kept, other = world.introduce("a", "p+1", "b"), world.introduce("a", "p+2", "b")
        world.do("b", syscalls.Keep(kept, False))
        ask(world)
        world.run()
        assert None is world.kref("b", other)
        seen = world.do("a", resolve(("p+1", data())), resolve(("p+2", data())))
        assert [kept] == [it.promise for it in told(seen, "b")]

    def test_a_notify_on_its_way_to_the_old_incarnation_is_dropped(self, world: World) -> None:
        world.introduce("a", "p+1", "b")
        world.on("a", lambda d: [resolve(("p+1", data()))] if messages([("", d)]) else [])
        world.host(send(world.host_ref(world.vats["a"]), "go"))
        ask(world)
        world.step()
        assert ["notify", "upgrade"] == sorted(row[2] for row in world.rows()["queue"])
        world.core.between_cranks(lambda: None)
        world.restart()  # nobody runs, so that the upgrade ends the incarnation first
        assert [] == told(world.run(), "b")

    def test_messages_before_it_get_the_old_incarnation_those_after_it_the_new(self, world: World) -> None:
        ref = world.host_ref(world.vats["b"])
        world.host(syscalls.Send(ref, "before", args()))
        ask(world)
        world.host(syscalls.Send(ref, "after", args()))
        kinds = [d.method if isinstance(d, deliveries.Message) else type(d) for _, d in world.run()]
        assert ["before", deliveries.StartVat, "after"] == kinds

    def test_what_its_start_does_is_part_of_it(self, world: World) -> None:
        a = world.import_root("b", "a")
        world.on("b", lambda d: syscalls.Outcome((send(a, "hello"),), ((b"k", b"v"),)))
        ask(world)
        assert [("a", "hello")] == messages(world.run())
        assert [("v2", b"k", b"v")] == world.rows()["vatstore"]

    def test_an_exit_with_a_value_at_its_start_ends_the_vat_after_it(self, world: World) -> None:
        world.on("b", at_start([syscalls.Exit(False, data())]))
        result = ask(world)
        world.run()
        assert 1 == world.answer_to(result)
        assert None is world.core.state.vats.get(world.vats["b"])

    def test_its_endowments_come_with_it(self, world: World) -> None:
        service = world.kref("a", "o+0")
        row = world.row("b")
        options = VatOptions(endowments=(("friend", service),))
        world.core.between_cranks(lambda: world.core.lifecycle.set_options(row, options))
        ask(world)
        ((_, start),) = world.run()
        assert (("friend", world.vref("b", service)),) == start.endowments

    def test_garbage_the_old_incarnation_was_to_be_told_of_is_not_told_to_the_new(self, world: World) -> None:
        there = world.introduce("b", "o+5", "a")
        drop: list[syscalls.Syscall] = [syscalls.DropImports((there,)), syscalls.RetireImports((there,))]
        world.on("a", lambda d: drop if messages([("", d)]) else [])
        world.host(send(world.host_ref(world.vats["a"]), "go"))
        ask(world)
        world.restart()  # b does not run, so that it is not told at once
        seen = world.run()
        assert [deliveries.StartVat] == [type(d) for name, d in seen if name == "b"]
        assert [] == world.rows()["gc_actions"]


class TestOneThatFails:
    @pytest.mark.parametrize("failure", FAILURES)
    def test_it_leaves_every_row_as_it_was(self, world: World, failure: str) -> None:
        entangle(world)
        before = world.rows(without=["counters"])
        world.on("b", at_start(FAILURES[failure]))
        only(world, parameters=whole({"x": Slot(str(world.kref("a", "o+0")))}))
        world.run()
        assert before == world.rows(without=["counters"])

    @pytest.mark.parametrize("failure", FAILURES)
    def test_the_old_incarnation_goes_on_with_its_heap(self, world: World, failure: str) -> None:
        heap = world.introduce("b", "o+5", "a")
        world.on("b", at_start(FAILURES[failure]))
        ask(world)
        world.run()
        world.scripts.clear()
        assert ([], [(world.vats["b"], False)]) == (world.core.stopped, world.core.upgraded)
        seen = world.do("a", send(heap, "m"))
        assert [("b", deliveries.Message("o+5", "m", args()))] == seen

    @pytest.mark.parametrize("failure", FAILURES)
    def test_who_asked_is_told_why(self, world: World, failure: str) -> None:
        world.on("b", at_start(FAILURES[failure]))
        result = ask(world)
        world.run()
        error = world.answer_to(result)
        assert isinstance(error, UpgradeError)
        assert str(error)

    def test_it_is_no_fault_of_the_vat(self, world: World) -> None:
        world.on("b", at_start(syscalls.Outcome(fault="no")))
        for _ in range(5):
            ask(world)
        world.run()
        assert ("live", 0, 0) == (world.row("b").state, world.row("b").faults, world.count()["dead_letters"])

    def test_one_that_does_not_run_stays_so_and_comes_back_as_the_old(self, world: World) -> None:
        world.restart()
        before = world.rows(without=["counters"])
        world.on("b", at_start(syscalls.Outcome(fault="no")))
        only(world)
        world.run()
        assert before == world.rows(without=["counters"])
        world.scripts.clear()
        assert deliveries.StartVat(1, data({})) == world.do("b")[0][1]
        assert "b.py" == world.row("b").source

    @pytest.mark.parametrize("failure", [*FAILURES, "an exit with a value"])
    def test_one_of_a_critical_vat_does_not_stop_the_kernel(self, failure: str) -> None:
        """Otherwise it would be tried again at each start, and no kernel would ever come up."""
        world = World("ab", options={"b": VatOptions(critical=True, on_fault="panic", fault_limit=1)})
        world.run()
        world.on("b", at_start(FAILURES.get(failure) or [syscalls.Exit(False, data())]))
        result = ask(world)
        world.run()
        assert None is world.core.panic
        assert isinstance(world.answer_to(result), UpgradeError)
        assert "live" == world.row("b").state


class TestSuspended:
    @pytest.fixture
    def held(self, world: World) -> World:
        """One with b suspended, two messages held."""
        world.core.between_cranks(lambda: world.core.end(world.vats["b"], "it was suspended"))
        world.core.between_cranks(lambda: world.core.lifecycle.suspend(world.row("b"), "for the test"))
        root = world.import_root("a", "b")
        world.do("a", send(root, "m1", "p+1"), send(root, "m2"))
        return world

    def test_it_is_upgraded_and_stays_suspended(self, held: World) -> None:
        result = ask(held)
        held.run()
        assert 1 == held.answer_to(result)
        assert ("suspended", "new.py", True) == (held.row("b").state, held.row("b").source, held.row("b").ended)
        assert held.vats["b"] not in held.core.running

    def test_what_is_held_goes_to_the_new_code_in_order(self, held: World) -> None:
        ask(held)
        held.run()
        held.core.between_cranks(lambda: held.core.lifecycle.resume(held.row("b")))
        assert [("b", "m1"), ("b", "m2")] == messages(held.run())

    @pytest.mark.parametrize("failure", FAILURES)
    def test_one_that_fails_leaves_it_suspended_and_every_row_as_it_was(self, held: World, failure: str) -> None:
        before = held.rows(without=["counters"])
        held.on("b", at_start(FAILURES[failure]))
        only(held)
        held.run()
        assert before == held.rows(without=["counters"])
        assert held.vats["b"] not in held.core.running


class TestOfADeadVat:
    @pytest.mark.parametrize("cleaned", [False, True])
    def test_who_asked_is_told_that_it_was_terminated(self, world: World, cleaned: bool) -> None:
        if cleaned:
            world.do("b", syscalls.Exit(False, data()))
        friend = whole({"x": Slot(str(world.kref("a", "o+0")))})
        before = world.rows(without=["counters"])
        vat = world.vats["b"]
        if not cleaned:
            world.core.between_cranks(lambda: world.core.state.queue.push(TerminateVat(vat, "no more", 0)))
        result = ask(world, parameters=friend)
        world.run()
        error = world.answer_to(result)
        assert (VatTerminatedError, "vat terminated") == (type(error), str(error))
        if cleaned:
            same = ("objects", "clist", "queue", "promises")
            after = world.rows(without=["counters"])
            assert {table: before[table] for table in same} == {table: after[table] for table in same}


class TestParameters:
    def test_new_ones_are_counted_before_old_ones_are_let_go(self, world: World) -> None:
        """An object that only the parameters hold stays, when both have it."""
        kref = hold_in_parameters(world, "o+d1/1")
        ask(world, parameters=whole({"same": Slot(kref)}))
        world.run()
        vref = world.vref("b", kref)
        world.do("b", syscalls.DropImports((vref,)), syscalls.RetireImports((vref,)))
        assert 1 == world.core.state.objects[kref].reachable

    def test_old_ones_are_let_go(self, world: World) -> None:
        kref = hold_in_parameters(world, "o+d1/1")
        ask(world, parameters=data({}))
        seen = world.run()
        vref = world.vref("b", kref)
        if vref is not None:
            world.do("b", syscalls.DropImports((vref,)), syscalls.RetireImports((vref,)))
        assert kref not in [row[0] for row in world.rows()["objects"]]
        assert [] == [d for name, d in seen if name == "a" and isinstance(d, deliveries.StartVat)]

    def test_termination_lets_them_go(self, world: World) -> None:
        kref = hold_in_parameters(world, "o+d1/1")
        world.do("b", syscalls.Exit(False, data()))
        assert kref not in [row[0] for row in world.rows()["objects"]]

    def test_those_of_a_failed_one_are_let_go(self, world: World) -> None:
        kref = hold_in_parameters(world, "o+d1/1", fail=True)
        assert kref not in [row[0] for row in world.rows()["objects"]]

    def test_they_are_held_while_it_is_queued(self, world: World) -> None:
        kref = world.core.between_cranks(partial(export, world, "o+d1/1"))
        ask(world, parameters=whole({"x": Slot(kref)}))
        world.restart()
        ((_, start),) = [(name, d) for name, d in world.run() if name == "b"]
        assert {"x": world.vref("b", kref)} == value_of(start.parameters)

    def test_many_of_which_half_fail_leave_nothing(self, world: World) -> None:
        sizes = []
        a = world.import_root("b", "a")
        for turn in range(100):
            fails = turn % 2
            bad = [send(a, "m", slots=(f"o+{turn + 10}",)), send("o-999")]
            world.on("b", at_start(bad if fails else []))
            kref = world.core.between_cranks(partial(export, world, f"o+d1/{turn + 1}"))
            ask(world, parameters=whole({"x": Slot(kref), "y": [Slot(kref)]}))
            world.run()
            world.scripts.clear()
            vref = world.vref("b", kref)
            if vref is not None:
                world.do("b", syscalls.DropImports((vref,)), syscalls.RetireImports((vref,)))
            if turn in (9, 99):
                sizes.append(world.count())
        assert sizes[0] == sizes[1]
        assert 50 == world.row("b").incarnation


class TestOptions:
    """An upgrade may bring other options, which hold what they endow the vat with."""

    def ask(self, world: World, kref: Kref) -> None:
        def change() -> None:
            options = VatOptions(fault_limit=9, imports=("math",), endowments=(("friend", kref),))
            item = UpgradeVat(world.vats["b"], "new.py", None, None, 0, options)
            for name in slots_of(item):
                world.core.counts.incref(name)
            world.core.state.queue.push(item)

        world.core.between_cranks(change)

    def test_they_come_with_it_and_are_held_while_it_is_queued(self, world: World) -> None:
        kref = world.core.between_cranks(partial(export, world, "o+d1/1"))
        self.ask(world, kref)
        world.restart()
        ((_, start),) = [(name, d) for name, d in world.run() if name == "b"]
        assert (("friend", world.vref("b", kref)),) == start.endowments
        assert VatOptions(fault_limit=9, imports=("math",), endowments=(("friend", kref),)) == world.row("b").options
        world.restart()
        assert 9 == world.row("b").options.fault_limit

    def test_those_it_replaces_let_go_of_what_they_held(self, world: World) -> None:
        krefs = []
        for number in (1, 2):
            kref = world.core.between_cranks(partial(export, world, f"o+d1/{number}"))
            krefs.append(kref)
            self.ask(world, kref)
            world.run()
            vref = world.vref("b", kref)
            world.do("b", syscalls.DropImports((vref,)), syscalls.RetireImports((vref,)))
        there = [row[0] for row in world.rows()["objects"]]
        assert [False, True] == [kref in there for kref in krefs]

    def test_one_that_fails_changes_none(self, world: World) -> None:
        before = world.rows(without=["counters"])
        world.on("b", at_start(syscalls.Outcome(fault="no")))
        self.ask(world, world.core.between_cranks(partial(export, world, "o+d1/1")))
        world.run()
        assert before == world.rows(without=["counters"])


def export(world: World, vref: str) -> Kref:
    """A new object of a's that nobody holds yet; part of a change."""
    return world.core.lifecycle.keeper(world.vats["a"]).to_kernel(vref)


def hold_in_parameters(world: World, vref: str, *, fail: bool = False) -> Kref:
    """An object of a's that b's parameters alone hold, or held while an upgrade failed."""

    def change() -> Kref:
        kref = export(world, vref)
        parameters = whole({"x": Slot(kref)})
        world.core.counts.incref_slots(parameters)
        world.core.state.queue.push(UpgradeVat(world.vats["b"], "new.py", parameters, None, 0))
        return kref

    kref = world.core.between_cranks(change)
    if fail:
        world.on("b", at_start(syscalls.Outcome(fault="no")))
    world.run()
    if not fail:
        vref = world.vref("b", kref)
        world.do("b", syscalls.DropImports((vref,)), syscalls.RetireImports((vref,)))
        assert kref in [row[0] for row in world.rows()["objects"]]
    return kref
