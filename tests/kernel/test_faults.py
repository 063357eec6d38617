"""Faults of vats: what is told to whom, when a vat is suspended, what a launch that fails leaves."""

from __future__ import annotations

from typing import Any

import pytest

from ocap.kernel.effects import Event
from ocap.kernel.lifecycle import MAX_REASON, VatSpec
from ocap.kernel.options import FAULT_LIMIT
from ocap.kernel.subclusters import LaunchSpec
from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import DisconnectedError, LaunchError
from ocap.protocol.refs import HOST, KERNEL, VatId
from tests.kernel.puppet import World, args, data, host_kref, messages, rejection, resolve, send, told, value_of


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


def state(world: World, name: str) -> str:
    return world.core.state.vats[world.vats[name]].state


def crimes(world: World, name: str, count: int) -> None:
    for _ in range(count):
        world.do(name, send("o-999"))


class TestOneFault:
    def test_who_asked_is_told_that_the_vat_faulted_and_no_more(self, world: World) -> None:
        world.on("b", lambda d: [send("o-999")] if isinstance(d, deliveries.Message) else [])
        error = rejection(world.do("a", send(world.import_root("a", "b"), "m", "p+1")), "a", "p+1")
        assert (DisconnectedError, "vat faulted") == (type(error), str(error))

    def test_the_log_says_why(self, world: World) -> None:
        crimes(world, "b", 1)
        assert ["named o-999, which it does not hold"] == world.faults()

    def test_a_fault_of_the_worker_counts_alike(self, world: World) -> None:
        world.on("b", lambda _: syscalls.Outcome((send("o+0"),), fault="took too long"))
        world.do("a", send(world.import_root("a", "b")))
        assert ["took too long"] == world.faults()
        assert 1 == world.count()["dead_letters"]

    def test_its_worker_is_discarded_at_once(self, world: World) -> None:
        crimes(world, "b", 1)
        assert [world.vats["b"]] == world.core.stopped
        assert world.vats["b"] not in world.core.running

    def test_promises_it_decided_reject_with_its_incarnation(self, world: World) -> None:
        world.do("a", send(world.import_root("a", "b"), "m", "p+1"))
        seen = world.do("b", send("o-999"))
        error = rejection(seen, "a", "p+1")
        assert isinstance(error, DisconnectedError)
        assert "incarnation 0 of v2 ended: it faulted" in str(error)

    def test_its_heap_is_gone_its_root_and_durable_objects_stay(self, world: World) -> None:
        heap, durable = world.introduce("b", "o+5", "a"), world.introduce("b", "o+d1/1", "a")
        crimes(world, "b", 1)
        seen = world.do("a", send(heap, "m", "p+1"), send(durable, "m"), send(world.import_root("a", "b"), "m2"))
        assert "it was not durable, and incarnation 0 of v2 ended: it faulted" in str(rejection(seen, "a", "p+1"))
        assert [("b", "m"), ("b", "m2")] == messages(seen)

    def test_a_fault_at_a_notify_drops_the_notify(self, world: World) -> None:
        there = world.introduce("a", "p+1", "b")
        world.on("b", lambda d: [send("o-999")] if isinstance(d, deliveries.Notify) else [])
        seen = world.do("a", resolve(("p+1", data())))
        assert [there] == [s.promise for s in told(seen, "b")]
        assert [] == world.rows()["queue"]

    def test_a_fault_at_garbage_collection_loses_nothing(self, world: World) -> None:
        there = world.introduce("b", "o+d1/1", "a")
        world.on("b", lambda d: [send("o-999")] if isinstance(d, deliveries.DropExports) else [])
        world.do("a", syscalls.DropImports((there,)), syscalls.RetireImports((there,)))
        assert 2 == world.count()["gc_actions"]
        world.scripts.clear()
        seen = world.do("b")
        expected = [deliveries.StartVat, deliveries.DropExports, deliveries.RetireExports]
        assert expected == [type(d) for _, d in seen]


