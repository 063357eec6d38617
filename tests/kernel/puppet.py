"""A kernel whose vats are puppets: the test says what each one does, in vrefs.

`World` drives the real core over a store in memory or in a file. A vat with a script (a callable
from delivery to syscalls) answers by itself; every delivery is recorded. As liveslots does, a puppet
subscribes to each promise it is introduced to. After each test `conftest` verifies every world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ocap.kernel.core import Core
from ocap.kernel.crank import Crank
from ocap.kernel.effects import Effect, Event, HostDelivery
from ocap.kernel.gc import REAP_AFTER
from ocap.kernel.items import Item
from ocap.kernel.lifecycle import VatSpec
from ocap.kernel.options import DEFAULT_OPTIONS, VatOptions
from ocap.kernel.rows import VatRow
from ocap.kernel.subclusters import LaunchSpec
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.marshal import Decoder, PromiseLike, Remotable, encode
from ocap.protocol.refs import HOST, Kref, VatId, is_promise_vref, is_vat_allocated
from ocap.store.marks import CLOCK
from ocap.store.rowmap import MAPPINGS
from ocap.store.sqlite import SqliteBackend
from ocap.verify import verify_connection

Seen = list[tuple[str, Any]]
"""Deliveries, and by its name the vat that got each."""

Script = Callable[[Any], "Iterable[syscalls.Syscall] | syscalls.Outcome"]


class Slot(Remotable):
    """Encodes as a reference to whatever slot text it carries."""

    def __init__(self, text: str) -> None:
        self.text = text


class PromiseSlot(PromiseLike):
    """Encodes as a promise of whatever slot text it carries."""

    def __init__(self, text: str) -> None:
        self.text = text


def whole(value: Any) -> CapData:
    """CapData of a value with `Slot`s and `PromiseSlot`s in it."""
    body, found = encode(value)
    return CapData(body, tuple([slot.text for slot in found]))


def call(target: str, method: str, *args: Any, result: str | None = None, **kwargs: Any) -> syscalls.Send:
    """A message with arguments that may have slots in them."""
    return syscalls.Send(target, method, whole([list(args), kwargs]), result)


def data(value: Any = None, *, slots: tuple[str, ...] = ()) -> CapData:
    """CapData of a plain value; its slots need not be used by the body."""
    return CapData(encode(value)[0], slots)


def reference(slot: str) -> CapData:
    """CapData of a single object reference."""
    return CapData(encode(Slot(slot))[0], (slot,))


def args(*values: Any, slots: tuple[str, ...] = ()) -> CapData:
    return data([list(values), {}], slots=slots)


def send(target: str, method: str = "m", result: str | None = None, slots: tuple[str, ...] = ()) -> syscalls.Send:
    return syscalls.Send(target, method, args(slots=slots), result)


def resolve(*pairs: tuple[str, CapData], rejected: bool = False) -> syscalls.Resolve:
    return syscalls.Resolve(tuple(Settlement(promise, rejected, value) for promise, value in pairs))


def value_of(capdata: CapData) -> Any:
    return Decoder(lambda slot, _: slot, lambda slot: slot).decode(capdata)


def _bootstrapped(delivery: deliveries.Delivery) -> Iterable[syscalls.Syscall]:
    """A vat without a script answers `bootstrap`, which concludes the launch, and nothing else."""
    if isinstance(delivery, deliveries.Message) and delivery.method == "bootstrap" and delivery.result is not None:
        yield resolve((delivery.result, data()))


def messages(seen: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """The messages among deliveries: to whom, and which method."""
    return [(name, delivery.method) for name, delivery in seen if isinstance(delivery, deliveries.Message)]


def told(seen: Iterable[tuple[str, Any]], name: str) -> list[Settlement]:
    """What `name` was notified of."""
    batches = [d.settlements for who, d in seen if who == name and isinstance(d, deliveries.Notify)]
    return [settlement for batch in batches for settlement in batch]


def rejection(seen: Iterable[tuple[str, Any]], name: str, vref: str) -> Any:
    """What `name` was told `vref` was rejected with."""
    (settlement,) = [settlement for settlement in told(seen, name) if settlement.promise == vref]
    assert settlement.rejected
    return value_of(settlement.data)


def host_kref(world: World, vref: str) -> str:
    """What the host's `vref` names."""
    row = world.core.state.clist(HOST).by_vref(vref)
    assert row is not None
    return row.kref


