"""GC actions: what vats are told of what others let go of, in which order, and when it is taken back."""

from __future__ import annotations

import sys

import pytest

from ocap.kernel.crank import Crank
from ocap.protocol import deliveries, syscalls
from ocap.protocol.deliveries import DropExports, RetireExports, RetireImports
from ocap.protocol.refs import HOST, VatId, sort_key
from tests.effort import Effort
from tests.kernel.puppet import Seen, World, args, data, host_kref, resolve, send


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


def let_go(world: World, name: str, vref: str) -> Seen:
    return world.do(name, syscalls.DropImports((vref,)), syscalls.RetireImports((vref,)))


def test_the_first_of_two_importers_to_drop_is_of_no_interest(world: World) -> None:
    in_b, in_c = world.introduce("a", "o+5", "b"), world.introduce("a", "o+5", "c")
    assert [] == let_go(world, "b", in_b)
    assert [("a", DropExports(("o+5",))), ("a", RetireExports(("o+5",)))] == let_go(world, "c", in_c)


def test_an_import_that_crosses_a_drop_keeps_the_object(world: World) -> None:
    in_b = world.introduce("a", "o+5", "b")
    seen = world.do("b", send(world.import_root("b", "c"), "take", slots=(in_b,)), syscalls.DropImports((in_b,)))
    assert [deliveries.Message] == [type(d) for _, d in seen]
    in_c = world.vref("c", world.kref("a", "o+5"))
    assert [("a", DropExports(("o+5",)))] == world.do(
        "c", syscalls.DropImports((in_c,)), syscalls.RetireImports((in_c,))
    )


def test_a_parked_message_holds_its_arguments(world: World) -> None:
    in_b = world.introduce("a", "o+5", "b")
    world.do("b", send(world.import_root("b", "c"), "get", "p+1"), send("p+1", "m", slots=(in_b,)))
    assert [] == let_go(world, "b", in_b)
    seen = world.do("c", resolve((world.asked("c"), data("no object"))))
    assert [("a", DropExports(("o+5",))), ("a", RetireExports(("o+5",)))] == seen[:2]


def test_exporting_again_takes_back_what_is_pending(world: World) -> None:
    """Between the drop's crank and the GC crank the exporter sends the object out again."""
    in_b = world.introduce("a", "o+5", "b")
    world.host(syscalls.Send(world.host_ref(world.vats["b"]), "go", args()))
    world.on("b", lambda d: [syscalls.DropImports((in_b,)), syscalls.RetireImports((in_b,))] if _is(d, "go") else [])
    world.step()
    kref, a = world.kref("a", "o+5"), world.vats["a"]
    assert [(a, "drop_export", kref), (a, "retire_export", kref)] == world.rows()["gc_actions"]
    world.core.between_cranks(lambda: world.core.counts.incref(kref))  # somebody reaches it again
    crank = world.core.next_crank()
    assert crank is not None
    assert (None, None) == (crank.vat, crank.delivery), "nobody is told, and that is a crank"
    assert None is world.core.next_crank()
    assert [] == world.rows()["gc_actions"]
    world.core.between_cranks(lambda: world.core.counts.decref(kref))
    assert [DropExports(("o+5",)), RetireExports(("o+5",))] == [d for _, d in world.run()]


def test_an_object_reached_again_after_its_drop_is_not_retired(world: World) -> None:
    in_b = world.introduce("a", "o+5", "b")
    # Told that nobody reaches it, a sends it out again in the very crank.
    world.on(
        "a", lambda d: [send(world.import_root("a", "c"), "take", slots=("o+5",))] if isinstance(d, DropExports) else []
    )
    seen = let_go(world, "b", in_b)
    assert [DropExports, deliveries.Message] == [type(d) for _, d in seen]
    assert (1, 1) == _counts(world, world.kref("a", "o+5"))


def test_batches_come_by_vat_in_numeric_order_drops_before_retirements() -> None:
    world = World("abcdefghijkl")
    world.run()
    owners = "bjkl"  # v2, v10, v11, v12
    held = [world.introduce(owner, f"o+{n}", "a") for n in (12, 9, 10) for owner in owners]
    seen = world.do("a", syscalls.DropImports(tuple(held)), syscalls.RetireImports(tuple(held)))
    expected = []
    for owner in owners:
        expected += [(owner, DropExports(("o+12", "o+9", "o+10"))), (owner, RetireExports(("o+12", "o+9", "o+10")))]
    assert expected == seen


