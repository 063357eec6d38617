"""The kernel core: which crank comes next, what it delivers, and what its outcome changes.

    next_crank() --> a Crank that needs its vat's outcome --> finish(crank, outcome)
                 --> a Crank that is already over (vat is None)
                 --> None: nothing to do

Between `next_crank` and `finish` nothing else may touch the core: input from outside comes in
between cranks, through `between_cranks`.

Work is taken in this order: GC actions, reaping, cleanup of the dead, disconnection of lost
incarnations, then the run queue, first in first out. After a batch of collection that leaves more
to do, one queued item goes first.

Invariants:

1. Nothing a vat does raises out of the core.
2. An item stays at the head of the queue until the crank that takes it up is kept, or its failure is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ocap.kernel.backlog import Backlog
from ocap.kernel.bodies import write_body
from ocap.kernel.crank import Crank, Cranks
from ocap.kernel.cycles import CycleSearch
from ocap.kernel.effects import Effect, Event, HostDelivery
from ocap.kernel.facets import Facets
from ocap.kernel.failures import Failures
from ocap.kernel.gc import REAP_AFTER, Collector
from ocap.kernel.items import CreateVat, Item, Notify, PingVat, Send, TerminateVat, UpgradeVat
from ocap.kernel.lifecycle import ENDED, TERMINATED, Lifecycle
from ocap.kernel.promises import CYCLE, Promises
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.rows import VatRow
from ocap.kernel.state import State
from ocap.kernel.subclusters import Subclusters
from ocap.kernel.tables import Backend
from ocap.kernel.vat import MAX_CRANK_BYTES, VatFault
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import (
    NotPassableError,
    ObjectGoneError,
    RevokedError,
    UpgradeError,
    VatSuspendedError,
)
from ocap.protocol.marshal import encode_error
from ocap.protocol.refs import HOST, KERNEL, VatId, is_promise_kref

T = TypeVar("T")

REVOKED = "it was revoked"
"""Why an object that still has its owner cannot be sent to."""


class Core:
    """The kernel's state machine over one store.

    Args:
        backend: the store; its transaction is committed by `commit` only.
        traced: whether to make `Event` effects for the message log.
        reap_after: deliveries after which a vat is asked to bring out its dead, unless its options say otherwise; 0: never.
    """

    def __init__(self, backend: Backend, *, traced: bool = False, reap_after: int = REAP_AFTER) -> None:
        self.state = State(backend)
        self.traced = traced
        self.counts = Refcounts(self.state)
        self.backlog = Backlog(self.state)
        self._promises = Promises(self.state, self.counts)
        ground = self.state, self.counts, self._promises
        self.lifecycle = Lifecycle(*ground, self.backlog)
        self.facets = Facets(*ground, self.lifecycle, self.end)
        self.subclusters = Subclusters(*ground, self.lifecycle, self.facets)
        self.collector = Collector(self.state.gc, reap_after)
        self.cycles = CycleSearch(self.state)
        cranks = self._cranks = Cranks(self.state, self.counts, self.lifecycle, self.subclusters)
        self.failures = Failures(*ground, self.lifecycle, self.subclusters, cranks)
        self.running, self.stopped, self.upgraded = cranks.running, cranks.stopped, cranks.upgraded
        self.departed: dict[str, str] = {}
        """The names of vats that the effects of the last commit speak of and that are gone."""
        self.host_waits = False
        """Whether the outbox has something for the host program."""
        self._to_disconnect: list[VatId] | None = None
        self.running |= {HOST, KERNEL}
        self.between_cranks(self._wake)

    def _wake(self) -> None:
        """What the end of the last process left: its host is gone, and so are unfinished launches."""
        host = self.state.vats[HOST]
        self.lifecycle.end_incarnation(host, "the host program ended")
        self.lifecycle.begin_incarnation(host)
        for name in self.state.backend.launching():
            self.subclusters.terminate(self.state.subclusters[name], "its launch was interrupted")

    # ---- between cranks ---------------------------------------------------------------------

    def between_cranks(self, change: Callable[[], T]) -> T:
        """Apply a change from outside as a unit of its own: whole, or not at all if it raises."""
        self.state.begin(0, 0)
        try:
            result = change()
            self._cranks.end()
        except BaseException:
            self._cranks.undo()
            raise
        return result

    def host_syscalls(self, calls: Sequence[syscalls.Syscall]) -> None:
        """What the host program asks, in the host's vrefs.

        Raises:
            VatFault: the host's own names are wrong; nothing was changed.
        """
        trace: list[syscalls.Syscall] | None = [] if self.traced else None
        calls = tuple(calls)
        self.lifecycle.keeper(HOST).apply(calls, trace)
        for kernel_side, vat_side in zip(trace or (), calls, strict=False):
            self.state.emit(Event(0, 0, "syscall", HOST, kernel_side, vat_side))

    def commit(self) -> list[Effect]:
        """Make everything so far durable, and only then hand over what may be seen of it."""
        self.state.commit()
        self.host_waits = False
        self.departed, self.lifecycle.departed = self.lifecycle.departed, {}
        return self.state.take_effects()

    @property
    def panic(self) -> str | None:
        """Why the kernel must stop, once what was kept is committed."""
        return self._cranks.panic

    # ---- cranks -----------------------------------------------------------------------------

    def next_crank(self) -> Crank | None:
        if self.collector.has_more:
            self.collector.has_more = False
            crank = self._queue_crank()
            if crank is not None:
                return crank
        # Asked in vain at nearly every crank, so the asking is cheap.
        crank = None
        if self.collector.is_due or self.cycles.is_under_way:
            crank = self._gc_crank()
        if crank is None and self.lifecycle.dying:
            crank = self._cleanup_crank()
        if crank is None and self._to_disconnect != []:
            crank = self._disconnect_crank()
        return crank or self._queue_crank()

    def finish(self, crank: Crank, outcome: syscalls.Outcome) -> None:
        """Apply what the vat did, or undo the crank if it broke a rule."""
        assert crank.vat is not None
        keeper = self.lifecycle.keeper(crank.vat)
        trace: list[syscalls.Syscall] | None = [] if self.traced else None
        leave = None
        fault = outcome.fault
        if fault is None:
            try:
                if outcome.checkpoint:
                    _check_checkpoint(outcome)
                if isinstance(crank.delivery, deliveries.ReportEdges):
                    self.cycles.check(keeper.row, outcome)
                leave = keeper.apply(outcome.syscalls, trace)
            except VatFault as error:
                fault = str(error)
        if fault is not None:
            self.failures.fault(crank, fault, outcome)
            return
        critical = keeper.row.options.critical
        if leave is not None and (leave.is_failure or (critical and isinstance(crank.item, CreateVat | UpgradeVat))):
            self.failures.exit(crank, outcome, "it exited with failure" if leave.is_failure else "it exited")
            return
        if leave is not None and critical:
            self.failures.panic(crank, "it exited")
            return
        for kernel_side, vat_side in zip(trace or (), outcome.syscalls, strict=False):
            self.state.emit(Event(crank.number, crank.cause, "syscall", crank.vat, kernel_side, vat_side))
        for key, value in outcome.checkpoint:
            self.state.vatstore.put((crank.vat, key), value)
        if outcome.log or outcome.complaints:
            self._cranks.complain(crank, outcome)
        if keeper.row.faults and isinstance(crank.delivery, deliveries.BringOutYourDead):
            self.lifecycle.set_vat(keeper.row, "faults", 0)  # so many deliveries went well since
        if isinstance(crank.delivery, deliveries.ReportEdges):
            self.cycles.report(keeper.row, outcome.edges, is_whole=not outcome.unfinished)
        elif outcome.unfinished:
            self.collector.schedule_reap(crank.vat)
        if outcome.unfinished:
            self.collector.has_more = True
        if isinstance(crank.item, CreateVat | UpgradeVat | PingVat):
            self._accomplish(crank.item, keeper.row)
        if crank.item is not None:  # what the collector itself asks of a vat is no reason to ask again
            self.collector.count_delivery(keeper.row)
        if leave is not None:
            self.lifecycle.terminate(keeper.row, "it exited", leave.data, failed=False)
        self._cranks.end()

    def abandon(self) -> None:
        """Undo a crank whose outcome will never come, as the process is stopping."""
        self._cranks.undo()

    def end(self, vat: VatId, why: str) -> None:
        """Give up the vat's heap: its next incarnation is built when something is due for it."""
        if vat in self.running:
            self._cranks.discard_worker(vat)
        self.lifecycle.end_incarnation(self.state.vats[vat], why)

    # ---- choosing work ------------------------------------------------------------------------

    def _over(self) -> Crank:
        self._cranks.end()
        return Crank(self.state.crank, self.state.cause)

    def _gc_crank(self) -> Crank | None:
        work = None
        if self.cycles.reporting is not None:  # what is for that vat waits, and so does all other collection
            work = self.cycles.next_work(self.running, self.lifecycle.keeper)
        if work is None:
            work = self.collector.next_work(self.running, self.lifecycle.keeper)
        while work is None and (asleep := self.collector.asleep(self.running)) is not None:
            row = self.state.vats.get(asleep)
            if row is not None and row.state == "live":
                return self._restart_crank(row, 0)
            self.collector.give_up(asleep)
            work = self.collector.next_work(self.running, self.lifecycle.keeper)
        if work is None and self.cycles.think(self.lifecycle.keeper):
            self.collector.has_more = True
            self._cranks.begin(0)
            return self._over()
        if work is None:
            work = self.cycles.next_work(self.running, self.lifecycle.keeper)
            if self.cycles.to_reap and not self.cycles.is_under_way:
                while self.cycles.to_reap:
                    self.collector.schedule_reap(self.cycles.to_reap.pop(), to_the_end=True)
                work = self.collector.next_work(self.running, self.lifecycle.keeper)
        if work is None:
            if self.state.journal.is_empty:
                return None
            self._cranks.begin(0)
            return self._over()  # all that was due was stale, and that is recorded
        self._cranks.begin(0)
        return self._deliver(*work)

    def _cleanup_crank(self) -> Crank | None:
        for vat in self.lifecycle.dying:
            self._cranks.begin(0)
            if self.lifecycle.clean_up(vat):
                self.collector.forget(vat)
            return self._over()
        return None

    def _disconnect_crank(self) -> Crank | None:
        """At first, disconnect who decides promises but died with the last process."""
        if self._to_disconnect is None:
            self._to_disconnect = [row.id for row in self.lifecycle.deciders() if row.id not in self.running]
        while self._to_disconnect:
            row = self.state.vats.get(self._to_disconnect.pop())
            if row is not None:
                self._cranks.begin(0)
                self._disconnect(row)
                return self._over()
        return None

    def _disconnect(self, row: VatRow) -> None:
        if row.id not in self.running and row.state != "terminated":
            self.lifecycle.end_incarnation(row, "the kernel was restarted")

    def _queue_crank(self) -> Crank | None:
        item = self.state.queue.peek()
        if item is None:
            return None
        match item:
            case Send():
                return self._send_crank(item)
            case Notify():
                return self._notify_crank(item)
            case CreateVat():
                return self._create_crank(item)
            case UpgradeVat():
                return self._upgrade_crank(item)
            case PingVat():
                return self._ping_crank(item)
            case TerminateVat():
                return self._terminate_crank(item)

    # ---- one kind of item each ------------------------------------------------------------------

    def _send_crank(self, item: Send) -> Crank | None:
        """Route a message, now that it is its turn: where it goes may have changed since it was sent."""
        target: str = item.target
        if is_promise_kref(target):
            promise = self._promises.final(self.state.promises[target])
            if promise.kref == item.result:
                return self._splat(item, CYCLE)  # it waits for its own answer
            if promise.data is None:
                return self._park(item, promise.kref)
            if promise.state == "rejected":
                return self._splat(item, promise.data)
            if not promise.data.is_single_reference() or is_promise_kref(promise.data.slots[0]):
                error = TypeError(
                    f"cannot send {item.method}: the promise settled to data, and only objects have methods"
                )
                return self._splat(item, encode_error(error))
            target = promise.data.slots[0]
        row = self.state.objects[target]
        if row.gone == ENDED:
            return self._splat(item, TERMINATED)  # as while it is cleaned up: peers see no difference
        if row.gone is not None:
            kind = RevokedError if row.gone == REVOKED else ObjectGoneError
            return self._splat(item, encode_error(kind(f"the object is gone: {row.gone}")))
        assert row.owner is not None
        if row.owner == KERNEL:
            return self._facet_crank(target, item)
        vat = self.state.vats[row.owner]
        if vat.state == "terminated":
            return self._splat(item, TERMINATED)
        if vat.state == "suspended":
            return self._park(item, vat.id)
        if vat.id not in self.running:
            return self._restart_crank(vat, item.cause)
        if vat.id == self.cycles.reporting:
            return None
        self._cranks.begin(item.cause)
        self.state.queue.pop()
        kernel_side = deliveries.Message(target, item.method, item.args, item.result)
        delivery = self.lifecycle.keeper(vat.id).message(target, item)
        self.counts.release_item(item)
        return self._deliver(vat.id, kernel_side, delivery, item)

    def _notify_crank(self, item: Notify) -> Crank | None:
        row = self.state.vats.get(item.vat)
        if row is not None and row.state == "live" and row.id not in self.running:
            if not row.ended:
                self._cranks.begin(item.cause)
                self._disconnect(row)
                return self._over()
            if self.state.clist(row.id).by_kref(item.promise) is not None:
                return self._restart_crank(row, item.cause)  # to be told what it kept a name for
        if item.vat == self.cycles.reporting:
            return None
        self._cranks.begin(item.cause)
        if row is not None and row.state == "suspended":
            self.state.queue.park(row.id)
            return self._over()
        self.state.queue.pop()
        both = None
        if row is not None and row.state == "live":
            both = self.lifecycle.keeper(row.id).notify(item.promise)
        self.counts.decref(item.promise)
        if both is None:
            return self._over()
        kernel_side, delivery = both
        return self._deliver(item.vat, deliveries.Notify(tuple(kernel_side)), delivery, item)

    def _create_crank(self, item: CreateVat) -> Crank:
        row = self.state.vats.get(item.vat)
        if row is None or row.state == "terminated":
            return self._refuse(item, TERMINATED)
        return self._restart_crank(row, item.cause, item)

    def _restart_crank(self, row: VatRow, cause: int, item: CreateVat | None = None) -> Crank:
        """Build the vat's next incarnation. What needs it stays at the head of the queue."""
        self._cranks.begin(cause)
        if item is not None:
            self.state.queue.pop()
        self._disconnect(row)
        self.running.add(row.id)
        self.collector.started(row, row.incarnation + 1)
        return self._start(row, item)

    def _start(self, row: VatRow, item: CreateVat | UpgradeVat | None) -> Crank:
        self.lifecycle.begin_incarnation(row)
        keeper, endowments = self.lifecycle.keeper(row.id), row.options.endowments
        named = tuple((name, keeper.to_vat(kref)) for name, kref in endowments)
        kernel_side = deliveries.StartVat(row.incarnation, row.parameters, endowments)
        delivery = deliveries.StartVat(row.incarnation, keeper.data_to_vat(row.parameters), named)
        return self._deliver(row.id, kernel_side, delivery, item)

    def _upgrade_crank(self, item: UpgradeVat) -> Crank:
        """Build the vat's next incarnation from other code, beside the one that runs."""
        row = self.state.vats.get(item.vat)
        if row is None or row.state == "terminated":
            return self._refuse(item, TERMINATED)
        try:
            self.subclusters.take_over(row, item)
        except NotPassableError as error:
            reason = f"its subcluster's config cannot keep what it is to be: {error}"
            return self._refuse(item, encode_error(UpgradeError(reason)))
        self._cranks.begin(item.cause)
        self.state.queue.pop()
        self.lifecycle.end_incarnation(row, "it was upgraded")
        self.lifecycle.take_over(row, item.source, item.parameters, item.options)
        return self._start(row, item)

    def _ping_crank(self, item: PingVat) -> Crank:
        row = self.state.vats.get(item.vat)
        if row is None or row.state == "terminated":
            return self._refuse(item, TERMINATED)
        if row.state == "suspended":
            return self._refuse(item, encode_error(VatSuspendedError(f"vat {row.name} ({row.id}) is suspended")))
        if row.id not in self.running:
            return self._restart_crank(row, item.cause)
        self._cranks.begin(item.cause)
        self.state.queue.pop()
        return self._deliver(row.id, deliveries.Ping(), deliveries.Ping(), item)

    def _terminate_crank(self, item: TerminateVat) -> Crank:
        self._cranks.begin(item.cause)
        self.state.queue.pop()
        row = self.state.vats.get(item.vat)
        if row is not None and row.state != "terminated":
            self.lifecycle.terminate(row, item.reason, item.detail)
        self.counts.release_item(item)
        return self._over()

    def _facet_crank(self, target: str, item: Send) -> Crank:
        """The kernel itself answers, within the crank."""
        self._cranks.begin(item.cause)
        self.state.queue.pop()
        if self.traced:
            message = deliveries.Message(target, item.method, item.args, item.result)
            self.state.emit(Event(self.state.crank, item.cause, "deliver", KERNEL, message, message))
        self.facets.deliver(target, item)
        self.counts.release_item(item)
        return self._over()

    # ---- parts of cranks ------------------------------------------------------------------------

    def _deliver(
        self,
        vat: VatId,
        kernel_side: deliveries.Delivery,
        delivery: deliveries.Delivery,
        item: Item | None = None,
    ) -> Crank:
        if self.traced:
            self.state.emit(Event(self.state.crank, self.state.cause, "deliver", vat, kernel_side, delivery))
        if vat == HOST:
            # The host program is no vat: it is told after the commit, and answers when it likes.
            self.state.emit(HostDelivery(kernel_side))
            self.host_waits = True
            return self._over()
        if vat == KERNEL:
            if isinstance(kernel_side, deliveries.RetireExports):
                self.facets.retire(kernel_side.vrefs)
            return self._over()
        return Crank(self.state.crank, self.state.cause, vat, delivery, item, kernel_side)

    def _refuse(self, item: CreateVat | UpgradeVat | PingVat, error: CapData) -> Crank:
        """What was asked of a vat cannot be done; who asked is told."""
        self._cranks.begin(item.cause)
        self.state.queue.pop()
        self.failures.fail(item, error)
        return self._over()

    def _accomplish(self, item: CreateVat | UpgradeVat | PingVat, row: VatRow) -> None:
        """The vat took the delivery: whoever asked for that is told."""
        if isinstance(item, UpgradeVat):
            self._cranks.upgraded.append((row.id, True))
            self.running.add(row.id)
            self.collector.started(row, row.incarnation)
        if row.state == "suspended":
            self.end(row.id, "it is suspended")  # it has shown that it starts
        match item:
            case CreateVat():
                if item.result is not None:
                    self.facets.created(row, item.result)
            case UpgradeVat():
                if item.result is not None:
                    number = write_body(row.incarnation)
                    self._promises.settle(self.state.promises[item.result], False, number)
            case PingVat():
                self._promises.settle(self.state.promises[item.result], False, write_body(True))
        self.counts.release_item(item)

    def _park(self, item: Send, place: str) -> Crank:
        """Let a message wait, unless too many do and it has an answer that can say so; of others their sending is bounded."""
        if item.result is not None and self.backlog.is_full_at(place):
            return self._splat(item, self.backlog.error_at(place))
        self._cranks.begin(item.cause)
        self.state.queue.park(place)
        return self._over()

    def _splat(self, item: Send, error: CapData) -> Crank:
        """A message that cannot be delivered answers itself."""
        self._cranks.begin(item.cause)
        self.state.queue.pop()
        self.failures.reject_result(item, error)
        self.counts.release_item(item)
        if self.traced:
            self.state.tell("note", None, f"{item.method} to {item.target} could not be delivered")
        return self._over()


def _check_checkpoint(outcome: syscalls.Outcome) -> None:
    size = sum(len(key) + len(value or b"") for key, value in outcome.checkpoint)
    if size > MAX_CRANK_BYTES:
        raise VatFault(f"wrote {size} bytes to its store in one crank, over the limit of {MAX_CRANK_BYTES}")
