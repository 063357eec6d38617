"""What becomes of a crank that fails: its vat broke a rule, gave up, or was critical.

    fault -> the crank is undone, its message is a dead letter, the heap is given up; at the limit of
             faults the vat's policy applies
    exit with failure -> the crank is undone, the vat ends
    either, in an upgrade -> the old incarnation goes on
    either, in a critical vat (or one with the policy "panic") -> the kernel stops

Invariants:

1. What is undone leaves no trace but the failure itself.
2. Every item that fails answers whoever waits for it.
3. Peers learn one fixed text; the log and the vat's administrator have the detail.
"""

from __future__ import annotations

from attrs import define

from ocap.kernel.crank import Crank, Cranks
from ocap.kernel.effects import Event
from ocap.kernel.items import CreateVat, Notify, PingVat, Send, UpgradeVat
from ocap.kernel.lifecycle import FAULTED, TERMINATED, Lifecycle
from ocap.kernel.options import FaultPolicy
from ocap.kernel.promises import Promises
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.rows import DeadLetterRow, VatRow
from ocap.kernel.state import State
from ocap.kernel.subclusters import Subclusters
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import LaunchError, UpgradeError
from ocap.protocol.marshal import encode_error
from ocap.protocol.refs import VatId

MAX_DEAD_LETTERS = 1_000
"""Dead letters that are kept, in all; beyond, the oldest goes. Who sent it was told that it failed."""

MAX_LETTER_BYTES = 32 * 1024 * 1024
"""Bytes of the bodies of these, in all: whoever looks at them reads them all."""


