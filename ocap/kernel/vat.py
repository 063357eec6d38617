"""The kernel's view of one vat.

It translates between the vat's names and the kernel's, and handles the vat's syscalls.

Owns the clist of one vat. Every check of authority is here and raises `VatFault`: whatever a vat
names, it can only hurt itself.

Invariants:

1. A vref the vat does not hold names nothing: only `+` vrefs may be new.
2. Only the decider settles a promise, or sends a message with it as the result.
3. A dropped import is used again only after the kernel introduced it again.
"""

from __future__ import annotations

from attrs import define

from ocap.kernel.backlog import Backlog
from ocap.kernel.clist import Clist
from ocap.kernel.items import Send
from ocap.kernel.promises import Promises
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.rows import ClistRow, ObjectRow, PromiseRow, VatRow
from ocap.kernel.state import State
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.marshal import MAX_BODY, MAX_SLOTS, encode_error
from ocap.protocol.refs import (
    ROOT,
    Kref,
    Vref,
    imported,
    is_promise_kref,
    is_promise_vref,
    is_vat_allocated,
    is_well_formed_vref,
)

MAX_SYSCALLS = 50_000
"""Syscalls in one crank: a flood is a fault, not a full disk."""

MAX_METHOD = 1000
"""Characters of a method's name; all printable, as names stand in logs and in the store's text."""

MAX_CRANK_BYTES = 32 * 1024 * 1024
"""Bytes of bodies and vatstore writes in one crank."""


class VatFault(Exception):  # noqa: N818 - "vat fault" is the term; it never leaves the kernel core
    """The vat broke a rule: its crank is undone. Says what it did."""


