"""Vats and subclusters come and go: launch, a new incarnation, a fault, termination, cleanup.

Owns the states of vats and subclusters. Whatever ends an incarnation (restart, fault, the end of
the process) ends it in one way, `end_incarnation`: the kernel disconnects it, no vat code runs.

Invariants:

1. A launch is whole or not: until bootstrap has answered, its failure or the death of the process
   takes the subcluster and its vats away again.
2. Who waits for an answer from an incarnation that ended is told so, with the reason.
3. Termination is immediate for others; what the vat leaves behind goes in budgeted cranks.
"""

from __future__ import annotations

from attrs import frozen

from ocap.kernel.items import CreateVat, Send
from ocap.kernel.promises import Promises
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.rows import SubclusterRow, VatRow
from ocap.kernel.state import State
from ocap.kernel.vat import VatKeeper
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import DisconnectedError, LaunchError, VatTerminatedError
from ocap.protocol.marshal import Remotable, encode, encode_error
from ocap.protocol.refs import (
    HOST,
    ROOT,
    Kref,
    SubclusterId,
    VatId,
    is_durable,
    is_promise_kref,
    is_vat_allocated,
    sort_key,
)

CLEANUP_BUDGET = 500
"""Rows of a dead vat that one crank removes."""

TERMINATED = encode_error(VatTerminatedError("vat terminated"))
FAULTED = encode_error(DisconnectedError("vat faulted"))
"""All that a peer learns; the log and the vat's administrator have the detail."""


@frozen
class VatSpec:
    """A vat to be launched: `parameters` may refer to objects, by kref."""

    name: str
    source: str
    parameters: CapData


@frozen
class LaunchSpec:
    """A subcluster to be launched.

    Attributes:
        config: as it was given, kept for whoever asks.
        bootstrap: the name of the vat whose root gets `bootstrap(vats, services)`.
        services: name to the service's kref.
    """

    name: str
    config: bytes
    bootstrap: str
    vats: tuple[VatSpec, ...]
    services: tuple[tuple[str, Kref], ...] = ()


class _Named(Remotable):
    """Stands for an object in a body that the kernel itself writes."""

    __slots__ = ("kref", "name")

    def __init__(self, name: str, kref: Kref) -> None:
        self.name = name
        self.kref = kref

    def _interface_name(self) -> str:  # type: ignore[override]  # one name each, not one a class
        return self.name