@define(eq=False)
class Failures:
    """Ends of cranks that failed."""

    _state: State
    _counts: Refcounts
    _promises: Promises
    _lifecycle: Lifecycle
    _subclusters: Subclusters
    _cranks: Cranks

    def fault(self, crank: Crank, reason: str, outcome: syscalls.Outcome) -> None:
        """Undo the crank; then take its item away, and the vat's tainted heap with it."""
        assert crank.vat is not None
        vat = crank.vat
        self._cranks.undo()
        row = self._state.vats[vat]
        fate = _fate(crank, row)
        if fate == "panic":
            self.panic(crank, reason)
            return
        self._cranks.begin(crank.cause)
        self._state.emit(Event(crank.number, crank.cause, "fault", vat, crank.kernel_side, crank.delivery, reason))
        self._cranks.complain(crank, outcome)
        if isinstance(crank.item, UpgradeVat):
            self._refuse_upgrade(crank.item, reason)
            return
        self._cranks.discard_worker(vat)
        match crank.item:
            case Send() as item:
                self._state.queue.pop()
                self._bury(vat, item, reason)
            case Notify() as item:
                name = self._state.clist(vat).by_kref(item.promise)
                if name is None or not name.heard:  # else it waits for another incarnation
                    self._state.queue.pop()
                    self._counts.release_item(item)
            case PingVat() as item:
                self._state.queue.pop()
                self.fail(item, FAULTED)
            case CreateVat() as item:
                self._state.queue.pop()
                self._creation_failed(item, row, reason)
        self._lifecycle.end_incarnation(row, "it faulted")
        self._lifecycle.set_vat(row, "faults", row.faults + 1)
        if fate == "terminate":
            self._lifecycle.terminate(row, f"it faulted: {reason}")
        elif fate == "suspend":
            started = not isinstance(crank.delivery, deliveries.StartVat)
            self._lifecycle.suspend(row, f"{'it faulted' if started else 'it did not start'}: {reason}")
        self._cranks.end()

    def panic(self, crank: Crank, reason: str) -> None:
        """Undo the crank, and let the kernel stop: what it took up is taken up again at the next start."""
        assert crank.vat is not None
        self._cranks.undo()
        row = self._state.vats[crank.vat]
        self._cranks.panic = f"vat {row.name} ({row.id}): {reason}"
        self._state.emit(Event(0, 0, "note", None, text=f"the kernel stops: vat {row.name} ({row.id}): {reason}"))
        self._cranks.end()

    def _refuse_upgrade(self, item: UpgradeVat, reason: str) -> None:
        """The new worker failed: the vat goes on as it was, heap and all."""
        self._state.queue.pop()
        self._cranks.upgraded.append((item.vat, False))
        self.fail(item, encode_error(UpgradeError(reason)))
        self._cranks.end()

    def _creation_failed(self, item: CreateVat, row: VatRow, reason: str) -> None:
        """Whoever wanted the vat is told; nothing of it stays."""
        self._subclusters.creation_failed(row, reason)
        error = encode_error(LaunchError(f"vat {row.name}: {reason}"))
        self._lifecycle.terminate(row, f"it could not be created: {reason}", error)
        self.fail(item, error)

    def _bury(self, vat: VatId, item: Send, reason: str) -> None:
        """Keep what could not be done, with the references it holds; who waits for it is told."""
        number = self._state.next_number("dead_letter")
        row = DeadLetterRow(number, self._state.crank, vat, item.target, item.method, item.args, reason)
        self._state.dead_letters.insert(number, row)
        self._drop_old_letters()
        self.reject_result(item, FAULTED)
        if item.result is not None:
            self._counts.decref(item.result)

    def _drop_old_letters(self) -> None:
        self._state.write()
        for number in self._state.backend.dead_letters_beyond(MAX_DEAD_LETTERS, MAX_LETTER_BYTES):
            self.forget(self._state.dead_letters[number])
            bound = f"{MAX_DEAD_LETTERS}, or {MAX_LETTER_BYTES} bytes"
            self._state.tell("note", None, f"dead letter {number} was dropped: there are more than {bound}")

    def forget(self, letter: DeadLetterRow) -> None:
        """Let go of a dead letter, and of what it holds."""
        self._state.dead_letters.delete(letter.number)
        self._counts.decref(letter.target)
        self._counts.decref_slots(letter.args)

    def exit(self, crank: Crank, outcome: syscalls.Outcome, reason: str) -> None:
        """The vat gives up: what it did in this crank is undone, and the message fails with it.

        A critical vat that exits while it is created or upgraded only fails to be that. The kernel would
        try it again at each start, and never come up.
        """
        assert crank.vat is not None
        vat = crank.vat
        self._cranks.undo()
        if isinstance(crank.item, UpgradeVat):
            self._cranks.begin(crank.cause)
            self._refuse_upgrade(crank.item, reason)
            return
        if self._state.vats[vat].options.critical and not isinstance(crank.item, CreateVat):
            self.panic(crank, reason)
            return
        self._cranks.begin(crank.cause)
        row = self._state.vats[vat]
        if crank.item is not None:
            self._state.queue.pop()
        match crank.item:
            case Send() as item:
                self.reject_result(item, TERMINATED)
                self._counts.release_item(item)
            case Notify() as item:
                self._counts.release_item(item)
            case PingVat() as item:
                self.fail(item, TERMINATED)
            case CreateVat() as item:
                self._creation_failed(item, row, f"{reason} while starting")
        self._cranks.complain(crank, outcome)
        self._lifecycle.terminate(row, reason, self._reason(row, outcome))
        self._cranks.end()

    def _reason(self, row: VatRow, outcome: syscalls.Outcome) -> CapData | None:
        """What the vat says of its failure, in the kernel's names, as far as these outlive the undone crank."""
        for call in outcome.syscalls:
            if isinstance(call, syscalls.Exit):
                clist = self._state.clist(row.id)
                rows = [clist.by_vref(vref) for vref in call.data.slots]
                krefs = tuple([found.kref for found in rows if found is not None and found.reachable])
                return CapData(call.data.body, krefs) if len(krefs) == len(rows) else None
        return None

    def fail(self, item: CreateVat | UpgradeVat | PingVat, error: CapData) -> None:
        """What was asked of a vat cannot be done; who asked is told."""
        self.reject_result(item, error)
        self._counts.release_item(item)

    def reject_result(self, item: Send | CreateVat | UpgradeVat | PingVat, error: CapData) -> None:
        """Whoever waits for the item's answer is told that there is none."""
        if item.result is not None:
            self._promises.settle(self._state.promises[item.result], True, error)


def _fate(crank: Crank, row: VatRow) -> FaultPolicy | None:
    """What a fault means for the vat; None if it only loses its heap."""
    policy = row.options.on_fault
    if isinstance(crank.item, CreateVat | UpgradeVat):
        return None
    if isinstance(crank.delivery, deliveries.StartVat):
        # Code that does not start can be mended; what the vat knows could not be had again.
        return "panic" if policy == "panic" else "suspend"
    if row.faults + 1 < row.options.fault_limit:
        return None
    return "panic" if policy == "terminate" and row.options.critical else policy
