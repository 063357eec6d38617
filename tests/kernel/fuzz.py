"""Random syscalls of a vat, legal and not, and random schedules over them."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import attrs

from ocap.kernel.queue import weight_of
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData, Settlement
from tests.kernel.puppet import World, data, reference

FORGED = (
    "",
    "o",
    "ko1",
    "o-999",
    "p-999",
    "o+0",
    "p+0/1",
    "o+٣",
    "o+-1",
    "o+01",
    "o-1x",
    "o+9999999999999999999",
    "\ud800",
    "x" * 9000,
)


def slots(rng: Random, names: list[str]) -> tuple[str, ...]:
    return tuple(rng.sample(names, min(len(names), rng.choice((0, 0, 1, 2, 3)))))


class Puppeteer:
    """Makes up what vats do. It knows their clists, so that most of it is legal."""

    def __init__(self, world: World, seed: int, *, naughty: float = 0.02) -> None:
        self.world = world
        self.rng = Random(seed)
        self.naughty = naughty
        self.fuel = 60
        for name, vat in world.vats.items():
            world.scripts[vat] = partial(self.react, name)

    def names(self, name: str) -> list[str]:
        vrefs = self.query("SELECT vref FROM clist WHERE vat = ? AND reachable ORDER BY vref", name)
        return [*vrefs, f"o+{self.rng.randrange(1, 9)}", f"o+d1/{self.rng.randrange(1, 5)}"]

    def query(self, query: str, name: str) -> list[str]:
        self.world.core.state.write()
        return [row[0] for row in self.world.backend._db.execute(query, (self.world.vats[name],))]

    def decided(self, name: str) -> list[str]:
        query = """SELECT vref FROM clist JOIN promises ON promises.kref = clist.kref
            WHERE vat = ?1 AND decider = ?1 ORDER BY vref"""
        return self.query(query, name)

    def react(self, name: str, delivery: deliveries.Delivery) -> syscalls.Outcome:
        rng = self.rng
        calls: list[syscalls.Syscall] = list(self.world._subscriptions(self.world.vats[name], delivery))
        used: set[str] = set()
        for _ in range(rng.choice((0, 1, 1, 2, 4)) if self.fuel > 0 else 0):
            self.fuel -= 1
            made = self.call(name, used)
            if made is not None:
                calls.append(made)
        if self.fuel <= 0:
            calls += [syscalls.Resolve((settle(vref, data()),)) for vref in self.decided(name) if vref not in used]
        fault = "made up" if rng.random() < self.naughty / 2 else None
        if rng.random() < self.naughty:
            calls.insert(rng.randrange(len(calls) + 1), self.crime(name))
        checkpoint = ((bytes([rng.randrange(4)]), rng.choice((None, b"x", b"yy"))),) if rng.random() < 0.3 else ()
        return syscalls.Outcome(tuple(calls), checkpoint, fault)

    def call(self, name: str, used: set[str]) -> syscalls.Syscall | None:
        """Something legal, if the vat's earlier calls in this crank, by `used`, allow it."""
        rng = self.rng
        names = [vref for vref in self.names(name) if vref not in used]
        promises = [vref for vref in names if vref[0] == "p"]
        decided = [vref for vref in self.decided(name) if vref not in used]
        imports = [vref for vref in names if vref.startswith("o-")]
        match rng.choice(
            ("send",) * 6
            + ("resolve", "resolve", "forward", "forward", "drop", "retire", "subscribe", "keep", "give up")
        ):
            case "send":
                result = rng.choice((None, f"p+{self.fresh()}", *decided[:1]))
                target = rng.choice(names)
                if result is not None:
                    used.add(result)
                return syscalls.Send(target, f"m{self.fresh()}", data(slots=slots(rng, names)), result)
            case "resolve" if decided:
                vref = rng.choice(decided)
                used.add(vref)
                things = [thing for thing in names if thing[0] == "o"]
                value = reference(rng.choice(things)) if rng.random() < 0.4 else data(slots=slots(rng, names))
                return syscalls.Resolve((settle(vref, value, rejected=rng.random() < 0.2),))
            case "forward" if decided:
                vref = rng.choice(decided)
                used.add(vref)
                return syscalls.Forward(vref, rng.choice([*promises, f"p+{self.fresh()}"]))
            case "drop" if imports:
                vref = rng.choice(imports)
                used.add(vref)
                return syscalls.DropImports((vref,))
            case "retire":
                vrefs = self.dropped(name)
                if vrefs and (vref := rng.choice(vrefs)) not in used:
                    used.add(vref)
                    return syscalls.RetireImports((vref,))
            case "subscribe" if promises:
                return syscalls.Subscribe(rng.choice(promises))
            case "keep" if decided:
                return syscalls.Keep(rng.choice(decided), decision=True)
            case "keep":
                query = """SELECT vref FROM clist JOIN subscribers ON promise = kref AND subscriber = vat
                    WHERE vat = ? ORDER BY vref"""
                heard = [vref for vref in self.query(query, name) if vref not in used]
                if heard:
                    return syscalls.Keep(rng.choice(heard), decision=False)
            case "give up" if rng.random() < 0.3:
                held = [v for v in names if v.startswith("o+") and v != "o+0" and self.world.kref(name, v) is not None]
                if held:
                    vref = rng.choice(held)
                    used.add(vref)
                    return syscalls.AbandonExports((vref,))
        return None

    def dropped(self, name: str) -> list[str]:
        return self.query(
            "SELECT vref FROM clist WHERE vat = ? AND vref GLOB 'o-*' AND NOT reachable ORDER BY vref", name
        )

    def crime(self, name: str) -> syscalls.Syscall:
        rng = self.rng
        vref = rng.choice([*FORGED, *self.names(name), *self.dropped(name)])
        return rng.choice(
            (
                syscalls.Send(rng.choice(FORGED), "m", data()),
                syscalls.Send("o+0", "m", data(slots=(rng.choice(FORGED),))),
                syscalls.Resolve((settle(vref, data()),)),
                syscalls.Forward(vref, rng.choice(self.names(name))),
                syscalls.DropImports((vref, vref)),
                syscalls.RetireExports((vref,)),
                syscalls.Exit(rng.random() < 0.5, data()),
            )
        )

    def fresh(self) -> int:
        self.counter = getattr(self, "counter", 0) + 1
        return self.counter