def fulfilment(seen: Iterable[tuple[str, Any]], name: str, vref: str) -> Any:
    """What `name` was told `vref` was fulfilled with; slots as their text."""
    (settlement,) = [settlement for settlement in told(seen, name) if settlement.promise == vref]
    assert not settlement.rejected, value_of(settlement.data)
    return value_of(settlement.data)


def still() -> float:
    """The time, which does not go on by itself: what the backend writes for the clock does not depend on the machine."""
    return 1e9


worlds: list[World] = []
"""Those of the current test."""


class World:
    """A core with puppets `v1`, `v2`… named a, b, c… or as given

    Args:
        options: of the vats that are not to have the usual ones, by name.
        vat_admin: whether the first vat gets the power to create vats; see `vat_admin`.
    """

    def __init__(
        self,
        names: Sequence[str] = "ab",
        *,
        path: Any = None,
        backend: SqliteBackend | None = None,
        options: Mapping[str, VatOptions] | None = None,
        vat_admin: bool = False,
        is_system: bool = False,
        reap_after: int = REAP_AFTER,
    ) -> None:
        self.path = path
        self.backend = backend or SqliteBackend(path, "none", still)
        self.core = Core(self.backend, traced=True, reap_after=reap_after)
        worlds.append(self)
        self.scripts: dict[str, Script] = {}
        self.seen: Seen = []
        self.effects: list[Effect] = []
        self.vats: dict[str, VatId] = {}
        if names:
            usual = dict(options or {})
            specs = tuple(VatSpec(it, f"{it}.py", data({}), usual.get(it, DEFAULT_OPTIONS)) for it in names)
            admin = "vat_admin" if vat_admin else None
            spec = LaunchSpec("test", CapData(b"\xf6"), names[0], specs, vat_admin=admin, is_system=is_system)
            self.core.between_cranks(lambda: self.core.subclusters.launch(spec))
            self.core.state.write()
            for name, vat in zip(names, self.backend.vats_in("new"), strict=True):
                self.vats[name] = VatId(vat)

    def row(self, name: str) -> VatRow:
        return self.core.state.vats[self.vats[name]]

    @property
    def vat_admin(self) -> str:
        """The first vat's vref for the power to create vats, as bootstrap gave it."""
        delivery = next(d for _, d in self.seen if isinstance(d, deliveries.Message) and d.method == "bootstrap")
        ((_, services), _) = value_of(delivery.args)
        vref: str = services["vat_admin"]
        return vref

    def ask(self, make: Callable[[Kref], Item]) -> str:
        """Queue an item as the host program does; the kref of its result, for `answer_to`."""

        def change() -> str:
            result = self.core.state.new_promise(None)
            self.core.counts.incref(result)
            self.core.state.queue.push(make(result))
            self.core.host_syscalls([syscalls.Subscribe(self.core.lifecycle.keeper(HOST).to_vat(result))])
            return result

        return self.core.between_cranks(change)

    def answer_to(self, kref: str) -> Any:
        """What the host was told of a promise: its value, or the error it was rejected with."""
        batches = [d.settlements for d in self.host_deliveries() if isinstance(d, deliveries.Notify)]
        (found,) = [it for batch in batches for it in batch if it.promise == kref]
        return value_of(found.data)

    def on(self, name: str, script: Script) -> None:
        self.scripts[self.vats[name]] = script

    def run(self, limit: int = 5000) -> Seen:
        """Step until there is nothing to do; what was delivered meanwhile, by vat name."""
        start = len(self.seen)
        for _ in range(limit):
            crank = self.core.next_crank()
            if crank is None:
                break
            if crank.vat is not None:
                self.core.finish(crank, self.answer(crank))
                if self.core.panic is not None:
                    break
        else:
            raise AssertionError("does not come to rest")
        self.effects += self.core.commit()
        return self.seen[start:]

    def step(self) -> Crank:
        """One crank, which there must be."""
        crank = self.core.next_crank()
        assert crank is not None
        if crank.vat is not None:
            self.core.finish(crank, self.answer(crank))
        return crank

    def answer(self, crank: Crank) -> syscalls.Outcome:
        assert crank.vat is not None
        assert crank.delivery is not None
        name = next((n for n, vat in self.vats.items() if vat == crank.vat), crank.vat)
        self.seen.append((name, crank.delivery))
        script = self.scripts.get(crank.vat, _bootstrapped)
        made = script(crank.delivery)
        if isinstance(made, syscalls.Outcome):
            return made
        return syscalls.Outcome((*self._subscriptions(crank.vat, crank.delivery), *(made or ())))

    def _subscriptions(self, vat: str, delivery: deliveries.Delivery) -> Iterable[syscalls.Subscribe]:
        bodies: tuple[CapData, ...] = ()
        match delivery:
            case deliveries.Message():
                bodies = (delivery.args,)
            case deliveries.Notify():
                bodies = tuple(settlement.data for settlement in delivery.settlements)
        for vref in dict.fromkeys(slot for body in bodies for slot in body.slots):
            if is_promise_vref(vref) and not is_vat_allocated(vref):
                row = self.core.state.clist(vat).by_vref(vref)
                if row is not None and self.core.state.promises[row.kref].decider != vat:
                    yield syscalls.Subscribe(vref)

    def asked(self, name: str) -> str:
        """The result of the last message that `name` got: a promise it decides."""
        for who, delivery in reversed(self.seen):
            if who == name and isinstance(delivery, deliveries.Message):
                assert delivery.result is not None
                return delivery.result
        raise AssertionError(f"{name} was asked nothing")

    def restart(self, *, crash: bool = False) -> None:
        """A new core over the same store: what a new process sees, after a crash only what was committed."""
        if not crash:
            self.effects += self.core.commit()
        if self.path is not None:
            self.backend.close()
            self.backend = SqliteBackend(self.path, "none", still)
        elif crash and self.backend._db.in_transaction:
            self.backend._db.execute("ROLLBACK")
        self.core = Core(self.backend, traced=True)

    def verify(self) -> list[str]:
        self.effects += self.core.commit()
        return [str(problem) for problem in verify_connection(self.backend._db)]

    def rows(self, *, without: Iterable[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
        """The whole store, table by table; but for what depends on the clock, which the core knows nothing of."""
        self.core.state.write()
        return {
            name: sorted(
                (row for row in self.backend._db.execute(f"SELECT * FROM {name}") if row[0] not in CLOCK), key=repr
            )
            for name in (*MAPPINGS, "subscribers")
            if name not in without
        }

    def count(self) -> dict[str, int]:
        """How many rows each table has."""
        return {name: len(rows) for name, rows in self.rows().items()}

    def do(self, name: str, *calls: syscalls.Syscall) -> Seen:
        """Have a vat make syscalls, on the occasion of an empty message, and run to rest."""
        vat = self.vats[name]
        self.host(syscalls.Send(self.host_ref(vat), "poke", args()))
        before = self.scripts.get(vat)

        def once(delivery: deliveries.Delivery) -> Iterable[syscalls.Syscall]:
            if isinstance(delivery, deliveries.Message) and delivery.method == "poke":
                self.seen.pop()
                self.scripts.pop(vat)
                if before is not None:
                    self.scripts[vat] = before
                return calls
            return before(delivery) if before is not None else ()  # type: ignore[return-value]

        self.scripts[vat] = once
        return self.run()

    def host(self, *calls: syscalls.Syscall) -> None:
        self.core.between_cranks(lambda: self.core.host_syscalls(calls))

    def host_ref(self, vat: str) -> str:
        """The host's vref for a vat's root."""
        root = self.core.state.vats[vat].root
        assert root is not None
        return self.core.between_cranks(lambda: self.core.lifecycle.keeper(HOST).to_vat(root))

    def kref(self, name: str, vref: str) -> Any:
        row = self.core.state.clist(self.vats[name]).by_vref(vref)
        return None if row is None else row.kref

    def vref(self, name: str, kref: str) -> Any:
        row = self.core.state.clist(self.vats[name]).by_kref(kref)
        return None if row is None else row.vref

    def introduce(self, owner: str, vref: str, to: str) -> str:
        """Give `to` a reference to an object or promise `owner` can name; the vref it gets."""
        self.do(owner, send(self.import_root(owner, to), "take", slots=(vref,)))
        kref = self.kref(owner, vref)
        assert kref is not None
        found: str | None = self.vref(to, kref)
        assert found is not None
        return found

    def import_root(self, importer: str, of: str) -> str:
        """`importer`'s vref for the root of `of`."""
        root = self.core.state.vats[self.vats[of]].root
        assert root is not None
        return self.core.between_cranks(lambda: self.core.lifecycle.keeper(self.vats[importer]).to_vat(root))

    def host_deliveries(self) -> list[deliveries.Delivery]:
        return [effect.delivery for effect in self.effects if isinstance(effect, HostDelivery)]

    def faults(self) -> list[str]:
        return [e.text or "" for e in self.effects if isinstance(e, Event) and e.kind == "fault"]
