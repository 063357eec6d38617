"""The life of a promise: decided, subscribed to, settled, followed.

    unresolved --settle--> fulfilled | rejected
    unresolved --forward--> forwarded --the other settles--> fulfilled | rejected

Owns the transitions; deletion belongs to `refcounts`.

Invariants (V9-V12 of the verify command):

1. An unresolved promise has one decider, or none while exactly one queued message carries it as
   its result.
2. A settled promise has no decider, no subscribers and nothing parked on it.
3. No promise follows itself, directly or through others; a cycle is rejected.
4. Whoever subscribed is told once: vats by a queued notify, followers by settling with the same data.
"""

from __future__ import annotations

from collections import deque

from attrs import define

from ocap.kernel.items import Notify
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.rows import PromiseRow
from ocap.kernel.state import State
from ocap.protocol.capdata import CapData
from ocap.protocol.marshal import encode_error
from ocap.protocol.refs import VatId, is_promise_kref

CYCLE = encode_error(TypeError("a promise was made to follow itself: it can never settle"))


@define(eq=False)
class Promises:
    """Transitions of promises."""

    _state: State
    _counts: Refcounts

    def set_decider(self, promise: PromiseRow, decider: VatId | None) -> None:
        self._state.promises.edit(promise.kref, promise).decider = decider

    def subscribe(self, promise: PromiseRow, subscriber: str) -> None:
        """Tell `subscriber` (a vat, or the kref of a follower) when `promise` settles."""
        if promise.data is not None:
            self._notify(promise, subscriber)
        elif subscriber not in promise.subscribers:
            subscribers = self._state.promises.edit(promise.kref, promise).subscribers
            self._state.journal.note(subscribers.pop, subscriber, None)
            subscribers[subscriber] = None

    def final(self, promise: PromiseRow) -> PromiseRow:
        """The promise at the end of the chain that `promise` follows."""
        while promise.target is not None:
            promise = self._state.promises[promise.target]
        return promise

    def settle(self, promise: PromiseRow, rejected: bool, data: CapData) -> None:
        """Give a promise that has none yet, and all that follow it, a final value."""
        rows = self._state.promises
        unsettled = deque([promise])
        while unsettled:
            promise = unsettled.popleft()
            kref = promise.kref
            assert promise.data is None, kref
            self._counts.incref_slots(data)
            rows.edit(kref, promise)
            promise.data = data
            promise.state = "rejected" if rejected else "fulfilled"
            promise.decider = None
            if kref in self._state.launching:
                self._state.answered.append(kref)
            if promise.target is not None:
                self._state.unsubscribe(rows[promise.target], kref)  # unless that is what settled
                self._counts.decref(promise.target)
                promise.target = None
            subscribers = promise.subscribers
            if subscribers:
                promise.subscribers = {}
                for subscriber in subscribers:
                    if is_promise_kref(subscriber):
                        unsettled.append(rows[subscriber])
                    else:
                        self._notify(promise, subscriber)
            self._state.queue.release(kref)

    def forward(self, promise: PromiseRow, to: PromiseRow) -> None:
        """Make an unresolved promise follow another."""
        end = self.final(to)
        if end is promise:
            self.settle(promise, True, CYCLE)
            return
        if end.data is not None:
            self.settle(promise, end.state == "rejected", end.data)
            return
        rows, kref = self._state.promises, promise.kref
        rows.edit(kref, promise)
        promise.state = "forwarded"
        promise.decider = None
        promise.target = end.kref
        self._counts.hold(end)
        # Subscribers stay with the follower, which is itself told of the other's settlement.
        self.subscribe(end, kref)
        self._state.queue.release(kref)

    def _notify(self, promise: PromiseRow, vat: str) -> None:
        self._counts.hold(promise)
        self._state.queue.push(Notify(VatId(vat), promise.kref, self._state.crank))
