"""How the promises of a vat settle, and where messages to them go.

Rules:

1. A pending promise is *ours* or *imported*. Imported ones have a vpid, and only a delivery settles
   them. Ours have one once the kernel knows them.
2. A vpid is used once: when its promise is settled or forwarded it is forgotten on both sides. To
   mention the promise again takes a new one, resolved in the same breath.
3. A batch of settlements has every settled promise that its data mention, so cycles close inside it.
4. A promise that follows another is the other one: in messages, in data, for whoever waits.
5. Messages along one promise stay in order. Ours parks them until it settles; through an imported
   one they go to the kernel, and keep going there even when it turns out to be an object of this vat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocap.protocol import refs
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.errors import NotPassableError
from ocap.protocol.marshal import Remotable, encode
from ocap.protocol.syscalls import Forward, Resolve
from vats.presence import Presence
from vats.promise import FOLLOWING, FULFILLED, PENDING, REJECTED, VatPromise
from vats.vatstore import Counter

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


class Mail:
    """A message on its way inside the vat: arguments encoded at the call, so that they cannot change.

    Attributes:
        method: its name.
        body: the arguments.
        references: the objects and promises that they mention, by slot.
        result: the promise of the answer; None when nobody wants one.
    """

    __slots__ = ("body", "method", "references", "result")

    def __init__(self, method: str, body: bytes, references: list[Any], result: VatPromise | None) -> None:
        self.method = method
        self.body = body
        self.references = references
        self.result = result


class Promises:
    """The promises that the kernel knows, by vpid, and the settling of all."""

    __slots__ = ("_counter", "_vat", "table")

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._counter = Counter(vat.store, "p")
        self.table: dict[str, VatPromise] = {}

    # Names

    def name_result(self, promise: VatPromise) -> str:
        """The vpid under which `promise` becomes the result of a send: the receiver decides it next."""
        vpid = promise.vpid
        if vpid is None:
            vpid = promise.vpid = refs.promise_export(self._counter.allocate())
            self.table[vpid] = promise
        promise.is_ours = False
        return vpid

    def export(self, promise: VatPromise, settled: list[VatPromise]) -> str:
        """The vpid to mention `promise` by. One that is settled also goes to `settled`, to be resolved next."""
        promise = promise._end()
        vpid = promise.vpid
        if vpid is None:
            vpid = promise.vpid = refs.promise_export(self._counter.allocate())
            if promise.state == PENDING:
                self.table[vpid] = promise
            else:
                settled.append(promise)
        return vpid

    # Settling

    def resolve(self, promise: VatPromise, value: Any) -> None:
        """Fulfil one of ours with `value`, or let it follow if that is a promise. Once settled, nothing happens."""
        if type(value) is VatPromise:
            self._follow(promise, value)
        else:
            self.settle(promise, FULFILLED, value)

    def reject(self, promise: VatPromise, error: Exception) -> None:
        self.settle(promise, REJECTED, error)

    def settle(self, promise: VatPromise, state: int, value: Any) -> None:
        """Settle a promise that is pending; tell the kernel if it is ours and the kernel knows it."""
        if promise.state != PENDING:
            return
        promise.state = state
        promise.value = value
        vpid = promise.vpid
        if vpid is not None:
            del self.table[vpid]
            if promise.is_ours:
                self.resolve_settled([promise])
            promise.vpid = None
            if vpid in self._vat.watchers.by_vpid:
                self._vat.watchers.settled(vpid, state == REJECTED, value)
        waiters = promise.waiters
        if waiters is not None:
            promise.waiters = None
            for waiter in waiters:
                self._vat.turns.add(waiter.settled, promise)
        self.flush(promise)

    def _follow(self, promise: VatPromise, leader: VatPromise) -> None:
        if promise.state != PENDING:
            return
        leader = leader._end()
        if leader is promise:
            self.reject(promise, TypeError("a cycle: the promise was resolved to itself"))
            return
        if leader.state != PENDING:
            self.settle(promise, leader.state, leader.value)
            return
        vpid = promise.vpid
        if vpid is not None:
            del self.table[vpid]
            promise.vpid = None
            self.forward(vpid, leader)
            if leader.vpid != vpid and vpid in self._vat.watchers.by_vpid:
                self._vat.watchers.move(vpid, leader)
        promise.state = FOLLOWING
        promise.value = leader
        leader.was_piped = leader.was_piped or promise.was_piped
        waiters = promise.waiters
        if waiters is not None:
            promise.waiters = None
            leader.waiters = (leader.waiters or []) + waiters
        self.flush(promise)

    def forward(self, vpid: str, leader: VatPromise) -> None:
        """Let `vpid`, which this vat decides, settle as `leader` does, which is pending."""
        if leader.vpid is None:
            leader.vpid = vpid
            self.table[vpid] = leader
        else:
            self._vat.syscall(Forward(vpid, leader.vpid), 0)

    def answer(self, vpid: str, is_rejected: bool, value: Any) -> None:
        """Settle `vpid`, for which this vat has made no promise object."""
        settled: list[VatPromise] = []
        settlement = self._settlement(vpid, is_rejected, value, settled)
        if settled:
            self.resolve_settled(settled, [settlement])
        else:
            self._vat.syscall(Resolve((settlement,)), len(settlement.data.body))

    def resolve_settled(self, settled: list[VatPromise], batch: list[Settlement] | None = None) -> None:
        """Resolve promises that are settled and named, with all settled ones that their data mention (rule 3)."""
        batch = batch or []
        for promise in settled:  # which grows meanwhile
            assert promise.vpid is not None
            batch.append(self._settlement(promise.vpid, promise.state == REJECTED, promise.value, settled))
        for promise in settled:
            promise.vpid = None
        self._vat.syscall(Resolve(tuple(batch)), sum(len(settlement.data.body) for settlement in batch))

    def _settlement(self, vpid: str, is_rejected: bool, value: Any, settled: list[VatPromise]) -> Settlement:
        try:
            body, references = self._vat.encode(value, "result")
        except NotPassableError as error:
            # The promise must settle all the same: who waits learns that its value cannot be sent.
            is_rejected = True
            self._vat.complain(error)
            body, references = encode(error)
        slots = tuple([self._vat.slots.export(x, settled) for x in references]) if references else ()
        return Settlement(vpid, is_rejected, CapData(body, slots))

    # Messages

    def flush(self, promise: VatPromise) -> None:
        """Move on what is parked at `promise`, which has settled, follows, or is no longer ours."""
        parked = promise.parked
        if parked is not None:
            promise.parked = None
            for mail in parked:
                self.route(promise, mail)

    def route(self, promise: VatPromise, mail: Mail) -> None:
        """Take a message one step further along `promise`."""
        promise = promise._end()
        vat = self._vat
        value = promise.value
        if promise.state == PENDING:
            if not promise.is_ours:
                assert promise.vpid is not None
                promise.was_piped = True
                vat.sends.send(promise.vpid, mail.method, mail.body, mail.references, mail.result)
            elif promise.parked is None:
                promise.parked = [mail]
            else:
                promise.parked.append(mail)
        elif promise.state == REJECTED:
            if mail.result is not None:
                self.reject(mail.result, value)
        elif type(value) is Presence:
            vat.sends.send(value._ocap_vref, mail.method, mail.body, mail.references, mail.result)
        elif not isinstance(value, Remotable):
            what = "None" if value is None else f"a {type(value).__name__}"
            error = TypeError(f"cannot send {mail.method} to {what}: only objects have methods")
            vat.calls.fail(mail.result, error)
        elif promise.was_piped:
            vat.sends.send(vat.slots.export_object(value), mail.method, mail.body, mail.references, mail.result)
        else:
            vat.calls.add(value, mail)
