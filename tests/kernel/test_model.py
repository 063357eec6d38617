"""The kernel against a naive model: a graph of who holds what, in which nothing is counted.

The model never looks at a count. What lives is found by walking from the vats along what they hold;
what a message does is found by following promises. After each rule the kernel has come to rest, and:

1. each delivery was one the model expected, to the vat it expected, under names that are its own;
2. `verify` finds nothing;
3. the objects and promises in the store are those the walk reaches.

`OCAP_EXAMPLES=500` runs that many examples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.refs import is_promise_vref, is_vat_allocated
from tests.kernel import puppet
from tests.kernel.fuzz import incoherences
from tests.kernel.puppet import World, data, reference

NAMES = "abc"


@define(eq=False)
class Thing:
    """An object: whose it is, None when nobody's any more."""

    owner: str | None
    durable: bool


@define(eq=False)
class Pledge:
    """A promise. `value` once it settled: (is an object, things); `after` while it follows another."""

    decider: str | None
    value: tuple[bool, list[Any]] | None = None
    rejected: bool = False
    after: Pledge | None = None
    waiting: list[str] = field(factory=list)  # methods of messages parked on it

    def end(self) -> Pledge:
        return self if self.after is None else self.after.end()


@define(eq=False)
class Letter:
    """A message that was sent."""

    target: Any
    args: list[Any]
    result: Pledge | None