class TestSuspension:
    def test_after_the_third_fault_the_vat_is_suspended(self, world: World) -> None:
        crimes(world, "b", FAULT_LIMIT - 1)
        assert "live" == state(world, "b")
        assert None is world.row("b").reason
        crimes(world, "b", 1)
        assert ("suspended", True) == (state(world, "b"), str(world.row("b").reason).startswith("it faulted: "))

    def test_the_reason_goes_with_the_suspension(self, world: World) -> None:
        b = world.row("b")
        for end in (lambda: world.core.lifecycle.resume(b), lambda: world.core.lifecycle.terminate(b, "for the test")):
            world.core.between_cranks(lambda: world.core.lifecycle.suspend(b, "for the test"))
            assert "for the test" == b.reason
            world.core.between_cranks(end)
            assert None is b.reason
        assert [] == world.verify()

    def test_a_reason_is_kept_in_part_if_it_is_long(self, world: World) -> None:
        b = world.row("b")
        world.core.between_cranks(lambda: world.core.lifecycle.suspend(b, "x" * 100_000))
        assert "x" * MAX_REASON == b.reason

    def test_what_is_for_it_waits_and_arrives_in_order_after_resume(self, world: World) -> None:
        crimes(world, "b", FAULT_LIMIT)
        root = world.import_root("a", "b")
        world.do("a", send(root, "m1", "p+1"), send(root, "m2"))
        world.do("a", send(root, "m3"))
        assert 3 == len([row for row in world.rows()["queue"] if row[1] == world.vats["b"]])
        world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats[world.vats["b"]]))
        assert [("b", "m1"), ("b", "m2"), ("b", "m3")] == messages(world.run())
        assert 0 == world.core.state.vats[world.vats["b"]].faults

    def test_what_came_after_does_not_overtake_what_waited(self, world: World) -> None:
        crimes(world, "b", FAULT_LIMIT)
        root, b = world.import_root("a", "b"), world.core.state.vats[world.vats["b"]]
        world.do("a", send(root, "m1"))
        world.host(syscalls.Send(world.host_ref(world.vats["b"]), "m2", args()))
        world.core.between_cranks(lambda: world.core.lifecycle.resume(b))
        assert [("b", "m1"), ("b", "m2")] == messages(world.run())

    def test_it_outlasts_the_process(self, world: World) -> None:
        crimes(world, "b", FAULT_LIMIT)
        world.do("a", send(world.import_root("a", "b"), "m1"))
        world.restart()
        assert [] == world.run()
        world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats[world.vats["b"]]))
        assert [("b", "m1")] == messages(world.run())

    def test_a_fault_while_starting_again_suspends_with_the_delivery_held(self, world: World) -> None:
        crimes(world, "b", 1)
        world.on("b", lambda d: [send("o-999")] if isinstance(d, deliveries.StartVat) else [])
        world.do("a", send(world.import_root("a", "b"), "held"))
        assert ("suspended", True) == (state(world, "b"), str(world.row("b").reason).startswith("it did not start: "))
        assert 1 == world.count()["dead_letters"]  # of the first fault
        world.scripts.clear()
        world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats[world.vats["b"]]))
        assert [("b", "held")] == messages(world.run())

    def test_suspending_by_hand_keeps_the_heap(self, world: World) -> None:
        b = world.core.state.vats[world.vats["b"]]
        heap = world.introduce("b", "o+5", "a")
        world.core.between_cranks(lambda: world.core.lifecycle.suspend(b, "for the test"))
        world.do("a", send(heap, "m"))
        world.core.between_cranks(lambda: world.core.lifecycle.resume(b))
        assert [("b", deliveries.Message("o+5", "m", args()))] == world.run()

    def test_only_the_living_are_suspended_and_only_the_suspended_resumed(self, world: World) -> None:
        row = world.core.state.vats[world.vats["b"]]
        world.core.lifecycle.resume(row)
        assert "live" == row.state
        world.do("b", syscalls.Exit(False, data()))
        world.core.lifecycle.suspend(row, "for the test")
        world.core.lifecycle.resume(row)
        assert None is world.core.state.vats.get(row.id)


