"""How much may wait: bounds on the run queue and on what is parked, and who is to blame.

A bound is no flow control: it keeps one vat that is slow or suspended, or one that floods, from
taking all memory. Whoever sends beyond it is told which vat is behind; nothing is dropped unsaid.
"""

from __future__ import annotations

from collections import Counter

from ocap.kernel.items import Send
from ocap.kernel.rows import PromiseRow
from ocap.kernel.state import State
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import BacklogError
from ocap.protocol.marshal import encode_error
from ocap.protocol.refs import is_promise_kref

MAX_ITEMS = 250_000
"""Items at one place: the run queue, a suspended vat, a promise. Each takes some 500 bytes of memory."""

MAX_BYTES = 256 * 1024 * 1024
"""Bytes of messages at one place: as many as eight cranks may send."""

RECOUNT = 10_000
"""Items queued after which what is in the queue is counted again: to count takes tens of milliseconds."""


class Backlog:
    """What waits, against its bounds."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._counted: BacklogError | None = None
        self._counted_at = 0

    @property
    def is_full(self) -> bool:
        """Whether the run queue takes no more messages."""
        queue = self._state.queue
        return len(queue) >= MAX_ITEMS or queue.weight >= MAX_BYTES

    def is_full_at(self, place: str) -> bool:
        """Whether no more may be parked at `place`."""
        queue = self._state.queue
        return queue.waiting_at(place) >= MAX_ITEMS or queue.weight_at(place) >= MAX_BYTES

    def is_full_before(self, target: str) -> bool:
        """Whether what waits where a message to `target` will have to, and all that may be on its way there, is enough."""
        place = self._place_of(target)
        if place is None:
            return False
        queue = self._state.queue
        return queue.waiting_at(place) + len(queue) >= MAX_ITEMS or queue.weight_at(place) + queue.weight >= MAX_BYTES

    def _place_of(self, target: str) -> str | None:
        """Where a message would be parked, as things are."""
        if is_promise_kref(target):
            promise = self._final(target)
            return promise.kref if promise.data is None else None
        owner = self._state.objects[target].owner
        row = None if owner is None else self._state.vats.get(owner)
        return row.id if row is not None and row.state == "suspended" else None

    def _final(self, kref: str) -> PromiseRow:
        promise = self._state.promises[kref]
        while promise.target is not None:
            promise = self._state.promises[promise.target]
        return promise

    def error_before(self, target: str) -> BacklogError:
        """Why a message to `target` is too much."""
        place = self._place_of(target)
        assert place is not None
        return self._error_at(place)

    def error(self) -> BacklogError:
        """Why the run queue takes no more: the vat that most of it is for. Counted only now and then."""
        now = self._state.queue.next_seq
        if self._counted is None or now - self._counted_at > RECOUNT:
            self._counted, self._counted_at = self._count(), now
        return self._counted

    def _count(self) -> BacklogError:
        waiting = Counter(self._receiver(item.target) for item in self._state.queue if isinstance(item, Send))
        (vat, count), *_ = waiting.most_common(1) or [("nobody", 0)]
        return BacklogError(
            f"{len(self._state.queue)} items wait to be delivered, {count} of them to {self._name(vat)}, which is behind"
        )

    def error_at(self, place: str) -> CapData:
        """Why no more is parked at `place`."""
        return encode_error(self._error_at(place))

    def _error_at(self, place: str) -> BacklogError:
        count = self._state.queue.waiting_at(place)
        behind = self._receiver(place) if is_promise_kref(place) else place
        return BacklogError(f"{count} messages wait for {self._name(behind)}, which is behind")

    def _receiver(self, kref: str) -> str:
        """Which vat a message to `kref` waits for, as far as is known."""
        if is_promise_kref(kref):
            return self._final(kref).decider or "nobody"
        return self._state.objects[kref].owner or "nobody"

    def _name(self, vat: str) -> str:
        row = self._state.vats.get(vat)
        return vat if row is None else f"{row.name} ({vat}, {row.state})"
