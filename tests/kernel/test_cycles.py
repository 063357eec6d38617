"""The kernel's half of the search for cycles: what vats report is all that it has to go by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocap.kernel import cycles
from ocap.kernel.cycles import BATCH
from ocap.kernel.items import UpgradeVat
from ocap.protocol import deliveries, syscalls
from ocap.protocol.syscalls import Outcome
from tests.kernel.puppet import World, data, messages, resolve, send

Edges = dict[str, tuple[str, ...]]


def reports(edges: Edges) -> Callable[[Any], Any]:
    """A vat that reports these edges, and gives up what it imported when the kernel takes an export away."""

    def script(delivery: Any) -> Any:
        if isinstance(delivery, deliveries.ReportEdges):
            return Outcome(edges=tuple(edges.items()))
        if isinstance(delivery, deliveries.RetireExports):
            gone = dict.fromkeys(name for vref in delivery.vrefs for name in edges.pop(vref, ()))
            held = {name for names in edges.values() for name in names}
            lost = tuple(name for name in gone if name not in held)
            return [syscalls.DropImports(lost), syscalls.RetireImports(lost)] if lost else []
        return []

    return script


def search(world: World) -> list[tuple[str, tuple[str, ...]]]:
    """Run a search to its end; which exports were taken from whom."""
    world.core.cycles.start(world.core.running)
    seen = world.run()
    return [(name, delivery.vrefs) for name, delivery in seen if isinstance(delivery, deliveries.RetireExports)]


def ring(world: World, names: str) -> dict[str, Edges]:
    """One object in each vat, each held by the one before; what each vat has to report."""
    edges: dict[str, Edges] = {}
    for name, holder in zip(names, names[-1:] + names[:-1], strict=True):
        edges.setdefault(holder, {})["o+5"] = (world.introduce(name, "o+5", holder),)
    for name in names:
        world.on(name, reports(edges[name]))
    return edges


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_a_ring_that_nothing_reaches_is_taken_away(world: World, names: str) -> None:
    before = len(world.rows()["objects"])
    ring(world, names)
    assert len(world.rows()["objects"]) == before + len(names)
    assert search(world) == [(name, ("o+5",)) for name in names]
    assert len(world.rows()["objects"]) == before


def test_what_a_vat_holds_by_itself_keeps_the_ring(world: World) -> None:
    edges = ring(world, "abc")
    edges["b"][""] = edges["b"]["o+5"]
    assert search(world) == []


def test_what_another_export_reaches_stays(world: World) -> None:
    """From a root: the host holds it, and it leads to the ring."""
    edges = ring(world, "ab")
    edges["a"]["o+0"] = edges["a"]["o+5"]
    assert search(world) == []
    del edges["a"]["o+0"]
    assert search(world) == [("a", ("o+5",)), ("b", ("o+5",))]


def test_a_vat_that_does_not_run_holds_all_it_imports(world: World) -> None:
    ring(world, "ab")
    world.core.between_cranks(lambda: world.core.end(world.vats["b"], "for the test"))
    world.restart()
    world.on("a", reports({"o+5": ("o-2",)}))
    world.do("a")
    assert search(world) == []


def test_a_vat_that_faults_when_asked_holds_all_it_imports(world: World) -> None:
    ring(world, "ab")
    sane = world.scripts[world.vats["b"]]

    def script(delivery: Any) -> Any:
        return Outcome(fault="no") if isinstance(delivery, deliveries.ReportEdges) else sane(delivery)

    world.on("b", script)
    assert search(world) == []


def test_names_that_a_vat_does_not_have_are_nobodys_business(world: World) -> None:
    """Forged sources and targets: they change nothing, in either direction."""
    edges = ring(world, "ab")
    edges["a"] |= {"o+77": edges["a"]["o+5"], "o-99": ("o-98",), "nonsense": ("", "o+5")}
    edges["a"][""] = ("o-99", "kp1", "ko1")
    assert search(world) == [("a", ("o+5",)), ("b", ("o+5",))]
    assert world.faults() == []


def test_a_path_may_lead_through_what_only_the_report_names(world: World) -> None:
    """Shared by several exports: told once, by a name of the report's own."""
    edges = ring(world, "ab")
    held = edges["a"].pop("o+5")
    edges["a"] |= {"o+5": ("#0",), "": ("#1",), "#1": ("#0",), "#0": held}
    assert search(world) == []
    del edges["a"][""]
    assert search(world) == [("a", ("o+5",)), ("b", ("o+5",))]