def test_references_sort_by_kind_and_number() -> None:
    assert ["host", "ko2", "ko10", "kp1", "v2", "v10"] == sorted(
        ["v10", "kp1", "ko10", "v2", "host", "ko2"], key=sort_key
    )


class TestOrphans:
    def test_an_unreachable_orphan_is_retired_where_it_is_recognised(self, world: World) -> None:
        in_b, in_c = world.introduce("a", "o+5", "b"), world.introduce("a", "o+5", "c")
        kref = world.kref("a", "o+5")
        world.do("b", syscalls.DropImports((in_b,)))
        world.do("a", syscalls.AbandonExports(("o+5",)))
        assert [("b", RetireImports((in_b,)))] == world.do("c", syscalls.DropImports((in_c,)))[:1]
        assert [("c", RetireImports((in_c,)))] == [x for x in world.seen if isinstance(x[1], RetireImports)][-1:]
        assert None is world.core.state.objects.get(kref)

    def test_dropping_an_abandoned_object_tells_its_old_owner_nothing(self, world: World) -> None:
        in_b = world.introduce("a", "o+5", "b")
        world.do("a", syscalls.AbandonExports(("o+5",)))
        assert [] == let_go(world, "b", in_b)
        assert 0 == len([row for row in world.rows()["objects"] if row[1] is None])

    def test_an_importer_that_retires_before_it_is_told_does_no_harm(self, world: World) -> None:
        """Its syscalls of a crank begun before the orphan became unreachable may cross the news."""
        in_host = world.core.between_cranks(
            lambda: world.core.lifecycle.keeper(HOST).to_vat(_export(world, "a", "o+5"))
        )
        world.do("a", syscalls.AbandonExports(("o+5",)))
        world.host(syscalls.DropImports((in_host,)))
        world.host(syscalls.RetireImports((in_host,)))
        world.run()
        assert 0 == len([row for row in world.rows()["objects"] if row[1] is None])

    def test_an_importer_that_dies_before_it_is_told_does_no_harm(self, world: World) -> None:
        in_b = world.introduce("a", "o+5", "b")
        kref = world.kref("a", "o+5")
        world.do("b", syscalls.DropImports((in_b,)))
        lifecycle = world.core.lifecycle

        def change() -> None:
            keeper = lifecycle.keeper(world.vats["a"])
            entry = keeper.clist.by_kref(kref)
            assert entry is not None
            keeper.orphan(entry, world.core.state.objects[kref], "for the test")
            world.core.counts.settle_accounts()
            lifecycle.terminate(world.core.state.vats[world.vats["b"]], "for the test")

        world.core.between_cranks(change)
        world.run()
        assert None is world.core.state.objects.get(kref)
        assert None is world.core.state.vats.get(world.vats["b"])

    def test_an_importer_that_is_dead_already_is_told_nothing(self, world: World) -> None:
        in_b, in_c = world.introduce("a", "o+5", "b"), world.introduce("a", "o+5", "c")
        world.do("b", syscalls.DropImports((in_b,)))
        world.do("a", syscalls.AbandonExports(("o+5",)))
        world.host(syscalls.Send(world.host_ref(world.vats["c"]), "go", args()))
        world.on("c", lambda d: [syscalls.DropImports((in_c,))] if _is(d, "go") else [])
        lifecycle = world.core.lifecycle
        world.core.between_cranks(lambda: lifecycle.terminate(world.core.state.vats[world.vats["b"]], "for the test"))
        crank = world.core._queue_crank()  # before the cleanup of b had its turn
        assert crank is not None
        world.core.finish(crank, world.answer(crank))
        assert [world.vats["c"]] == [row[0] for row in world.rows()["gc_actions"]]


class TestHost:
    def test_the_host_is_told_of_its_exports(self, world: World) -> None:
        world.host(send(world.host_ref(world.vats["a"]), "take", slots=("o+5",)))
        world.run()
        in_a = world.vref("a", host_kref(world, "o+5"))
        let_go(world, "a", in_a)
        told = [type(d) for d in world.host_deliveries() if isinstance(d, DropExports | RetireExports)]
        assert [DropExports, RetireExports] == told

    def test_a_vat_is_told_what_the_host_drops(self, world: World) -> None:
        vref = world.core.between_cranks(lambda: world.core.lifecycle.keeper(HOST).to_vat(_export(world, "a", "o+5")))
        world.host(syscalls.DropImports((vref,)), syscalls.RetireImports((vref,)))
        assert [DropExports, RetireExports] == [type(d) for _, d in world.run()]


