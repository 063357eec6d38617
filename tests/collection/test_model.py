"""A model of who holds what, without a count in it, beside the real core and real liveslots.

Vats make objects, on the heap and durable ones, pass them on, let objects hold objects, promise and
settle, wait, lose their heaps, die. The model is a graph: holders and what they hold. After every
collection what no root of the graph leads to must be gone, from the kernel, the vats' stores and their
heaps, and whatever one leads to must answer.

One thing is left to fate where no cycles are searched for, as documentation says: rings that lead
through several vats, or through rows of one, and what hangs off them.

Long, as a model and the machine that compares it with the kernel are of no use without each other.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, cast
from weakref import WeakValueDictionary

import pytest
from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.collection.live import Live
from vats import Baggage, DurableExo, E, Exo, VirtualExo, WeakSetStore, edges, make_promise_kit
from vats import field as stored_field

NAMES = "abc"

HEAP: WeakValueDictionary[str, Any] = WeakValueDictionary()
"""Every heap object that is alive, by label: what Python itself says."""


# ---- the vats ---------------------------------------------------------------------------------


async def follow(holder: Any, path: list[str]) -> str:
    """The label at the end of a path of labels."""
    return str(await E(holder[path[0]]).ping(path[1:]))


class Node(Exo):
    def __init__(self, label: str) -> None:
        self.label = label
        self.held: dict[str, Any] = {}
        HEAP[label] = self

    async def keep(self, label: str, thing: Any) -> None:
        self.held[label] = thing

    async def release(self, label: str) -> None:
        del self.held[label]

    async def give(self, label: str) -> Any:
        return self.held[label]

    async def ping(self, path: list[str]) -> str:
        return await follow(self.held, path) if path else self.label


class OffHeapNode:
    """What is the same of both sorts."""

    label: str
    held: dict[str, Any]

    async def keep(self, label: str, thing: Any) -> None:
        self.held = {**self.held, label: thing}

    async def release(self, label: str) -> None:
        del self.held[label]

    async def give(self, label: str) -> Any:
        return self.held[label]

    async def ping(self, path: list[str]) -> str:
        return await follow(self.held, path) if path else self.label.removeprefix("label:").removesuffix(";")


class DurableNode(OffHeapNode, DurableExo):
    label: str
    held: dict[str, Any] = stored_field(factory=dict)


class VirtualNode(OffHeapNode, VirtualExo):
    label: str
    held: dict[str, Any] = stored_field(factory=dict)


def make_node(label: str, kind: str) -> Any:
    match kind:
        case "durable":
            return DurableNode(label=f"label:{label};")
        case "virtual":
            return VirtualNode(label=f"label:{label};")
    return Node(label)


class Root(Exo):
    """Does what the test says."""

    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.heap: dict[str, Any] = {}
        self.kits: dict[str, Any] = {}
        self.promises: dict[str, Any] = {}
        self.known: WeakSetStore[Any] = WeakSetStore()
        if "known" not in baggage:
            baggage["known"] = WeakSetStore(durable=True)

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        for name, vat in vats.items():
            await E(vat).meet({other: it for other, it in vats.items() if other != name})

    async def meet(self, peers: dict[str, Any]) -> None:
        self.baggage["peers"] = peers

    def peer(self, name: str) -> Any:
        return self.baggage["peers"].get(name, self)

    async def make(self, label: str, kind: str) -> Any:
        return make_node(label, kind)

    async def obtain(self, peer: str, label: str, kind: str) -> None:
        self.heap[label] = await E(self.peer(peer)).make(label, kind)

    async def obtain_with(self, peer: str, label: str, kind: str, held: str) -> None:
        """The object is told what to hold before it is known to exist."""
        promise = E(self.peer(peer)).make(label, kind)
        kept = E(promise).keep(held, self.heap[held])
        self.heap[label] = await promise
        await kept

    async def hold(self, label: str, thing: Any) -> None:
        self.heap[label] = thing

    async def introduce(self, peer: str, label: str) -> None:
        await E(self.peer(peer)).hold(label, self.heap[label])

    async def drop(self, label: str) -> None:
        del self.heap[label]

    async def store(self, label: str) -> None:
        self.baggage["x" + label] = self.heap[label]

    async def fetch(self, label: str) -> None:
        self.heap[label] = self.baggage["x" + label]

    async def unstore(self, label: str) -> None:
        del self.baggage["x" + label]

    async def recognise(self, label: str, durable: bool) -> None:
        self.store_of(durable).add(self.heap[label])

    async def unrecognise(self, label: str, durable: bool) -> None:
        self.store_of(durable).discard(self.heap[label])

    def store_of(self, durable: bool) -> WeakSetStore[Any]:
        known: WeakSetStore[Any] = self.baggage["known"] if durable else self.known
        return known

    async def put(self, holder: str, label: str) -> None:
        await E(self.heap[holder]).keep(label, self.heap[label])

    async def pull(self, holder: str, label: str) -> None:
        self.heap[label] = await E(self.heap[holder]).give(label)

    async def release(self, holder: str, label: str) -> None:
        await E(self.heap[holder]).release(label)

    # promises

    async def promise(self, name: str) -> None:
        self.kits[name] = make_promise_kit()
        self.promises[name] = self.kits[name].promise

    async def share(self, peer: str, name: str) -> None:
        await E(self.peer(peer)).take(name, [self.promises[name]])

    async def take(self, name: str, promise: list[Any]) -> None:
        self.promises[name] = promise[0]

    async def forget(self, name: str, kit: bool) -> None:
        del (self.kits if kit else self.promises)[name]

    async def settle(self, name: str, how: str, what: str) -> None:
        match how:
            case "fulfil":
                self.kits[name].resolve(self.heap[what])
            case "forward":
                self.kits[name].resolve(self.promises[what])
            case "reject":
                self.kits[name].reject(ValueError("no"))

    async def park(self, name: str, label: str) -> None:
        E.send_only(self.promises[name]).keep(label, self.heap[label])

    async def sleep(self, name: str, label: str) -> None:
        E.send_only(self).slumber([self.promises[name]], self.heap[label])

    async def slumber(self, promise: list[Any], thing: Any) -> None:
        with suppress(Exception):
            await promise[0]
        assert thing is not None

    async def ping(self, path: list[str]) -> str:
        if not path:
            return "root"
        where, label = path[0].split(":")
        match where:
            case "heap":
                thing = self.heap[label]
            case "stored":
                thing = self.baggage["x" + label]
            case _:
                thing = await self.promises[label]
        return str(await E(thing).ping(path[1:]))


def build(_powers: Any, _parameters: Any, baggage: Baggage) -> Root:
    return Root(baggage)


# ---- the model --------------------------------------------------------------------------------


@define(eq=False)
class Thing:
    label: str
    owner: str | None
    kind: str
    held: dict[str, Thing] = field(factory=dict)


@define(eq=False)
class Pledge:
    """A promise, its fate, and what waits for that."""

    label: str
    decider: str
    known: bool = False  # to the kernel: then who decides it keeps it while it is pending
    state: str = "pending"
    value: Thing | None = None
    after: Pledge | None = None
    parked: list[tuple[str, Thing]] = field(factory=list)
    sleepers: list[tuple[str, Thing]] = field(factory=list)

    def end(self) -> Pledge:
        return self if self.after is None else self.after.end()


@define(eq=False)
class Vat:
    alive: bool = True
    heap: dict[str, Thing] = field(factory=dict)
    stored: dict[str, Thing] = field(factory=dict)
    promises: dict[str, Pledge] = field(factory=dict)
    kits: dict[str, Pledge] = field(factory=dict)


Holder = Thing | Pledge
Index = st.integers(0, 999)
Kind = st.sampled_from(["heap", "durable", "virtual"])


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # What the examples before this one left, Hypothesis's own books above all, would be walked by
        # every collection of this one.
        gc.collect()
        gc.freeze()
        HEAP.clear()
        self.live = Live(dict.fromkeys(NAMES, build))
        self.vats = {name: Vat() for name in NAMES}
        self.pledges: list[Pledge] = []
        self.things: list[Thing] = []
        self.number = 0

    def teardown(self) -> None:
        try:
            self.check(cycles=True)
        finally:
            self.live.close()

    # ---- picking ------------------------------------------------------------------------------

    def pick_vat(self, index: int, has: Callable[[Vat], Any] = lambda _: True) -> str | None:
        names = [name for name, vat in self.vats.items() if vat.alive and has(vat)]
        return names[index % len(names)] if names else None

    def new_label(self) -> str:
        self.number += 1
        return f"n{self.number}"

    def do(self, name: str, ok: bool, method: str, *args: Any) -> None:
        """A root does something, and may do so only if the model says so."""
        if ok:
            assert self.live.ask(name, method, *args) is None
        else:
            self.fails(name, method, *args)

    def fails(self, name: str, method: str, *args: Any) -> None:
        try:
            self.live.ask(name, method, *args)
        except Exception:
            return
        raise AssertionError(f"{name} could {method} {args}")

    def new_thing(self, label: str, owner: str, kind: str) -> Thing:
        self.things.append(Thing(label, owner, kind))
        return self.things[-1]

    # ---- rules: objects -------------------------------------------------------------------------

    @initialize(kinds=st.lists(Kind, min_size=3, max_size=3))
    def begin(self, kinds: list[str]) -> None:
        """Something to start from."""
        for name, kind in zip(NAMES, kinds, strict=True):
            self.export(NAMES.index(name), NAMES.index(name) + 1, kind)

    @rule(x=Index, y=Index, kind=Kind)
    def export(self, x: int, y: int, kind: str) -> None:
        name, peer = self.pick_vat(x), self.pick_vat(y)
        if name is not None and peer is not None:
            label = self.new_label()
            self.vats[name].heap[label] = self.new_thing(label, peer, kind)
            self.do(name, True, "obtain", peer, label, kind)

    @rule(x=Index, y=Index, z=Index, kind=Kind)
    def pipeline(self, x: int, y: int, z: int, kind: str) -> None:
        name, peer = self.pick_vat(x, lambda vat: vat.heap), self.pick_vat(y)
        if name is not None and peer is not None:
            held, label = _nth(self.vats[name].heap, z), self.new_label()
            thing = self.vats[name].heap[label] = self.new_thing(label, peer, kind)
            ok = self.keep(thing, self.vats[name].heap[held])
            self.do(name, ok, "obtain_with", peer, label, kind, held)

    @rule(x=Index, y=Index, z=Index)
    def introduce(self, x: int, y: int, z: int) -> None:
        name, peer = self.pick_vat(x, lambda vat: vat.heap), self.pick_vat(y)
        if name is not None and peer is not None:
            label = _nth(self.vats[name].heap, z)
            self.vats[peer].heap[label] = self.vats[name].heap[label]
            self.do(name, True, "introduce", peer, label)

    @rule(x=Index, z=Index)
    def drop(self, x: int, z: int) -> None:
        name = self.pick_vat(x, lambda vat: vat.heap)
        if name is not None:
            label = _nth(self.vats[name].heap, z)
            del self.vats[name].heap[label]
            self.do(name, True, "drop", label)

    @rule(x=Index, keep=st.integers(0, 2))
    def drop_nearly_all(self, x: int, keep: int) -> None:
        """So that enough becomes garbage."""
        name = self.pick_vat(x, lambda vat: len(vat.heap) > 2)
        if name is not None:
            for label in list(self.vats[name].heap)[keep:]:
                del self.vats[name].heap[label]
                self.do(name, True, "drop", label)

    @rule(x=Index, z=Index)
    def store(self, x: int, z: int) -> None:
        name = self.pick_vat(x, lambda vat: vat.heap)
        if name is not None:
            label = _nth(self.vats[name].heap, z)
            thing = self.vats[name].heap[label]
            ok = self.is_storable(thing, name)
            if ok:
                self.vats[name].stored[label] = thing
            self.do(name, ok, "store", label)

    @rule(x=Index, z=Index)
    def fetch(self, x: int, z: int) -> None:
        name = self.pick_vat(x, lambda vat: vat.stored)
        if name is not None:
            label = _nth(self.vats[name].stored, z)
            self.vats[name].heap[label] = self.vats[name].stored[label]
            self.do(name, True, "fetch", label)

    @rule(x=Index, z=Index)
    def unstore(self, x: int, z: int) -> None:
        name = self.pick_vat(x, lambda vat: vat.stored)
        if name is not None:
            label = _nth(self.vats[name].stored, z)
            del self.vats[name].stored[label]
            self.do(name, True, "unstore", label)

    @rule(x=Index, z=Index, durable=st.booleans())
    def recognise(self, x: int, z: int, durable: bool) -> None:
        """A weak store holds nothing: the graph stays as it is."""
        name = self.pick_vat(x, lambda vat: vat.heap)
        if name is not None:
            label = _nth(self.vats[name].heap, z)
            ok = not durable or self.is_storable(self.vats[name].heap[label], name)
            self.do(name, ok, "recognise", label, durable)

    @rule(x=Index, z=Index, durable=st.booleans())
    def unrecognise(self, x: int, z: int, durable: bool) -> None:
        name = self.pick_vat(x, lambda vat: vat.heap)
        if name is not None:
            self.do(name, True, "unrecognise", _nth(self.vats[name].heap, z), durable)

    @rule(x=Index, y=Index, z=Index)
    def put(self, x: int, y: int, z: int) -> None:
        """An object comes to hold another: any ring is possible."""
        name = self.pick_vat(x, lambda vat: vat.heap)
        if name is not None:
            heap = self.vats[name].heap
            holder, label = _nth(heap, y), _nth(heap, z)
            self.do(name, self.keep(heap[holder], heap[label]), "put", holder, label)

    @rule(x=Index, y=Index, z=Index)
    def pull(self, x: int, y: int, z: int) -> None:
        name, holder = self.pick_holder(x, y)
        if name is not None:
            heap = self.vats[name].heap
            label = _nth(heap[holder].held, z)
            heap[label] = heap[holder].held[label]
            self.do(name, True, "pull", holder, label)

    @rule(x=Index, y=Index, z=Index)
    def release(self, x: int, y: int, z: int) -> None:
        name, holder = self.pick_holder(x, y)
        if name is not None:
            label = _nth(self.vats[name].heap[holder].held, z)
            del self.vats[name].heap[holder].held[label]
            self.do(name, True, "release", holder, label)

    def pick_holder(self, x: int, y: int) -> tuple[str | None, str]:
        name = self.pick_vat(x, lambda vat: any(it.held for it in vat.heap.values()))
        if name is None:
            return None, ""
        return name, _nth({label: it for label, it in self.vats[name].heap.items() if it.held}, y)

    def is_storable(self, thing: Thing, vat: str) -> bool:
        return thing.kind == "durable" or thing.owner != vat

    def keep(self, holder: Thing, thing: Thing) -> bool:
        """Whether `holder` takes `thing`."""
        ok = holder.owner is not None and (holder.kind != "durable" or self.is_storable(thing, holder.owner))
        if ok:
            holder.held[thing.label] = thing
        return ok

    # ---- rules: promises ------------------------------------------------------------------------

    @rule(x=Index)
    def promise(self, x: int) -> None:
        name = self.pick_vat(x)
        if name is not None:
            label = self.new_label()
            pledge = Pledge(label, name)
            self.pledges.append(pledge)
            self.vats[name].promises[label] = self.vats[name].kits[label] = pledge
            self.do(name, True, "promise", label)

    @rule(x=Index, y=Index, z=Index)
    def share(self, x: int, y: int, z: int) -> None:
        name, peer = self.pick_vat(x, lambda vat: vat.promises), self.pick_vat(y)
        if name is not None and peer is not None:
            label = _nth(self.vats[name].promises, z)
            pledge = self.vats[peer].promises[label] = self.vats[name].promises[label]
            if peer != name:
                pledge.end().known = True
            self.do(name, True, "share", peer, label)

    @rule(x=Index, z=Index, kit=st.booleans())
    def forget(self, x: int, z: int, kit: bool) -> None:
        which = "kits" if kit else "promises"
        name = self.pick_vat(x, lambda vat: getattr(vat, which))
        if name is not None:
            held = getattr(self.vats[name], which)
            label = _nth(held, z)
            del held[label]
            self.do(name, True, "forget", label, kit)

    @rule(x=Index, z=Index, w=Index, how=st.sampled_from(["fulfil", "reject", "forward"]))
    def settle(self, x: int, z: int, w: int, how: str) -> None:
        name = self.pick_vat(x, lambda vat: vat.kits)
        if name is None:
            return
        vat = self.vats[name]
        label = _nth(vat.kits, z)
        pledge = vat.kits[label]
        among: dict[str, Any] = {"": None}
        if how != "reject":
            among = {**vat.heap} if how == "fulfil" else {**vat.promises}
        if not among:
            return
        what = _nth(among, w)
        self.do(name, True, "settle", label, how, what)
        if pledge.state != "pending" or pledge.after is not None:
            return
        if how == "fulfil":
            self.fulfil(pledge, vat.heap[what])
        elif how == "reject" or (leader := vat.promises[what].end()) is pledge:
            self.settled(pledge, "rejected")
        elif leader.state == "fulfilled":
            assert leader.value is not None
            self.fulfil(pledge, leader.value)
        elif leader.state == "rejected":
            self.settled(pledge, "rejected")
        else:
            pledge.after = leader
            leader.known = leader.known or pledge.known
            leader.parked += pledge.parked
            leader.sleepers += pledge.sleepers
            pledge.parked, pledge.sleepers = [], []

    def fulfil(self, pledge: Pledge, value: Thing) -> None:
        parked = pledge.parked
        self.settled(pledge, "fulfilled", value)
        for _, thing in parked:
            self.keep(value, thing)

    def settled(self, pledge: Pledge, state: str, value: Thing | None = None) -> None:
        pledge.state, pledge.value = state, value
        pledge.parked, pledge.sleepers = [], []

    @rule(x=Index, z=Index, w=Index, asleep=st.booleans())
    def wait(self, x: int, z: int, w: int, asleep: bool) -> None:
        """A message to a promise, or a behaviour that awaits it, holds an object."""
        name = self.pick_vat(x, lambda vat: vat.promises and vat.heap)
        if name is None:
            return
        vat = self.vats[name]
        label, what = _nth(vat.promises, z), _nth(vat.heap, w)
        pledge = vat.promises[label].end()
        self.do(name, True, "sleep" if asleep else "park", label, what)
        if pledge.state == "pending":
            (pledge.sleepers if asleep else pledge.parked).append((name, vat.heap[what]))
        elif pledge.value is not None and not asleep:
            self.keep(pledge.value, vat.heap[what])

    # ---- rules: what befalls a vat ----------------------------------------------------------------

    def lose(self, name: str) -> None:
        """A heap is gone, and with it what only lived or was decided there."""
        vat = self.vats[name]
        for thing in self.things:
            if thing.owner == name and thing.kind != "durable":
                thing.owner = None
                thing.held.clear()
        vat.heap.clear()
        vat.promises.clear()
        vat.kits.clear()
        for pledge in self.pledges:
            if pledge.decider == name and pledge.state == "pending" and pledge.after is None:
                self.settled(pledge, "rejected")
            pledge.sleepers = [(who, thing) for who, thing in pledge.sleepers if who != name]

    @rule(x=Index)
    def stop(self, x: int) -> None:
        name = self.pick_vat(x)
        if name is not None:
            self.lose(name)
            self.live.stop(name)

    @rule(x=Index, cranks=st.integers(1, 6))
    def crash(self, x: int, cranks: int) -> None:
        """The process dies in the middle of something, of which nothing is left."""
        name = self.pick_vat(x)
        if name is not None:
            self.live.ask_in_vain(name, "obtain", NAMES[x % len(NAMES)], self.new_label(), "durable", cranks=cranks)
            for other in NAMES:
                self.lose(other)
            self.live.restart(crash=True)

    @rule()
    def restart(self) -> None:
        for name in NAMES:
            self.lose(name)
        self.live.restart()

    @rule(x=Index, luck=st.integers(0, 3))
    def terminate(self, x: int, luck: int) -> None:
        name = self.pick_vat(x)
        if name is not None and not luck and sum(vat.alive for vat in self.vats.values()) > 1:
            self.lose(name)
            for thing in self.things:
                if thing.owner == name:
                    thing.owner = None
                    thing.held.clear()
            self.vats[name].alive = False
            self.vats[name].stored.clear()
            self.live.terminate(name)

    # ---- what must hold -------------------------------------------------------------------------

    @rule(cycles=st.booleans(), step=st.sampled_from([1, edges.STEP]))
    def reap(self, cycles: bool, step: int) -> None:
        """Vats tell at once what leads to what, or little in each crank."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(edges, "STEP", step)
            self.check(cycles=cycles)

    def starts(self) -> Iterator[Holder]:
        for vat in self.vats.values():
            for among in (vat.heap, vat.stored, vat.promises, vat.kits):
                yield from cast("dict[str, Holder]", among).values()
        for pledge in self.pledges:
            if pledge.state == "pending":
                yield from (thing for _, thing in pledge.sleepers)
                if pledge.known or pledge.sleepers:  # who awaits it holds it, and with it what is parked there
                    yield pledge

    def check(self, *, cycles: bool) -> None:
        for name, vat in self.vats.items():
            if vat.alive:
                assert self.live.ask(name, "ping", []) == "root"
        self.live.collect(cycles=cycles)
        found = _closure(self.starts())
        reachable = {it.label: it for it in found if isinstance(it, Thing)}
        excused = self.excused(reachable, cycles=cycles)
        for place, labels in self.remains().items():
            assert set() == labels - reachable.keys() - excused, f"unreachable, and still in {place}"
        orphans = sum(it.owner is None for it in reachable.values())
        dead = sum(not vat.alive for vat in self.vats.values())
        if not excused:
            assert self.orphans() <= orphans + dead
        for name, path, thing in self.paths():
            if thing.owner is not None:
                assert self.live.ask(name, "ping", path) == thing.label
            else:
                self.fails(name, "ping", path)
        self.live.let_go()
        self.live.run()
        if not any(it.state == "pending" for it in self.pledges):
            (count,) = self.live.backend.connection.execute("SELECT count(*) FROM promises").fetchall()[0]
            assert count == 1, "the launch's own"

    def excused(self, reachable: Collection[str], *, cycles: bool) -> set[str]:
        """Garbage that may stay until cycles are searched for: rings through several vats or through rows."""
        if cycles:
            return set()
        garbage = [it for it in self.things if it.label not in reachable]
        rings = []
        for it in garbage:
            others = [it, *(other for other in _reached_from(it) if it in _reached_from(other))]
            if it in _reached_from(it) and any(other.kind != "heap" or other.owner != it.owner for other in others):
                rings.append(it)
        return {it.label for it in _closure(rings) if isinstance(it, Thing)}

    def remains(self) -> dict[str, set[str]]:
        """The labels of all objects that the kernel, the vats' stores and their heaps have, by place."""
        self.live.core.state.write()
        connection = self.live.backend.connection
        exports: set[str] = set()
        query = (
            "SELECT c.vat, c.vref FROM clist c JOIN objects o ON o.kref = c.kref AND o.owner = c.vat "
            "WHERE c.vref GLOB 'o+*' AND c.vref != 'o+0'"
        )
        for name, vref in connection.execute(query).fetchall():
            vat = self.live.vats[str(name)]
            row = vat.store.get(vat.store.key(b"s", str(vref)))
            exports.add(vat.slots.find(str(vref)).label if row is None else _label_in(row))
        rows = connection.execute("SELECT value FROM vatstore WHERE instr(value, CAST('label:n' AS BLOB))").fetchall()
        return {"the kernel": exports, "a vat's store": {_label_in(bytes(row)) for (row,) in rows}, "a heap": {*HEAP}}  # type: ignore[arg-type]

    def orphans(self) -> int:
        query = "SELECT count(*) FROM objects WHERE owner IS NULL"
        return int(str(self.live.backend.connection.execute(query).fetchall()[0][0]))

    def paths(self) -> list[tuple[str, list[str], Thing]]:
        """A way to each thing that messages can reach: whom to ask, and the labels from there."""
        seen: set[Thing] = set()
        ways: list[tuple[str, list[str], Thing]] = []
        for name, vat in self.vats.items():
            ways += [(name, [f"heap:{label}"], it) for label, it in vat.heap.items()]
            ways += [(name, [f"stored:{label}"], it) for label, it in vat.stored.items()]
            values = {label: it.end().value for label, it in vat.promises.items()}
            ways += [(name, [f"pledge:{label}"], it) for label, it in values.items() if it is not None]
        first = []
        for name, path, thing in ways:  # which grows meanwhile
            if thing not in seen:
                seen.add(thing)
                first.append((name, path, thing))
                ways += [(name, [*path, label], it) for label, it in thing.held.items()]
        return first


