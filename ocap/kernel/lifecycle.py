"""Vats come and go: creation, a new incarnation, suspension, termination, cleanup.

Owns the states of vats. Whatever ends an incarnation (restart, upgrade, fault, the end of the
process) ends it in one way, `end_incarnation`: the kernel disconnects it, no vat code runs.

Invariants:

1. Who waits for an answer from an incarnation that ended is told so, with the reason.
2. Termination is immediate for others; what the vat leaves behind goes in budgeted cranks.
3. A vat's parameters hold what they refer to from its creation until other ones replace them or its end.
4. Every suspension and termination has its entry in the log, with the reason.
"""

from __future__ import annotations

from attrs import define, field, frozen

from ocap.kernel.backlog import Backlog
from ocap.kernel.options import DEFAULT_OPTIONS, VatOptions
from ocap.kernel.promises import Promises
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.rows import VatRow
from ocap.kernel.state import State
from ocap.kernel.vat import VatKeeper
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import DisconnectedError, IncarnationEndedError, VatTerminatedError
from ocap.protocol.marshal import encode_error
from ocap.protocol.refs import (
    HOST,
    KERNEL,
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

MAX_REASON = 1_000
"""Characters of why a vat is suspended that are kept with it; the log has all."""

ENDED = "its vat was terminated"
"""Why what a terminated vat exported is gone."""

TERMINATED = encode_error(VatTerminatedError("vat terminated"))
FAULTED = encode_error(DisconnectedError("vat faulted"))
"""All that a peer learns; the log and the vat's administrator have the detail."""


@frozen
class VatSpec:
    """A vat to be created: `parameters` may refer to objects, by kref."""

    name: str
    source: str
    parameters: CapData
    options: VatOptions = DEFAULT_OPTIONS


@define(eq=False)
class Lifecycle:
    """Changes of the world of vats. Each method is part of some crank, or a crank of its own."""

    _state: State
    _counts: Refcounts
    _promises: Promises
    _backlog: Backlog
    _keepers: dict[str, VatKeeper] = field(init=False, factory=dict)
    departed: dict[str, str] = field(init=False, factory=dict)
    """The names of vats of which the last trace went since the last commit: the log still speaks of them."""
    dying: dict[str, None] = field(init=False, factory=dict)
    """Vats that are to be cleaned up."""
    terminated: list[VatId] = field(init=False, factory=list)
    """Vats terminated in this unit of work: should one have a worker, it is to be discarded."""

    def __attrs_post_init__(self) -> None:
        self.dying |= dict.fromkeys(self._state.backend.vats_in("terminated"))
        for endpoint in (HOST, KERNEL):
            if self._state.vats.get(endpoint) is None:
                nothing = CapData(b"\xf6")
                row = VatRow(endpoint, endpoint, None, "", nothing, None, state="live", incarnation=0, ended=False)
                self._state.vats.insert(endpoint, row)

    def keeper(self, vat: str) -> VatKeeper:
        row = self._state.vats[vat]
        keeper = self._keepers.get(vat)
        clist = self._state.clist(vat)
        if keeper is None or keeper.row is not row or keeper.clist is not clist:
            keeper = VatKeeper(row, clist, self._state, self._counts, self._promises, self._backlog)
            self._keepers[vat] = keeper
        return keeper

    def set_vat(self, row: VatRow, field: str, value: object) -> None:
        setattr(self._state.vats.edit(row.id, row), field, value)

    # ---- creation -----------------------------------------------------------------------------

    def create(self, spec: VatSpec, subcluster: SubclusterId) -> VatRow:
        """Enter a vat whose first incarnation is to be built; its root exists from now on."""
        state = self._state
        new = state.new_vat_id()
        root = state.new_object(new)
        self._counts.incref(root)
        self._counts.incref_slots(spec.parameters)
        for _, kref in spec.options.endowments:
            self._counts.incref(kref)
        row = VatRow(new, spec.name, subcluster, spec.source, spec.parameters, root, options=spec.options)
        state.vats.insert(new, row)
        state.clist(new).add(root, ROOT)
        return row

    def watch_end(self, row: VatRow) -> Kref:
        """The promise of how the vat ends; the caller has it counted."""
        if row.done is None:
            done = self._state.new_promise(None)
            self._counts.incref(done)
            self.set_vat(row, "done", done)
        assert row.done is not None
        return row.done

    # ---- incarnations -------------------------------------------------------------------------

    def begin_incarnation(self, row: VatRow) -> None:
        """The vat is about to be built (again)."""
        assert row.ended, row.id
        self.set_vat(row, "incarnation", row.incarnation + 1)
        self.set_vat(row, "ended", False)
        if row.state == "new":
            self.set_vat(row, "state", "live")  # one that is suspended stays so
        self.set_vat(row, "epoch", self._state.counter("epoch") - 1)

    def end_incarnation(self, row: VatRow, why: str) -> None:
        """Disconnect an incarnation whose heap is gone or given up.

        Promises it decided reject. Its exports that lived on the heap lose their owner. Promises
        it had imported leave its clist, as nobody is left to be told. What it asked to keep stays.
        """
        if row.ended:
            return
        state, keeper = self._state, self.keeper(row.id)
        error = IncarnationEndedError(row.id, row.incarnation, why)
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
        self._state.unsubscribe(self._state.promises[kref], keeper.row.id)
        keeper.clist.remove(row)
        self._counts.decref(kref)

    def _leave_import(self, keeper: VatKeeper, kref: str) -> None:
        row = keeper.clist.by_kref(kref)
        assert row is not None
        keeper.leave_import(row)

    def set_options(self, row: VatRow, options: VatOptions) -> None:
        for _, kref in options.endowments:
            self._counts.incref(kref)
        for _, kref in row.options.endowments:
            self._counts.decref(kref)
        self.set_vat(row, "options", options)

    def take_over(
        self, row: VatRow, source: str | None, parameters: CapData | None, options: VatOptions | None = None
    ) -> None:
        """Other code, parameters and options; None: those it has."""
        if source is not None:
            self.set_vat(row, "source", source)
        if options is not None:
            self.set_options(row, options)
        if parameters is not None:
            self._counts.incref_slots(parameters)
            self._counts.decref_slots(row.parameters)
            self.set_vat(row, "parameters", parameters)

    # ---- suspension ---------------------------------------------------------------------------

    def suspend(self, row: VatRow, why: str) -> None:
        """Hold back what is for a live vat. One that is new is created nevertheless, and then held."""
        if row.state in ("new", "live"):
            self._state.tell("suspend", row.id, why)
            self.set_vat(row, "state", "suspended")
            self.set_vat(row, "reason", why[:MAX_REASON])

    def resume(self, row: VatRow) -> None:
        """Let a suspended vat have what was parked, in order; any other is left as it is."""
        if row.state == "suspended":
            self._state.tell("resume", row.id, f"it was suspended: {row.reason}")
            self.set_vat(row, "state", "live" if row.is_created else "new")
            self.set_vat(row, "reason", None)
            self.set_vat(row, "faults", 0)
            self._state.queue.release(row.id)

    # ---- termination --------------------------------------------------------------------------

    def terminate(self, row: VatRow, reason: str, done: CapData | None = None, *, failed: bool = True) -> None:
        """End a vat: for others at once, the rest by `clean_up`.

        Whoever waits for the vat is told one fixed text; its administrator is told `done` (None: an error with the
        reason), by a rejection if it `failed`; the log has the reason.
        """
        if row.state == "terminated":
            return
        self._state.tell("terminate", row.id, reason)
        self.set_vat(row, "state", "terminated")
        self.set_vat(row, "reason", None)
        self.set_vat(row, "ended", True)
        if row.done is not None:
            detail = done or encode_error(VatTerminatedError(reason))
            self._promises.settle(self._state.promises[row.done], failed, detail)
        self._reject_decided(row.id, TERMINATED, for_good=True)
        self._state.queue.release(row.id)
        self._state.gc.clear(row.id)
        self._state.journal.note(self.dying.pop, row.id, None)
        self.dying[row.id] = None
        self._state.journal.note(self.terminated.pop)
        self.terminated.append(row.id)

    def clean_up(self, vat: str) -> bool:
        """Remove some of what a dead vat leaves; whether it is all gone."""
        keeper, row = self.keeper(vat), self._state.vats[vat]
        for kref in self._clist_krefs(vat, "all", CLEANUP_BUDGET):
            entry = keeper.clist.by_kref(kref)
            assert entry is not None
            if is_promise_kref(kref):
                self._leave_promise(keeper, kref)
            elif is_vat_allocated(entry.vref):
                keeper.orphan(entry, self._state.objects[kref], ENDED)
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
        for _, kref in row.options.endowments:
            self._counts.decref(kref)
        if row.done is not None:
            self._counts.decref(row.done)
        self.departed[vat] = row.name
        self._state.vats.delete(vat)
        self._state.forget_vat(vat)
        del self.dying[vat]
        self._keepers.pop(vat, None)
        return True