def test_two_vats_may_use_the_same_names_for_what_is_theirs(world: World) -> None:
    edges = ring(world, "ab")
    edges["b"] |= {"": ("#0",), "#0": ()}
    edges["a"] = edges["a"] | {"#0": edges["a"]["o+5"]}
    world.on("a", reports(edges["a"]))
    assert search(world) == [("a", ("o+5",)), ("b", ("o+5",))]


def in_parts(edges: Edges) -> Callable[[Any], Any]:
    """A vat that reports one edge at a time, again and again."""
    parts: list[tuple[str, tuple[str, ...]]] = []

    def script(delivery: Any) -> Any:
        if not isinstance(delivery, deliveries.ReportEdges):
            return []
        parts[:] = parts or edges.items()
        return Outcome(edges=(parts.pop(0),), unfinished=bool(parts))

    return script


def test_a_report_told_in_parts_counts_when_it_is_whole(world: World) -> None:
    edges = ring(world, "ab")
    edges["a"] = {"o+0": (), "": edges["a"]["o+5"], "o+5": ()}
    world.on("a", in_parts(edges["a"]))
    assert search(world) == []
    del edges["a"][""]
    assert search(world) == [("a", ("o+5",)), ("b", ("o+5",))]


def test_a_vat_that_faults_in_the_middle_of_its_report_holds_all_it_imports(world: World) -> None:
    ring(world, "ab")
    told = iter([Outcome(edges=(("", ()),), unfinished=True), Outcome(fault="no")])
    world.on("b", lambda delivery: next(told) if isinstance(delivery, deliveries.ReportEdges) else [])
    assert search(world) == []
    assert next(told, None) is None


def test_what_is_for_a_vat_waits_while_it_reports(world: World) -> None:
    """And what is for others goes, as long as it is not behind that."""
    edges = ring(world, "ab")
    world.on("b", in_parts({"": (), "o+0": (), **edges["b"], "o+7": (), "o+8": ()}))
    world.core.cycles.start(world.core.running)
    while world.core.cycles.reporting is None:
        world.step()
    for name, method in [("a", "first"), ("b", "second"), ("c", "third")]:
        world.host(send(world.host_ref(world.vats[name]), method))
    seen = world.run()
    went = [(name, type(delivery).__name__) for name, delivery in seen]
    messages_went = [("b", "Message"), ("c", "Message")]
    assert went[:8] == [("a", "Message"), *[("b", "ReportEdges")] * 4, ("c", "ReportEdges"), *messages_went]
    assert [method for _, method in messages(seen)] == ["first", "second", "third"]


def test_a_notification_waits_while_its_vat_reports(world: World) -> None:
    edges = ring(world, "ab")
    world.do("b", send(world.import_root("b", "c"), "ask", "p+1"))
    (asked,) = [it.result for name, it in world.seen if name == "c" and isinstance(it, deliveries.Message)]
    world.on("b", in_parts({"": (), "o+0": (), **edges["b"], "o+7": (), "o+8": (), "o+9": ()}))
    world.on("c", lambda it: [resolve((str(asked), data()))] if messages([("", it)]) else [])
    world.core.cycles.start(world.core.running)
    while world.core.cycles.reporting is None:
        world.step()
    world.host(send(world.host_ref(world.vats["c"]), "answer"))
    went = [(name, type(delivery).__name__) for name, delivery in world.run()]
    assert went[0] == ("c", "Message"), "which answers b"
    assert went[1:7] == [*[("b", "ReportEdges")] * 5, ("c", "ReportEdges")]
    assert ("b", "Notify") in went[7:]


def endless(delivery: Any) -> Any:
    return Outcome(unfinished=True) if isinstance(delivery, deliveries.ReportEdges) else []


def test_a_report_without_end_is_a_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles, "MAX_PARTS", 20)
    world.on("b", endless)
    world.core.cycles.start(world.core.running)
    while world.core.cycles.reporting is None:
        world.step()
    for name in "bc":
        world.host(send(world.host_ref(world.vats[name]), "hello"))
    seen = world.run()
    assert messages(seen) == [("b", "hello"), ("c", "hello")]
    assert len([1 for name, delivery in seen if (name, type(delivery)) == ("b", deliveries.ReportEdges)]) == 20
    assert ["its report of what leads to what has no end"] == world.faults()