def _closure(starts: Iterable[Holder]) -> set[Holder]:
    found: set[Holder] = set()
    waiting = list(starts)
    while waiting:
        it = waiting.pop()
        if it in found:
            continue
        found.add(it)
        if isinstance(it, Thing):
            waiting += it.held.values()
        else:
            waiting += [thing for _, thing in it.parked]
            waiting += [] if it.value is None else [it.value]
            waiting += [] if it.after is None else [it.after]
    return found


def _reached_from(start: Thing) -> set[Thing]:
    """What a thing leads to, itself only if a ring does."""
    found: set[Thing] = set()
    waiting = [start]
    while waiting:
        for thing in waiting.pop().held.values():
            if thing not in found:
                found.add(thing)
                waiting.append(thing)
    return found


def _nth(among: dict[str, Any], index: int) -> str:
    labels = list(among)
    return labels[index % len(labels)]


def _label_in(row: bytes) -> str:
    found = re.search(rb"label:(n\d+);", row)
    return "" if found is None else found[1].decode()


# ---- the tests --------------------------------------------------------------------------------

PARTS = 4
"""So that several processes may share the thousand examples."""


def run_model(model: type[Model], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_what_is_reachable_lives_and_nothing_else() -> None:
    run_model(Model, 60, 30)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_reachable_lives_and_nothing_else_at_length(part: int) -> None:
    """A thousand examples of sixty steps. Hypothesis derives its choices from the name where it draws none."""
    run_model(type(f"Model{part}", (Model,), {}), 1000 // PARTS, 60)