@define(eq=False)
class VatKeeper:
    """One vat, as the kernel sees it."""

    row: VatRow
    clist: Clist
    _state: State
    _counts: Refcounts
    _promises: Promises
    _backlog: Backlog

    # ---- kernel to vat ----------------------------------------------------------------------

    def to_vat(self, kref: str) -> Vref:
        """The vat's name for `kref`; the vat is introduced to it if need be."""
        if self._state.crossed is not None:
            self._state.crossed.add(kref)
        row = self.clist.by_kref(kref)
        if row is None:
            number = self.row.next_import
            self._state.vats.edit(self.row.id, self.row).next_import = number + 1
            vref = imported(Kref(kref), number)
            self.clist.add(Kref(kref), vref)
            self._counts.incref(kref)
            return vref
        if not row.reachable:
            self.clist.set_reachable(row, True)
            if not is_vat_allocated(row.vref):
                self._counts.adjust(kref, +1, 0)
        return row.vref

    def data_to_vat(self, data: CapData) -> CapData:
        if not data.slots:
            return data
        return CapData(data.body, tuple([self.to_vat(kref) for kref in data.slots]))

    def message(self, target: str, item: Send) -> deliveries.Message:
        """The delivery of `item`; the vat becomes the decider of its result."""
        result = None
        if item.result is not None:
            self._promises.set_decider(self._state.promises[item.result], self.row.id)
            result = self.to_vat(item.result)
        return deliveries.Message(self.to_vat(target), item.method, self.data_to_vat(item.args), result)

    def notify(self, kref: str) -> tuple[list[Settlement], deliveries.Notify] | None:
        """Everything settled that a notify of `kref` brings along, in both names; None if unwanted.

        The batch is closed under reference, so a vat never waits for what is known already, and
        all of it leaves the clist: a settled promise is named once more at most.
        """
        if self.clist.by_kref(kref) is None:
            return None
        batch: dict[str, PromiseRow] = {}
        found = [kref]
        for kpid in found:
            promise = self._state.promises[kpid]
            if kpid not in batch and promise.data is not None:
                batch[kpid] = promise
                found.extend(slot for slot in promise.data.slots if is_promise_kref(slot))
        kernel_side, vat_side = [], []
        for kpid, promise in batch.items():
            assert promise.data is not None
            rejected = promise.state == "rejected"
            kernel_side.append(Settlement(kpid, rejected, promise.data))
            vat_side.append(Settlement(self.to_vat(kpid), rejected, self.data_to_vat(promise.data)))
        for promise in batch.values():
            self._retire_promise(promise)
        return kernel_side, deliveries.Notify(tuple(vat_side))

    def imports(self, after: str, limit: int) -> list[ClistRow]:
        """Reachable imports of objects, in the order of the text of their krefs."""
        self._state.write()
        found = map(self.clist.by_kref, self._state.backend.imports_after(self.row.id, after, limit))
        return [row for row in found if row is not None]

    def take_gc_action(self, kind: str, kref: str) -> Vref | None:
        """Do the kernel's part of a GC action; the vref to tell the vat, None if it is stale."""
        row, thing = self.clist.by_kref(kref), self._state.objects[kref]
        assert row is not None, (self.row.id, kref)
        if thing.reachable:
            return None
        match kind:
            case "drop_export" if row.reachable:
                self.clist.set_reachable(row, False)
            case "retire_export" if not row.reachable and not thing.recognizable:
                self._forget(row)
                self._state.objects.delete(kref)
            case "retire_import":
                self.leave_import(row)
            case _:
                return None
        return row.vref

    def _retire_promise(self, promise: PromiseRow) -> None:
        row = self.clist.by_kref(promise.kref)
        assert row is not None, (self.row.id, promise.kref)
        self.clist.remove(row)
        self._counts.release(promise)

    # ---- vat to kernel ----------------------------------------------------------------------

    def to_kernel(self, vref: str) -> Kref:
        """What `vref` names; a new `+` vref becomes an object or promise of this vat."""
        row = self.clist.by_vref(vref)
        if row is not None:
            if self._state.crossed is not None:
                self._state.crossed.add(row.kref)
            if not row.reachable:
                if not is_vat_allocated(vref):
                    raise VatFault(f"used {vref}, which it had dropped")
                self.clist.set_reachable(row, True)
            return row.kref
        if not is_well_formed_vref(vref):
            raise VatFault(f"named {vref!r:.80}, which is no vref")
        if not is_vat_allocated(vref) or vref == ROOT:
            raise VatFault(f"named {vref}, which it does not hold")
        if is_promise_vref(vref):
            kref = self._state.new_promise(self.row.id)
            self._counts.hold(self._state.promises[kref])
        else:
            kref = self._state.new_object(self.row.id)
            self._state.maybe_free[kref] = None
        self.clist.add(kref, Vref(vref))
        return kref

    def data_to_kernel(self, data: CapData) -> CapData:
        if not data.slots:
            return data
        return CapData(data.body, tuple([self.to_kernel(vref) for vref in data.slots]))

    # ---- syscalls -----------------------------------------------------------------------------

    def apply(
        self, calls: tuple[syscalls.Syscall, ...], trace: list[syscalls.Syscall] | None = None
    ) -> syscalls.Exit | None:
        """Do what the vat asks, in order.

        Args:
            calls: in the vat's names.
            trace: collects the same syscalls in the kernel's names, if given.

        Returns:
            The exit among them, if any, in the kernel's names.

        Raises:
            VatFault: an illegal syscall, or too many; what was applied must be rolled back.
        """
        check_budget(calls)
        leave: syscalls.Exit | None = None
        for call in calls:
            done: syscalls.Syscall | None
            match call:
                case syscalls.Send():
                    done = self._send(call, trace is not None)
                case syscalls.Resolve():
                    done = self._resolve(call, trace is not None)
                case syscalls.Subscribe():
                    promise = self._promise(call.promise)
                    self._promises.subscribe(promise, self.row.id)
                    done = syscalls.Subscribe(promise.kref)
                case syscalls.Forward():
                    done = self._forward(call)
                case syscalls.Keep():
                    done = self._keep(call)
                case syscalls.DropImports():
                    done = syscalls.DropImports(tuple(map(self._drop_import, call.vrefs)))
                case syscalls.RetireImports():
                    done = syscalls.RetireImports(tuple(map(self._retire_import, call.vrefs)))
                case syscalls.RetireExports():
                    done = syscalls.RetireExports(tuple(map(self._retire_export, call.vrefs)))
                case syscalls.AbandonExports():
                    done = syscalls.AbandonExports(tuple(map(self._abandon_export, call.vrefs)))
                case syscalls.Exit():
                    done = leave = leave or syscalls.Exit(call.is_failure, self.data_to_kernel(call.data))
                case _:
                    raise VatFault(f"made a syscall the kernel does not know: {call!r:.80}")
            if trace is not None and done is not None:
                trace.append(done)
        return leave

    def _send(self, call: syscalls.Send, traced: bool) -> syscalls.Send | None:
        if not 0 < len(call.method) <= MAX_METHOD or not call.method.isprintable():
            raise VatFault(f"sent {call.method!r:.80}, which is no name of a method")
        target = self.to_kernel(call.target)
        args = self.data_to_kernel(call.args)
        if self._backlog.is_full:
            return self._refuse(call, target, args)
        if call.result is None and self._backlog.is_full_before(target):
            # One with an answer is told when it gets there, if it must be.
            raise VatFault(f"sent {call.method}, which cannot be queued: {self._backlog.error_before(target)}")
        result = None
        if call.result is not None:
            promise = self._decided(call.result, "sent with the result", may_be_new=True)
            self._promises.set_decider(promise, None)
            self._promises.subscribe(promise, self.row.id)
            result = promise.kref
            self._counts.hold(promise)
        self._counts.incref(target)
        self._counts.incref_slots(args)
        self._state.queue.push(Send(target, call.method, args, result, self._state.crank))
        return syscalls.Send(target, call.method, args, result) if traced else None

    def _refuse(self, call: syscalls.Send, target: Kref, args: CapData) -> syscalls.Send:
        """The queue is full: who waits for the answer is told; if nobody does, the crank must not pass for done."""
        error = self._backlog.error()
        if call.result is None:
            raise VatFault(f"sent {call.method}, which cannot be queued: {error}")
        promise = self._decided(call.result, "sent with the result", may_be_new=True)
        self._promises.subscribe(promise, self.row.id)
        self._promises.settle(promise, True, encode_error(error))
        return syscalls.Send(target, call.method, args, promise.kref)

    def _resolve(self, call: syscalls.Resolve, traced: bool) -> syscalls.Resolve | None:
        # Data first: a promise may be mentioned by one settlement and settled by another.
        translated = [self.data_to_kernel(settlement.data) for settlement in call.settlements]
        done = []
        for settlement, data in zip(call.settlements, translated, strict=True):
            promise = self._decided(settlement.promise, "resolved")
            self._state.unsubscribe(promise, self.row.id)  # it knows
            self._promises.settle(promise, settlement.rejected, data)
            self._retire_promise(promise)
            if traced:
                done.append(Settlement(promise.kref, settlement.rejected, data))
        return syscalls.Resolve(tuple(done)) if traced else None

    def _forward(self, call: syscalls.Forward) -> syscalls.Forward:
        to = self._promise(call.to)
        promise = self._decided(call.promise, "forwarded")
        self._state.unsubscribe(promise, self.row.id)  # it will hear of the other
        self._promises.forward(promise, to)
        self._retire_promise(promise)
        return syscalls.Forward(promise.kref, to.kref)

    def _keep(self, call: syscalls.Keep) -> syscalls.Keep:
        promise = self._promise(call.promise)
        if call.decision and promise.decider != self.row.id:
            raise VatFault(f"kept the decision of {call.promise}, which it does not decide")
        if not call.decision and self.row.id not in promise.subscribers and promise.data is None:
            raise VatFault(f"kept its subscription to {call.promise}, to which it has none")
        row = self.clist.by_kref(promise.kref)
        assert row is not None
        self.clist.keep(row, decision=call.decision)
        return syscalls.Keep(promise.kref, call.decision)

    def _promise(self, vref: str) -> PromiseRow:
        kref = self.to_kernel(vref)
        if not is_promise_kref(kref):
            raise VatFault(f"used {vref}, an object, as a promise")
        return self._state.promises[kref]

    def _decided(self, vref: str, what: str, *, may_be_new: bool = False) -> PromiseRow:
        if not may_be_new and self.clist.by_vref(vref) is None:
            raise VatFault(f"{what} {vref!r:.80}, which it does not hold")
        promise = self._promise(vref)
        if promise.decider != self.row.id:
            raise VatFault(f"{what} {vref}, which it does not decide")
        return promise

    def _import(self, vref: str, what: str) -> ClistRow:
        row = self.clist.by_vref(vref)
        if row is None or is_vat_allocated(vref) or is_promise_vref(vref):
            raise VatFault(f"{what} {vref!r:.80}, which is no import it holds")
        return row

    def _export(self, vref: str, what: str) -> tuple[ClistRow, ObjectRow]:
        row = self.clist.by_vref(vref)
        if row is None or not is_vat_allocated(vref) or is_promise_vref(vref) or vref == ROOT:
            raise VatFault(f"{what} {vref!r:.80}, which is no export of its own")
        return row, self._state.objects[row.kref]

    def _drop_import(self, vref: str) -> Kref:
        row = self._import(vref, "dropped")
        if not row.reachable:
            raise VatFault(f"dropped {vref} twice")
        self.clist.set_reachable(row, False)
        self._counts.adjust(row.kref, -1, 0)
        return row.kref

    def _retire_import(self, vref: str) -> Kref:
        row = self._import(vref, "retired")
        if row.reachable:
            raise VatFault(f"retired {vref}, which it has not dropped")
        self.leave_import(row)
        return row.kref

    def _retire_export(self, vref: str) -> Kref:
        row, export = self._export(vref, "retired")
        if export.reachable:
            raise VatFault(f"retired {vref}, which others can still reach")
        return self.orphan(row, export, "its vat gave it up")

    def _abandon_export(self, vref: str) -> Kref:
        row, export = self._export(vref, "abandoned")
        return self.orphan(row, export, "its vat gave it up")

    def leave_import(self, row: ClistRow) -> None:
        """The vat holds it no more, in any way."""
        self._forget(row)
        self._counts.adjust(row.kref, -1 if row.reachable else 0, -1)

    def _forget(self, row: ClistRow) -> None:
        self.clist.remove(row)
        self._state.gc.discard(self.row.id, row.kref)

    def orphan(self, row: ClistRow, export: ObjectRow, why: str) -> Kref:
        """Take an object from its owner; who holds it keeps its identity and no more."""
        self._forget(row)
        self._state.objects.edit(export.kref, export)
        export.owner = None
        export.gone = export.gone or why  # one that was revoked stays so
        if export.reachable == 0:
            self._state.maybe_free[export.kref] = None
        return export.kref


def check_budget(calls: tuple[syscalls.Syscall, ...]) -> None:
    """Liveslots keeps these limits itself; a worker that is not ours may not."""
    if len(calls) > MAX_SYSCALLS:
        raise VatFault(f"made {len(calls)} syscalls in one crank, over the limit of {MAX_SYSCALLS}")
    total = 0
    for call in calls:
        for data in _bodies(call):
            if len(data.body) > MAX_BODY or len(data.slots) > MAX_SLOTS:
                raise VatFault(f"sent a body of {len(data.body)} bytes and {len(data.slots)} references")
            total += len(data.body)
    if total > MAX_CRANK_BYTES:
        raise VatFault(f"sent {total} bytes in one crank, over the limit of {MAX_CRANK_BYTES}")


def _bodies(call: syscalls.Syscall) -> tuple[CapData, ...]:
    match call:
        case syscalls.Send():
            return (call.args,)
        case syscalls.Resolve():
            return tuple([settlement.data for settlement in call.settlements])
        case syscalls.Exit():
            return (call.data,)
    return ()