def test_collection_that_waited_for_a_report_is_done_when_its_vat_is_gone(world: World) -> None:
    held = world.introduce("b", "o+5", "c")
    world.on("a", endless)
    world.core.cycles.start({world.vats["a"]})
    world.step()
    world.on("c", lambda _: [syscalls.DropImports((held,)), syscalls.RetireImports((held,))])
    world.host(send(world.host_ref(world.vats["c"]), "drop"))
    world.step()
    assert world.core.collector.is_due
    world.core.between_cranks(lambda: world.core.end(world.vats["a"], "for the test"))
    world.run()
    assert not world.core.collector.is_due
    assert world.kref("b", "o+5") is None


def test_parts_of_an_incarnation_that_ended_do_not_count(world: World) -> None:
    edges = ring(world, "ab")
    told = edges["b"]["o+5"]
    world.on("b", lambda _: Outcome(edges=(("", told),), unfinished=True))  # its heap holds the ring
    world.core.cycles.start(world.core.running)
    while world.core.cycles.reporting is None:
        world.step()
    world.core.between_cranks(lambda: world.core.end(world.vats["b"], "for the test"))
    world.on("b", reports({"o+0": ()}))  # that of the next one does not
    world.host(send(world.host_ref(world.vats["b"]), "wake"))
    taken = [name for name, delivery in world.run() if isinstance(delivery, deliveries.RetireExports)]
    assert "a" in taken


def test_a_failed_upgrade_between_two_parts_loses_none(world: World) -> None:
    edges = ring(world, "ab")
    old = in_parts({"": edges["b"]["o+5"], "o+0": (), "o+5": (), "o+7": ()})
    world.on("b", lambda it: Outcome(fault="no") if isinstance(it, deliveries.StartVat) else old(it))
    world.core.cycles.start(world.core.running)
    while world.core.cycles.reporting is None:
        world.step()
    world.ask(lambda result: UpgradeVat(world.vats["b"], None, None, result, 0))
    seen = world.run()
    assert [name for name, delivery in seen if isinstance(delivery, deliveries.StartVat)] == ["b"]
    assert not [name for name, delivery in seen if isinstance(delivery, deliveries.RetireExports)]


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_vat_that_is_terminated_after_it_reported_hurts_nobody(world: World, is_whole: bool) -> None:
    edges = ring(world, "ab")
    world.on("b", in_parts({"": (), **edges["b"]}))
    world.core.cycles.start(world.core.running)
    while world.core.cycles.reporting is None:
        world.step()
    if is_whole:
        world.step()
    row = world.core.state.vats[world.vats["b"]]
    world.core.between_cranks(lambda: world.core.lifecycle.terminate(row, "for the test"))
    world.run()
    assert not world.core.cycles.is_under_way
    assert world.kref("a", "o+5") is None


def test_a_vat_whose_incarnation_ends_in_the_middle_of_its_report_holds_up_nobody(world: World) -> None:
    ring(world, "ab")
    world.on("b", lambda delivery: Outcome(unfinished=isinstance(delivery, deliveries.ReportEdges)))
    world.core.cycles.start(world.core.running)
    while world.core.cycles.reporting is None:
        world.step()
    world.core.between_cranks(lambda: world.core.end(world.vats["b"], "for the test"))
    world.on("b", in_parts({"": ()}))
    world.host(send(world.host_ref(world.vats["b"]), "wake"))
    assert ("b", "wake") in messages(world.run())
    assert not world.core.cycles.is_under_way


def test_what_an_export_leads_to_may_be_told_in_parts(world: World) -> None:
    edges = ring(world, "ab")
    others = [world.introduce("c", f"o+{number}", "a") for number in range(6, 9)]
    parts: list[tuple[str, list[str]]] = [
        ("", others[:1]),
        ("", [*others[1:2], *edges["a"]["o+5"]]),
        ("", others[2:]),
        ("o+5", []),
    ]
    world.on("a", lambda delivery: Outcome(edges=tuple((name, tuple(names)) for name, names in parts)))
    assert search(world) == []