def settle(vref: str, value: CapData, *, rejected: bool = False) -> Settlement:
    return Settlement(vref, rejected, value)


def incoherences(world: World) -> list[str]:
    """Where memory and store disagree once everything is written: nowhere, whatever happened before."""
    state, backend = world.core.state, world.backend
    state.write()
    found = []
    for name, table in state._tables.items():
        for key, row in table._rows.items():
            stored = backend.read_vatstore(*key) if name == "vatstore" else backend.load(name, key)
            if _plain(row) != _plain(stored):
                found.append(f"{name} {key}: {_plain(row)} in memory, {_plain(stored)} in the store")
    for vat, clist in state._clists.items():
        for column, index in (("kref", clist._by_kref), ("vref", clist._by_vref)):
            for ref, row in index.items():
                stored = backend.load_clist(vat, column, ref)
                if _plain(row) != _plain(stored):
                    found.append(f"{vat} {ref}: {_plain(row)} in memory, {_plain(stored)} in the store")
    for place, waiting in state.queue._places.items():
        entries = [] if waiting is None else list(waiting.entries)
        if waiting is state.queue._run:
            entries = sorted(state.queue._older + state.queue._returned + entries)
        if waiting is not None and waiting.weight != sum(weight_of(item) for _, item in entries):
            found.append(f"queue at {place!r}: its weight is {waiting.weight}")
        if entries != backend.load_place(place):
            found.append(f"queue at {place!r}: {entries} in memory, {backend.load_place(place)} in the store")
    for vat, kinds in state.gc._by_vat.items():
        told = {(kind, kref) for kind, krefs in kinds.items() for kref in krefs}
        if told != set(backend.gc_actions_of(vat)):
            found.append(f"gc actions of {vat}: {told} in memory, {backend.gc_actions_of(vat)} in the store")
    stored_counters = backend.load_counters()
    if state._counters != stored_counters:
        found.append(f"counters: {state._counters} in memory, {stored_counters} in the store")
    if list(world.core.lifecycle.dying) != backend.vats_in("terminated") and set(world.core.lifecycle.dying) != set(
        backend.vats_in("terminated")
    ):
        found.append(f"dying: {world.core.lifecycle.dying}")
    return found


def _plain(row: Any) -> Any:
    if not attrs.has(type(row)):
        return row
    return {
        **attrs.asdict(row, filter=lambda it, _: it.init),
        "subscribers": list(getattr(row, "subscribers", ())),
    }