@define
class Vat:
    """What a vat can name, and what it only recognises."""

    names: dict[str, Any] = field(factory=dict)
    faint: dict[str, Any] = field(factory=dict)
    subscribed: set[str] = field(factory=set)
    alive: bool = True
    runs: bool = True

    def name_of(self, it: Any) -> str | None:
        return next((vref for names in (self.names, self.faint) for vref, that in names.items() if that is it), None)


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.world = World(NAMES)
        self.world.run()
        self.vats = {name: Vat() for name in NAMES}
        self.roots = {name: Thing(name, durable=True) for name in NAMES}
        self.letters: dict[str, Letter] = {}
        self.expected: list[tuple[str, str]] = []
        self.fallen: list[Thing] = []  # targets of dead letters
        self.poked: set[str] = set()  # whose root the host holds
        self.numbers = 0
        for name in NAMES:
            self.vats[name].names["o+0"] = self.roots[name]
            for other in NAMES:
                if other != name:
                    self.vats[name].names[self.world.import_root(name, other)] = self.roots[other]
        for vat in self.world.vats.values():
            self.world.scripts[vat] = self.react

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.backend.close()
            puppet.worlds.clear()

    # ---- what a vat hears -----------------------------------------------------------------------

    def react(self, delivery: deliveries.Delivery) -> list[syscalls.Syscall]:
        name = self.world.seen[-1][0]
        vat = self.vats[name]
        assert vat.alive
        match delivery:
            case deliveries.Message():
                self.hear(name, vat, delivery)
            case deliveries.Notify():
                return self.learn(name, vat, delivery)
            case deliveries.DropExports(vrefs) | deliveries.RetireExports(vrefs):
                for vref in vrefs:
                    assert not any(vat.names[vref] in reach for reach in [self.reached()])
                    if isinstance(delivery, deliveries.RetireExports):
                        del vat.names[vref]
            case deliveries.RetireImports(vrefs):
                for vref in vrefs:
                    assert vat.faint.pop(vref).owner is None
            case deliveries.StartVat():
                vat.runs = True
        return self.subscriptions(name, vat)

    def hear(self, name: str, vat: Vat, message: deliveries.Message) -> None:
        letter = self.letters[message.method]
        assert (name, message.method) in self.expected, (name, message, self.expected)
        self.expected.remove((name, message.method))
        assert vat.names[message.target] is final_target(letter.target)
        for vref, it in zip(message.args.slots, letter.args, strict=True):
            self.introduce(vat, vref, it)
        if letter.result is not None:
            assert message.result is not None
            self.introduce(vat, message.result, letter.result)
            letter.result.decider = name
        del self.letters[message.method]

    def introduce(self, vat: Vat, vref: str, it: Any) -> None:
        """The kernel called `it` by `vref`: by its old name, or by one that is new."""
        known = vat.name_of(it)
        if known is not None:
            assert vref == known
        else:
            assert not is_vat_allocated(vref)
            assert vref not in vat.names
            assert vref not in vat.faint
        vat.faint.pop(vref, None)
        vat.names[vref] = it

    def learn(self, name: str, vat: Vat, notify: deliveries.Notify) -> list[syscalls.Syscall]:
        for settlement in notify.settlements:
            if settlement.promise not in vat.names:
                continue  # first named by what settled with it
            pledge = vat.names[settlement.promise]
            assert pledge.value is not None
        queue = list(notify.settlements)
        while queue:
            ready = [it for it in queue if it.promise in vat.names]
            assert ready, queue
            for settlement in ready:
                queue.remove(settlement)
                pledge = vat.names[settlement.promise]
                assert pledge.value is not None
                assert pledge.rejected is settlement.rejected
                for vref, it in zip(settlement.data.slots, pledge.value[1], strict=True):
                    self.introduce(vat, vref, it)
        for settlement in notify.settlements:
            del vat.names[settlement.promise]
            vat.subscribed.discard(settlement.promise)
        return self.subscriptions(name, vat)

    def subscriptions(self, name: str, vat: Vat) -> list[syscalls.Syscall]:
        """As liveslots, subscribe to each promise that another decides."""
        new = [
            vref
            for vref, it in vat.names.items()
            if is_promise_vref(vref) and it.decider != name and vref not in vat.subscribed
        ]
        vat.subscribed.update(new)
        return [syscalls.Subscribe(vref) for vref in new]

    # ---- what a vat does ------------------------------------------------------------------------

    def do(self, name: str, *calls: syscalls.Syscall) -> None:
        """The vat makes syscalls; then the kernel comes to rest."""
        self.vats[name].runs = True
        self.poked.add(name)
        self.world.do(name, *calls)
        for _ in range(20):  # a delivery may have named promises to subscribe to
            new = {other: self.subscriptions(other, it) for other, it in self.vats.items() if it.alive and it.runs}
            if not any(new.values()):
                break
            for other, them in new.items():
                if them:
                    self.poked.add(other)
                    self.world.do(other, *them)
        assert [] == self.expected

    def actor(self, draw: st.DataObject, names: list[str]) -> Any:
        """A vat that is to do something: what waits to be told to it is told first, as the kernel will."""
        name = self.pick(draw, names)
        if name is not None and not self.vats[name].runs:
            self.do(name)
        return name

    def fresh(self, vat: Vat, kind: str) -> str:
        self.numbers += 1
        return f"{kind}+{self.numbers}"

    def pick(self, draw: st.DataObject, options: list[Any]) -> Any:
        return draw.draw(st.sampled_from(options)) if options else None

    def living(self) -> list[str]:
        return [name for name, vat in self.vats.items() if vat.alive]

    def some_names(self, draw: st.DataObject, name: str) -> list[str]:
        """Things the vat can name, a new object among them perhaps."""
        vat = self.vats[name]
        found = draw.draw(st.lists(st.sampled_from(sorted(vat.names)), max_size=3, unique=True))
        kind = draw.draw(st.sampled_from(["", "", "heap", "durable"]))
        if kind:
            self.numbers += 1
            vref = f"o+{self.numbers}" if kind == "heap" else f"o+d1/{self.numbers}"
            vat.names[vref] = Thing(name, durable=kind == "durable")
            found.append(vref)
        return found

    @precondition(lambda self: self.living())
    @rule(draw=st.data(), asks=st.booleans())
    def send(self, draw: st.DataObject, asks: bool) -> None:
        name = self.actor(draw, self.living())
        vat = self.vats[name]
        target = self.pick(draw, sorted(vat.names))
        slots = self.some_names(draw, name)
        self.numbers += 1
        method, result = f"m{self.numbers}", None
        if asks:
            result = self.fresh(vat, "p")
            vat.names[result] = Pledge(None)
            vat.subscribed.add(result)
        letter = Letter(vat.names[target], [vat.names[vref] for vref in slots], vat.names[result] if result else None)
        self.letters[method] = letter
        self.route(method)
        self.do(name, syscalls.Send(target, method, data(slots=tuple(slots)), result))

    def route(self, method: str) -> None:
        """What is to become of a message."""
        letter = self.letters[method]
        where = letter.target
        if isinstance(where, Pledge):
            pledge = where.end()
            if pledge is letter.result:
                return self.splat(method, [])
            if pledge.value is None:
                pledge.waiting.append(method)
                return None
            if pledge.rejected or not pledge.value[0]:
                return self.splat(method, pledge.value[1] if pledge.rejected else [])
            where = pledge.value[1][0]
        if where.owner is None or not self.vats[where.owner].alive:
            return self.splat(method, [])
        self.expected.append((where.owner, method))
        return None

    def splat(self, method: str, things: list[Any]) -> None:
        letter = self.letters.pop(method)
        if letter.result is not None:
            self.settle(letter.result, (False, things), rejected=True)

    def settle(self, pledge: Pledge, value: tuple[bool, list[Any]], *, rejected: bool) -> None:
        pledge.value, pledge.rejected, pledge.decider, pledge.after = value, rejected, None, None
        waiting, pledge.waiting = pledge.waiting, []
        for follower in [it for it in self.pledges() if it.after is pledge]:
            self.settle(follower, value, rejected=rejected)
        for method in waiting:
            self.route(method)

    def pledges(self) -> list[Pledge]:
        return [it for it in self.everything() if isinstance(it, Pledge)]

    def decided(self, name: str) -> list[str]:
        return sorted(v for v, it in self.vats[name].names.items() if isinstance(it, Pledge) and it.decider == name)

    def deciders(self) -> list[str]:
        return [name for name in self.living() if self.decided(name)]

    @rule(draw=st.data())
    def promise(self, draw: st.DataObject) -> None:
        """A new promise, shown to another vat."""
        name = self.actor(draw, self.living())
        if name is None:
            return
        vat = self.vats[name]
        vref = self.fresh(vat, "p")
        vat.names[vref] = Pledge(name)
        self.numbers += 1
        target = self.pick(draw, sorted(v for v, it in vat.names.items() if isinstance(it, Thing)))
        method = f"m{self.numbers}"
        self.letters[method] = Letter(vat.names[target], [vat.names[vref]], None)
        self.route(method)
        self.do(name, syscalls.Send(target, method, data(slots=(vref,)), None))

    @precondition(lambda self: self.deciders())
    @rule(draw=st.data(), rejected=st.booleans(), single=st.booleans())
    def resolve(self, draw: st.DataObject, rejected: bool, single: bool) -> None:
        name = self.actor(draw, self.deciders())
        vat = self.vats[name]
        vref = self.pick(draw, self.decided(name))
        value: CapData
        if single:
            thing = self.pick(draw, sorted(v for v, it in vat.names.items() if isinstance(it, Thing)))
            slots, value = [thing], reference(thing)
        else:
            slots = self.some_names(draw, name)
            value = data(slots=tuple(slots))
        pledge, things = vat.names[vref], [vat.names[it] for it in slots]
        del vat.names[vref]
        vat.subscribed.discard(vref)
        self.settle(pledge, (single, things), rejected=rejected)
        self.do(name, syscalls.Resolve((Settlement(vref, rejected, value),)))

    @precondition(lambda self: self.deciders())
    @rule(draw=st.data())
    def forward(self, draw: st.DataObject) -> None:
        name = self.actor(draw, self.deciders())
        vat = self.vats[name]
        vref = self.pick(draw, self.decided(name))
        to = self.pick(draw, sorted(v for v, it in vat.names.items() if isinstance(it, Pledge)))
        pledge, other = vat.names.pop(vref), vat.names.get(to)
        other = pledge if other is None else other
        vat.subscribed.discard(vref)
        end = other.end()
        if end is pledge:
            self.settle(pledge, (False, []), rejected=True)
        elif end.value is not None:
            self.settle(pledge, end.value, rejected=end.rejected)
        else:
            pledge.decider, pledge.after = None, end
            waiting, pledge.waiting = pledge.waiting, []
            for method in waiting:
                self.route(method)
        self.do(name, syscalls.Forward(vref, to))

    def droppable(self, name: str) -> list[str]:
        return sorted(v for v in self.vats[name].names if v.startswith("o-"))

    @rule(draw=st.data(), retired=st.booleans())
    def drop(self, draw: st.DataObject, retired: bool) -> None:
        name = self.pick(draw, [it for it in self.living() if self.droppable(it)])
        if name is None:
            return
        vat = self.vats[name]
        vref = self.pick(draw, self.droppable(name))
        thing = vat.names.pop(vref)
        calls: list[syscalls.Syscall] = [syscalls.DropImports((vref,))]
        if retired:
            calls.append(syscalls.RetireImports((vref,)))
        else:
            vat.faint[vref] = thing
        self.do(name, *calls)

    @rule(draw=st.data())
    def retire(self, draw: st.DataObject) -> None:
        name = self.pick(draw, [it for it in self.living() if self.vats[it].faint])
        if name is None:
            return
        vref = self.pick(draw, sorted(self.vats[name].faint))
        del self.vats[name].faint[vref]
        self.do(name, syscalls.RetireImports((vref,)))

    # ---- what befalls a vat ---------------------------------------------------------------------

    def disconnect(self, name: str) -> None:
        """Its heap is gone: what it decided rejects, its heap's objects are nobody's, it awaits nothing."""
        vat = self.vats[name]
        vat.runs = False
        for vref in self.decided(name):
            self.settle(vat.names[vref], (False, []), rejected=True)
        for vref, it in list(vat.names.items()):
            if isinstance(it, Pledge):
                del vat.names[vref]
                vat.subscribed.discard(vref)
            elif it.owner == name and not it.durable:
                it.owner = None
                del vat.names[vref]

    @rule(draw=st.data())
    def fault(self, draw: st.DataObject) -> None:
        name = self.pick(draw, self.living())
        if name is None or self.world.core.state.vats[self.world.vats[name]].faults >= 2:
            return
        self.fallen.append(self.roots[name])
        self.disconnect(name)
        self.do(name, syscalls.Send("o-999", "crime", data()))
        self.vats[name].runs = False

    @rule(draw=st.data())
    def terminate(self, draw: st.DataObject) -> None:
        if len(self.living()) < 2 or draw.draw(st.integers(0, 3)):
            return
        name = self.pick(draw, self.living())
        vat = self.vats[name]
        row = self.world.core.state.vats[self.world.vats[name]]
        self.disconnect(name)
        vat.alive = False
        for it in vat.names.values():
            if isinstance(it, Thing) and it.owner == name:
                it.owner = None
        vat.names.clear()
        vat.faint.clear()
        self.world.core.between_cranks(lambda: self.world.core.lifecycle.terminate(row, "for the test"))
        self.world.run()
        assert [] == self.expected

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        self.world.restart(crash=crash)
        self.poked.clear()
        for name in self.living():
            if self.vats[name].runs:
                self.disconnect(name)
        # Each starts again when it is next needed; need them all, so that what is gone is seen to be.
        for name in self.living():
            self.do(name)

    # ---- what must hold -------------------------------------------------------------------------

    def everything(self) -> list[Any]:
        """All that somebody names, reaches or recognises."""
        return [*self.reached(), *(it for vat in self.vats.values() for it in vat.faint.values())]

    def reached(self) -> list[Any]:
        """Everything that can be reached, by walking."""
        found: dict[int, Any] = {}
        edge = list(self.starts())
        while edge:
            it = edge.pop()
            if id(it) in found:
                continue
            found[id(it)] = it
            if isinstance(it, Pledge):
                edge += it.value[1] if it.value is not None else []
                edge += [it.after] if it.after is not None else []
        return list(found.values())

    def starts(self) -> Iterator[Any]:
        yield from self.fallen
        yield from (self.roots[name] for name in self.poked)
        for name, vat in self.vats.items():
            if vat.alive:
                yield self.roots[name]
            for it in vat.names.values():
                if isinstance(it, Pledge) or it.owner != name:
                    yield it
        for letter in self.letters.values():
            yield letter.target
            yield from letter.args
            if letter.result is not None:
                yield letter.result

    @invariant()
    def the_books_are_right(self) -> None:
        if hasattr(self, "world"):
            assert [] == self.world.verify()
            assert [] == incoherences(self.world)

    @invariant()
    def what_lives_is_what_can_be_reached(self) -> None:
        if not hasattr(self, "world") or not all(vat.runs for vat in self.vats.values() if vat.alive):
            return
        rows = self.world.rows()
        everything = {id(it): it for it in self.everything()}.values()
        objects = [it for it in everything if isinstance(it, Thing)]
        pledges = [it for it in everything if isinstance(it, Pledge)]
        assert len(objects) == len(rows["objects"])
        assert len(pledges) == len(rows["promises"]) - 1, "but for the launch's"
        orphans = [row for row in rows["objects"] if row[1] is None]
        assert len([it for it in objects if it.owner is None]) == len(orphans)
        assert sorted(len(it.waiting) for it in pledges if it.waiting) == sorted(
            len([row for row in rows["queue"] if row[1] == place]) for place in {row[1] for row in rows["queue"]}
        )


def final_target(target: Any) -> Any:
    """Where a message to `target` arrives."""
    if isinstance(target, Pledge):
        assert target.value is not None
        return target.value[1][0]
    return target


def test_the_kernel_does_what_the_model_does() -> None:
    examples = int(os.environ.get("OCAP_EXAMPLES", "25"))
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
