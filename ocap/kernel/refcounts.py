"""Who holds what: the counts of objects and promises, and what is to be done when one is zero.

Counted holders of an object: each importing clist row (its reachable flag counts for reachable,
the row for recognizable), each slot of a queued or parked item (target, arguments), each slot of
a settled promise's data, the vat whose root it is, each slot of retained vatParameters, each
endowment, each slot of a subcluster's config, the name of a service, a pin, a dead letter's target
and slots.
Of a promise: each clist row, each queued or parked item that names it (target, result, argument,
notify), each slot of settled data, each promise that follows it, the subcluster whose result it is,
the vat and the admin object whose `done` it is.

Invariants (V1-V3 of the verify command):

1. 0 <= reachable <= recognizable.
2. The stored count equals the number of holders, at every commit.
3. A count that falls to zero is looked at by `settle_accounts` before the crank ends; so is a
   settled promise that loses a holder, as promises may go in circles through their data.
"""

from __future__ import annotations

from attrs import define

from ocap.kernel.items import Item, Notify, Send, slots_of
from ocap.kernel.rows import ObjectRow, PromiseRow
from ocap.kernel.state import State
from ocap.protocol.capdata import CapData
from ocap.protocol.refs import is_promise_kref


@define(eq=False)
class Refcounts:
    """Counting over the kernel's state."""

    _state: State

    def incref(self, kref: str) -> None:
        """One more holder that can reach `kref`."""
        if is_promise_kref(kref):
            self.hold(self._state.promises[kref])
        else:
            self.adjust(kref, +1, +1)

    def decref(self, kref: str) -> None:
        """One holder that could reach `kref` less."""
        if is_promise_kref(kref):
            self.release(self._state.promises[kref])
        else:
            self.adjust(kref, -1, -1)

    def hold(self, promise: PromiseRow) -> None:
        """One more holder of a promise."""
        self._state.promises.edit(promise.kref, promise).refs += 1

    def release(self, promise: PromiseRow) -> None:
        """One holder of a promise less."""
        self._state.promises.edit(promise.kref, promise)
        assert promise.refs > 0, promise.kref
        promise.refs -= 1
        if promise.refs == 0 or promise.data is not None:
            self._state.maybe_free[promise.kref] = None

    def incref_slots(self, data: CapData) -> None:
        for kref in data.slots:
            self.incref(kref)

    def decref_slots(self, data: CapData) -> None:
        for kref in data.slots:
            self.decref(kref)

    def release_item(self, item: Item) -> None:
        """A queued item no longer holds what it named."""
        match item:
            case Send(target=kref) | Notify(promise=kref):
                self.decref(kref)
        for name in slots_of(item):
            self.decref(name)

    def adjust(self, kref: str, reachable: int, recognizable: int) -> None:
        """Change an object's counts."""
        objects = self._state.objects
        row = objects.edit(kref, objects[kref])
        row.reachable += reachable
        row.recognizable += recognizable
        assert 0 <= row.reachable <= row.recognizable, (kref, row.reachable, row.recognizable)
        if row.reachable == 0 and (reachable < 0 or row.recognizable == 0):
            self._state.maybe_free[kref] = None

    def settle_accounts(self) -> None:
        """At the end of a crank: delete or schedule what nobody holds, until nothing more falls."""
        maybe_free = self._state.maybe_free
        while maybe_free:
            some = list(maybe_free)  # at once: to take the first of a dict leads over all that were taken before
            maybe_free.clear()
            # Settled promises found to be held from outside of their circles. Who lets go of one brings it up again.
            held: set[str] = set()
            for kref in some:
                if is_promise_kref(kref):
                    promise = self._state.promises.get(kref)
                    if promise is None or kref in held:
                        continue
                    if promise.refs == 0:
                        self._delete_promise(promise)
                    elif _inner_promises(promise):
                        held |= self._collect_circle(promise)
                else:
                    row = self._state.objects.get(kref)
                    if row is not None and row.reachable == 0:
                        self._unreachable(row)

    def _delete_promise(self, promise: PromiseRow) -> None:
        if promise.data is not None:
            self.decref_slots(promise.data)
        if promise.target is not None:
            self._state.unsubscribe(self._state.promises[promise.target], promise.kref)
            self.decref(promise.target)
        self._state.promises.delete(promise.kref)
        self._state.queue.forget(promise.kref)

    def _collect_circle(self, start: PromiseRow) -> set[str]:
        """Settled promises whose data name each other hold each other: delete those that nobody else holds.

        Only what settled can be in such a circle, and only data lead around it, so that counting the
        references inside tells whether there are others. Returns those that stay.
        """
        found: dict[str, PromiseRow] = {start.kref: start}
        inside: dict[str, int] = {}
        for promise in (rows := [start]):
            for kref in _inner_promises(promise):
                inside[kref] = inside.get(kref, 0) + 1
                if kref not in found:
                    found[kref] = self._state.promises[kref]
                    rows.append(found[kref])
        stays = [promise for promise in rows if promise.refs > inside.get(promise.kref, 0)]
        for promise in stays:
            del found[promise.kref]
        for promise in stays:
            stays += [found.pop(kref) for kref in _inner_promises(promise) if kref in found]
        for promise in found.values():
            assert promise.data is not None
            for kref in promise.data.slots:
                if kref not in found:
                    self.decref(kref)
            self._state.promises.delete(promise.kref)
            self._state.queue.forget(promise.kref)
        return {promise.kref for promise in stays}

    def _unreachable(self, row: ObjectRow) -> None:
        state, kref = self._state, row.kref
        if row.owner is None:
            if row.recognizable == 0:
                state.objects.delete(kref)
                return
            # The row stays until all who recognise it have been told.
            state.write()
            for vat in state.backend.importers(kref):
                if state.vats[vat].state != "terminated":
                    state.gc.add(vat, "retire_import", kref)
            return
        if state.vats[row.owner].state == "terminated":
            return  # its cleanup makes an orphan of it
        export = state.clist(row.owner).by_kref(kref)
        assert export is not None, (row.owner, kref)
        if export.reachable:
            state.gc.add(row.owner, "drop_export", kref)
        if row.recognizable == 0:
            state.gc.add(row.owner, "retire_export", kref)


def _inner_promises(promise: PromiseRow) -> list[str]:
    """The promises that a settled promise's data name."""
    return [] if promise.data is None else [kref for kref in promise.data.slots if is_promise_kref(kref)]