def test_a_vat_that_does_not_run_is_not_started_to_be_told(world: World) -> None:
    in_b = world.introduce("a", "o+d1/1", "b")
    a = world.vats["a"]
    world.core.between_cranks(lambda: world.core.end(a, "for the test"))
    assert [] == let_go(world, "b", in_b)
    seen = world.do("a")
    assert [deliveries.StartVat, DropExports, RetireExports] == [type(d) for _, d in seen]


def test_stale_news_of_a_vat_that_does_not_run_is_forgotten(world: World) -> None:
    in_b = world.introduce("a", "o+5", "b")
    world.core.between_cranks(lambda: world.core.running.discard(world.vats["a"]))
    let_go(world, "b", in_b)
    assert 2 == world.count()["gc_actions"]
    seen = world.do("a")  # its heap is gone, and o+5 with it
    assert [deliveries.StartVat] == [type(d) for _, d in seen]
    assert 0 == world.count()["gc_actions"]


def test_negated_news_does_not_stop_later_news(world: World) -> None:
    """A crank that is undone brings stale actions back: a later one about the same object must still be told."""
    in_b = world.introduce("a", "o+5", "b")
    kref = world.kref("a", "o+5")
    world.on("b", lambda d: [syscalls.DropImports((in_b,)), syscalls.RetireImports((in_b,))] if _is(d, "go") else [])
    world.host(syscalls.Send(world.host_ref(world.vats["b"]), "go", args()))
    world.step()
    world.core.between_cranks(lambda: world.core.counts.incref(kref))
    world.host(syscalls.Send(world.host_ref(world.vats["c"]), "crime", args()))
    world.on("c", lambda d: [send("o-999")] if _is(d, "crime") else [])
    world.run()
    world.core.between_cranks(lambda: world.core.counts.decref(kref))
    assert [DropExports, RetireExports] == [type(d) for _, d in world.run()]


def test_importers_are_all_who_hold_it(world: World) -> None:
    kref = _export(world, "a", "o+5")
    world.core.between_cranks(lambda: world.core.counts.incref(kref))
    world.core.state.write()
    assert ["v1"] == world.backend.importers(kref)  # the exporter's own entry
    for count, name in enumerate("bc", 2):
        world.introduce("a", "o+5", name)
        world.core.state.write()
        assert count == len(world.backend.importers(kref))
    world.core.between_cranks(lambda: world.core.counts.decref(kref))


def _export(world: World, name: str, vref: str) -> str:
    """The kref of an export that nobody holds yet."""
    return world.core.lifecycle.keeper(VatId(world.vats[name])).to_kernel(vref)


def _is(delivery: deliveries.Delivery, method: str) -> bool:
    return isinstance(delivery, deliveries.Message) and delivery.method == method


def _counts(world: World, kref: str) -> tuple[int, int]:
    row = world.core.state.objects[kref]
    return row.reachable, row.recognizable


def test_a_gc_crank_has_its_number_and_no_item(world: World) -> None:
    in_b = world.introduce("a", "o+5", "b")
    world.host(syscalls.Send(world.host_ref(world.vats["b"]), "go", args()))
    world.on("b", lambda d: [syscalls.DropImports((in_b,))] if _is(d, "go") else [])
    crank = world.step()
    found = world.core.next_crank()
    assert found is not None
    assert Crank(crank.number + 1, 0, VatId("v1"), DropExports(("o+5",)), None) == found
    world.core.finish(found, syscalls.Outcome())


def test_what_an_action_costs_does_not_depend_on_how_many_vats_or_objects_there_are() -> None:
    """Calls of functions, Python's and C's, and steps of SQLite's machine, from the drop to the end of the object."""
    found = []
    for count in (20, 1000):
        names = [f"n{number}" for number in range(count)]
        world = World(names)
        world.run()
        for number in range(count - 1):  # each holds something of the next one
            world.introduce(names[number + 1], "o+5", names[number])
        world.core.commit()
        spent, calls = Effort(), 0
        spent.watch(world.backend.connection)

        def called(*_: object) -> None:
            nonlocal calls
            calls += 1

        vref = world.vref(names[3], world.kref(names[4], "o+5"))
        sys.setprofile(called)
        try:
            seen = let_go(world, names[3], vref)
            world.core.commit()
        finally:
            sys.setprofile(None)
        assert [(names[4], DropExports(("o+5",))), (names[4], RetireExports(("o+5",)))] == seen
        found.append((calls, spent.steps))
    (few_calls, few_steps), (many_calls, many_steps) = found
    assert 0 < few_calls
    assert many_calls <= 1.1 * few_calls
    assert 0 < few_steps
    assert many_steps <= 1.1 * few_steps