class Lifecycle:
    """Changes of the world of vats. Each method is part of some crank, or a crank of its own."""

    def __init__(self, state: State, counts: Refcounts, promises: Promises) -> None:
        self._state = state
        self._counts = counts
        self._promises = promises
        self._keepers: dict[str, VatKeeper] = {}
        self.dying: dict[str, None] = dict.fromkeys(state.backend.vats_in("terminated"))
        self.launching: dict[str, SubclusterId] = {}
        """Result promises of launches under way."""
        if state.vats.get(HOST) is None:
            row = VatRow(HOST, "host", None, "", CapData(b"\xf6"), None, state="live", incarnation=0, ended=False)
            state.vats.insert(HOST, row)

    def keeper(self, vat: str) -> VatKeeper:
        row = self._state.vats[vat]
        keeper = self._keepers.get(vat)
        if keeper is None or keeper.row is not row or keeper.clist is not self._state.clist(vat):
            keeper = self._keepers[vat] = VatKeeper(row, self._state, self._counts, self._promises)
        return keeper

    def set_vat(self, row: VatRow, field: str, value: object) -> None:
        setattr(self._state.vats.edit(row.id, row), field, value)

    # ---- launch -------------------------------------------------------------------------------

    def launch(self, spec: LaunchSpec) -> SubclusterRow:
        """Enter a subcluster and its vats, and queue their creation and then bootstrap.

        The roots exist before their vats do, so bootstrap can name them all.
        """
        state, cause = self._state, self._promises.cause
        subcluster = state.new_subcluster_id()
        roots: dict[str, Kref] = {}
        ids: dict[str, VatId] = {}
        for vat in spec.vats:
            ids[vat.name] = new = state.new_vat_id()
            roots[vat.name] = root = state.new_object(new)
            self._counts.incref(root)
            self._counts.incref_slots(vat.parameters)
            state.vats.insert(new, VatRow(new, vat.name, subcluster, vat.source, vat.parameters, root))
            state.clist(new).add(root, ROOT)
            state.queue.push(CreateVat(new, cause))
        # Vats decide the answer, and may pass that on; the result is the kernel's own, and follows it.
        result, answer = state.new_promise(None), state.new_promise(None)
        self._promises.forward(state.promises[result], state.promises[answer])
        self._counts.incref(result)
        row = SubclusterRow(subcluster, spec.name, spec.config, ids[spec.bootstrap], result)
        state.subclusters.insert(subcluster, row)
        state.journal.note(self.launching.pop, result)
        self.launching[result] = subcluster
        vats = {name: _Named(name, root) for name, root in roots.items()}
        services = {name: _Named(name, kref) for name, kref in spec.services}
        body, named = encode([[vats, services], {}])
        args = CapData(body, tuple([it.kref for it in named]))
        self._counts.incref(roots[spec.bootstrap])
        self._counts.incref_slots(args)
        self._counts.incref(answer)
        state.queue.push(Send(roots[spec.bootstrap], "bootstrap", args, answer, cause))
        return row

    def conclude_launches(self) -> None:
        """At the end of a unit of work: a launch whose bootstrap has answered stands or falls with it."""
        for result, subcluster in list(self.launching.items()):
            promise = self._state.promises[result]
            if promise.data is not None:
                self._concluded(result)
                row = self._state.subclusters[subcluster]
                if promise.state == "fulfilled":
                    self._state.subclusters.edit(subcluster, row).state = "running"
                else:
                    self.terminate_subcluster(row)

    def _concluded(self, result: str) -> None:
        self._state.journal.note(self.launching.__setitem__, result, self.launching.pop(result))

    def fail_launch(self, vat: VatRow, reason: str) -> None:
        """A vat that could not be created takes its launch with it."""
        assert vat.subcluster is not None
        row = self._state.subclusters[vat.subcluster]
        promise = self._state.promises[row.result]
        if promise.data is None:
            error = LaunchError(f"vats.{vat.name}: {reason}")
            self._promises.settle(promise, True, encode_error(error))

    def terminate_subcluster(self, row: SubclusterRow) -> list[VatId]:
        """Terminate every vat of a subcluster and forget it."""
        if row.result in self.launching:
            self._concluded(row.result)
        self._state.write()
        vats = [VatId(vat) for vat in self._state.backend.vats_of(row.id)]
        for vat in vats:
            self.terminate(self._state.vats[vat], TERMINATED)
        promise = self._state.promises[row.result]
        if promise.data is None:
            self._promises.settle(promise, True, TERMINATED)
        self._counts.decref(row.result)
        self._state.subclusters.delete(row.id)
        return vats

    # ---- incarnations -------------------------------------------------------------------------

    def begin_incarnation(self, row: VatRow) -> None:
        """The vat is about to be built (again)."""
        assert row.ended, row.id
        self.set_vat(row, "incarnation", row.incarnation + 1)
        self.set_vat(row, "ended", False)
        self.set_vat(row, "state", "live")

    def end_incarnation(self, row: VatRow, why: str) -> None:
        """Disconnect an incarnation whose heap is gone or given up.

        Promises it decided reject. Its exports that lived on the heap lose their owner. Promises
        it had imported leave its clist, as nobody is left to be told. What it asked to keep stays.
        """
        if row.ended:
            return
        state, keeper = self._state, self.keeper(row.id)
        error = DisconnectedError(f"{row.name} ({row.id}): incarnation {row.incarnation} ended: {why}")
        self._reject_decided(row.id, encode_error(error), for_good=False)
        for kref in self._clist_krefs(row.id, "promises"):
            name = keeper.clist.by_kref(kref)
            assert name is not None
            if not name.heard and not (name.decided and state.promises[kref].decider == row.id):
                self._leave_promise(keeper, kref)
        for kref in self._clist_krefs(row.id, "exports"):
            export = keeper.clist.by_kref(kref)
            assert export is not None
            if not is_durable(export.vref):
                keeper.orphan(export, state.objects[kref], f"it was not durable, and {error}")
        if row.id == HOST:
            for kref in self._clist_krefs(HOST, "imports"):
                self._leave_import(keeper, kref)
        self.set_vat(row, "ended", True)

    def deciders(self) -> list[VatRow]:
        """Vats that decide promises, and so must be disconnected if their heap is gone."""
        self._state.write()
        return [self._state.vats[vat] for vat in self._state.backend.deciders()]

    def _reject_decided(self, vat: str, error: CapData, *, for_good: bool) -> None:
        self._state.write()
        for kref in sorted(self._state.backend.decided_by(vat), key=sort_key):
            promise = self._state.promises[kref]
            name = self._state.clist(vat).by_kref(kref)
            kept = name is not None and name.decided and not for_good
            if promise.data is None and not kept:
                self._promises.settle(promise, True, error)

    def _clist_krefs(self, vat: str, which: str, limit: int = -1) -> list[str]:
        self._state.write()
        return self._state.backend.clist_rows(vat, which, limit)

    def _leave_promise(self, keeper: VatKeeper, kref: str) -> None:
        row = keeper.clist.by_kref(kref)
        assert row is not None
        self._promises.unsubscribe(self._state.promises[kref], keeper.row.id)
        keeper.clist.remove(row)
        self._counts.decref(kref)

    def _leave_import(self, keeper: VatKeeper, kref: str) -> None:
        row = keeper.clist.by_kref(kref)
        assert row is not None
        keeper.leave_import(row)

    # ---- suspension ---------------------------------------------------------------------------

    def suspend(self, row: VatRow) -> None:
        """Hold back what is for a live vat; any other is left as it is."""
        if row.state == "live":
            self.set_vat(row, "state", "suspended")

    def resume(self, row: VatRow) -> None:
        """Let a suspended vat have what was parked, in order; any other is left as it is."""
        if row.state == "suspended":
            self.set_vat(row, "state", "live")
            self.set_vat(row, "faults", 0)
            self._state.queue.release(row.id)

    # ---- termination --------------------------------------------------------------------------

    def terminate(self, row: VatRow, error: CapData) -> None:
        """End a vat: for others at once, the rest by `clean_up`."""
        if row.state == "terminated":
            return
        self.set_vat(row, "state", "terminated")
        self.set_vat(row, "ended", True)
        self._reject_decided(row.id, error, for_good=True)
        self._state.queue.release(row.id)
        self._state.gc.clear(row.id)
        self._state.journal.note(self.dying.pop, row.id, None)
        self.dying[row.id] = None

    def clean_up(self, vat: str) -> bool:
        """Remove some of what a dead vat leaves; whether it is all gone."""
        keeper, row = self.keeper(vat), self._state.vats[vat]
        for kref in self._clist_krefs(vat, "all", CLEANUP_BUDGET):
            entry = keeper.clist.by_kref(kref)
            assert entry is not None
            if is_promise_kref(kref):
                self._leave_promise(keeper, kref)
            elif is_vat_allocated(entry.vref):
                keeper.orphan(entry, self._state.objects[kref], "its vat was terminated")
            else:
                self._leave_import(keeper, kref)
        if self._clist_krefs(vat, "all", 1):
            return False
        if keys := self._state.backend.vatstore_keys(vat, CLEANUP_BUDGET):
            for key in keys:
                self._state.vatstore.put((vat, key), None)
            return False
        if row.root is not None:
            self._counts.decref(row.root)
        self._counts.decref_slots(row.parameters)
        self._state.vats.delete(vat)
        del self.dying[vat]
        self._keepers.pop(vat, None)
        return True