class TestLaunch:
    @pytest.mark.parametrize("culprit", "xyz")
    @pytest.mark.parametrize(
        "crime",
        [
            lambda d: syscalls.Outcome(fault="build_root_object raised"),
            lambda d: [syscalls.Exit(True, data())],
            lambda d: [send("o+0", "m", "p+1", slots=("o+5",)), send("o-999")],
        ],
    )
    def test_one_that_fails_leaves_nothing(self, culprit: Any, crime: Any) -> None:
        world = World("abc")
        world.run()
        before = {table: rows for table, rows in world.rows().items() if table not in ("counters", "vats")}
        vref = launch(world, "xyz", {culprit: crime})
        world.run()
        error = host_rejection(world, vref)
        assert isinstance(error, LaunchError)
        assert f"vats.{culprit}: " in str(error)
        assert before == {table: rows for table, rows in world.rows().items() if table not in ("counters", "vats")}
        assert ["host", "kernel", "v1", "v2", "v3"] == [row[0] for row in world.rows()["vats"]]

    def test_one_whose_bootstrap_is_rejected_leaves_nothing(self) -> None:
        world = World("a")
        world.run()
        before = world.count()
        no = data(ValueError("no"))
        vref = launch(
            world, "xy", {"x": lambda d: [resolve((d.result, no), rejected=True)] if messages([("", d)]) else []}
        )
        world.run()
        assert isinstance(host_rejection(world, vref), ValueError)
        after = world.count()
        assert before == after

    def test_one_whose_bootstrap_faults_leaves_its_dead_letter(self) -> None:
        world = World("a")
        world.run()
        before = world.count()
        vref = launch(world, "xy", {"x": lambda d: [send("o-999")] if messages([("", d)]) else []})
        world.run()
        assert isinstance(host_rejection(world, vref), DisconnectedError)
        assert before | {"dead_letters": 1, "objects": before["objects"] + 2, "counters": 7} == world.count()

    def test_one_interrupted_by_the_end_of_the_process_is_undone(self) -> None:
        world = World("a")
        world.run()
        before = world.count()
        launch(world, "xyz", {"x": lambda d: [] if messages([("", d)]) else [send("o+0", "m", "p+1", slots=("o+5",))]})
        for _ in range(4):
            world.step()
        world.restart()
        world.run()
        assert before == world.count()

    def test_one_that_waits_for_a_promise_it_follows_is_undone_alike(self) -> None:
        """Its result follows a promise of another vat, which goes on."""
        world = World("a")
        world.run()
        kref = world.core.between_cranks(lambda: world.core.lifecycle.keeper("v1").to_kernel("p+5"))
        launch(world, "x", {"x": lambda d: [syscalls.Forward(d.result, other(world))] if messages([("", d)]) else []})

        def other(world: World) -> str:
            return world.core.lifecycle.keeper("v2").to_vat(kref)

        world.run()
        assert 2 == len([row for row in world.rows()["promises"] if row[1] == "forwarded"])  # result and answer
        world.restart()
        world.run()
        assert ["v1"] == [row[0] for row in world.rows()["vats"] if row[0] not in (HOST, KERNEL)]

    def test_one_whose_answer_another_subcluster_decides_is_undone_without_harm_to_that(self) -> None:
        world = World("ab")
        world.run()
        root = world.core.state.vats[world.vats["b"]].root
        assert root is not None

        def pass_on(delivery: Any) -> list[syscalls.Syscall]:
            if not messages([("", delivery)]):
                return []
            return [send(world.core.lifecycle.keeper("v3").to_vat(root), "decide", delivery.result)]

        vref = launch(world, "x", {"x": pass_on})
        world.run()
        (row,) = world.core.state.launching.values()
        subcluster = world.core.state.subclusters[row]
        world.core.between_cranks(lambda: world.core.subclusters.terminate(subcluster))
        world.run()
        assert isinstance(host_rejection(world, vref), LaunchError)
        world.do("b", resolve((world.asked("b"), data("too late"))))
        assert [] == world.faults()

    def test_the_reason_is_in_the_log(self) -> None:
        world = World("a")
        world.run()
        launch(world, "x", {"x": lambda d: syscalls.Outcome(fault="build_root_object raised")})
        world.run()
        assert "build_root_object raised" in [
            e.text for e in world.effects if isinstance(e, Event) and e.kind == "fault"
        ]


def launch(world: World, names: str, scripts: dict[str, Any]) -> str:
    """Launch vats; the host's vref of the result."""
    specs = tuple(VatSpec(name, f"{name}.py", data({})) for name in names)
    row = world.core.between_cranks(lambda: world.core.subclusters.launch(LaunchSpec("more", data(), names[0], specs)))
    world.core.state.write()
    for name, vat in zip(names, world.backend.vats_of(row.id), strict=True):
        world.vats[name] = VatId(vat)
        if name in scripts:
            world.on(name, scripts[name])
    vref = world.core.between_cranks(lambda: world.core.lifecycle.keeper(HOST).to_vat(row.result))
    world.host(syscalls.Subscribe(vref))
    return host_kref(world, vref)


def host_rejection(world: World, kref: str) -> object:
    for delivery in world.host_deliveries():
        if isinstance(delivery, deliveries.Notify):
            for settlement in delivery.settlements:
                if settlement.promise == kref:
                    assert settlement.rejected
                    return value_of(settlement.data)
    raise AssertionError("the host was not told")
