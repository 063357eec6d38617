"""Cycles across vats: found, taken away, and nothing else with them."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocap.kernel.items import PingVat
from ocap.protocol.deliveries import DropExports, ReportEdges
from ocap.protocol.errors import ObjectGoneError
from ocap.protocol.refs import ROOT
from ocap.protocol.syscalls import Outcome
from tests.collection.live import Live
from tests.effort import steps_of
from vats import Baggage, DurableExo, E, Exo, MapStore, SetStore, WeakSetStore, edges, make_promise_kit
from vats.edges import MANY


class Link(Exo):
    """One link of a ring; says what it holds."""

    def __init__(self) -> None:
        self.next: Any = None

    async def join(self, link: Any) -> None:
        self.next = link

    async def hops(self, count: int) -> int:
        left: int = count if self.next is None or count == 0 else await E(self.next).hops(count - 1)
        return left


class DurableLink(DurableExo):
    next: Any = None

    async def join(self, link: Any) -> None:
        self.next = link


class Entry(Exo):
    """All entries share a ledger, which has them all."""

    def __init__(self, ledger: dict[str, Any]) -> None:
        self.ledger = ledger
        ledger.setdefault("entries", []).append(self)


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.ledger: dict[str, Any] = {}
        self.links: list[Any] = []
        self.waiting: Any = None
        self.known: WeakSetStore[Any] = WeakSetStore()

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.vats = vats

    async def make(self) -> Link:
        return Link()

    async def make_durable(self) -> DurableLink:
        return DurableLink()

    async def ring(self, names: list[str], hold: bool, durable: bool = False) -> None:
        """A ring of one link in each of the named vats; `hold` keeps the first."""
        make = "make_durable" if durable else "make"
        links = [await getattr(E(self.vats[name]), make)() for name in names]
        for link, following in zip(links, links[1:] + links[:1], strict=True):
            await E(link).join(following)
        if hold:
            self.links.append(links[0])

    async def entries(self, count: int) -> list[Entry]:
        return [Entry(self.ledger) for _ in range(count)]

    async def enter(self, name: str, count: int) -> None:
        """Entries of another vat, whose ledger holds a link of ours in return, in which they are."""
        self.links = await E(self.vats[name]).entries(count)
        link = Link()
        link.next = [*self.links]
        await E(self.vats[name]).note(link)

    async def note(self, link: Any) -> None:
        self.ledger["link"] = link

    async def forget(self) -> None:
        self.ledger = {}

    async def fill(self, shape: str, count: int) -> None:
        """So many imports, exports, objects, rows without any reference, rows of imports, or of what is only recognised."""
        match shape:
            case "list":
                self.links = await E(self.vats["b"]).entries(count)
            case "exports":
                await E(self.vats["b"]).keep(await self.entries(count))
            case "chain":
                self.ledger = {}
                for _ in range(count):
                    self.ledger = {"next": self.ledger}
            case "store":
                self.baggage["rows"] = numbers = MapStore[int, int](durable=True)
                for number in range(count):
                    numbers[number] = number
            case "keys":
                self.baggage["rows"] = links = SetStore[Any](durable=True)
                for _ in range(count):
                    links.add(await E(self.vats["b"]).make())
            case "weak":
                self.baggage["rows"] = known = SetStore[Any](durable=True)
                for _ in range(count):
                    link = DurableLink()
                    known.add(link)
                    await E(self.vats["b"]).know(link)

    async def keep(self, links: list[Any]) -> None:
        self.links = links

    async def know(self, link: Any) -> None:
        self.known.add(link)

    async def iterate(self) -> None:
        await self.fill("store", 100)
        self.iteration = iter(self.baggage["rows"])
        next(self.iteration)

    async def walk(self, count: int) -> int:
        left: int = await E(self.links[0]).hops(count)
        return left

    async def let_go(self) -> None:
        self.links.clear()

    async def store_ring(self, names: list[str]) -> None:
        links = [await E(self.vats[name]).make_durable() for name in names]
        for link, following in zip(links, links[1:] + links[:1], strict=True):
            await E(link).join(following)
        self.baggage["ring"] = links[0]

    async def unstore(self) -> None:
        del self.baggage["ring"]

    async def wait_with(self, names: list[str]) -> None:
        """A suspended behaviour is all that holds a ring."""
        links = [await E(self.vats[name]).make() for name in names]
        for link, following in zip(links, links[1:] + links[:1], strict=True):
            await E(link).join(following)
        self.waiting = make_promise_kit()
        E.send_only(self).sleep(links[0], self.waiting.promise)

    async def sleep(self, link: Any, promise: Any) -> None:
        await promise
        await E(link).hops(3)

    async def wake(self) -> None:
        self.waiting.resolve(None)


NAMES = "abcdefghij"


def build(_powers: Any, _parameters: Any, baggage: Baggage) -> Root:
    return Root(baggage)


@pytest.fixture
def live() -> Iterator[Live]:
    world = Live(dict.fromkeys(NAMES, build))
    yield world
    world.close()


@pytest.mark.parametrize("size", range(2, 11))
def test_a_ring_through_vats_is_collected(live: Live, size: int) -> None:
    live.ask("a", "ring", list(NAMES[:size]), False)
    live.collect()
    assert live.objects() == size, "counting alone does not find it"
    live.collect(cycles=True)
    assert live.objects() == 0


def test_a_ring_that_somebody_holds_stays_and_works(live: Live) -> None:
    live.ask("a", "ring", list("bcd"), True)
    live.collect(cycles=True)
    assert live.objects() == 3
    assert live.ask("a", "walk", 7) == 0
    live.ask("a", "let_go")
    live.collect(cycles=True)
    assert live.objects() == 0


def test_only_the_dead_ring_of_two_goes(live: Live) -> None:
    live.ask("a", "ring", list("bc"), True)
    live.ask("a", "ring", list("bc"), False)
    live.collect(cycles=True)
    assert live.objects() == 2
    assert live.ask("a", "walk", 5) == 0


def test_what_hangs_off_a_ring_goes_with_it(live: Live) -> None:
    live.ask("a", "ring", list("bcbc"), False)
    live.collect(cycles=True)
    assert live.objects() == 0


def test_a_suspended_behaviour_holds_a_ring(live: Live) -> None:
    live.ask("a", "wait_with", list("bc"))
    live.collect(cycles=True)
    assert live.objects() >= 2
    live.ask("a", "wake")
    live.collect(cycles=True)
    assert live.objects() == 0


def test_a_ring_of_durable_objects_is_collected(live: Live) -> None:
    live.ask("a", "ring", list("abc"), False, True)
    live.collect(cycles=True)
    assert live.objects() == 0


def test_a_durable_ring_in_the_baggage_stays(live: Live) -> None:
    live.ask("a", "store_ring", list("bc"))
    live.collect(cycles=True)
    assert live.objects() == 2
    live.ask("a", "unstore")
    live.collect(cycles=True)
    assert live.objects() == 0


def test_what_the_host_holds_stays(live: Live) -> None:
    link = live.ask("b", "make")
    live.ask("a", "ring", list("bc"), False)
    live.core.cycles.start(live.core.running)
    live.run()
    assert live.ask_kref(link, "hops", 0) == 0


def test_a_message_during_the_search_saves_its_target(live: Live) -> None:
    live.ask("a", "ring", list("bc"), True)
    live.ask("a", "let_go")
    live.collect()
    assert live.objects() == 2
    links = live.backend.clist_rows(live.id_of("b"), "exports", -1)[1:]
    live.core.cycles.start(live.core.running)
    assert live.ask_kref(links[0], "hops", 4) == 0
    assert live.ask_kref(links[0], "hops", 4) == 0


def test_a_vat_that_does_not_run_holds_all_it_imports(tmp_path: Path) -> None:
    live = Live(dict.fromkeys("abc", build), tmp_path / "store.db")
    live.ask("a", "store_ring", list("bc"))
    live = live.reopen()
    live.ask("b", "make")
    live.collect(cycles=True)
    assert live.objects() == 2
    live.close()


def test_a_reference_to_what_was_taken_away_says_so(live: Live) -> None:
    """No search may take what is reachable; if a vat hides a reference, its messages fail in words."""
    live.ask("a", "ring", list("bc"), True)
    keeper = live.core.lifecycle.keeper(live.id_of("b"))
    kref = live.backend.clist_rows(live.id_of("b"), "exports", -1)[-1]
    row = keeper.clist.by_kref(kref)
    assert row is not None
    live.core.between_cranks(
        lambda: keeper.orphan(row, live.core.state.objects[kref], "it was part of a cycle that nothing reached")
    )
    with pytest.raises(ObjectGoneError, match="part of a cycle"):
        live.ask_kref(kref, "hops", 1)


def report_of(live: Live, name: str) -> list[tuple[str, tuple[str, ...]]]:
    """All parts of a vat's report."""
    vat = live.vats[live.id_of(name)]
    found: list[tuple[str, tuple[str, ...]]] = []
    is_unfinished = True
    while is_unfinished:
        outcome = vat.deliver(ReportEdges())
        found += outcome.edges
        is_unfinished = outcome.unfinished
    return found