def test_a_vat_that_reports_nothing_loses_what_only_it_held(world: World) -> None:
    """What it does not report it does not keep; what others hold is none of its business."""
    edges = ring(world, "ab")
    kept = world.introduce("a", "o+6", "c")
    world.on("c", reports({"": (kept,)}))
    edges["a"]["o+6"] = ()
    edges["b"].clear()
    assert search(world) == [("a", ("o+5",)), ("b", ("o+5",))], "the second by counting, as it is held no longer"
    assert world.core.state.objects.get(world.kref("a", "o+6")) is not None


def test_a_message_between_the_reports_saves_what_it_names(world: World) -> None:
    ring(world, "ab")
    world.core.cycles.start(world.core.running)
    world.step()
    target = world.kref("a", "o+5")
    to_a = world.core.between_cranks(lambda: world.core.lifecycle.keeper("host").to_vat(target))
    world.host(send(to_a, "wake"))
    seen = world.run()
    assert ("a", "wake") in messages(seen)
    assert not [it for it in seen if isinstance(it[1], deliveries.RetireExports)]


def test_an_object_made_during_the_search_stays(world: World) -> None:
    ring(world, "ab")
    world.core.cycles.start(world.core.running)
    world.step()
    kref = None

    def born(delivery: Any) -> Any:
        return [send(world.import_root("c", "a"), "take", slots=("o+9",))] if messages([("", delivery)]) else []

    world.on("c", born)
    world.host(send(world.host_ref(world.vats["c"]), "give"))
    world.run()
    kref = world.kref("c", "o+9")
    assert world.core.state.objects.get(kref) is not None


def test_very_many_are_taken_in_batches_between_which_messages_go(world: World) -> None:
    count = 2 * BATCH + 10
    names = tuple(f"o+{number}" for number in range(10, 10 + count))
    for start in range(0, count, 100):
        world.do("a", send(world.import_root("a", "b"), "take", slots=names[start : start + 100]))
    imports = {name: world.vref("b", world.kref("a", name)) for name in names}
    world.introduce("b", "o+5", "a")
    back = world.vref("a", world.kref("b", "o+5"))
    world.on("a", reports(dict.fromkeys(names, (back,))))
    world.on("b", reports({"o+5": tuple(imports.values())}))
    world.core.cycles.start(world.core.running)
    sizes = [len(d.vrefs) for _, d in world.run() if isinstance(d, deliveries.RetireExports)]
    assert max(sizes) <= BATCH
    assert sum(sizes) == count + 1


def test_what_is_gone_meanwhile_ends_no_taking(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole batch may be no garbage any more: what comes behind it still is."""
    monkeypatch.setattr(cycles, "BATCH", 1)
    names = tuple(f"o+{number}" for number in range(10, 13))
    held = {name: world.introduce("a", name, "b") for name in names}
    back = world.introduce("b", "o+5", "a")
    world.on("a", reports(dict.fromkeys(names, (back,))))
    world.on("b", reports({"o+5": tuple(held.values())}))
    world.core.cycles.start(world.core.running)
    while not world.core.cycles._garbage:
        world.step()
    keeper = world.core.lifecycle.keeper(world.vats["a"])
    export = world.core.state.objects[world.kref("a", "o+10")]
    row = keeper.clist.by_kref(export.kref)
    assert row is not None
    world.core.between_cranks(lambda: keeper.orphan(row, export, "for the test"))
    taken = [(name, it.vrefs) for name, it in world.run() if isinstance(it, deliveries.RetireExports)]
    assert taken[:3] == [("a", ("o+11",)), ("a", ("o+12",)), ("b", ("o+5",))]


def test_two_searches_at_once_are_one(world: World) -> None:
    ring(world, "ab")
    world.core.cycles.start(world.core.running)
    world.step()
    world.core.cycles.start(world.core.running)
    asked = [name for name, delivery in world.run() if isinstance(delivery, deliveries.ReportEdges)]
    assert asked == ["b", "c", "a", "b", "c"], "once each, and once more as something was taken"


def test_a_search_ends_with_the_process(world: World) -> None:
    ring(world, "ab")
    world.core.cycles.start(world.core.running)
    world.step()
    world.restart()
    assert not world.core.cycles.is_under_way
    world.run()
