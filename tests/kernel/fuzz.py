"""Random syscalls of a vat, legal and not, and random schedules over them."""

from __future__ import annotations

from random import Random

from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from tests.kernel.puppet import World, data, reference

FORGED = ("", "o", "ko1", "o-999", "p-999", "o+0", "p+0/1", "o+٣", "o+-1", "o+01", "o-1x", "o+9999999999999999999", "\ud800", "x" * 9000)


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
            world.scripts[vat] = lambda delivery, name=name: self.react(name, delivery)

    def names(self, name: str) -> list[str]:
        self.world.core.state.write()
        query = "SELECT vref FROM clist WHERE vat = ? AND reachable"
        vrefs = [row[0] for row in self.world.backend._db.execute(query, (self.world.vats[name],))]
        return sorted(vrefs) + [f"o+{self.rng.randrange(1, 9)}", f"o+d1/{self.rng.randrange(1, 5)}"]

    def decided(self, name: str) -> list[str]:
        query = """SELECT vref FROM clist JOIN promises ON promises.kref = clist.kref
            WHERE vat = ?1 AND decider = ?1 ORDER BY vref"""
        return [row[0] for row in self.world.backend._db.execute(query, (self.world.vats[name],))]

    def react(self, name: str, delivery: deliveries.Delivery) -> syscalls.Outcome:
        rng = self.rng
        calls = list(self.world._subscriptions(self.world.vats[name], delivery))
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
        match rng.choice(("send",) * 6 + ("resolve", "resolve", "forward", "forward", "drop", "retire", "subscribe", "give up")):
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
            case "give up" if rng.random() < 0.3:
                held = [v for v in names if v.startswith("o+") and v != "o+0" and self.world.kref(name, v) is not None]
                if held:
                    vref = rng.choice(held)
                    used.add(vref)
                    return syscalls.AbandonExports((vref,))
        return None

    def dropped(self, name: str) -> list[str]:
        query = "SELECT vref FROM clist WHERE vat = ? AND vref GLOB 'o-*' AND NOT reachable ORDER BY vref"
        return [row[0] for row in self.world.backend._db.execute(query, (self.world.vats[name],))]

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


def settle(vref: str, value: CapData, *, rejected: bool = False) -> syscalls.Settlement:
    return syscalls.Settlement(vref, rejected, value)