@pytest.mark.parametrize("count", [10, 1000])
def test_what_many_share_is_told_once(live: Live, count: int) -> None:
    """A report is as long as the heap is large: paths to all entries lead from each of them."""
    live.ask("a", "enter", "b", count)
    live.let_go()
    live.run()
    report = report_of(live, "b")
    told = [name for _, names in report for name in names]
    assert count < len(told) < 3 * count + 10
    live.ask("a", "let_go")
    live.collect(cycles=True)
    assert count + 1 == live.objects(), "the ledger has them, and the link, which has them"
    live.ask("b", "forget")
    live.collect()
    assert count + 1 == live.objects()
    live.collect(cycles=True)
    assert live.objects() == 0


def test_a_long_list_is_told_in_parts(live: Live) -> None:
    live.ask("a", "enter", "b", 2 * MANY + 1)
    report = report_of(live, "a")
    parts = [len(names) for source, names in report if source == ROOT]
    assert parts == [MANY, MANY, max(parts[2:])]
    live.ask("a", "let_go")
    live.ask("b", "forget")
    live.collect(cycles=True)
    assert live.objects() == 0


def test_a_vat_tells_its_report_in_parts_and_runs_nothing_between_them(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages for others go meanwhile; what is for the vat itself waits, but for no longer than the report takes."""
    live.ask("a", "enter", "b", 500)
    in_small_steps(monkeypatch)
    reporter = live.id_of("a")
    seen: list[tuple[str, str]] = []
    live.core.cycles.start(live.core.running)
    while (crank := live.core.next_crank()) is not None:
        if crank.vat is None:
            continue
        assert crank.delivery is not None
        outcome = live.vats[crank.vat].deliver(crank.delivery)
        live.core.finish(crank, outcome)
        seen.append((crank.vat, type(crank.delivery).__name__))
        if (crank.vat, outcome.unfinished) == (reporter, True) and seen.count(seen[-1]) == 3:
            for name in "cab":
                live.ask_in_vain(name, "let_go", cranks=0)
    last = max(index for index, it in enumerate(seen) if it == (reporter, "ReportEdges"))
    assert seen.count((reporter, "ReportEdges")) > 10
    assert last > seen.index((live.id_of("c"), "Message")), "it went between two parts"
    assert last < seen.index((reporter, "Message")) < seen.index((live.id_of("b"), "Message")), "in the queue's order"


def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "STEP", 50)
    monkeypatch.setattr(edges, "GROUP", 10)


def test_a_delivery_between_two_parts_begins_a_new_report(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told of a heap that is another now would be half a truth."""
    live.ask("a", "enter", "b", 100)
    in_small_steps(monkeypatch)
    vat = live.vats[live.id_of("a")]

    def parts() -> int:
        count = 1
        while vat.deliver(ReportEdges()).unfinished:
            count += 1
        return count

    whole = parts()
    assert all(vat.deliver(ReportEdges()).unfinished for _ in range(3))
    vat.deliver(DropExports(("o+999",)))
    assert parts() == whole > 3


def test_pings_do_not_keep_a_report_from_its_end(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a supervisor that asks again and again."""
    live.ask("a", "enter", "b", 500)
    in_small_steps(monkeypatch)
    core, pinged = live.core, 0

    def ping() -> None:
        result = core.state.new_promise(None)
        core.counts.incref(result)
        core.state.queue.push(PingVat(live.id_of("a"), result, 0))

    core.cycles.start(core.running)
    while core.cycles.is_under_way:
        if core.cycles.reporting is not None:
            core.between_cranks(ping)
            pinged += 1
        live.crank()
        assert pinged < 2000
    assert pinged > 10


@pytest.mark.parametrize("shape", ["list", "chain", "store", "keys", "weak", "exports"])
def test_a_step_is_as_long_whatever_there_is_more_of(live: Live, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_steps(monkeypatch)

    vat = live.vats[live.id_of("a")]

    def longest() -> tuple[int, int]:
        """The instructions of the longest step, and how many steps there are."""
        outcomes: list[Outcome] = []
        efforts = [steps_of(lambda: outcomes.append(vat.deliver(ReportEdges())))]
        while outcomes[-1].unfinished:
            efforts.append(steps_of(lambda: outcomes.append(vat.deliver(ReportEdges()))))
        return max(efforts), len(efforts)

    live.ask("a", "fill", shape, 100)
    few, parts = longest()
    live.ask("a", "fill", shape, 1000)
    many, more_parts = longest()
    assert many < 2 * few
    assert more_parts < 15 * parts, "nor is any so short that it is mostly a crank"


def test_a_part_has_no_more_names_than_a_step_takes(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    live.ask("a", "enter", "b", 3 * MANY)
    in_small_steps(monkeypatch)
    vat, longest, is_unfinished = live.vats[live.id_of("a")], 0, True
    while is_unfinished:
        outcome = vat.deliver(ReportEdges())
        longest = max(longest, sum(len(names) for _, names in outcome.edges))
        is_unfinished = outcome.unfinished
    assert longest <= MANY + edges.STEP


def test_no_path_leads_through_liveslots_itself(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration over a store that a behaviour keeps leads to the tables of the whole kernel, if one follows it."""
    live.ask("a", "iterate")
    graphs: list[edges._Graph] = []
    walk = edges._Graph.walk

    def walked(graph: edges._Graph) -> Iterator[None]:
        graphs.append(graph)
        return walk(graph)

    monkeypatch.setattr(edges._Graph, "walk", walked)
    report_of(live, "a")
    modules = {type(it).__module__ for it in graphs[0]._objects.values()}
    assert not [it for it in modules if it.startswith("ocap.kernel")]


def test_the_number_of_parts_depends_on_no_hash_seed() -> None:
    """Other vats go on between them, so that it would reach what these ask of the kernel."""
    script = Path(__file__).with_name("parts.py")
    said = {
        subprocess.run(
            [sys.executable, script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(said) == 1


class Box:
    def __init__(self, content: Any) -> None:
        self.content = content


def test_objects_that_python_makes_during_a_report_are_no_fault(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dictionary of an object, say, which there is only from when somebody asks for it."""
    live.ask("a", "ring", ["b"], True)
    root = next(it for vref, it in live.vats[live.id_of("a")].slots.alive() if vref == ROOT)
    box = root.box = Box(root.links.pop())
    roots = edges._Graph._find_named_roots

    def roots_and_more(graph: edges._Graph) -> Any:
        assert len(gc.get_referents(box)) == 2, "the class and the content"
        assert box.__dict__.keys() == {"content"}
        assert any(it is box.__dict__ for it in gc.get_referents(box))
        return roots(graph)

    monkeypatch.setattr(edges._Graph, "_find_named_roots", roots_and_more)
    before = live.objects()
    live.collect(cycles=True)
    assert before == live.objects()
    root.links.append(box.content)
    assert live.ask("a", "walk", 5) == 0
