"""Drives liveslots without a kernel: one vat by hand (`Puppet`), or several through a toy router (`Router`)."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from ocap.protocol import refs
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.deliveries import Delivery, Message, Notify, StartVat
from ocap.protocol.marshal import Decoder, PromiseLike, Remotable, encode
from ocap.protocol.syscalls import Forward, Outcome, Resolve, Send, Subscribe, Syscall
from vats.budget import Budget
from vats.liveslots import Liveslots
from vats.loader import VatSource


class Rows:
    """A vatstore in memory, with the checkpoints of the cranks that did not fault."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.reads = 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return self.rows.get(key)

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        return sorted(((k, v) for k, v in self.rows.items() if start <= k < end), reverse=reverse)[:limit]

    def apply(self, outcome: Outcome) -> None:
        if outcome.fault is None:
            for key, value in outcome.checkpoint:
                if value is None:
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = value


class Obj(Remotable):
    """A reference in the hands of the puppet."""

    def __init__(self, vref: str, interface: str = "Thing") -> None:
        self.vref = vref
        self.interface = interface

    def _interface_name(self) -> str:  # type: ignore[override]
        return self.interface

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Obj) and other.vref == self.vref

    def __hash__(self) -> int:
        return hash(self.vref)

    def __repr__(self) -> str:
        return self.vref


class Prom(PromiseLike):
    """A promise in the hands of the puppet."""

    def __init__(self, vref: str) -> None:
        self.vref = vref

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prom) and other.vref == self.vref

    def __hash__(self) -> int:
        return hash(self.vref)

    def __repr__(self) -> str:
        return self.vref


def data(value: Any) -> CapData:
    body, references = encode(value)
    slots: dict[str, None] = dict.fromkeys(r.vref for r in references)
    assert len(slots) == len(references), "use one Obj or Prom a vref"
    return CapData(body, tuple(slots))


def value_of(capdata: CapData) -> Any:
    return Decoder(Obj, Prom).decode(capdata)


def settled(vpid: str, value: Any) -> Settlement:
    return Settlement(vpid, isinstance(value, Exception), data(value))


class Puppet:
    """One vat, driven by hand.

    Attributes:
        outcome: what the latest crank did.
    """

    def __init__(self, build: Any, rows: Rows | None = None, budget: Budget | None = None) -> None:
        self.rows = rows or Rows()
        self.lines: list[str] = []
        self._build = build
        self._budget = budget or Budget()
        self._incarnation = -1
        self.outcome = Outcome()
        self.new_vat()

    def new_vat(self) -> None:
        self.vat = Liveslots("v1", self.rows, lambda: self._build, budget=self._budget, log=self.lines.append)

    def start(self, parameters: Any = None) -> Outcome:
        self._incarnation += 1
        return self.deliver(StartVat(self._incarnation, data(parameters or {})))

    def restart(self, build: Any = None) -> Outcome:
        self.vat.close()
        self._build = build or self._build
        self.new_vat()
        return self.start()

    def deliver(self, delivery: Delivery) -> Outcome:
        self.outcome = self.vat.deliver(delivery)
        self.rows.apply(self.outcome)
        return self.outcome

    def send(self, target: str, method: str, *args: Any, result: str | None = "p-1", **kwargs: Any) -> Outcome:
        return self.deliver(Message(target, method, data([list(args), kwargs]), result))

    def call(self, method: str, *args: Any, target: str = "o+0", **kwargs: Any) -> Any:
        """Send, and return the value that the crank resolved the result with, or raise its error."""
        outcome = self.send(target, method, *args, **kwargs)
        assert outcome.fault is None, outcome.fault
        for settlement in self.settlements():
            if settlement.promise == "p-1":
                value = value_of(settlement.data)
                if settlement.rejected:
                    raise value
                return value
        raise AssertionError(f"not answered: {outcome.syscalls}")

    def notify(self, vpid: str, value: Any) -> Outcome:
        return self.deliver(Notify((settled(vpid, value),)))

    def settlements(self) -> list[Settlement]:
        return [s for call in self.outcome.syscalls if isinstance(call, Resolve) for s in call.settlements]

    def sends(self) -> list[Send]:
        return [call for call in self.outcome.syscalls if isinstance(call, Send)]


def root_of(cls: Any) -> Any:
    """A `build_root_object` that makes a `cls` without arguments."""
    return lambda vat_powers, parameters, baggage: cls()


class _Promise:
    def __init__(self, decider: str | None) -> None:
        self.decider = decider
        self.settlement: Settlement | None = None
        self.subscribers: list[str] = []
        self.parked: list[Message] = []
        self.followers: list[str] = []


class Router:
    """A kernel without store, counts or faults: enough to run clusters in one process."""

    def __init__(self, sources: dict[str, tuple[Path, dict[str, Any]]]) -> None:
        self.queue: deque[tuple[str, Any]] = deque()
        self.vats: dict[str, Liveslots] = {}
        self.rows: dict[str, Rows] = {}
        self._sources: list[VatSource] = []
        self._krefs: dict[str, dict[str, str]] = {}
        self._vrefs: dict[str, dict[str, str]] = {}
        self._owners: dict[str, str] = {}
        self._promises: dict[str, _Promise] = {}
        self._count = 0
        self.cranks = 0
        for name, (path, parameters) in sources.items():
            source = VatSource(str(path), name)
            self._sources.append(source)
            self.rows[name] = Rows()
            self.vats[name] = Liveslots(name, self.rows[name], source, registry=source.registry)
            root = self._new("ko")
            self._krefs[name], self._vrefs[name] = {"o+0": root}, {root: "o+0"}
            self._owners[root] = name
            self._apply(name, self.vats[name].deliver(StartVat(0, data(parameters))))

    def root(self, name: str) -> str:
        return self._krefs[name]["o+0"]

    def run(self, bootstrap: str) -> Any:
        """Send `bootstrap(vats, {})` to the vat of that name; its settlement, when nothing is left to do."""
        result = self._new("kp")
        self._promises[result] = _Promise(None)
        vats = {name: Obj(self.root(name), name) for name in self.vats}
        self.queue.append(("send", Message(self.root(bootstrap), "bootstrap", data([[vats, {}], {}]), result)))
        while self.queue:
            self._step(*self.queue.popleft())
        settlement = self._promises[result].settlement
        assert settlement is not None, {name: vat.suspended for name, vat in self.vats.items()}
        value = Decoder(Obj, Prom).decode(settlement.data)
        if settlement.rejected:
            raise value
        return value

    def close(self) -> None:
        for vat in self.vats.values():
            vat.close()
        for source in self._sources:
            source.unload()

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _to_kref(self, vat: str, vref: str) -> str:
        kref = self._krefs[vat].get(vref)
        if kref is None:
            assert refs.is_vat_allocated(vref), f"{vat} named {vref}, which it does not hold"
            if refs.is_promise_vref(vref):
                kref = self._new("kp")
                self._promises[kref] = _Promise(vat)
            else:
                kref = self._new("ko")
                self._owners[kref] = vat
            self._krefs[vat][vref], self._vrefs[vat][kref] = kref, vref
        return kref

    def _to_vref(self, vat: str, kref: str) -> str:
        vref = self._vrefs[vat].get(kref)
        if vref is None:
            vref = refs.imported(refs.Kref(kref), int(kref[2:]))
            self._krefs[vat][vref], self._vrefs[vat][kref] = kref, vref
        return vref

    def _forget(self, vat: str, kref: str) -> None:
        vref = self._vrefs[vat].pop(kref)
        del self._krefs[vat][vref]

    def _inward(self, vat: str, capdata: CapData) -> CapData:
        return CapData(capdata.body, tuple(self._to_kref(vat, slot) for slot in capdata.slots))

    def _outward(self, vat: str, capdata: CapData) -> CapData:
        return CapData(capdata.body, tuple(self._to_vref(vat, slot) for slot in capdata.slots))

    def _apply(self, vat: str, outcome: Outcome) -> None:
        assert outcome.fault is None, outcome.fault
        self.cranks += 1
        self.rows[vat].apply(outcome)
        for call in outcome.syscalls:
            self._syscall(vat, call)

    def _syscall(self, vat: str, call: Syscall) -> None:
        match call:
            case Send():
                target = self._to_kref(vat, call.target)
                args = self._inward(vat, call.args)
                result = None if call.result is None else self._to_kref(vat, call.result)
                if result is not None:
                    promise = self._promises[result]
                    assert promise.decider == vat
                    promise.decider = None
                    promise.subscribers.append(vat)
                self.queue.append(("send", Message(target, call.method, args, result)))
            case Subscribe():
                kref = self._to_kref(vat, call.promise)
                promise = self._promises[kref]
                assert vat not in promise.subscribers, f"{vat} subscribes twice to {call.promise}"
                promise.subscribers.append(vat)
                if promise.settlement is not None:
                    self.queue.append(("notify", (vat, kref)))
            case Resolve():
                batch = [
                    Settlement(self._to_kref(vat, s.promise), s.rejected, self._inward(vat, s.data))
                    for s in call.settlements
                ]
                assert len({s.promise for s in batch}) == len(batch)
                for settlement in batch:
                    assert self._promises[settlement.promise].decider == vat
                    self._forget(vat, settlement.promise)
                for settlement in batch:
                    self._settle(settlement)
            case Forward():
                kref, to = self._to_kref(vat, call.promise), self._to_kref(vat, call.to)
                assert self._promises[kref].decider == vat
                self._promises[kref].decider = None
                self._forget(vat, kref)
                self._promises[to].followers.append(kref)
                reached = self._promises[to].settlement
                if reached is not None:
                    self._settle(Settlement(kref, reached.rejected, reached.data))
            case _:
                raise AssertionError(call)

    def _settle(self, settlement: Settlement) -> None:
        promise = self._promises[settlement.promise]
        promise.settlement = settlement
        promise.decider = None
        for vat in promise.subscribers:
            self.queue.append(("notify", (vat, settlement.promise)))
        self.queue.extend(("send", message) for message in promise.parked)
        for follower in promise.followers:
            self._settle(Settlement(follower, settlement.rejected, settlement.data))

    def _step(self, kind: str, item: Any) -> None:
        if kind == "notify":
            self._notify(*item)
            return
        message: Message = item
        target = message.target
        if target in self._promises:
            promise = self._promises[target]
            if promise.settlement is None:
                promise.parked.append(message)
                return
            if promise.settlement.rejected or not promise.settlement.data.is_single_reference():
                if message.result is not None:
                    error = data(TypeError(f"cannot send {message.method} to data"))
                    reason = promise.settlement.data if promise.settlement.rejected else error
                    self._settle(Settlement(message.result, True, reason))
                return
            target = promise.settlement.data.slots[0]
        vat = self._owners[target]
        result = None
        if message.result is not None:
            self._promises[message.result].decider = vat
            result = self._to_vref(vat, message.result)
        delivery = Message(self._to_vref(vat, target), message.method, self._outward(vat, message.args), result)
        self._apply(vat, self.vats[vat].deliver(delivery))

    def _notify(self, vat: str, kref: str) -> None:
        if kref not in self._vrefs[vat]:
            return
        batch: dict[str, Settlement] = {}
        pending = [kref]
        while pending:
            settlement = self._promises[pending.pop()].settlement
            if settlement is not None and settlement.promise not in batch:
                batch[settlement.promise] = settlement
                pending += [slot for slot in settlement.data.slots if slot in self._promises]
        delivery = Notify(
            tuple(
                Settlement(self._to_vref(vat, s.promise), s.rejected, self._outward(vat, s.data))
                for s in batch.values()
            )
        )
        for settled_kref in batch:
            self._forget(vat, settled_kref)
        self._apply(vat, self.vats[vat].deliver(delivery))
